"""What was measured, as rows that go to CSV files and come back from them."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.client import Run


@dataclass(frozen=True)
class Sample:
    """One measurement of a candidate; `x` is what its series varies."""

    series: str
    candidate: str
    x: int
    round_no: int
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    requests: int
    failures: int

    @classmethod
    def of(cls, run: Run, series: str, candidate: str, x: int, round_no: int) -> "Sample":
        return cls(
            series=series,
            candidate=candidate,
            x=x,
            round_no=round_no,
            per_second=_rounded(run.per_second, 1),
            p50_ms=_rounded(run.p50_ms, 3),
            p99_ms=_rounded(run.p99_ms, 3),
            max_ms=_rounded(run.max_ms, 3),
            requests=run.requests,
            failures=run.failures,
        )


@dataclass(frozen=True)
class Memory:
    """The resident megabytes (10^6 bytes) of one worker after so many requests."""

    worker: int
    requests: int
    megabytes: float


# The series, each with what `x` means in it. Each has a file of its own.
SERIES = {
    "rounds": "connections",
    "one-connection": "connections",
    "new-tokens": "connections",
    "connections": "connections",
    "workers": "workers",
    "value-bytes": "bytes of a value",
    "rows": "rows in the table",
}
PLOTS = {
    "connections": "Throughput over connections",
    "workers": "Throughput over workers",
    "value-bytes": "Throughput over the size of a value",
    "soak": "Memory of the workers over a million requests",
}
SOAK_FILE = "soak.csv"


def write(samples: Sequence[Sample], folder: Path) -> None:
    """One file for each series; what is there of earlier runs is removed, so that all figures are of one state."""
    (folder / SOAK_FILE).unlink(missing_ok=True)
    for series in SERIES:
        file = folder / f"{series}.csv"
        rows = [asdict(sample) for sample in samples if sample.series == series]
        file.unlink(missing_ok=True)
        if rows:
            _write(file, rows)


def read(folder: Path) -> list[Sample]:
    found = []
    for series in SERIES:
        file = folder / f"{series}.csv"
        if file.exists():
            with file.open(newline="") as lines:
                found += [_sample(row) for row in csv.DictReader(lines)]
    return found


def write_memory(rows: Sequence[Memory], folder: Path) -> None:
    _write(folder / SOAK_FILE, [asdict(row) for row in rows])


def read_memory(folder: Path) -> list[Memory]:
    file = folder / SOAK_FILE
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        return [
            Memory(int(row["worker"]), int(row["requests"]), float(row["megabytes"])) for row in csv.DictReader(lines)
        ]


def _rounded(number: float, digits: int) -> float:
    return float(f"{number:.{digits}f}")


def _write(file: Path, rows: Iterable[dict[str, object]]) -> None:
    rows = list(rows)
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _sample(row: dict[str, str]) -> Sample:
    return Sample(
        series=row["series"],
        candidate=row["candidate"],
        x=int(row["x"]),
        round_no=int(row["round_no"]),
        per_second=float(row["per_second"]),
        p50_ms=float(row["p50_ms"]),
        p99_ms=float(row["p99_ms"]),
        max_ms=float(row["max_ms"]),
        requests=int(row["requests"]),
        failures=int(row["failures"]),
    )
