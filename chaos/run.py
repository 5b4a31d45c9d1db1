"""`make chaos`: do the faults, check, and print a table; exit code 1 where a bound is broken."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from bench.client import NotRun
from chaos import site
from chaos.checker import Problem, check
from chaos.faults import ANSWER, BROKEN, CLIENT, FAULTS, Done, Fault
from chaos.history import REFUSED, TOLD, Operation
from chaos.load import Load, Plan
from chaos.site import Site

BEFORE, AFTER = 2.0, 3.0  # seconds of load around the fault
COLUMNS = [
    "fault", "runs", "requests", "acknowledged", "lost", "stale", "late", "told", "broken off",
    "longest s", "first success s", "all clients s",
]  # fmt: skip


@dataclass
class Seen:
    """What was seen in the runs of a fault."""

    runs: int = 0
    requests: int = 0
    acknowledged: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    told: int = 0
    broken_off: int = 0
    longest: float = 0.0
    first: float = 0.0
    everybody: float = 0.0
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def row(self, name: str) -> list[str]:
        counts = [self.runs, self.requests, self.acknowledged, *(self.problems[k] for k in ("lost", "stale", "late"))]
        times = [f"{seconds:.2f}" for seconds in (self.longest, self.first, self.everybody)]
        return [name, *(f"{count:,}" for count in (*counts, self.told, self.broken_off)), *times]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("fault", nargs="*", choices=[*FAULTS, "broken", []], help="all but `broken`, if none is named")
    parser.add_argument("--times", type=int)
    arguments = parser.parse_args()
    names = arguments.fault or list(FAULTS)
    if "broken" in names:
        sys.exit(0 if demonstrate() else 1)
    table, failed = list[list[str]](), False
    for name in names:
        fault = FAULTS[name]
        print(f"{name}: {fault.title}", flush=True)
        try:
            seen = repeat(fault, arguments.times or (3 if arguments.fault else 1))
        except NotRun as reason:
            print(f"  not run: {reason}", flush=True)
            continue
        except Exception as problem:  # noqa: BLE001 - the other faults are still to be done
            print(f"  WRONG: {problem!r}", flush=True)
            failed = True
            continue
        for line in (*(f"seen: {note}" for note in seen.notes if note), *(f"WRONG: {wrong}" for wrong in seen.wrong)):
            print(f"  {line}", flush=True)
        table.append(seen.row(name))
        print(f"  {', '.join(f'{value} {column}' for column, value in zip(COLUMNS[1:], table[-1][1:], strict=True))}")
        failed = failed or bool(seen.wrong)
    print()
    for row in (COLUMNS, ["---"] * len(COLUMNS), *table):
        print("| " + " | ".join(row) + " |")
    sys.exit(1 if failed or not table else 0)


def repeat(fault: Fault, times: int) -> Seen:
    seen = Seen()
    with ExitStack() as stack:
        for number in range(times):
            if fault.once or not number:
                stack.close()
                at = stack.enter_context(_at_site(fault))
            history, done, problems = run(at, fault.act, f"{number}-")
            judge(fault, history, done, problems, seen)
    return seen


@contextmanager
def _at_site(fault: Fault) -> Iterator[Site]:
    with fault.on() as at:
        yield at
        for service in at.services:
            assert "Traceback" not in service.log.read_text(), service.log.read_text()[-3000:]


def run(at: Site, act: Callable[[Site], Done], prefix: str) -> tuple[list[Operation], Done, list[Problem]]:
    """A fault under load, and what the checker finds."""
    at.execute("DELETE FROM userdata_storedvalue")
    load = Load(Plan(at.url, site.tokens(), prefix, at.folder))
    try:
        time.sleep(BEFORE)
        done = act(at)
        time.sleep(AFTER)
    finally:
        history = load.stop()
    return history, done, check(history, at.rows(prefix))


def judge(fault: Fault, history: Sequence[Operation], done: Done, problems: Sequence[Problem], seen: Seen) -> None:
    """Add a run to what was seen, and say which bounds it breaks."""
    seen.runs += 1
    seen.requests += len(history)
    seen.acknowledged += sum(operation.acknowledged for operation in history)
    seen.problems.update(problem.kind for problem in problems)
    told = [operation for operation in history if operation.result == TOLD]
    broken_off = [operation for operation in history if operation.result is None]
    seen.told += len(told)
    seen.broken_off += len(broken_off)
    longest = max(operation.end - operation.start for operation in history)
    successes = {
        thread: [o.end - done.healed for o in history if o.thread == thread and o.acknowledged and o.end >= done.healed]
        for thread in {operation.thread for operation in history}
    }
    backs = [min(ends) for ends in successes.values() if ends]
    first, everybody = (min(backs), max(backs)) if len(backs) == len(successes) else (float("inf"),) * 2
    seen.longest, seen.first = max(seen.longest, longest), max(seen.first, first)
    seen.everybody = max(seen.everybody, everybody)
    seen.notes.append(done.note)

    wrong = [f"{problem.kind}: {problem.key[1]}: {problem.text}" for problem in problems]
    wrong += [*done.wrong, *fault.check(history, done)]
    wrong += sorted(
        {o.detail for o in history if o.detail.startswith("undocumented") or o.result not in (0, 1, -4, None)}
    )
    if longest > ANSWER + CLIENT:
        wrong.append(f"an answer took {longest:.2f} s")
    if first > fault.back:
        wrong.append(f"the first success came {first:.2f} s after the end")
    if fault.failures != "any" and broken_off:
        wrong.append(f"{len(broken_off)} broke off: {_details(broken_off)}")
    if fault.failures == "none" and told:
        wrong.append(f"{len(told)} failed: {_details(told)}")
    in_flight = [o for o in broken_off if o.detail != REFUSED and o.start > done.began + 1]
    if in_flight:
        wrong.append(f"{len(in_flight)} broke off that began long after the fault: {_details(in_flight)}")
    seen.wrong += [f"run {seen.runs}: {each}" for each in wrong]


def _details(operations: Sequence[Operation]) -> dict[str, int]:
    return dict(Counter(operation.detail for operation in operations))


def demonstrate() -> bool:
    """Is a service caught that breaks its promises? Prints what the checker says of each."""
    caught = []
    for name, act in BROKEN.items():
        with site.plain() as at:
            _, _, problems = run(at, act, "0-")
        caught.append(bool(problems))
        print(f"{name}: {'caught' if problems else 'NOT CAUGHT'}", dict(Counter(each.kind for each in problems)))
        for problem in problems[:2]:
            print(f"  {problem.kind}: {problem.key[1]}: {problem.text}")
    return all(caught)
