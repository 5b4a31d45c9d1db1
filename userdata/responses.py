"""The answer on the wire."""

from collections.abc import Mapping
from random import getrandbits

from django.http import HttpResponse


class Answer(HttpResponse):
    """`{"request_id": …, "result": n}`, with the reason for a failure in `X-Result-Detail`."""

    def __init__(
        self,
        result: int,
        request_id: int | None = None,
        *,
        status: int = 200,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
        trace_id: str = "",
    ) -> None:
        body = (
            b'{"result": %d}' % result
            if request_id is None
            else b'{"request_id": %d, "result": %d}' % (request_id, result)
        )
        fields = {
            "Content-Type": "application/json; charset=UTF-8",
            "Content-Length": str(len(body)),
            "X-Request-Id": trace_id or new_trace_id(),
            **(headers or {}),
        }
        if detail:
            fields["X-Result-Detail"] = detail
        super().__init__(body, status=status, headers=fields)


def new_trace_id() -> str:
    """An id that ties an answer to its log line; it guards nothing, so it need not be hard to guess."""
    return f"{getrandbits(128):032x}"
