"""One run of the benchmark: its candidates, what has been measured, and what could not be."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.candidates import CANDIDATES, Candidate, Site
from bench.client import Run, WrongAnswers, new_mark, send
from bench.install import Missing
from bench.plan import Plan
from bench.processes import DidNotStart, Server
from bench.progress import say
from bench.samples import Sample
from bench.workload import VALUE_BYTES


class Session:
    """Measures one thing at a time and keeps the samples; a candidate that fails is left out from then on."""

    def __init__(self, plan: Plan, site: Site) -> None:
        self.plan = plan
        self.site = site
        self.samples: list[Sample] = []
        # Name of a candidate → why it was left out.
        self.failed: dict[str, str] = {}
        self._candidates = [kind(site) for kind in CANDIDATES if plan.wants(kind.name)]

    def candidates(self, *names: str) -> list[Candidate]:
        """Those that have not failed; with `names`, only these."""
        return [c for c in self._candidates if c.name not in self.failed and (not names or c.name in names)]

    @contextmanager
    def may_fail(self, name: str) -> Iterator[None]:
        """What goes wrong in the block costs this candidate its place, and the benchmark nothing else."""
        try:
            yield
        except (DidNotStart, Missing, WrongAnswers) as problem:
            self.failed[name] = str(problem)
            say(f"{name}: left out: {problem}")

    @contextmanager
    def serving(self, candidate: Candidate, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
        """The candidate's server, started for the block and warmed up."""
        with candidate.serve(settings) as server:
            seconds = self.plan.warm_up_seconds
            send(candidate.load(), server.url, connections=self.plan.connections, seconds=seconds)
            yield server

    def measure(
        self,
        candidate: Candidate,
        server: Server,
        series: str,
        round_no: int,
        *,
        seconds: int,
        connections: int | None = None,
        x: int | None = None,
        mark: str | None = None,
        value_bytes: int = VALUE_BYTES,
        new_tokens: Path | None = None,
    ) -> Run:
        """One run of the client; `x`, unless it is given, is the number of connections."""
        connections = connections or self.plan.connections
        self.site.cluster.checkpoint()
        run = send(
            candidate.load(),
            server.url,
            connections=connections,
            seconds=seconds,
            mark=mark or new_mark(),
            value_bytes=value_bytes,
            tokens_file=new_tokens,
            once=new_tokens is not None,
        )
        self.keep(run, series, candidate.name, connections if x is None else x, round_no)
        return run

    def keep(self, run: Run, series: str, name: str, x: int, round_no: int) -> None:
        self.samples.append(Sample.of(run, series, name, x, round_no))
        say(
            f"{series}, round {round_no}: {name:<10} at {x:>9,}: {run.per_second:7,.0f}/s,"
            f" p50 {run.p50_ms:.2f} ms, p99 {run.p99_ms:.2f} ms"
        )
