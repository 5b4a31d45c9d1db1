"""A database that stops, crashes, is killed or freezes: callers are told soon, and nothing acknowledged is lost."""

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx2 as httpx
import pytest

from tests.faults.site import (
    OTHER_CALLS,
    Answer,
    Site,
    assert_told,
    call,
    crashed,
    frozen,
    killed,
    meanwhile,
    stopped,
)


@pytest.mark.parametrize(
    ("outage", "seconds"),
    [
        pytest.param(stopped, 3, id="stopped"),
        pytest.param(crashed, 0, id="crashed"),
        pytest.param(killed, 0, id="killed"),
        pytest.param(frozen, 3, id="frozen"),
    ],
)
def test_an_outage_is_told_soon_and_ends_by_itself(site: Site, outage: Any, seconds: float) -> None:
    assert site.put("kept", "before").result == 0

    with outage(site):
        began = time.monotonic()
        for answer in site.put_at_once(100):
            assert_told(answer)
        assert_told(site.put("kept", "meanwhile"))
        assert site.ready() == (503, False)
        assert httpx.get(f"{site.server.url}/livez", timeout=1).status_code == 200
        site.assert_all_told()
        while time.monotonic() < began + seconds:
            assert_told(site.put("meanwhile"))
            time.sleep(0.5)
        for answer in site.put_at_once(100 if seconds else 1):
            assert_told(answer)

    site.assert_back()
    rows = site.rows()
    assert rows["kept"] == ("before", 1)
    assert "meanwhile" not in rows


@pytest.mark.slow
@pytest.mark.parametrize(
    "outages",
    [
        pytest.param([killed, crashed, killed], id="killed, crashed and killed"),
        pytest.param([frozen, stopped, frozen], id="frozen, stopped and frozen"),
    ],
)
def test_what_was_acknowledged_is_there_after_every_outage(site: Site, outages: list[Any]) -> None:
    """Each writer counts up its own key. What it ends with is what was acknowledged last, or was under way."""

    def write(number: int, over: threading.Event) -> tuple[int, int, int]:
        attempted = acknowledged = successes = 0
        while not over.is_set():
            attempted += 1
            if site.put(f"writer {number}", str(attempted)).result == 0:
                acknowledged = attempted
                successes += 1
            else:
                over.wait(0.02)
        return acknowledged, attempted, successes

    with meanwhile([partial(write, number) for number in range(12)]) as writers:
        for outage in outages:
            time.sleep(0.6)
            with outage(site):
                time.sleep(0.4 if outage is not frozen else 2)
        site.assert_back()
        time.sleep(0.3)

    rows = site.rows()
    for number, writer in enumerate(writers):
        acknowledged, attempted, successes = writer.result()
        value, revision = rows[f"writer {number}"]
        assert successes > 20
        assert acknowledged <= int(value) <= attempted
        assert successes <= revision <= attempted


def test_no_acknowledged_set_or_delete_of_one_key_is_undone_by_a_kill(site: Site) -> None:
    """Each caller sets and deletes a key in turns; in the end there is what it was told last, or what was under way."""

    def turns(number: int, over: threading.Event) -> tuple[list[str | None], int]:
        """What may be there, and how often the database could be used."""
        key, successes, turn = f"turns {number}", 0, 0
        state: list[str | None] = [None]
        while not over.is_set():
            turn += 1
            wanted: str | None = str(turn) if turn % 3 else None
            answer = site.put(key, wanted) if wanted else site.delete(key)
            assert answer.result in (0, 1, -4)
            if answer.result == -4:
                state.append(wanted)
                over.wait(0.02)
                continue
            if wanted is None:
                assert answer.result == (1 if state == [None] else 0) or len(state) > 1
            state = [wanted]
            successes += 1
        return state, successes

    with meanwhile([partial(turns, number) for number in range(8)]) as callers:
        for _ in range(2):
            time.sleep(0.5)
            with killed(site):
                """Down and up again."""
        site.assert_back()
        time.sleep(0.3)

    rows = site.rows()
    for number, caller in enumerate(callers):
        state, successes = caller.result()
        assert successes > 20
        assert rows.get(f"turns {number}", (None,))[0] in state


def test_a_late_write_of_a_frozen_connection_overwrites_nothing(site: Site) -> None:
    """Requests go on over other connections; when it thaws, what it was sent is out of date."""
    assert site.put("kept", "0").result == 0
    assert site.put("deleted", "0").result == 0
    pids = site.sessions()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    frozen_at = time.monotonic()
    try:
        asks: list[Callable[[str], Answer]] = [partial(site.put, "kept"), lambda _: site.delete("deleted")]
        for ask in asks:
            in_a_row = number = 0
            while in_a_row < 6:
                number += 1
                assert time.monotonic() < frozen_at + 2 * (3 + 1)  # each worker has to find out
                answer = ask(str(number))
                if answer.result in (0, 1):
                    in_a_row += 1
                else:
                    assert_told(answer)
                    in_a_row = 0
        assert site.put("deleted", "anew").result == 0
        last = site.rows()["kept"]
        assert len(set(site.sessions()) - set(pids)) <= 16  # of two workers
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    deadline = time.monotonic() + 3
    while set(site.sessions()) & set(pids):
        assert time.monotonic() < deadline

    assert site.rows()["kept"] == last
    assert site.rows()["deleted"] == ("anew", 1)


def test_connections_that_hang_are_given_up_even_if_all_are_in_use(site: Site) -> None:
    """As after a failover from a server that was left hanging: the connections to it do not end, and new ones work."""
    path, body, _ = OTHER_CALLS[1]

    def list_at_once() -> list[Answer]:
        with ThreadPoolExecutor(200) as executor:
            return list(executor.map(lambda _: call(site.server.port, path, body), range(200)))

    deadline = time.monotonic() + 10
    while len(pids := site.sessions()) < 16:  # eight of each worker
        list_at_once()
        assert time.monotonic() < deadline
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for answer in list_at_once():
            assert_told(answer)
        site.assert_back()
        assert set(pids) <= set(site.sessions())
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    site.assert_back()
