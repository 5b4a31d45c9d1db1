"""An app of the realm, and the browser of its user: the authorization-code flow with PKCE over real HTTP."""

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2 as httpx

CLIENT_ID = "demo-app"
# No server listens there, and the realm allows any port of it (RFC 8252 §7.3).
REDIRECT_URI = "http://127.0.0.1:49152/callback"
MAX_PAGES = 12  # between the app and its callback, redirects included


class NotSentBack(Exception):
    """The provider does not let the user go on; the text of its page says why."""


@dataclass(frozen=True)
class Tokens:
    """What the token endpoint gave, each as it goes over the wire."""

    access: str
    identity: str
    refresh: str


class Browser:
    """One user's browser: keeps cookies, fills in forms, and stops at the app's redirect URI."""

    def __init__(self, issuer: str, username: str, password: str) -> None:
        self.issuer = issuer
        self.username = username
        self.password = password
        self.consent_page = ""
        self.profile: dict[str, str] = {}
        """What the user writes, or forges, into the form of the profile where that is shown."""
        self._http = httpx.Client(timeout=30, event_hooks={"response": [self._keep_cookies]})
        self._metadata = self._http.get(f"{issuer}/.well-known/openid-configuration").raise_for_status().json()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def log_in(self, scope: str, **parameters: str) -> Tokens:
        """Authorize with PKCE S256; gives the password and consent only where Keycloak asks for them."""
        verifier, state = secrets.token_urlsafe(64), secrets.token_urlsafe()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        pkce = {"code_challenge": challenge, "code_challenge_method": "S256"}
        callback = self.authorize(scope, state=state, **pkce, **parameters)
        assert callback["state"] == state
        assert callback["iss"] == self.issuer  # RFC 9207
        return self._tokens(
            grant_type="authorization_code", code=callback["code"], redirect_uri=REDIRECT_URI, code_verifier=verifier
        )

    def authorize(self, scope: str, **parameters: str) -> dict[str, str]:
        """The parameters with which the provider sends the browser back to the app."""
        query = {"response_type": "code", "client_id": CLIENT_ID, "redirect_uri": REDIRECT_URI, "scope": scope}
        answer = self._http.get(self._metadata["authorization_endpoint"], params=query | parameters)
        for _ in range(MAX_PAGES):
            if answer.is_redirect and answer.headers["location"].startswith(REDIRECT_URI):
                query_back = parse_qs(urlsplit(answer.headers["location"]).query)
                return {name: values[0] for name, values in query_back.items()}
            answer = self._next(answer)
        raise NotSentBack(visible_text(answer.text))

    def refresh(self, tokens: Tokens) -> Tokens:
        """Raises `httpx.HTTPStatusError` where the session is over."""
        return self._tokens(grant_type="refresh_token", refresh_token=tokens.refresh)

    def log_out(self, tokens: Tokens) -> None:
        """End the user's session at the provider (OpenID Connect RP-Initiated Logout 1.0)."""
        query = {"id_token_hint": tokens.identity, "post_logout_redirect_uri": REDIRECT_URI}
        answer = self._http.get(self._metadata["end_session_endpoint"], params=query)
        assert answer.is_redirect, answer.text
        assert answer.headers["location"].startswith(REDIRECT_URI)

    def _tokens(self, **grant: str) -> Tokens:
        answer = self._http.post(self._metadata["token_endpoint"], data={"client_id": CLIENT_ID} | grant)
        given = answer.raise_for_status().json()
        return Tokens(given["access_token"], given["id_token"], given["refresh_token"])

    def _keep_cookies(self, _: httpx.Response) -> None:
        # Browsers send `Secure` cookies to loopback without TLS too; Python's jar does not.
        for cookie in self._http.cookies.jar:
            cookie.secure = False

    def _next(self, answer: httpx.Response) -> httpx.Response:
        """Follow a redirect or submit the one form of a page."""
        if answer.is_redirect:
            return self._http.get(urljoin(str(answer.url), answer.headers["location"]))
        answer.raise_for_status()
        form = _Form(answer.text)
        if "password" in form.fields:
            filled = {"username": self.username, "password": self.password}
        elif "accept" in form.fields:
            self.consent_page = answer.text
            filled = {"accept": form.fields["accept"]}
        else:
            assert "lastName" in form.fields, f"neither a login nor a consent nor a profile page: {answer.text}"
            filled = self.profile
        given = {name: value for name, value in form.fields.items() if not name.startswith("cancel")} | filled
        return self._http.post(urljoin(str(answer.url), form.action), data=given)


class _Form(HTMLParser):
    """The first form of a page: where it goes, and its fields as they stand."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "form" and not self.action:
            self.action = attributes.get("action") or ""
        elif tag in ("input", "button") and (name := attributes.get("name")):
            self.fields[name] = attributes.get("value") or ""


def claims(token: str) -> dict[str, Any]:
    """A token's payload, unverified."""
    payload = token.split(".")[1]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return read


def key_id(token: str) -> str:
    """The `kid` of a token's header."""
    header = token.split(".")[0]
    kid: str = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
    return kid


def visible_text(page: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))
