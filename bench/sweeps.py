"""One thing varied at a time: connections, workers, the size of a value, the rows in the table."""

from collections.abc import Iterator, Sequence

from bench.candidates import Candidate, Ours, OursWithManyRows
from bench.progress import say
from bench.session import Session
from bench.workload import KEYS, ROWS


def connections(session: Session) -> None:
    plan = session.plan
    for round_no, candidate in _turns(session):
        with session.may_fail(candidate.name), session.serving(candidate) as server:
            for x in _there_and_back(plan.connections_swept, round_no):
                session.measure(candidate, server, "connections", round_no, seconds=plan.sweep_seconds, connections=x)


def value_bytes(session: Session) -> None:
    plan = session.plan
    for round_no, candidate in _turns(session):
        with session.may_fail(candidate.name), session.serving(candidate) as server:
            for x in _there_and_back(plan.value_bytes_swept, round_no):
                session.measure(
                    candidate, server, "value-bytes", round_no, seconds=plan.sweep_seconds, x=x, value_bytes=x
                )


def workers(session: Session) -> None:
    plan = session.plan
    for round_no in range(1, plan.sweep_rounds + 1):
        for x in _there_and_back(plan.workers_swept, round_no):
            for ours in session.candidates(Ours.name):
                with session.may_fail(ours.name), session.serving(ours, {"WORKERS": str(x)}) as server:
                    session.measure(ours, server, "workers", round_no, seconds=plan.sweep_seconds, x=x)


def rows(session: Session) -> None:
    """The same load on a small table and on a large one, in turns."""
    plan = session.plan
    many = OursWithManyRows(session.site)
    sizes: list[tuple[Candidate, int]] = [(ours, ROWS) for ours in session.candidates(Ours.name)]
    if not sizes:
        return
    with session.may_fail(many.name):
        say(f"filling a table with {many.users * KEYS:,} rows; this takes some minutes")
        many.prepare()
        sizes.append((many, many.users * KEYS))
    for round_no in range(1, plan.rounds + 1):
        for candidate, x in sizes:
            if candidate.name not in session.failed:
                with session.may_fail(candidate.name), session.serving(candidate) as server:
                    session.measure(candidate, server, "rows", round_no, seconds=plan.seconds, x=x)
    session.site.cluster.drop(many.database)


def _turns(session: Session) -> Iterator[tuple[int, Candidate]]:
    for round_no in range(1, session.plan.sweep_rounds + 1):
        for candidate in session.candidates(*session.plan.swept):
            yield round_no, candidate


def _there_and_back(points: Sequence[int], round_no: int) -> Sequence[int]:
    """Upwards in odd rounds and downwards in even ones, so that a drift over time evens out."""
    return points if round_no % 2 else points[::-1]
