"""Medians and their spread."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.samples import Sample


@dataclass(frozen=True)
class Spread:
    """A median with the least and the greatest of what it is the median of."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> "Spread | None":
        found = list(numbers)
        return cls(median(found), min(found), max(found)) if found else None

    def text(self, form: str) -> str:
        return f"{self.median:{form}} ({self.low:{form}}–{self.high:{form}})"


def select(samples: Sequence[Sample], series: str, candidate: str, x: int | None = None) -> list[Sample]:
    return [s for s in samples if s.series == series and s.candidate == candidate and x in (None, s.x)]


def throughput(samples: Iterable[Sample]) -> Spread | None:
    return Spread.of(sample.per_second for sample in samples)


def ratio(
    ours: Iterable[Sample], theirs: Iterable[Sample], figure: Callable[[Sample], float] = lambda s: s.per_second
) -> Spread | None:
    """Ours ÷ theirs, taken within each round, so that what slows a whole round cancels out."""
    by_round = {sample.round_no: figure(sample) for sample in theirs}
    return Spread.of(figure(sample) / by_round[sample.round_no] for sample in ours if by_round.get(sample.round_no))


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line that fits the points best."""
    if len(points) < 2:
        return 0.0
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0
