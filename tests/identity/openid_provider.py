"""The OpenID provider of `provider/` as a process, behind a front that tests can make answer anything."""

import base64
import hashlib
import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import pytest

from tests.identity.keyserver import KeyServer, Request

HERE = Path(__file__).with_name("provider")
AUDIENCE = "https://user-data.example"
SCOPES = "email user-data-set"
CALLBACK = "http://127.0.0.1:9/callback"


class OpenIDProvider:
    """Issues tokens in the name of its front's URL, where the service reads its keys.

    The front can be told to answer badly, while the provider itself keeps issuing.
    """

    def __init__(self, folder: Path) -> None:
        install()
        self.front = KeyServer()
        self.issuer = self.front.issuer
        self.jwks_url = f"{self.issuer}/jwks"
        self._keys = folder / "keys.json"
        self._log = (folder / "provider.log").open("wb")
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self.start()

    def start(self) -> None:
        """Start it, with the keys that it had."""
        self._process = subprocess.Popen(
            ["node", "provider.mjs"],
            cwd=HERE,
            env={
                "PATH": os.environ["PATH"],
                "ISSUER": self.issuer,
                "PORT": str(self._port),
                "AUDIENCE": AUDIENCE,
                "KEYS_FILE": str(self._keys),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._port = self._said()["port"]
        self._http = httpx2.Client(base_url=f"http://127.0.0.1:{self._port}")
        self.behave()

    def stop(self) -> None:
        """End the process: the provider issues nothing, and its front has nothing to pass on."""
        if self._process:
            self._http.close()
            self._process.kill()
            self._process.communicate()
            self._process = None

    def close(self) -> None:
        self.stop()
        self.front.close()
        self._log.close()

    def behave(self) -> None:
        """Let the front be up and pass on what the provider says, as at the beginning."""
        self.front.down()
        self.front.up()
        self.front.answer = self._pass_on

    def rotate(self, *, overlap: bool) -> None:
        """Sign with new keys from now on; with overlap the old ones stay published."""
        assert self._process
        assert self._process.stdin
        self._process.stdin.write("rotate keep\n" if overlap else "rotate drop\n")
        self._process.stdin.flush()
        self._said()

    def machine_token(self, alg: str = "RS256", scope: str = SCOPES) -> str:
        """A token of the client itself, by client credentials."""
        client = f"machine-{alg.lower()}"
        form = {"grant_type": "client_credentials", "scope": scope}
        answer = self._http.post("/token", data=form, auth=(client, f"{client}-secret"))
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    def user_tokens(self, user: str) -> dict[str, Any]:
        """What the demo app gets when a user logs in and consents: authorization code with PKCE."""
        verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        with httpx2.Client(base_url=self._http.base_url) as browser:
            page = browser.get(
                "/auth",
                params={
                    "client_id": "demo-app",
                    "response_type": "code",
                    "redirect_uri": CALLBACK,
                    "scope": f"openid offline_access {SCOPES}",
                    "prompt": "consent",
                    "code_challenge": challenge,
                    "code_challenge_method": "S256",
                },
            )
            forms = [{"prompt": "login", "login": user, "password": "any"}, {"prompt": "consent"}]
            while not (location := urljoin(str(page.url), page.headers.get("Location", ""))).startswith(CALLBACK):
                page = browser.get(location) if page.is_redirect else browser.post(page.url, data=forms.pop(0))
            grant = {
                "grant_type": "authorization_code",
                "client_id": "demo-app",
                "code": parse_qs(urlsplit(location).query)["code"][0],
                "redirect_uri": CALLBACK,
                "code_verifier": verifier,
            }
            tokens: dict[str, Any] = browser.post("/token", data=grant).raise_for_status().json()
            return tokens

    def _pass_on(self, request: Request) -> None:
        host = {"Host": f"127.0.0.1:{self.front.port}"}
        try:
            answer = httpx2.get(f"http://127.0.0.1:{self._port}{request.path}", headers=host)
        except httpx2.TransportError:
            request.send(502, b"<h1>Bad gateway</h1>", "text/html")
        else:
            request.send(answer.status_code, answer.content, answer.headers["Content-Type"])

    def _said(self) -> dict[str, Any]:
        assert self._process
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):  # the library has notices of its own
                said: dict[str, Any] = json.loads(line)
                return said
        raise RuntimeError(f"the provider ended; its last words are in {self._log.name}")


def install() -> None:
    """Install what the provider needs, where that has not been done since its lock file changed."""
    if not (shutil.which("node") and shutil.which("npm")):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("these tests run a provider that needs Node.js and npm")
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE, check=True)
