"""Fetching a provider's keys, within a time and a size that hold whatever the provider does."""

import asyncio
import json
import logging
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2

from userdata.identity.key_set import KeySet, read_key_set

TIMEOUT_SECONDS = 3.0  # for the whole exchange
MAX_BODY_BYTES = 512 * 1024
HEADERS = {
    "User-Agent": "hypersecureid-user-data",  # some providers' front ends answer 403 to a client that names none
    "Accept": "application/json, application/jwk-set+json",
    "Accept-Encoding": "identity",  # the limit on the body shall hold for what it unpacks to
}
_loopback = re.compile(r"(.+\.)?localhost|127(\.\d{1,3}){3}|::1")
logging.getLogger("httpx2").setLevel(logging.WARNING)  # below that it logs whole URLs, queries included


class FetchFailed(Exception):
    """The provider's keys could not be had; the text says why, for operators, in one line without secrets."""


class KeysEndpoint:
    """Where a provider publishes its keys: at a URL, or at the one that its issuer's discovery document names."""

    def __init__(self, jwks_url: str, issuer: str, algorithms: Sequence[str]) -> None:
        """Raises `ValueError` with a sentence where keys may not be fetched from there."""
        self._jwks_url, self._issuer, self._algorithms = jwks_url, issuer, algorithms
        self._first_url = jwks_url or issuer.rstrip("/") + "/.well-known/openid-configuration"
        # Who configures an http URL knows the network that it crosses; who names an issuer may not.
        if complaint := _complaint(self._first_url, plain_http=bool(jwks_url)):
            setting = "JWT_JWKS_URL" if jwks_url else "JWT_ISSUER"
            raise ValueError(f"Keys can't be had from {setting}: {self} {complaint}.")
        self._tls = httpx2.create_ssl_context()  # once, as it reads all certificates of the system

    def __str__(self) -> str:
        return _printable(self._first_url)

    async def fetch(self) -> KeySet:
        """The keys that are published now, at least one. Raises `FetchFailed`."""
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                httpx2.AsyncClient(headers=HEADERS, verify=self._tls, timeout=None) as http,
            ):
                url = self._jwks_url or await self._discover(http)
                members = (await _get(http, url)).get("keys")
        except TimeoutError as error:
            raise FetchFailed(f"{self} took longer than {TIMEOUT_SECONDS:g} s") from error
        if not isinstance(members, list) or not members:
            raise FetchFailed(f"{_printable(url)} answered JSON that holds no keys")
        if keys := read_key_set(members, self._algorithms):
            return keys
        wanted = " or ".join(self._algorithms)
        raise FetchFailed(f"{_printable(url)} publishes {len(members)} keys, none of which verifies {wanted}")

    async def _discover(self, http: httpx2.AsyncClient) -> str:
        """OpenID Connect Discovery 1.0 §4; asked before each fetch, so that keys may move."""
        document = await _get(http, self._first_url)
        issuer, url = document.get("issuer"), document.get("jwks_uri")
        if issuer != self._issuer:
            raise FetchFailed(f"{self} names the issuer {issuer!r:.200}, not {self._issuer!r}")
        if not isinstance(url, str):
            raise FetchFailed(f"{self} names no jwks_uri")
        if complaint := _complaint(url, plain_http=False):
            raise FetchFailed(f"the jwks_uri {_printable(url)!r:.200} of {self} {complaint}")
        return url


async def _get(http: httpx2.AsyncClient, url: str) -> dict[str, Any]:
    where, body, media_type = _printable(url), bytearray(), ""
    try:
        async with http.stream("GET", url) as response:
            if response.status_code != httpx2.codes.OK:
                note = ", and redirects are not followed" if response.is_redirect else ""
                raise FetchFailed(f"{where} answered {response.status_code}{note}")
            media_type = response.headers.get("Content-Type", "")
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise FetchFailed(f"{where} answered more than {MAX_BODY_BYTES} bytes")
        document = json.loads(body)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise FetchFailed(f"{where} can't be read: {type(error).__name__} {error!s:.200}") from error
    except (ValueError, RecursionError) as error:
        raise FetchFailed(f"{where} answered {media_type!r:.80} that is not JSON") from error
    return document if isinstance(document, dict) else {}


def _complaint(url: str, *, plain_http: bool) -> str | None:
    """Why keys may not come from this URL. Whoever can change the answer can sign tokens: hence https."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.port != 0 and re.fullmatch("[!-~]+", url)
    except ValueError:
        usable = None
    if not usable or not parts.hostname:
        return "is not an http or https URL"
    if parts.username is not None:
        return "must not carry credentials"
    if parts.scheme == "http" and not plain_http and not _loopback.fullmatch(parts.hostname):
        return "must use https"
    return None


def _printable(url: str) -> str:
    """A URL fit for a log: without credentials, query or fragment."""
    return re.sub(r"^([^/]*//)[^/]*@", r"\1", re.split("[?#]", url, maxsplit=1)[0])
