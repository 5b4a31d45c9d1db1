"""The request's body → a JSON object, or what is wrong with it.

What is wrong is not said at once: the token is checked first, and the request's own
`request_id` has to be at hand for every failure on the way.
"""

import json
from dataclasses import dataclass
from threading import Semaphore
from typing import Any, BinaryIO

from django.conf import settings
from django.http import HttpRequest

from userdata.exceptions import BodyTooLarge, InvalidParameters, SlowDown
from userdata.text import refuse_constant

INT64 = range(-(2**63), 2**63)

SMALL_BODY_BYTES = 65_536
MAX_LARGE_BODIES = 64  # in each worker

_large_bodies = Semaphore(MAX_LARGE_BODIES)


@dataclass(slots=True)
class Body:
    """A request's fields; where there are none to be had, `problem` says why."""

    fields: dict[str, Any]
    problem: str = ""

    @property
    def request_id(self) -> int | None:
        """The request's own id where it carries a valid one."""
        value = self.fields.get("request_id")
        return value if type(value) is int and value in INT64 else None


def read(request: HttpRequest) -> Body:
    """Read and decode the body. Raises `BodyTooLarge` before more than the limit is read."""
    problem = _media_type_problem(request.META.get("CONTENT_TYPE", ""))
    try:
        text = _bytes(request).decode()
        fields = _decoder.decode(text)
    except UnicodeDecodeError:
        return Body({}, problem or "The body must be UTF-8.")
    except RecursionError:
        return Body({}, problem or "The body is nested too deeply.")
    except ValueError:
        return Body({}, problem or _not_json(text))
    if type(fields) is not dict:
        return Body({}, problem or "The body must be a JSON object.")
    return Body(fields, problem)


def _bytes(request: HttpRequest) -> bytes:
    """The server ends the stream where the body ends, be it chunked, which Django's own reader takes for empty."""
    limit: int = settings.MAX_BODY_BYTES
    length = request.META.get("CONTENT_LENGTH") or ""
    expected = int(length) if length.isdecimal() else limit + 1
    body = b"" if expected > limit and length else _read(request, expected)
    if expected > limit and (length or len(body) > limit):
        raise BodyTooLarge(f"The body may have at most {limit} bytes.")
    if length and len(body) < expected:
        raise InvalidParameters("The body ended early.")
    return bytes(body)


def _read(request: HttpRequest, size: int) -> bytes:
    """Up to `size` bytes. Large bodies wait in memory until they are complete, so no more than some come in at once."""
    stream: BinaryIO = request.META["wsgi.input"]
    if size <= SMALL_BODY_BYTES:
        return stream.read(size)
    if not _large_bodies.acquire(blocking=False):
        raise SlowDown("Too many large bodies are on their way; send again later.")
    try:
        return stream.read(size)
    finally:
        _large_bodies.release()


def _media_type_problem(content_type: str) -> str:
    if content_type == "application/json":
        return ""
    media_type, _, parameters = content_type.partition(";")
    if media_type.strip().lower() != "application/json":
        return "Content-Type must be application/json."
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in {"utf-8", "utf8"}:
            return "Content-Type must name the charset UTF-8, or none."
    return ""


def _not_json(text: str) -> str:
    if text.startswith("\ufeff"):
        return "The body must not start with a byte order mark."
    return "The body must be JSON." if text.strip() else "The body is empty; it must be a JSON object."


def _integer(digits: str) -> int | float:
    """An integer exactly where it can be an int64; the rest needs no exactness, only an end."""
    return int(digits) if len(digits) <= 20 else float(digits)


_decoder = json.JSONDecoder(parse_int=_integer, parse_constant=refuse_constant)
