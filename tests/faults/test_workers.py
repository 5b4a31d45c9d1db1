"""Workers that are killed or told to end, while callers write."""

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

from tests.conftest import Server
from tests.faults.site import Site, children, meanwhile


def write(site: Site, number: int, over: threading.Event) -> tuple[list[int | None], int]:
    """The results, and which write was the last to be acknowledged."""
    results: list[int | None] = []
    while not over.is_set():
        results.append(site.put(f"writer {number}", str(len(results))).result)
    return results, max(n for n, result in enumerate(results) if result == 0)


def test_a_worker_that_is_killed_is_replaced(site: Site) -> None:
    def workers() -> set[int]:
        return set(children(site.server.process.pid))

    before = workers()
    with meanwhile([partial(write, site, number) for number in range(8)]) as writers:
        time.sleep(0.5)
        os.kill(max(before), signal.SIGKILL)
        deadline = time.monotonic() + 15
        while not workers() - before:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    rows = site.rows()
    for number, writer in enumerate(writers):
        results, acknowledged = writer.result()
        assert set(results) <= {0, None}
        assert results.count(None) <= 3  # those that the killed worker had
        assert acknowledged <= int(rows[f"writer {number}"][0])
    site.assert_back()


def test_what_is_under_way_at_the_end_of_the_service_is_answered_and_stored(
    site: Site, start_server: Callable[..., Server]
) -> None:
    server = start_server(wait="/readyz", DATABASE_URL=site.postgres.url, WORKERS="2")
    ending = Site(site.postgres, server)

    with meanwhile([partial(write, ending, number) for number in range(8)]) as writers:
        time.sleep(0.5)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 5

    rows = site.rows()
    for number, writer in enumerate(writers):
        results, acknowledged = writer.result()
        assert set(results) == {0, None}  # answered, or not accepted any more
        assert rows[f"writer {number}"][0] == str(acknowledged)
        assert rows[f"writer {number}"][1] == results.count(0)
    assert "Traceback" not in server.log.read_text()
