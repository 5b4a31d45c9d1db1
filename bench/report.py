"""The report: the raw figures as JSON, and the page from them."""

import json
import os
import platform
import subprocess
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from string import Template

import psutil

from bench.client import FOLDER, Run
from bench.database import Cluster
from bench.scenarios import OURS, SCENARIOS, Scenario, Target

PAGE = FOLDER / "page.md"
RESULTS = "results.json"
SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "autovacuum")


@dataclass(frozen=True)
class Sample:
    """One measurement; where there is a problem, its figures count for nothing."""

    scenario: str
    side: str
    round_no: int
    run: Run = field(default_factory=Run)
    problem: str = ""

    @classmethod
    def of(cls, scenario: str, side: str, round_no: int, run: Run) -> "Sample":
        failed = f"{run.failures} of {run.requests} requests failed: {run.first_failure or 'no answer'}"
        return cls(scenario, side, round_no, run, failed if run.failures or not run.requests else "")


@dataclass(frozen=True)
class Results:
    # When and where it was, and of what.
    description: str = "Not measured yet."
    samples: Sequence[Sample] = ()

    def runs(self, scenario: str, side: str) -> dict[int, Run]:
        """The good runs by their round."""
        return {sample.round_no: sample.run for sample in self._of(scenario, side) if not sample.problem}

    def problems(self, scenario: str, side: str) -> list[str]:
        """Why the other runs are none, as a table's cells."""
        return [sample.problem.replace("|", " ") for sample in self._of(scenario, side) if sample.problem]

    def _of(self, scenario: str, side: str) -> list[Sample]:
        return [sample for sample in self.samples if (sample.scenario, sample.side) == (scenario, side)]


def read(folder: Path) -> Results:
    """The figures of the last run, or none."""
    file = folder / RESULTS
    found = json.loads(file.read_text()) if file.exists() else asdict(Results())
    return Results(found["description"], [Sample(**row | {"run": Run(**row["run"])}) for row in found["samples"]])


def describe(rounds: int, seconds: int, cluster: Cluster) -> str:
    """When and where a run was made, and of what."""
    memory = psutil.virtual_memory().total / 2**30
    settings = [f"`{name} = {value}`" for name, value in cluster.settings(*SETTINGS).items()]
    return (
        f"On {datetime.now(UTC):%Y-%m-%d}, at commit {_said('git', 'describe', '--always', '--dirty')}:"
        f" {os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()}, Python {platform.python_version()},"
        f" Node {_said('node', '--version')}; {rounds} rounds of {seconds} s for each measurement.\n"
        f"PostgreSQL with {', '.join(settings)}."
    )


def write(results: Results, folder: Path) -> Path:
    """Keep the figures in `folder`, and write the page beside it; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).write_text(json.dumps(asdict(results), ensure_ascii=False) + "\n")
    page = folder.with_suffix(".md")
    page.write_text(
        Template(PAGE.read_text()).substitute(
            description=results.description,
            targets="\n".join(_targets(results)),
            figures="\n".join(_figures(results)),
            folder=folder.name,
        )
    )
    return page


def _targets(results: Results) -> Iterator[str]:
    for scenario in SCENARIOS:
        for target in scenario.targets:
            found = list(_ratios(results, scenario, target))
            wanted = f"≤ {target.at_most:g}" if target.at_least is None else f"≥ {target.at_least:g}"
            other = results.problems(target.scenario or scenario.name, target.side or OURS)
            verdict = _verdict(target, found, results.problems(scenario.name, OURS) or other)
            yield f"| {scenario.title} | {target.title} | {wanted} | {_spread(found, '.2f')} | {verdict} |"


def _ratios(results: Results, scenario: Scenario, target: Target) -> Iterator[float]:
    """The target's figure in each round that has all of it."""
    over = results.runs(target.scenario or scenario.name, target.side or OURS)
    for round_no, run in results.runs(scenario.name, OURS).items():
        figure = getattr(run, target.figure)
        if not target.scenario and not target.side:
            yield figure
        elif round_no in over:
            yield figure / getattr(over[round_no], target.figure)


def _verdict(target: Target, found: Sequence[float], problems: Sequence[str]) -> str:
    if not found:
        return problems[0] if problems else "not run"
    if problems:
        return f"**not met**, {len(problems)} rounds: {problems[0]}"
    if not _meets(target, median(found)):
        return "**not met**"
    return "met" if all(_meets(target, figure) for figure in found) else "met, but not in every round"


def _meets(target: Target, figure: float) -> bool:
    low, high = target.at_least, target.at_most
    return (low is None or figure >= low) and (high is None or figure <= high)


def _figures(results: Results) -> Iterator[str]:
    for scenario in SCENARIOS:
        for side in scenario.sides:
            runs = results.runs(scenario.name, side).values()
            problems = results.problems(scenario.name, side)
            cells = [
                scenario.title,
                side,
                _spread([run.per_second for run in runs], ",.0f"),
                _spread([run.p50_ms for run in runs if run.p50_ms], ".1f"),
                _spread([run.p99_ms for run in runs if run.p99_ms], ".1f"),
                f"{len(problems)} rounds: {problems[0]}" if problems else "",
            ]
            if runs or problems:
                yield f"| {' | '.join(cells)} |"


def _spread(found: Collection[float], form: str) -> str:
    return f"{median(found):{form}} ({min(found):{form}}–{max(found):{form}})" if found else "–"


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return "unknown"
