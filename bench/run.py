"""The runner: every scenario in each round, ours and the peer in turns."""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, linear_regression

from bench import client, database, report
from bench.client import NotRun, Run
from bench.database import Cluster
from bench.report import Results, Sample
from bench.scenarios import OURS, OVERWRITES, OWNERS, PGBENCH, SATURATION, SCENARIOS, USERS, Scenario, Table
from bench.servers import ROOT, Server, Servers
from bench.tokens import Issuer
from hypersecureid.local.postgres import Postgres
from hypersecureid.local.programs import BINARIES

LOCAL = ROOT / ".local" / "bench"
DOCS = ROOT / "docs" / "benchmarks"
# As many as the service may use up.
NEW_TOKENS_PER_SECOND = 8_000
SOAK_TOKENS = 50_000
SOAK_REQUESTS = 1_000_000
# Other work of this size takes enough of two cores to spoil the figures.
BUSY_LOAD = 0.5

_began = time.monotonic()


@dataclass(frozen=True)
class Plan:
    """How much is measured; seconds are of each measurement."""

    soak: bool
    rounds: int
    seconds: int
    warm_up_seconds: int
    scenarios: tuple[Scenario, ...]
    # Only a whole run changes the documentation.
    folder: Path

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Plan":
        """The plan from QUICK, SOAK, ONLY, ROUNDS and SECONDS. Raises `ValueError`."""
        quick, soak = environment.get("QUICK") == "1", environment.get("SOAK") == "1"
        only = set(filter(None, environment.get("ONLY", "").split(",")))
        known = {scenario.name: scenario for scenario in SCENARIOS}
        if not only <= known.keys():
            raise ValueError(f"There is no scenario {', '.join(sorted(only - known.keys()))}.")
        wanted = only or {
            name for name, scenario in known.items() if scenario.soak == soak and not (quick and scenario.table.slow)
        }
        needed = wanted.union(*(known[name].needs for name in wanted))
        return cls(
            soak=soak,
            rounds=int(environment.get("ROUNDS") or (1 if quick or soak else 5)),
            seconds=int(environment.get("SECONDS") or (2 if quick else 10)),
            warm_up_seconds=1 if quick else 3,
            scenarios=tuple(scenario for scenario in SCENARIOS if scenario.name in needed),
            folder=LOCAL / "report" if quick or only else DOCS,
        )

    def turns(self, round_no: int) -> list[tuple[Scenario, str]]:
        """What is measured in a round; every other one runs backwards, so that a drift over time evens out."""
        turns = [(scenario, side) for scenario in self.scenarios for side in scenario.sides]
        return turns if round_no % 2 else turns[::-1]


