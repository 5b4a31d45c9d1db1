"""The answer on the wire."""

import json
from collections.abc import Mapping
from random import getrandbits
from typing import Any

from django.http import HttpResponse

_exact = json.JSONEncoder(ensure_ascii=False, check_circular=False)
_escaped = json.JSONEncoder(check_circular=False)


class Answer(HttpResponse):
    """`{"request_id": …, "result": n, …}`, with the reason for a failure in `X-Result-Detail`."""

    def __init__(
        self,
        result: int,
        request_id: int | None = None,
        fields: Mapping[str, Any] | None = None,
        *,
        status: int = 200,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
        trace_id: str = "",
    ) -> None:
        body = (
            b'"result": %d' % result if request_id is None else b'"request_id": %d, "result": %d' % (request_id, result)
        )
        body = b"{%s, %s" % (body, _members(fields)) if fields else b"{%s}" % body
        named = {
            "Content-Type": "application/json; charset=UTF-8",
            "Content-Length": str(len(body)),
            "X-Request-Id": trace_id or new_trace_id(),
            **(headers or {}),
        }
        if detail:
            named["X-Result-Detail"] = detail
        super().__init__(body, status=status, headers=named)


def new_trace_id() -> str:
    """An id that ties an answer to its log line; it guards nothing, so it need not be hard to guess."""
    return f"{getrandbits(128):032x}"


def _members(fields: Mapping[str, Any]) -> bytes:
    """The members of a JSON object, up to its end."""
    try:
        return _exact.encode(fields)[1:].encode()
    except UnicodeEncodeError:  # a name that was asked for may hold half of a surrogate pair
        return _escaped.encode(fields)[1:].encode()
