"""Keycloak as a process on loopback, started the way the compose stack starts it."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import yaml

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".local" / "keycloak"
COMPOSE = ROOT / "docker-compose.yml"
REALM_FILE = ROOT / "deploy" / "keycloak" / "HyperID-realm.json"
REALM = "HyperID"
START_SECONDS = 180
ADMIN = "admin"


def compose_service() -> dict[str, Any]:
    """The `keycloak` service of the compose file."""
    service: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]["keycloak"]
    return service


def version() -> str:
    """The version that the compose stack pins, so that both always run the same."""
    image: str = compose_service()["image"]
    return image.rpartition(":")[2]


def installed() -> Path:
    """The folder of the unpacked distribution; fetched through Maven on first use."""
    home = CACHE / f"keycloak-{version()}"
    if not home.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        artifact = f"org.keycloak:keycloak-quarkus-dist:{version()}:zip"
        for goal in (["get", "-Dtransitive=false"], ["copy", f"-DoutputDirectory={CACHE}"]):
            subprocess.run(["mvn", "-B", "-q", f"dependency:{goal[0]}", f"-Dartifact={artifact}", goal[1]], check=True)
        # Unpacked aside and renamed, so that a run killed half-way leaves nothing that looks complete.
        unfinished = CACHE / "unpacking"
        shutil.rmtree(unfinished, ignore_errors=True)
        archive = CACHE / f"keycloak-quarkus-dist-{version()}.zip"
        with zipfile.ZipFile(archive) as file:
            file.extractall(unfinished)
        (unfinished / home.name / "bin" / "kc.sh").chmod(0o755)
        (unfinished / home.name).rename(home)
        unfinished.rmdir()
        archive.unlink()
    return home


@dataclass
class Keycloak:
    """A running server. What it offers beyond the protocol goes through the admin REST API."""

    port: int
    demo_password: str
    admin_password: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/{REALM}"

    @property
    def token_endpoint(self) -> str:
        return f"{self.issuer}/protocol/openid-connect/token"

    def keys_url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/realms/{REALM}/protocol/openid-connect/certs"

    def add_signing_key(self) -> None:
        """A new RSA key that signs from now on; the ones before go on verifying."""
        realm_id = self._admin("GET", "").json()["id"]
        self._admin(
            "POST",
            "/components",
            json={
                "name": "rotated",
                "providerId": "rsa-generated",
                "providerType": "org.keycloak.keys.KeyProvider",
                "parentId": realm_id,
                "config": {"priority": ["200"], "algorithm": ["RS256"]},
            },
        )

    def remove_old_signing_keys(self) -> None:
        """Withdraw every RSA signing key but the newest."""
        found = self._admin("GET", "/components", params={"type": "org.keycloak.keys.KeyProvider"}).json()
        for component in found:
            if component["providerId"] == "rsa-generated" and component["name"] != "rotated":
                self._admin("DELETE", f"/components/{component['id']}")

    def command_line_token(self, scope: str, username: str = "demo") -> str:
        """What `demo-cli`, another app than the demo app, gets for a user and the password."""
        form = {"grant_type": "password", "client_id": "demo-cli", "username": username, "scope": scope}
        answer = httpx.post(self.token_endpoint, data=form | {"password": self.demo_password})
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    def add_user(self, username: str, *, email_verified: bool) -> None:
        """A user with the demo user's password, and neither an account at Google nor a wallet."""
        self._admin(
            "POST",
            "/users",
            json={
                "username": username,
                "email": f"{username}@example.com",
                "emailVerified": email_verified,
                "firstName": username,
                "lastName": "User",
                "enabled": True,
                "credentials": [{"type": "password", "value": self.demo_password, "temporary": False}],
            },
        )

    def forget_consent(self, client_id: str) -> None:
        """Make the demo user be asked again."""
        (user,) = self._admin("GET", "/users", params={"username": "demo", "exact": True}).json()
        granted = self._admin("GET", f"/users/{user['id']}/consents").json()
        if any(consent["clientId"] == client_id for consent in granted):
            self._admin("DELETE", f"/users/{user['id']}/consents/{client_id}")

    def _admin(self, method: str, path: str, **request: Any) -> httpx.Response:
        answer = httpx.post(
            f"{self.url}/realms/master/protocol/openid-connect/token",
            data={
                "grant_type": "password",
                "client_id": "admin-cli",
                "username": ADMIN,
                "password": self.admin_password,
            },
        ).raise_for_status()
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        url = f"{self.url}/admin/realms/{REALM}{path}"
        return httpx.request(method, url, headers=headers, **request).raise_for_status()


@contextmanager
def running(log: Path) -> Iterator[Keycloak]:
    """A fresh Keycloak with the realm of the compose stack and passwords of its own."""
    home = installed()
    imports = home / "data" / "import"
    shutil.rmtree(imports, ignore_errors=True)
    imports.mkdir(parents=True)
    shutil.copy(REALM_FILE, imports)

    port, management_port = free_port(), free_port()
    keycloak = Keycloak(port, demo_password=secrets.token_hex(16), admin_password=secrets.token_hex(16))
    # As in the compose file, but for the ports and what binds them to loopback.
    environment = compose_service()["environment"] | {
        "KC_HOSTNAME": keycloak.url,
        "KC_HTTP_HOST": "127.0.0.1",
        "KC_HTTP_PORT": str(port),
        "KC_HTTP_MANAGEMENT_HOST": "127.0.0.1",
        "KC_HTTP_MANAGEMENT_PORT": str(management_port),
        "KC_BOOTSTRAP_ADMIN_PASSWORD": keycloak.admin_password,
        "KEYCLOAK_DEMO_PASSWORD": keycloak.demo_password,
        "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m",
    }
    with log.open("wb") as output:
        server = subprocess.Popen(
            [home / "bin" / "kc.sh", "start-dev", "--import-realm"],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(server, management_port, log)
        yield keycloak
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait_until_healthy(server: subprocess.Popen[bytes], management_port: int, log: Path) -> None:
    """By the compose file's own health check, so that this proves the check as well."""
    kind, *command = compose_service()["healthcheck"]["test"]
    assert kind == "CMD"
    # `$$` is how a compose file writes `$`.
    command = [part.replace("$$", "$").replace("/9000", f"/{management_port}") for part in command]
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(command, check=False, capture_output=True).returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Keycloak did not start:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
