"""Statements that come to the server late: nothing is written of which a failure has been told."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.storage.conftest import APP, USER, Run, put, told
from userdata.storage import Store, StoreUnavailable, statements
from userdata.storage.pool import Pool


@pytest.mark.parametrize(
    ("seconds", "is_written"),
    [
        pytest.param(1.5, True, id="more than a second before its callers are told"),
        pytest.param(0.9, False, id="less than a second before its callers are told"),
    ],
)
def test_a_statement_that_writes_begins_a_second_before_its_callers_are_told_or_not_at_all(
    run: Run, store: Store, pool: Pool, stored: Any, seconds: float, is_written: bool
) -> None:
    run(told(*(put(store, key, "before") for key in ("overwritten", "deleted"))))
    place: dict[str, Any] = {"owner_kind": "user", "owner_id": "user", "app": APP}
    row = {"value": "after", "access_scope": 1, "writes": 1}
    new = {f"{name}s": [value] for name, value in (place | {"key": "new", "value": "after", "access_scope": 1}).items()}

    def execute(statement: str, parameters: dict[str, Any]) -> None:
        run(pool.execute(statement, parameters, time.monotonic() + seconds))

    execute(statements.UPDATE, place | row | {"key": "overwritten"})
    execute(statements.PUT, new | {"writes": [1], "max_keys": 9})
    execute(statements.DELETE, place | {"keys": ["deleted"]})
    after = {"overwritten": "after", "new": "after"}
    before = {"overwritten": "before", "deleted": "before"}
    assert dict(stored.values_list("key", "value")) == (after if is_written else before)


@pytest.mark.parametrize("call", ["overwrite", "new key", "delete"])
def test_a_machine_that_slept_compares_the_clocks_anew(
    run: Run, store: Store, stored: Any, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Our monotonic clock stands still in a suspended machine, and the server's clock goes on."""
    calls: dict[str, Callable[[], Any]] = {
        "overwrite": lambda: put(store, "old", "after"),
        "new key": lambda: put(store, "new", "after"),
        "delete": lambda: store.delete(USER, APP, ["old"]),
    }
    run(put(store, "old", "before"))
    run(asyncio.sleep(0.5))  # the pool's other connection compares the clocks before the machine sleeps, too
    clock = time.monotonic

    monkeypatch.setattr(time, "monotonic", lambda: clock() - 3600)
    assert run(told(calls[call]())) == [StoreUnavailable]
    assert dict(stored.values_list("key", "value")) == {"old": "before"}

    assert run(told(calls[call]())) == [{"old"} if call == "delete" else None]
    assert (
        dict(stored.values_list("key", "value"))
        == {
            "overwrite": {"old": "after"},
            "new key": {"old": "before", "new": "after"},
            "delete": {},
        }[call]
    )
