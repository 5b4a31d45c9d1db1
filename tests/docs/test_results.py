"""The tables of the API's pages say what the service answers."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.application import Response
from tests.docs.family import Answers
from tests.docs.pages import ACTIONS, API, table
from tests.endpoints.family import ENDPOINTS, A

EVERYWHERE = [
    "success",
    "fail by token invalid",
    "fail by token expired",
    "fail by access denied",
    "fail by service temporary not valid",
    "fail by invalid parameters",
]


def path(storage: str, action: str) -> str:
    return f"/user-data/{action}" if storage == "basic" else f"/user-data/{storage}/{action}"


def documented(action: str) -> Iterator[tuple[tuple[str, str], int]]:
    """Path and name of each row, and its number."""
    columns, rows = table(API / f"{action}.md", "name")
    for name, *cells in rows:
        for storages, number in zip(columns[1:-1], cells, strict=False):
            if number != "–":
                yield from (((path(storage, action), name), int(number)) for storage in storages.split(", "))


def test_each_result_has_the_number_of_the_pages(answers: Answers) -> None:
    pages = {row: number for action in ACTIONS for row, number in documented(action)}

    assert pages == {row: answer["result"] for row, answer in answers.items()}


def test_the_results_of_all_endpoints_have_one_number_everywhere(answers: Answers) -> None:
    shown = {name: int(number) for number, name, _ in table(API / "README.md", "result").rows}

    assert list(shown) == EVERYWHERE
    for (_, name), answer in answers.items():
        assert answer["result"] == shown.get(name, answer["result"])
        assert name in shown or answer["result"] not in shown.values()


@pytest.mark.parametrize("action", ACTIONS)
def test_a_page_has_the_paths_and_scopes_of_its_action(action: str) -> None:
    shown = [(path.strip("`"), scopes) for path, scopes in table(API / f"{action}.md", "path").rows]

    assert shown == [(each.path, f"`email`, `{each.scope}`") for each in ENDPOINTS if each.action == action]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_page_has_the_fields_of_its_answers(action: str, answers: Answers) -> None:
    fields = {name for (asked, _), answer in answers.items() if asked.endswith(f"/{action}") for name in answer} - {
        "result"
    }
    shown = set() if action == "set" else {row[0].strip("`") for row in table(API / f"{action}.md", "answer").rows}

    assert shown == fields


@pytest.mark.parametrize(
    ("status", "method", "path", "headers"),
    [
        ("404", "POST", "/user-data/by-email/get/", {}),
        ("404", "POST", "/user-data/list-get", {}),
        ("405", "GET", "/user-data/by-email/get", {}),
        ("405", "GET", "/user-data/get", {}),
        ("413", "POST", "/user-data/set", {"content-length": "2097153"}),
    ],
)
def test_a_status_is_that_of_the_page(call: Any, status: str, method: str, path: str, headers: Any) -> None:
    [result] = [result for each, result, *_ in table(API / "README.md", "status").rows if each == status]

    response: Response = call(method, path, b"", {"Authorization": f"Bearer {A}"} | headers)

    assert (str(response.status_code), str(response.json()["result"])) == (status, result)


def test_the_statuses_of_the_basic_paths_are_no_others_elsewhere(call: Any) -> None:
    headers = {"Authorization": f"Bearer {A}", "content-length": "2097153"}

    response: Response = call("POST", "/user-data/by-email/set", b"", headers)

    assert (response.status_code, response.json()) == (200, {"result": -5})
    assert response["X-Result-Detail"] == "The body may have at most 2097152 bytes."
    assert [row[0] for row in table(API / "README.md", "status").rows if row[-1] == "basic"] == ["413", "429", "500"]


def test_a_web_page_can_read_the_headers_that_the_page_says(settings: Any) -> None:
    shown = {row[0].strip("`") for row in table(API / "README.md", "header").rows}

    assert shown - set(settings.CORS_EXPOSE_HEADERS) == {"Cache-Control"}
    assert set(settings.CORS_EXPOSE_HEADERS) <= shown
