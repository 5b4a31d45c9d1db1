"""What the service must reach, and whether it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bench import limit
from bench.samples import Memory, Sample
from bench.stats import Spread, ratio, select, slope, throughput

OURS = "ours"
MEMORY_LIMIT_MB = 150
MEMORY_DRIFT = 0.05


@dataclass(frozen=True)
class Target:
    """One figure with what is wanted of it; `measured` is None where there was nothing to measure it by.

    `met` is said of the median.
    """

    figure: str
    wanted: str
    measured: str | None = None
    met: bool = False
    in_every_round: bool = True


def judge(samples: Sequence[Sample], memory: Sequence[Memory]) -> list[Target]:
    main = select(samples, "rounds", OURS)
    alone = select(samples, "one-connection", OURS)

    def against(name: str) -> Spread | None:
        return ratio(main, select(samples, "rounds", name))

    p50_alone = ratio(alone, select(samples, "one-connection", limit.NAME), lambda sample: sample.p50_ms)
    tail = Spread.of(sample.p99_ms / sample.p50_ms for sample in main)
    return [
        _at_least("requests/s ÷ Fastify's", 1.25, against("fastify")),
        _at_least("requests/s ÷ FastAPI's", 2.5, against("fastapi")),
        _at_least("requests/s ÷ plain Django's", 10, against("django")),
        _at_least("requests/s ÷ pgbench's upserts/s", 0.30, against(limit.NAME)),
        _at_most("p99 ÷ p50", 4, tail),
        _at_least("throughput at 256 connections ÷ the best", 0.9, _crowded(samples)),
        _at_most("p50 of one connection ÷ p50 of pgbench with one client", 2, p50_alone),
        _at_least("every token new ÷ tokens seen before", 0.6, ratio(select(samples, "new-tokens", OURS), main)),
        _at_least(
            "10 million rows ÷ 20 thousand rows",
            0.8,
            ratio(select(samples, "rows", "ours_many_rows"), select(samples, "rows", OURS)),
        ),
        *_memory(memory),
    ]


def _at_least(figure: str, bound: float, measured: Spread | None) -> Target:
    if measured is None:
        return Target(figure, f"≥ {bound:g}")
    return Target(figure, f"≥ {bound:g}", measured.text(".2f"), measured.median >= bound, measured.low >= bound)


def _at_most(figure: str, bound: float, measured: Spread | None) -> Target:
    if measured is None:
        return Target(figure, f"≤ {bound:g}")
    return Target(figure, f"≤ {bound:g}", measured.text(".2f"), measured.median <= bound, measured.high <= bound)


def _crowded(samples: Sequence[Sample]) -> Spread | None:
    """Throughput at 256 connections in parts of the best over the sweep, each the median of its rounds."""
    swept = select(samples, "connections", OURS)
    at = {x: throughput(s for s in swept if s.x == x) for x in {s.x for s in swept}}
    most = at.get(256)
    best = max((spread.median for spread in at.values() if spread), default=0.0)
    return Spread.of([most.median / best]) if most and best else None


def _memory(memory: Sequence[Memory]) -> list[Target]:
    """The drift is that of the line through the last half, in parts of its mean, for the worker that drifts most."""
    limits = (f"± {MEMORY_DRIFT:.0%}", f"≤ {MEMORY_LIMIT_MB} MB")
    figures = ("a worker's memory, drift over the last half of the requests", "a worker's memory at its largest")
    if not memory:
        return [Target(figure, wanted) for figure, wanted in zip(figures, limits, strict=True)]
    requests = max(row.requests for row in memory)
    half = requests / 2
    drifts = []
    for worker in {row.worker for row in memory}:
        late = [(float(row.requests), row.megabytes) for row in memory if row.worker == worker and row.requests >= half]
        if late:
            drifts.append(slope(late) * half / fmean(megabytes for _, megabytes in late))
    drift = max(drifts, key=abs)
    largest = max(row.megabytes for row in memory)
    return [
        Target(figures[0], limits[0], f"{drift:+.1%} of {requests:,} requests", abs(drift) <= MEMORY_DRIFT),
        Target(figures[1], limits[1], f"{largest:.0f} MB", largest <= MEMORY_LIMIT_MB),
    ]
