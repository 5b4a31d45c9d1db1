"""What stands around an example: a server of its files, an OpenID provider, a front of the service that can fail."""

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.tokens import token

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTES_WEB = EXAMPLES / "notes-web"

# The addresses in the page's config.js, in place of which a test writes its own.
CONFIGURED = {"issuer": "http://127.0.0.1:8080/realms/HyperID", "api": "http://127.0.0.1:8000"}
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


class Handler(BaseHTTPRequestHandler):
    """Hands each request to `Site.answer`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.site.answer(self, body)  # type: ignore[attr-defined]

    def do_POST(self) -> None:
        self.do_GET()

    def do_OPTIONS(self) -> None:
        self.do_GET()

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


class Site:
    """A web server on loopback."""

    def __init__(self, port: int = 0) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.site = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, request: Handler, body: bytes) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


AnySite = TypeVar("AnySite", bound=Site)


@contextmanager
def serving(site: AnySite) -> Iterator[AnySite]:
    try:
        yield site
    finally:
        site.close()


class NotesWeb(Site):
    """The example page, told where its two servers are."""

    def __init__(self, issuer: str, api: str, port: int = 0) -> None:
        super().__init__(port)
        self._told = {"issuer": issuer, "api": api}

    def answer(self, request: Handler, body: bytes) -> None:
        path = NOTES_WEB / (urlsplit(request.path).path.lstrip("/") or "index.html")
        if not path.is_file():
            request.send(404, b"", {})
            return
        text = path.read_text()
        if path.name == "config.js":
            for name, address in CONFIGURED.items():
                assert f"'{address}'" in text
                text = text.replace(f"'{address}'", f"'{self._told[name]}'")
        request.send(200, text.encode(), {"Content-Type": MEDIA_TYPES[path.suffix]})


class ServiceFront(Site):
    """Passes everything on to the service, but for the calls that it fails."""

    def __init__(self, service_url: str) -> None:
        super().__init__()
        self._service = urlsplit(service_url).netloc
        self.failures: list[tuple[int, bytes, dict[str, str]] | None] = []
        """Of the next calls: status, content and headers; None ends the connection without an answer."""
        self.passed_on = 0

    def fail(self, *failures: tuple[int, bytes, dict[str, str]] | None) -> None:
        self.failures += failures

    def answer(self, request: Handler, body: bytes) -> None:
        if request.command == "POST" and self.failures:
            failure = self.failures.pop(0)
            if failure is None:
                request.close_connection = True
                return
            status, content, headers = failure
            cors = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
            request.send(status, content, cors | headers)
            return
        connection = HTTPConnection(self._service, timeout=10)
        connection.request(request.command, request.path, body, dict(request.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.passed_on += request.command == "POST"
        request.send(
            answer.status, content, {name: value for name, value in answer.getheaders() if name != "content-length"}
        )


def busy(retry_after: str = "0") -> tuple[int, bytes, dict[str, str]]:
    return 200, b'{"result": -4}', {"Content-Type": "application/json", "Retry-After": retry_after}


class Provider(Site):
    """Logs in whoever comes, by authorization code with PKCE; its tokens are those that the tests' service trusts."""

    def __init__(self) -> None:
        super().__init__()
        self.refusal = ""
        """The error with which users are sent back."""
        self.session = True
        """Whether refresh tokens are good."""
        self.claims: dict[str, Any] = {}
        """Claims of the access tokens from now on."""
        self.grants: list[str] = []
        self.asked_for: dict[str, str] = {}
        self._codes: dict[str, dict[str, str]] = {}

    def answer(self, request: Handler, body: bytes) -> None:
        url = urlsplit(request.path)
        match url.path:
            case "/.well-known/openid-configuration":
                self._json(request, 200, self._metadata())
            case "/authorize":
                self._authorize(request, _fields(url.query))
            case "/token":
                self._token(request, _fields(body.decode()))
            case "/logout":
                self.session = False
                self._redirect(request, _fields(url.query)["post_logout_redirect_uri"])

    def _metadata(self) -> dict[str, str]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "end_session_endpoint": f"{self.url}/logout",
        }

    def _authorize(self, request: Handler, fields: dict[str, str]) -> None:
        assert fields["response_type"] == "code"
        assert fields["code_challenge_method"] == "S256"
        self.asked_for, self.session = fields, True
        code = secrets.token_urlsafe()
        self._codes[code] = fields
        answer = {"error": self.refusal} if self.refusal else {"code": code}
        self._redirect(
            request, f"{fields['redirect_uri']}?{urlencode(answer | {'state': fields['state'], 'iss': self.url})}"
        )

    def _token(self, request: Handler, fields: dict[str, str]) -> None:
        self.grants.append(fields["grant_type"])
        if fields["grant_type"] == "refresh_token":
            good = self.session and fields["refresh_token"] == "refresh"
        else:
            asked = self._codes.pop(fields["code"])
            digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
            good = (
                base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
                and fields["redirect_uri"] == asked["redirect_uri"]
                and fields["client_id"] == asked["client_id"]
            )
        if good:
            tokens = {"access_token": token(**self.claims), "id_token": token(typ="ID"), "refresh_token": "refresh"}
            self._json(request, 200, tokens)
        else:
            self._json(request, 400, {"error": "invalid_grant"})

    def _json(self, request: Handler, status: int, answer: dict[str, str]) -> None:
        headers = {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"}
        request.send(status, json.dumps(answer).encode(), headers)

    def _redirect(self, request: Handler, location: str) -> None:
        request.send(302, b"", {"Location": location})


def _fields(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
