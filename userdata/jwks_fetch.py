"""Fetching a provider's keys, within a time and a size that hold whatever the provider does.

The standard library's client does the talking: it honours proxy settings and the system's certificates, and costs no
dependency. What it lacks is a limit on the whole exchange: a socket's time-out starts anew with each byte that arrives,
and resolving a name has none. (PyJWT's ``PyJWKClient`` stands on the same client and inherits both.)
"""

import http.client
import ipaddress
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from userdata.jwks_read import read_keys

USER_AGENT = "hypersecureid-user-data"  # some providers' front ends answer 403 to a client that names none
ACCEPT = "application/json, application/jwk-set+json"
WELL_KNOWN = "/.well-known/openid-configuration"
DISCOVERED_FOR_SECONDS = 3600.0


class FetchFailed(Exception):
    """The provider's keys could not be had; the text says why, for operators, in one line without secrets."""


class Provider:
    """Where an identity provider publishes its keys: at a URL, or at the one that its discovery document names.

    The discovery document (OpenID Connect Discovery 1.0 §4) is read again after an hour, and after a failure.

    Raises:
        ValueError: neither a URL nor an issuer is given, or it is not one that keys may be fetched from.
    """

    def __init__(
        self,
        *,
        url: str | None,
        issuer: str | None,
        algorithms: Collection[str],
        timeout_seconds: float,
        max_body_bytes: int,
        plain_http: bool,
    ) -> None:
        if not url and not issuer:
            raise ValueError("a JWKS URL or an issuer is needed to find keys")
        self._keys_url = url or None
        self._issuer = issuer or ""
        self._first_url = url or self._issuer.rstrip("/") + WELL_KNOWN
        self._algorithms = tuple(algorithms)
        self._timeout_seconds = timeout_seconds
        self._max_body_bytes = max_body_bytes
        self._plain_http = plain_http
        self._discovered: tuple[str, float] | None = None  # the keys' URL, and until when it is relied on
        if complaint := self._complaint(self._first_url):
            raise ValueError(f"{_printable(self._first_url)} {complaint}")

    def __str__(self) -> str:
        return _printable(self._first_url)

    def fetch(self) -> list[object]:
        """The members of the key set that is published now, at least one that verifies one of the algorithms.

        Takes no longer than ``timeout_seconds`` in all, discovery included.

        Raises:
            FetchFailed: something else than a usable JSON Web Key Set (RFC 7517 §5) came back, or nothing in time.
        """
        try:
            return self._fetch(time.monotonic() + self._timeout_seconds)
        except FetchFailed:
            self._discovered = None
            raise

    def _fetch(self, deadline: float) -> list[object]:
        url = self._keys_url or self._discover(deadline)
        members = self._get(url, deadline).get("keys")
        if not isinstance(members, list) or not members:
            raise FetchFailed(f"{_printable(url)} answered JSON that holds no keys")
        if not read_keys(members, self._algorithms).size:
            wanted = " or ".join(self._algorithms)
            raise FetchFailed(f"{_printable(url)} publishes {len(members)} keys, none of which verifies {wanted}")
        return members

    def _discover(self, deadline: float) -> str:
        if self._discovered and time.monotonic() < self._discovered[1]:
            return self._discovered[0]
        document = self._get(self._first_url, deadline)
        if document.get("issuer") != self._issuer:
            raise FetchFailed(f"{self} names the issuer {document.get('issuer')!r:.200}, not {self._issuer!r}")
        url = document.get("jwks_uri")
        if not isinstance(url, str):
            raise FetchFailed(f"{self} names no jwks_uri")
        if complaint := self._complaint(url):
            raise FetchFailed(f"the jwks_uri {_printable(url)!r:.200} of {self} {complaint}")
        self._discovered = url, time.monotonic() + DISCOVERED_FOR_SECONDS
        return url

    def _complaint(self, url: str) -> str | None:
        """Why keys may not come from this URL. Whoever can change the answer can sign tokens: hence https."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            return "is not a URL"
        if parts.scheme not in ("http", "https") or not host or not re.fullmatch("[!-~]+", url):
            return "is not an http or https URL"
        if parts.username is not None:
            return "must not carry credentials"
        if parts.scheme == "http" and not self._plain_http and not _is_loopback(host):
            return "must use https"
        return None

    def _get(self, url: str, deadline: float) -> Mapping[str, Any]:
        where = _printable(url)
        too_slow = FetchFailed(f"{where} took longer than {self._timeout_seconds:g} s")
        exchange = _Exchange()
        work = partial(exchange.get, url, self._timeout_seconds, self._max_body_bytes + 1)
        try:
            answer = _in_time(deadline - time.monotonic(), work)
        except TimeoutError as error:
            raise too_slow from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise too_slow from error
            raise FetchFailed(f"{where} can't be reached: {error.reason}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise FetchFailed(f"{where} broke off: {type(error).__name__} {error!s:.200}") from error
        finally:
            exchange.cut()
        if answer.status != http.HTTPStatus.OK:
            note = ", and redirects are not followed" if 300 <= answer.status < 400 else ""
            raise FetchFailed(f"{where} answered {answer.status}{note}")
        if len(answer.body) > self._max_body_bytes:
            raise FetchFailed(f"{where} answered more than {self._max_body_bytes} bytes")
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise FetchFailed(f"{where} answered {answer.media_type!r:.80} that is not JSON") from error
        if not isinstance(document, dict):
            raise FetchFailed(f"{where} answered JSON that is not an object")
        return document


class _Answer(NamedTuple):
    status: int
    media_type: str
    body: bytes


class _Exchange(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """One GET, whose connection another thread can cut."""

    def __init__(self) -> None:
        super().__init__()
        self._sockets: list[socket.socket] = []
        self._over = False

    def get(self, url: str, timeout_seconds: float, max_bytes: int) -> _Answer:
        """The answer, its body as far as ``max_bytes``."""
        request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept": ACCEPT})
        with urllib.request.build_opener(self, _AsAnswered).open(request, timeout=timeout_seconds) as response:
            return _Answer(response.status, response.headers.get_content_type(), response.read(max_bytes))

    def cut(self) -> None:
        """End the exchange if it still goes on: its thread meets an end of file, or an error once it has connected."""
        self._over = True
        for connected in self._sockets:
            with suppress(OSError):  # mostly it is closed already
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def opened(self, connected: socket.socket) -> None:
        self._sockets.append(connected)
        if self._over:
            raise TimeoutError

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Connection, self.opened), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_TLSConnection, self.opened), req)


class _Connection(http.client.HTTPConnection):
    """Tells of its socket as soon as it has one."""

    def __init__(self, opened: Callable[[socket.socket], None], host: str, **options: Any) -> None:
        super().__init__(host, **options)
        self._opened = opened

    def connect(self) -> None:
        super().connect()
        self._opened(self.sock)


class _TLSConnection(_Connection, http.client.HTTPSConnection):
    """The same over TLS."""


class _AsAnswered(urllib.request.HTTPErrorProcessor):
    """Hands over every answer as it is. So no redirect is followed: keys come from where they should, or not at all."""

    def http_response(
        self, request: urllib.request.Request, response: http.client.HTTPResponse
    ) -> http.client.HTTPResponse:
        return response

    https_response = http_response


def _in_time(seconds: float, work: Callable[[], _Answer]) -> _Answer:
    """What ``work`` returns or raises; TimeoutError after ``seconds``, when its thread is left behind."""
    future: Future[_Answer] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again where the result is wanted
            future.set_exception(error)

    threading.Thread(target=run, name="jwks-fetch", daemon=True).start()
    return future.result(seconds)


def _printable(url: str) -> str:
    """A URL fit for a log: without credentials, query or fragment."""
    return re.sub(r"^([^/]*//)[^/]*@", r"\1", re.split("[?#]", url, maxsplit=1)[0])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
