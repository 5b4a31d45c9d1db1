"""The request's body → a JSON object, or what is wrong with it.

What is wrong is not said at once: the token is checked first, and the request's own `request_id` has to be at hand for
every failure on the way.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from userdata.exceptions import BodyTooLarge, InvalidParameters, SlowDown
from userdata.text import refuse_constant

INT64 = range(-(2**63), 2**63)

BODY_SECONDS = 60.0
SMALL_BODY_BYTES = 65_536
MAX_LARGE_BODIES = 64  # in each worker
MAX_LENGTH_DIGITS = 20  # of 2**64; what has more begins with zeros, and Python converts no more than some thousand

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


@dataclass(slots=True)
class Body:
    """A request's fields; where there are none to be had, `problem` says why."""

    fields: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def request_id(self) -> int | None:
        """The request's own id where it carries a valid one."""
        value = self.fields.get("request_id")
        return value if type(value) is int and value in INT64 else None


class BodyReader:
    """Reads the bodies of one worker's requests, each within its limit and its time."""

    def __init__(self) -> None:
        self._large = 0

    async def read(self, length: str, receive: Receive) -> bytes:
        """The whole body. `length`: the header Content-Length, empty where there is none.

        Raises `BodyTooLarge` before more than the limit is read, `SlowDown` where many large bodies are on their way
        or the server stops, and `InvalidParameters` where the body ends early or takes longer than `BODY_SECONDS`.
        """
        limit: int = settings.MAX_BODY_BYTES
        if len(length) > MAX_LENGTH_DIGITS:
            raise InvalidParameters("Content-Length has too many digits.")
        announced = int(length) if length.isdecimal() else 0
        if announced > limit:
            raise BodyTooLarge(f"The body may have at most {limit} bytes.")
        parts: list[bytes] = []
        size, is_large = announced, False
        received = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    if size > SMALL_BODY_BYTES and not is_large:
                        is_large = self._admit()
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise InvalidParameters("The body ended early.")
                    parts.append(message.get("body", b""))
                    received += len(parts[-1])
                    if received > limit:
                        raise BodyTooLarge(f"The body may have at most {limit} bytes.")
                    if not message.get("more_body", False):
                        break
                    size = max(size, received)
        except TimeoutError as cause:
            raise InvalidParameters(f"The body took longer than {BODY_SECONDS:.0f} seconds.") from cause
        except asyncio.CancelledError as cause:  # the server has waited for it long enough
            raise SlowDown("The service is stopping; send again.") from cause
        finally:
            self._large -= is_large
        if received < announced:
            # uvicorn's parser drops the body of a request that asks for another protocol, as for HTTP/2 in the clear.
            raise InvalidParameters("The body ended early; without TLS, send it by plain HTTP/1.1.")
        return b"".join(parts)

    def _admit(self) -> bool:
        """Large bodies wait in memory until they are complete, so no more than some come in at once."""
        if self._large >= MAX_LARGE_BODIES:
            raise SlowDown("Too many large bodies are on their way; send again later.")
        self._large += 1
        return True


def parsed(content: bytes, content_type: str) -> Body:
    """A body decoded, with what is wrong with it."""
    if not content:
        return Body()
    problem = _media_type_problem(content_type)
    try:
        text = content.decode()
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
