"""How the endpoints' tests ask, and compare the answer and what is stored."""

import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

import pytest
from django.db.models import Manager

from tests.application import Response
from tests.endpoints.family import ENDPOINTS, A, Endpoint
from userdata.models import StoredValue

Stored: TypeAlias = Manager[StoredValue]
Rows: TypeAlias = list[tuple[Any, ...]]
Step: TypeAlias = tuple[int, str, str, Any, dict[str, Any]]
"""Number of the acceptance case, token, path, body, and the answer as it is on the wire."""

Play: TypeAlias = Callable[[str, Iterable[Step]], None]


class Ask(Protocol):
    def __call__(self, path: str, body: Any = None, bearer: str | None = A, **headers: str) -> Response: ...


@pytest.fixture
def ask(call: Callable[..., Response]) -> Ask:
    """POST to a path: a body as a value, in bytes, or None for no body at all; a token or None; headers."""

    def ask(path: str, body: Any = None, bearer: str | None = A, **headers: str) -> Response:
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"Content-Type": "application/json"} | headers
        if bearer is not None:
            named["Authorization"] = f"Bearer {bearer}"
        return call("POST", path, content, named)

    return ask


@pytest.fixture
def rows(stored: Stored) -> Callable[[], Rows]:
    """Everything that is stored, to compare before and after."""
    return lambda: list(stored.order_by("id").values_list())


@pytest.fixture
def play(ask: Ask, rows: Callable[[], Rows]) -> Play:
    """Take the steps of a block in their order. One that fails, or only reads, must leave the table as it was."""

    def play(below: str, steps: Iterable[Step]) -> None:
        for case, bearer, action, body, answer in steps:
            path = action if action.startswith("/") else below + action
            before = rows()

            response = ask(path, body, bearer)

            about = f"case {case}: {path} {json.dumps(body)[:200]}"
            assert (response.status_code, exact(response)) == (200, answer), about
            assert (answer["result"] < 0) == ("X-Result-Detail" in response), about
            if answer["result"] != 0 or action.endswith("get"):
                assert rows() == before, about

    return play


@pytest.fixture(params=ENDPOINTS, ids=lambda endpoint: endpoint.path)
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """Each of the 22."""
    one: Endpoint = request.param
    return one


def exact(response: Response) -> Any:
    """The body of an answer in JSON, in which no name may stand twice."""

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        assert len(members) == len(pairs), response.content
        return members

    assert response["Content-Type"] == "application/json; charset=UTF-8"
    return json.loads(response.content.decode(), object_pairs_hook=distinct)
