"""The report: benchmarks.md, from the data beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from bench import limit, samples
from bench.candidates import CANDIDATES
from bench.samples import PLOTS, Sample
from bench.stats import Spread, ratio, select, throughput
from bench.targets import OURS, Target, judge

FACTS_FILE = "run.json"
TEMPLATE = Path(__file__).with_name("benchmarks.template.md")
TITLES = {limit.NAME: limit.TITLE} | {candidate.name: candidate.title for candidate in CANDIDATES}


@dataclass(frozen=True)
class Facts:
    """What is to be known of a run besides its samples."""

    day: str
    machine: str
    # The load average when the run began.
    load: float
    rounds: int
    seconds: int
    connections: int
    settings: Mapping[str, str]
    versions: Mapping[str, str]
    failed: Mapping[str, str]

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (folder / FACTS_FILE).write_text(text + "\n")


def write(folder: Path) -> Path:
    """Write the report on the data in `folder` beside that folder; returns its path."""
    report = folder.with_suffix(".md")
    report.write_text(render(folder))
    return report


def render(folder: Path) -> str:
    facts = Facts(**json.loads((folder / FACTS_FILE).read_text()))
    measured = samples.read(folder)
    settings = [f"`{name} = {value}`" for name, value in facts.settings.items() if name != "server_version"]
    return Template(TEMPLATE.read_text()).substitute(
        asdict(facts),
        candidates=_candidates(facts, measured),
        remarks=_remarks(measured),
        targets=_targets(judge(measured, samples.read_memory(folder))),
        plots=_plots(folder),
        folder=folder.name,
        settings=", ".join(settings),
        postgres=facts.settings["server_version"],
        versions="\n".join(f"- {TITLES[name]}: {text}." for name, text in facts.versions.items()),
    )


def _candidates(facts: Facts, measured: Sequence[Sample]) -> str:
    lines = [
        "| candidate | requests/s | ours ÷ it | p50 ms | p99 ms | p50 ms, one connection | failures |",
        "|---|---|---|---|---|---|---|",
    ]
    ours = select(measured, "rounds", OURS)
    for name, title in TITLES.items():
        rounds = select(measured, "rounds", name)
        if name in facts.failed:
            lines.append(f"| {title} | left out: {facts.failed[name].replace('|', ' ')} | | | | | |")
        elif rounds:
            failures = sum(sample.failures for sample in rounds)
            requests = sum(sample.requests for sample in rounds)
            cells = [
                title,
                _text(throughput(rounds), ",.0f"),
                _text(ratio(ours, rounds), ".2f") if name != OURS else "",
                _text(Spread.of(sample.p50_ms for sample in rounds), ".1f"),
                _text(Spread.of(sample.p99_ms for sample in rounds), ".1f"),
                _text(Spread.of(sample.p50_ms for sample in select(measured, "one-connection", name)), ".2f"),
                f"{failures} of {requests:,}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _remarks(measured: Sequence[Sample]) -> str:
    shown = [candidate for candidate in CANDIDATES if candidate.remark and select(measured, "rounds", candidate.name)]
    lines = [f"- {candidate.title}: {candidate.remark}." for candidate in shown]
    for name, title in TITLES.items():
        new = throughput(select(measured, "new-tokens", name))
        if new:
            lines.append(f"- {title}, each request with a token never seen before: {_text(new, ',.0f')} requests/s.")
    return "\n".join(lines)


def _targets(targets: Sequence[Target]) -> str:
    lines = ["| figure | wanted | measured | |", "|---|---|---|---|"]
    lines += [f"| {t.figure} | {t.wanted} | {t.measured or 'not measured'} | {_verdict(t)} |" for t in targets]
    return "\n".join(lines)


def _verdict(target: Target) -> str:
    if target.measured is None:
        return ""
    if not target.met:
        return "**not met**"
    return "met" if target.in_every_round else "met, but not in every round"


def _plots(folder: Path) -> str:
    shown = [(name, title) for name, title in PLOTS.items() if (folder / f"{name}.png").exists()]
    return "\n\n".join(f"![{title}]({folder.name}/{name}.png)" for name, title in shown)


def _text(spread: Spread | None, form: str) -> str:
    return spread.text(form) if spread else ""
