"""The Python of the documentation does what it says."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, free_port
from tests.docs.pages import API, examples


def defined(page: Path, base_url: str) -> dict[str, Any]:
    """What a page's example defines."""
    [code] = examples(page, "python", base_url)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    return namespace


@pytest.fixture
def example(development_server: Server) -> dict[str, Any]:
    """All functions of all pages."""
    pages = [API / "README.md", *(page for page in API.glob("*.md") if page.name != "README.md")]
    return {name: each for page in pages for name, each in defined(page, development_server.url).items()}


def test_a_value_is_set_and_got(example: dict[str, Any], notes: str, stored: Any) -> None:
    example["set_value"](notes, "notes-theme", "dark")
    with pytest.raises(RuntimeError, match=r"result -7: value_key must have 1 to 128 characters\."):
        example["set_value"](notes, "", "dark")

    assert example["get_values"](notes, ["notes-font", "notes-theme"]) == {"notes-theme": "dark"}
    assert (stored.get().key, stored.get().value, stored.get().access_scope) == ("notes-theme", "dark", 0)


def test_keys_are_listed_and_deleted(example: dict[str, Any], notes: str, stored: Any) -> None:
    assert example["list_keys"](notes) == ([], [])
    example["set_value"](notes, "notes-theme", "dark")

    assert example["list_keys"](notes) == (["notes-theme"], [])
    assert example["delete_keys"](notes, ["notes-theme", "notes-font"]) == {"notes-theme"}
    assert example["delete_keys"](notes, ["notes-theme"]) == set()
    assert not stored.exists()


def test_shared_keys_are_listed_page_by_page_and_read(example: dict[str, Any], notes: str, mail: str) -> None:
    keys = [f"mail/{n}" for n in range(5)]
    for key in keys:
        fields = {"value_key": key, "value_data": key.upper()}
        assert example["call"](mail, "/user-data/by-user-id/set", fields) == {"result": 0}

    assert list(example["list_shared_keys"](notes, page_size=2)) == [f"mail/{key}" for key in keys]
    assert list(example["list_shared_keys"](mail)) == []
    assert example["read_shared"](notes, "mail", "mail/3") == "MAIL/3"
    assert example["read_shared"](notes, "mail", "mail/9") is None


def test_what_is_refused_is_answered_too(example: dict[str, Any], notes: str) -> None:
    assert example["call"](notes, "/user-data/set", {"value_key": "notes-theme"}) == {"result": -5}
    assert example["call"](notes, "/user-data/nowhere", {}) == {"result": -5}
    for name, arguments in {"get_values": [["k"]], "list_keys": [], "delete_keys": [["k"]]}.items():
        with pytest.raises(RuntimeError, match=r"result -1: The token is not a signed JWT\."):
            example[name]("no-token", *arguments)


def test_it_waits_where_the_service_can_not_be_used(
    start_server: Any, database_url: str, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = f"http://127.0.0.1:{free_port()}/"  # where nobody answers
    server = start_server(DATABASE_URL=database_url, JWT_PUBLIC_KEY=None, JWT_JWKS_URL=keys, WORKERS="1")
    example = defined(API / "README.md", server.url)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    header = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsiLCJ0eXAiOiJKV1QifQ"  # alg RS256, kid k

    answer = example["call"](f"{header}.e30.AAAA", "/user-data/set", {})

    assert answer == {"result": -4}
    assert waits == [1, 2, 4]
