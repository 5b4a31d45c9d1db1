"""The rounds: every candidate in turn, in the same way, several times over."""

from functools import partial
from pathlib import Path

from bench import limit
from bench.candidates import Candidate, Ours, Site
from bench.client import new_mark
from bench.progress import say
from bench.session import Session
from bench.verify import verify, verify_rows


def prepare(session: Session) -> None:
    """Install every candidate and fill its store."""
    for candidate in session.candidates():
        say(f"{candidate.name}: preparing")
        with session.may_fail(candidate.name):
            candidate.install()
            candidate.prepare()
    if session.plan.wants(limit.NAME) and not session.plan.wants(Ours.name):
        with session.may_fail(limit.NAME):
            Ours(session.site).prepare()


def run(session: Session) -> None:
    """All the rounds, every other one in reverse, so that those most compared always stand side by side."""
    tokens = NewTokens(session.site)
    for round_no in range(1, session.plan.rounds + 1):
        turns = [partial(_limit, session, round_no)]
        turns += [partial(_turn, session, candidate, round_no, tokens) for candidate in session.candidates()]
        for turn in turns if round_no % 2 else reversed(turns):
            turn()


class NewTokens:
    """Tokens that no server has seen: a server is started anew for each round, so one file does for all."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._file = site.scratch / "new-tokens.tsv"
        self._count = 0

    def for_seconds(self, seconds: int, per_second: float) -> Path:
        """As many as a run of these seconds may need at that rate, and some more."""
        count = int(per_second * seconds * 1.2) + 1_000
        if count > self._count:
            say(f"signing {count:,} tokens")
            self._site.signer.write_users(self._file, count)
            self._count = count
        return self._file


def _limit(session: Session, round_no: int) -> None:
    plan, site = session.plan, session.site
    if not plan.wants(limit.NAME) or limit.NAME in session.failed:
        return
    with session.may_fail(limit.NAME):
        for series, clients in (("rounds", plan.connections), ("one-connection", 1)):
            site.cluster.checkpoint()
            measured = limit.measure(site.cluster.url_of(Ours.database), site.scratch, clients, plan.seconds)
            session.keep(measured, series, limit.NAME, clients, round_no)


def _turn(session: Session, candidate: Candidate, round_no: int, tokens: NewTokens) -> None:
    plan = session.plan
    with session.may_fail(candidate.name), session.serving(candidate) as server:
        if round_no == 1:
            verify(candidate, server)
        mark = new_mark()
        run = session.measure(candidate, server, "rounds", round_no, seconds=plan.seconds, mark=mark)
        verify_rows(candidate, mark, run.requests)
        if candidate.name in plan.one_connection:
            session.measure(candidate, server, "one-connection", round_no, seconds=plan.sweep_seconds, connections=1)
        if candidate.name in plan.new_tokens:
            file = tokens.for_seconds(plan.seconds, run.per_second)
            session.measure(candidate, server, "new-tokens", round_no, seconds=plan.seconds, new_tokens=file)
