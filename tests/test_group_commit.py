"""Group commit by itself: who shares a batch with whom, and what each is told."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from userdata import group_commit
from userdata.group_commit import GroupCommit, Row
from userdata.waiting import wait


@dataclass(frozen=True)
class Note:
    place: str
    text: str = ""
    writer: str = "me"

    @property
    def size(self) -> int:
        return len(self.text)


class Disk:
    """Commits as it is told to, and remembers what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[Row[Note]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.busy = threading.Semaphore(0)
        self.failures: dict[str, Exception] = {}
        self.crash: Exception | None = None

    async def __call__(self, rows: Sequence[Row[Note]]) -> list[Exception | None]:
        self.batches.append(list(rows))
        self.busy.release()
        assert await asyncio.to_thread(self.gate.wait, 10)
        if self.crash:
            raise self.crash
        return [self.failures.get(row.write.text) for row in rows]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def together(disk: Disk) -> Callable[..., list[Exception | None]]:
    """Hold the disk busy with one write, queue others in order, let go; the others' outcomes."""

    def together(*notes: Note, patience: float = 10) -> list[Exception | None]:
        commits = GroupCommit(disk, patience, commits_at_once=1)
        disk.gate.clear()
        while disk.busy.acquire(blocking=False):
            """What was committed before is of no interest."""
        with ThreadPoolExecutor(len(notes) + 1) as threads:
            first = threads.submit(put, commits, Note("first"))
            assert disk.busy.acquire(timeout=10)
            futures: list[Future[None]] = []
            for count, note in enumerate(notes, 1):
                futures.append(threads.submit(put, commits, note))
                while len(commits._queue) < count:
                    time.sleep(0.001)
            disk.gate.set()
            first.exception(10)
            return [future.exception(10) for future in futures]  # type: ignore[misc]

    return together


def put(commits: GroupCommit[Note], note: Note) -> None:
    failure = wait(commits.put, note)
    if failure is not None:
        raise failure


def rows(batch: list[Row[Note]]) -> list[tuple[str, str, int]]:
    return [(row.write.place, row.write.text, row.writes) for row in batch]


def test_a_write_that_finds_nobody_committing_commits_at_once(disk: Disk) -> None:
    put(GroupCommit(disk, 1, commits_at_once=1), Note("a", "1"))

    assert [rows(batch) for batch in disk.batches] == [[("a", "1", 1)]]


def test_what_queued_meanwhile_is_committed_together(disk: Disk, together: Callable[..., object]) -> None:
    assert together(Note("a", "1"), Note("b", "2"), Note("c", "3")) == [None, None, None]
    assert [rows(batch) for batch in disk.batches[1:]] == [[("a", "1", 1), ("b", "2", 1), ("c", "3", 1)]]


def test_writes_to_one_place_keep_their_order_and_are_all_counted(disk: Disk, together: Callable[..., object]) -> None:
    assert together(Note("a", "1"), Note("b", "2"), Note("a", "3"), Note("a", "4")) == [None] * 4
    assert [rows(batch) for batch in disk.batches[1:]] == [[("a", "4", 3), ("b", "2", 1)]]


def test_another_writer_waits_for_the_next_batch_and_so_does_who_comes_after(
    disk: Disk, together: Callable[..., object]
) -> None:
    outcomes = together(Note("a", "1"), Note("a", "2", "you"), Note("a", "3"), Note("b", "4"))

    assert outcomes == [None] * 4
    assert [rows(batch) for batch in disk.batches[1:]] == [
        [("a", "1", 1), ("b", "4", 1)],
        [("a", "2", 1)],
        [("a", "3", 1)],
    ]


def test_each_write_gets_its_own_outcome(disk: Disk, together: Callable[..., object]) -> None:
    refused = ValueError("refused")
    disk.failures["bad"] = refused

    assert together(Note("a", "1"), Note("b", "bad"), Note("c", "3")) == [None, refused, None]


def test_a_crash_of_the_commit_is_told_to_all_and_the_next_batch_goes_on(
    disk: Disk, together: Callable[..., object]
) -> None:
    disk.crash = OSError("disk on fire")
    assert together(Note("a"), Note("b")) == [disk.crash, disk.crash]

    disk.crash = None
    assert together(Note("a"), Note("b")) == [None, None]


def test_a_batch_is_bounded_in_size(
    disk: Disk, together: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_BATCH_BYTES", 10)

    assert together(Note("a", "x" * 50), Note("b", "y" * 6), Note("c", "z" * 6)) == [None] * 3
    assert [len(batch) for batch in disk.batches[1:]] == [1, 1, 1]


def test_who_waited_too_long_is_told_so_and_not_written(disk: Disk) -> None:
    commits = GroupCommit(disk, 0.2, commits_at_once=1)
    disk.gate.clear()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(put, commits, Note("first"))
        assert disk.busy.acquire(timeout=10)
        assert isinstance(threads.submit(put, commits, Note("late")).exception(10), TimeoutError)
        disk.gate.set()
        first.result(10)
    put(commits, Note("next"))

    assert [row.write.place for batch in disk.batches for row in batch] == ["first", "next"]


def test_a_thousand_writers_on_few_places_are_all_committed(disk: Disk) -> None:
    commits = GroupCommit(disk, 30, commits_at_once=2)
    with ThreadPoolExecutor(50) as threads:
        for future in [threads.submit(put, commits, Note(str(n % 7), str(n), f"w{n % 3}")) for n in range(1000)]:
            future.result(30)

    assert sum(row.writes for batch in disk.batches for row in batch) == 1000
    assert all(len({row.write.place for row in batch}) == len(batch) for batch in disk.batches)


def test_writes_that_come_together_are_committed_together(disk: Disk) -> None:
    """Nobody commits alone what was there already when it began."""

    async def at_once() -> None:
        commits = GroupCommit(disk, 10, commits_at_once=1)
        await asyncio.gather(*(commits.put(Note(str(n))) for n in range(5)))

    asyncio.run(at_once())

    assert [len(batch) for batch in disk.batches] == [5]


def test_a_commit_that_is_stuck_holds_up_its_own_batch_alone(disk: Disk) -> None:
    async def beside_a_stuck_one() -> None:
        commits = GroupCommit(disk, 10, commits_at_once=2)
        disk.gate.clear()
        stuck = commits.put(Note("stuck"))
        await asyncio.to_thread(disk.busy.acquire, timeout=10)
        other = commits.put(Note("other"))
        assert await asyncio.to_thread(disk.busy.acquire, timeout=10)
        assert not stuck.done()
        disk.gate.set()
        assert [await stuck, await other] == [None, None]

    asyncio.run(beside_a_stuck_one())

    assert [rows(batch) for batch in disk.batches] == [[("stuck", "", 1)], [("other", "", 1)]]
