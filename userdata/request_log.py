"""The request log: one line on stderr for each answer of the API, that says how it went and nothing of what it held."""

import json
import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, Self

import structlog
from django.conf import settings
from django.utils.crypto import salted_hmac

from userdata.identity import Principal

_quoted = lru_cache(maxsize=1024)(json.dumps)  # paths, apps and details, of which there are few


class Line(NamedTuple):
    request_id: str
    path: str
    status: int
    result: int
    outcome: str
    duration_ms: float
    app: str  # empty, as the user, where the token was not accepted
    user: str
    detail: str

    def json(self, now: float) -> bytes:
        """One JSON object; only paths, apps and details may have characters that it escapes. `now`: since 1970."""
        request_id, path, status, result, outcome, duration_ms, app, user, detail = self
        seconds = int(now)
        caller = f', "app": {_quoted(app)}, "user": "{user}"' if user else ""
        reason = f', "detail": {_quoted(detail)}' if detail else ""
        return (
            f'{{"request_id": "{request_id}", "path": {_quoted(path)}, "status": {status}, "result": {result}, '
            f'"outcome": "{outcome}", "duration_ms": {duration_ms:.2f}{caller}{reason}, "event": "request", '
            f'"level": "info", "logger": "{__name__}", '
            f'"timestamp": "{_second(seconds)}.{int((now - seconds) * 1_000_000):06d}Z"}}\n'
        ).encode()


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class RequestLog:
    """Writes the lines of one worker's requests; they look as all other lines do.

    They do not go the way of the others, through structlog and `logging`: that would cost several times as much, and
    these are the only lines that come with each request.
    """

    def __init__(self, secret: str | bytes) -> None:
        """`secret`: what the hashes of users are keyed with, of any length."""
        self._key = salted_hmac("userdata.request_log", b"user", secret=secret, algorithm="sha256").digest()
        self._user = lru_cache(maxsize=4096)(self.hash_of)
        self._put = _to_terminal() if sys.stderr.isatty() else _to_stderr()

    @classmethod
    def from_settings(cls) -> Self | None:
        """None where `LOG_REQUESTS` is off, or `LOG_LEVEL` above INFO, which these lines are."""
        is_on = settings.LOG_REQUESTS and logging.getLevelNamesMapping()[settings.LOG_LEVEL] <= logging.INFO
        return cls(settings.SECRET_KEY) if is_on else None

    def write(
        self,
        request_id: str,
        path: str,
        status: int,
        result: int,
        outcome: str,
        seconds: float,
        principal: Principal | None,
        detail: str,
    ) -> None:
        """Write one line. `path`: an endpoint's. `outcome`: its name. `detail`: the answer's own.

        `principal`: None where the token was not accepted.
        """
        app, user = (principal.app, self._user(principal.sub)) if principal is not None else ("", "")
        line = Line(request_id, path, status, result, outcome, seconds * 1000, app, user, detail)
        with suppress(OSError):  # nobody reads the log any more, which is no reason to fail
            self._put(line)

    def hash_of(self, user: str) -> str:
        """A name for the user in these lines; who does not have the secret can't tell of whom it is."""
        return blake2b(user.encode(), digest_size=8, key=self._key).hexdigest()


Put = Callable[[Line], object]


def _to_stderr() -> Put:
    # Unbuffered: one system call a line, which no other worker's line gets into as long as it has less than 4 KiB.
    write = open(sys.stderr.fileno(), "wb", buffering=0, closefd=False).write  # noqa: SIM115

    return lambda line: write(line.json(time.time()))


def _to_terminal() -> Put:
    logger: Any = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.dev.ConsoleRenderer()],
    ).bind(level="info", logger=__name__)

    def put(line: Line) -> None:
        fields = line._replace(duration_ms=round(line.duration_ms, 2))._asdict()
        logger.info("request", **{name: value for name, value in fields.items() if value != ""})

    return put
