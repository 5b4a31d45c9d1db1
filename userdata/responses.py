"""The answer on the wire."""

from collections.abc import Mapping
from uuid import uuid4

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
        echo = "" if request_id is None else f'"request_id": {request_id}, '
        super().__init__(f'{{{echo}"result": {result}}}', content_type="application/json; charset=UTF-8", status=status)
        self["Content-Length"] = str(len(self.content))
        self["X-Request-Id"] = trace_id or uuid4().hex
        if detail:
            self["X-Result-Detail"] = detail
        for name, value in (headers or {}).items():
            self[name] = value
