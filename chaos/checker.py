"""Is there an order of a key's operations, one that agrees with real time, that explains each answer and the end?

A key is a register with a count of its sets since it was made. All states that the key can be in are followed along
the history; an operation that has ended must have taken effect in each of them. This is exact, and cheap as long as
few clients write to one key at the same time.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from chaos.history import Operation

State = tuple[str, int] | None  # value and revision
Rows = Mapping[tuple[str, str], tuple[str, int]]  # by user and key

BROKEN_GRACE = 5.0  # seconds in which a write that nobody answered may still land
LATE_GRACE = 15.0
MOST_STATES = 20_000


@dataclass(frozen=True)
class Problem:
    """`lost`: the database does not hold what it must. `stale`: an answer that no order explains. `late`: explained
    only if a write of which a failure was told landed afterwards."""

    kind: Literal["lost", "stale", "late"]
    key: tuple[str, str]
    text: str


class _Unexplained(Exception):
    """At an operation; None: at the end, in the database."""

    def __init__(self, operation: Operation | None, states: Iterable[State]) -> None:
        self.operation = operation
        self.states = sorted(set(states), key=str)[:5]


def check(history: Iterable[Operation], rows: Rows) -> list[Problem]:
    """What can't be explained; `rows` is the database when the last request was over."""
    by_key = defaultdict[tuple[str, str], list[Operation]](list)
    for operation in history:
        by_key[operation.user, operation.key].append(operation)
    problems = (_check_key(key, by_key[key], rows.get(key)) for key in sorted(by_key.keys() | rows.keys()))
    return [problem for problem in problems if problem]


def _check_key(key: tuple[str, str], operations: Sequence[Operation], final: State) -> Problem | None:
    try:
        _follow(operations, final, told_grace=0)
    except _Unexplained as problem:
        at = problem.operation
        until = at.end if at else math.inf
        before = [operation for operation in operations if operation.start < until and operation != at][-8:]
        text = f"{at or f'at the end {final}'}; possible before: {problem.states}, after {'; '.join(map(str, before))}"
        try:
            _follow(operations, final, told_grace=LATE_GRACE)
        except _Unexplained:
            return Problem("stale" if at else "lost", key, text)
        return Problem("late", key, text)
    return None


def _follow(operations: Sequence[Operation], final: State, told_grace: float) -> None:
    """Raises `_Unexplained`."""
    counted = [operation for operation in operations if operation.acknowledged or operation.uncertain]
    events = []
    for number, operation in enumerate(counted):
        grace = 0.0 if operation.acknowledged else BROKEN_GRACE if operation.result is None else told_grace
        events += [(operation.start, 0, number), (operation.end + grace, 1, number)]
    pending = set[int]()
    # A state, and which of the pending operations have taken effect in it already.
    possible: set[tuple[State, frozenset[int]]] = {(None, frozenset())}
    for _, is_end, number in sorted(events):
        if not is_end:
            pending.add(number)
            continue
        before, possible = possible, set()
        seen, stack = set(before), list(before)
        while stack:
            state, done = stack.pop()
            if number in done:
                possible.add((state, done - {number}))
                continue
            if counted[number].uncertain:
                possible.add((state, done))
            for other in pending - done:
                if _can_take_effect(counted[other], state):
                    after = _effect(counted[other], state), done | {other}
                    if after not in seen:
                        seen.add(after)
                        stack.append(after)
        pending.discard(number)
        if not possible or len(possible) > MOST_STATES:
            raise _Unexplained(counted[number], [state for state, _ in before])
    if final not in {state for state, _ in possible}:
        raise _Unexplained(None, [state for state, _ in possible])


def _can_take_effect(operation: Operation, state: State) -> bool:
    """Could it be answered as it was, on a key in this state?"""
    if operation.kind == "get":
        return operation.value == (state and state[0])
    if operation.kind == "delete" and operation.acknowledged:
        return (operation.result == 0) == (state is not None)
    return True


def _effect(operation: Operation, state: State) -> State:
    if operation.kind == "get":
        return state
    if operation.kind == "delete":
        return None
    assert operation.value is not None
    return operation.value, state[1] + 1 if state else 1
