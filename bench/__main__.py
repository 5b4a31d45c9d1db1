"""`python -m bench`: measure, then write the data, the plots and the report."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench import database, install, limit, machine, plan, report, rounds, samples, soak, sweeps, tokens
from bench.candidates import CANDIDATES, Site
from bench.candidates.base import ROOT
from bench.plan import Plan
from bench.progress import say
from bench.report import Facts
from bench.session import Session

INSTALLED = ROOT / ".local" / "bench"
# A full run's data; benchmarks.md is written beside the folder.
PUBLISHED = ROOT / "docs" / "benchmarks"
# Other work of this size takes enough of two cores to spoil the figures.
BUSY_LOAD = 0.5


def main() -> int:
    wanted = plan.read(sys.argv[1:])
    unknown = wanted.only - {limit.NAME, *(candidate.name for candidate in CANDIDATES)}
    if unknown:
        return _complain(f"There is no candidate {', '.join(sorted(unknown))}.")
    # So that a stop in the middle ends every server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    INSTALLED.mkdir(parents=True, exist_ok=True)
    try:
        install.program("wrk", "wrk")
        drawing = install.python_environment(INSTALLED / "plots", ROOT / "bench" / "requirements.txt")
    except install.Missing as problem:
        return _complain(str(problem))
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=INSTALLED))
    try:
        return _run(wanted, scratch, drawing / "python")
    except KeyboardInterrupt:
        return _complain("Stopped; nothing was written.")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run(wanted: Plan, scratch: Path, drawing: Path) -> int:
    load = round(os.getloadavg()[0], 1)
    if load > BUSY_LOAD:
        say(f"the machine is busy with other things (load average {load}): expect figures that are far off")
    say("starting PostgreSQL, signing tokens")
    signer = tokens.Signer.create(scratch)
    users_file = signer.write_users(scratch / "users.tsv")
    folder = INSTALLED / "quick" if wanted.quick else PUBLISHED
    folder.mkdir(parents=True, exist_ok=True)
    with database.running(scratch / "postgres") as cluster:
        settings = cluster.settings()
        site = Site(INSTALLED, scratch, cluster, signer, users_file)
        if wanted.soak:
            samples.write_memory(soak.run(wanted, site), folder)
            return _publish(folder, drawing)
        session = Session(wanted, site)
        for step in _steps(wanted):
            step(session)
    samples.write(session.samples, folder)
    Facts(
        day=datetime.now(UTC).date().isoformat(),
        machine=machine.describe(),
        load=load,
        rounds=wanted.rounds,
        seconds=wanted.seconds,
        connections=wanted.connections,
        settings=settings,
        versions={name: text for name, text in machine.versions().items() if wanted.wants(name)},
        failed=session.failed,
    ).write(folder)
    return _publish(folder, drawing) or (1 if session.failed else 0)


def _steps(wanted: Plan) -> list[Callable[[Session], None]]:
    steps: list[Callable[[Session], None]] = [rounds.prepare, rounds.run, sweeps.connections]
    # Last comes what leaves large values behind.
    return steps if wanted.quick else [*steps, sweeps.workers, sweeps.rows, sweeps.value_bytes]


def _publish(folder: Path, drawing: Path) -> int:
    """Draw the plots, write the report, and show it."""
    subprocess.run([drawing, "-m", "bench.plots", folder], cwd=ROOT, check=True)
    if not (folder / report.FACTS_FILE).exists():
        say("there is no full run yet that the report could be about: run `make bench` too")
        return 0
    written = report.write(folder)
    print()
    print(written.read_text().split("## Plots")[0])
    say(f"written: {written.relative_to(ROOT)}")
    return 0


def _complain(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
