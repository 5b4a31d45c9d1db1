"""Batches by themselves: who shares one with whom, and what each caller is told. The clock is the test's own."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.storage.fake_loop import FakeLoop
from userdata.storage.batches import Batcher, GroupCommit

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@dataclass(frozen=True)
class Note:
    place: str
    text: str = ""
    writer: str = "me"

    @property
    def weight(self) -> int:
        return len(self.text)


@dataclass
class Disk:
    """Takes `seconds` for each batch, and remembers what it was given, and when."""

    seconds: float = 0.01
    batches: list[list[Note]] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    failures: dict[str, Any] = field(default_factory=dict)
    crash: Exception | None = None

    async def __call__(self, notes: Sequence[Note]) -> list[Any]:
        self.batches.append(list(notes))
        self.begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        if self.crash:
            raise self.crash
        return [self.failures.get(note.text) for note in notes]

    @property
    def texts(self) -> list[list[str]]:
        return [[note.text for note in batch] for batch in self.batches]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def run() -> Iterator[Run]:
    with asyncio.Runner(loop_factory=FakeLoop) as runner:
        yield runner.run


async def told(batcher: Batcher[Any, Any], *notes: Note) -> list[Any]:
    """What the callers of several notes, submitted at the same moment, are told."""
    return await asyncio.gather(*(batcher.submit(note) for note in notes), return_exceptions=True)


async def told_behind_another(batcher: Batcher[Any, Any], *notes: Note) -> list[Any]:
    """The same, while a batch runs."""
    first = batcher.submit(Note("first", "0"))
    await asyncio.sleep(0.001)
    outcomes = await told(batcher, *notes)
    await first
    return outcomes


def one_at_a_time(disk: Disk, max_weight: int = 100) -> GroupCommit[Note]:
    return GroupCommit(disk, at_once=1, max_weight=max_weight)


def test_an_item_that_finds_nothing_running_is_run_at_once(disk: Disk, run: Run) -> None:
    assert run(told(one_at_a_time(disk), Note("a", "1"))) == [None]
    assert (disk.texts, disk.begun) == ([["1"]], [0.0])


def test_what_comes_at_the_same_moment_is_run_together(disk: Disk, run: Run) -> None:
    assert run(told(one_at_a_time(disk), *(Note(text, text) for text in "12345"))) == [None] * 5
    assert disk.texts == [["1", "2", "3", "4", "5"]]


def test_what_comes_while_a_batch_runs_is_run_together_in_the_next(disk: Disk, run: Run) -> None:
    assert run(told_behind_another(one_at_a_time(disk), Note("a", "1"), Note("b", "2"), Note("c", "3"))) == [None] * 3
    assert disk.texts == [["0"], ["1", "2", "3"]]
    assert disk.begun == [0.0, pytest.approx(0.01)]


def test_writes_of_one_writer_to_one_place_share_a_batch_in_their_order(disk: Disk, run: Run) -> None:
    run(told_behind_another(one_at_a_time(disk), Note("a", "1"), Note("b", "2"), Note("a", "3"), Note("a", "4")))

    assert disk.texts == [["0"], ["1", "2", "3", "4"]]


def test_another_writer_waits_for_the_next_batch_and_so_does_who_comes_after(disk: Disk, run: Run) -> None:
    notes = [Note("a", "1"), Note("a", "2", "you"), Note("a", "3"), Note("b", "4"), Note("a", "5", "you")]

    assert run(told_behind_another(one_at_a_time(disk), *notes)) == [None] * 5
    assert disk.texts == [["0"], ["1", "4"], ["2"], ["3"], ["5"]]


def test_each_item_gets_its_own_outcome(disk: Disk, run: Run) -> None:
    refused = ValueError("refused")

    async def later(outcome: Any) -> Any:
        await asyncio.sleep(1)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def outcomes() -> list[Any]:
        disk.failures = {
            "result": "a result",
            "refused": refused,
            "result later": asyncio.ensure_future(later("another")),
            "refused later": asyncio.ensure_future(later(refused)),
        }
        return await told(one_at_a_time(disk), *(Note(text, text) for text in [*disk.failures, "nothing"]))

    assert run(outcomes()) == ["a result", refused, "another", refused, None]


def test_an_outcome_that_comes_later_holds_up_nobody(disk: Disk, run: Run) -> None:
    async def order() -> list[str]:
        disk.failures["slow"] = asyncio.ensure_future(asyncio.sleep(1))
        batcher, done = one_at_a_time(disk), []
        for text in ("slow", "fast"):
            batcher.submit(Note(text, text)).add_done_callback(lambda _, text=text: done.append(text))  # type: ignore[misc]
        await asyncio.sleep(0.02)
        await batcher.submit(Note("next", "next"))
        done.append("next")
        await asyncio.sleep(1)
        return done

    assert run(order()) == ["fast", "next", "slow"]


def test_a_crash_is_told_to_all_of_the_batch_and_the_next_goes_on(disk: Disk, run: Run) -> None:
    batcher = one_at_a_time(disk)
    disk.crash = OSError("disk on fire")
    assert run(told(batcher, Note("a"), Note("b"))) == [disk.crash, disk.crash]

    disk.crash = None
    assert run(told(batcher, Note("a"), Note("b"))) == [None, None]


def test_a_caller_that_has_gone_changes_nothing_for_the_others(disk: Disk, run: Run) -> None:
    async def outcomes() -> list[Any]:
        batcher = one_at_a_time(disk)
        gone, stays = batcher.submit(Note("a", "1")), batcher.submit(Note("b", "2"))
        gone.cancel()
        return [*await asyncio.gather(stays), *await told(batcher, Note("c", "3"))]

    assert run(outcomes()) == [None, None]
    assert disk.texts == [["1", "2"], ["3"]]


@pytest.mark.parametrize("kind", [Batcher, GroupCommit])
def test_a_batch_is_bounded_in_weight(disk: Disk, run: Run, kind: Any) -> None:
    batcher = kind(disk, at_once=1, max_weight=10)
    weights = [50, 6, 4, 1, 9, 2]

    assert run(told(batcher, *(Note(str(number), "x" * weight) for number, weight in enumerate(weights)))) == [None] * 6
    assert [[note.weight for note in batch] for batch in disk.batches] == [[50], [6, 4], [1, 9], [2]]


def test_a_write_that_finds_no_room_is_not_overtaken_in_its_place(disk: Disk, run: Run) -> None:
    run(told(one_at_a_time(disk, max_weight=3), Note("a", "1"), Note("b", "heavy"), Note("b", "2")))

    assert disk.texts == [["1"], ["heavy"], ["2"]]


def test_a_batch_that_is_stuck_has_another_begin_beside_it(disk: Disk, run: Run) -> None:
    async def beside() -> list[float]:
        batcher, loop, ends = GroupCommit(disk, at_once=2, max_weight=100), asyncio.get_running_loop(), []
        disk.seconds = 0.5
        for text in ("stuck", "beside", "third"):
            batcher.submit(Note(text, text)).add_done_callback(lambda _: ends.append(round(loop.time(), 3)))
            await asyncio.sleep(0.001)
        await asyncio.sleep(2)
        return ends

    first, second, third = run(beside())
    assert disk.texts == [["stuck"], ["beside", "third"]]
    assert first == 0.5
    assert 0.52 <= second == third <= 0.55


def test_no_more_batches_run_at_once_than_allowed(disk: Disk, run: Run) -> None:
    async def many() -> None:
        disk.seconds = 0.3
        batcher = GroupCommit(disk, at_once=2, max_weight=100)
        notes = []
        for number in range(12):
            notes.append(batcher.submit(Note(str(number), str(number))))
            await asyncio.sleep(0.05)
        await asyncio.gather(*notes)

    run(many())

    ends = [begun + 0.3 for begun in disk.begun]
    assert max(sum(b <= begun < e for b, e in zip(disk.begun, ends, strict=True)) for begun in disk.begun) == 2
    assert [text for batch in disk.texts for text in batch] == [str(number) for number in range(12)]


def test_what_no_batch_takes_along_in_time_is_told_so_and_never_run(disk: Disk, run: Run) -> None:
    async def late() -> tuple[float, list[Any]]:
        disk.seconds = 2.0
        batcher, loop = one_at_a_time(disk), asyncio.get_running_loop()
        first = batcher.submit(Note("a", "first"))
        await asyncio.sleep(0.1)
        began = loop.time()
        outcomes = await told(batcher, Note("a", "late"), Note("b", "too"))
        took = loop.time() - began
        await first
        await batcher.submit(Note("c", "next"))
        return took, outcomes

    took, outcomes = run(late())
    assert [type(outcome) for outcome in outcomes] == [TimeoutError, TimeoutError]
    assert 0.7 <= took <= 0.75
    assert disk.texts == [["first"], ["next"]]


def test_a_thousand_writes_of_few_writers_to_few_places_are_all_run(disk: Disk, run: Run) -> None:
    notes = [Note(f"place {n % 7}", str(n), f"writer {n % 3}") for n in range(1000)]

    async def all_told() -> list[Any]:
        disk.seconds = 0.0005
        batcher = GroupCommit(disk, at_once=2, max_weight=10_000)
        return await told(batcher, *notes)

    assert run(all_told()) == [None] * 1000
    for place in {note.place for note in notes}:
        order = [int(note.text) for batch in disk.batches for note in batch if note.place == place]
        assert order == sorted(order)
        assert len(order) in (142, 143)
    for batch in disk.batches:
        assert len({(note.place, note.writer) for note in batch}) == len({note.place for note in batch})