@dataclass
class Session:
    """What the measurements of one run share, and what they found."""

    plan: Plan
    cluster: Cluster
    servers: Servers
    issuer: Issuer
    samples: list[Sample] = field(default_factory=list)
    filled: set[tuple[str, Table]] = field(default_factory=set)

    def round(self, round_no: int) -> None:
        """Measure everything once; a server runs from its first measurement of the round to its last."""
        running: dict[tuple[str, Table], tuple[ExitStack, Server]] = {}
        turns = self.plan.turns(round_no)
        with ExitStack() as everything:
            for position, (scenario, side) in enumerate(turns):
                place = _place(scenario, side)
                try:
                    if place not in running:
                        stack = everything.enter_context(ExitStack())
                        running[place] = stack, self._start(stack, *place)
                    run = self._measure(scenario, side, running[place][1])
                    self._keep(Sample.of(scenario.name, side, round_no, run))
                except NotRun as problem:
                    self._keep(Sample(scenario.name, side, round_no, problem=f"not run: {problem}"))
                if place in running and place not in [_place(*turn) for turn in turns[position + 1 :]]:
                    running.pop(place)[0].close()

    def _start(self, stack: ExitStack, side: str, table: Table) -> Server:
        """A server on a filled table that refuses a forged token and is warmed up."""
        if table.fresh or (side, table) not in self.filled:
            say(f"{side}: filling the {table.name} table")
            self.servers.fill(side, table)
            self.filled.add((side, table))
        server = stack.enter_context(self.servers.serving(side, table))
        if table.warm_up:
            tokens = self.issuer.tokens(USERS, USERS)
            client.check_refusal(server.url, tokens)
            client.closed_loop(server.url, table.warm_up, tokens, seconds=self.plan.warm_up_seconds)
        return server

    def _measure(self, scenario: Scenario, side: str, server: Server) -> Run:
        seconds = self.plan.seconds * scenario.length
        url = self.cluster.url_of(*_place(scenario, side))
        self.cluster.checkpoint()
        if side == PGBENCH:
            return client.upserts(url, BINARIES / "pgbench", clients=scenario.connections, seconds=seconds)
        if scenario.soak:
            return self._soak(server)
        if scenario.rate:
            vegeta, rate = client.install_vegeta(LOCAL), round(scenario.rate * self._saturation(side))
            return client.fixed_rate(server.url, self.issuer.tokens(USERS, USERS), vegeta, rate=rate, seconds=seconds)
        run = self._closed_loop(scenario, server, seconds)
        if scenario.table.rows:
            return run
        rows, steadiness = database.growth(url, side, seconds)
        # An answer without a row is a failure.
        return replace(run, failures=run.failures + max(0, run.requests - rows), steadiness=steadiness)

    def _closed_loop(self, scenario: Scenario, server: Server, seconds: int) -> Run:
        workload, tokens, requests = scenario.workload, self.issuer.tokens(USERS, USERS), 0
        if scenario.every_token_new:
            requests = NEW_TOKENS_PER_SECOND * seconds
            workload, tokens = replace(workload, users=(1, requests)), self.issuer.tokens(requests, OWNERS)
        nginx = self.servers.nginx(server) if scenario.through_nginx else nullcontext(server)
        with nginx as front:
            url, connections = front.url, scenario.connections
            return client.closed_loop(
                url, workload, tokens, connections=connections, seconds=seconds, requests=requests
            )

    def _soak(self, server: Server) -> Run:
        workload, tokens = replace(OVERWRITES, users=(1, SOAK_TOKENS)), self.issuer.tokens(SOAK_TOKENS, OWNERS)
        seen: list[dict[int, float]] = []
        end = threading.Event()
        watch = threading.Thread(target=_watch, args=(server, seen, end))
        watch.start()
        try:
            run = client.closed_loop(server.url, workload, tokens, requests=SOAK_REQUESTS)
        finally:
            end.set()
            watch.join()
        return replace(run, memory_drift=_drift(seen), memory_mb=max(mb for sizes in seen for mb in sizes.values()))

    def _saturation(self, side: str) -> float:
        """The side's requests/s in the closed loop, as last measured."""
        for sample in reversed(self.samples):
            if (sample.scenario, sample.side) == (SATURATION, side) and not sample.problem:
                return sample.run.per_second
        raise NotRun("the saturation is not known")

    def _keep(self, sample: Sample) -> None:
        self.samples.append(sample)
        run = sample.run
        figures = f"{run.per_second:8,.0f}/s, p50 {run.p50_ms:.2f} ms, p99 {run.p99_ms:.2f} ms"
        say(f"round {sample.round_no}  {sample.scenario:18} {sample.side:8} {sample.problem or figures}")


def main() -> int:
    try:
        plan = Plan.read(os.environ)
        client.program("wrk")
    except (ValueError, NotRun) as problem:
        print(problem, file=sys.stderr)
        return 2
    # So that a stop in the middle ends every server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load = os.getloadavg()[0]
    if load > BUSY_LOAD:
        say(f"the machine is busy with other things (load average {load:.1f}): expect figures that are far off")
    scratch = LOCAL / "run"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        with closing(Postgres(scratch / "postgres")) as server:
            server.start()
            results = _run(plan, Cluster(server.url), scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    say(f"written: {report.write(results, plan.folder).relative_to(ROOT)}")
    return 1 if any(sample.problem for sample in results.samples) else 0


def _run(plan: Plan, cluster: Cluster, scratch: Path) -> Results:
    issuer = Issuer(scratch)
    session = Session(plan, cluster, Servers(cluster, scratch, LOCAL, issuer.public_key), issuer)
    for round_no in range(1, plan.rounds + 1):
        session.round(round_no)
    if plan.soak:
        earlier = report.read(plan.folder)
        kept = [sample for sample in earlier.samples if sample.scenario != session.samples[0].scenario]
        return replace(earlier, samples=[*kept, *session.samples])
    return Results(report.describe(plan.rounds, plan.seconds, cluster), session.samples)


def _place(scenario: Scenario, side: str) -> tuple[str, Table]:
    """Whose server and database a measurement needs; pgbench writes to our table."""
    return (OURS if side == PGBENCH else side), scenario.table


def _watch(server: Server, seen: list[dict[int, float]], end: threading.Event) -> None:
    while not end.wait(2):
        seen.append(server.memory())


def _drift(seen: list[dict[int, float]]) -> float:
    """How far memory moved in the last half of the time, in parts of the mean, of the worker that drifts most."""
    late = seen[len(seen) // 2 :]
    series = [[sizes[pid] for sizes in late if pid in sizes] for pid in seen[-1]]
    return max(abs(linear_regression(range(len(y)), y).slope) * len(y) / fmean(y) for y in series if len(y) > 1)


def say(text: str) -> None:
    minutes, seconds = divmod(int(time.monotonic() - _began), 60)
    print(f"[{minutes:2}:{seconds:02}] {text}", flush=True)
