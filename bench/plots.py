"""Draw the plots of a folder of data: `python -m bench.plots FOLDER`, in the environment of bench/requirements.txt."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench import samples
from bench.samples import PLOTS, SERIES, Memory, Sample
from bench.stats import select, throughput

COLOURS = {"ours": "#0b6e4f", "fastify": "#c8553d", "fastapi": "#5b6c9e"}


def draw(folder: Path) -> None:
    measured = samples.read(folder)
    for name in PLOTS:
        (folder / f"{name}.png").unlink(missing_ok=True)
    for series in PLOTS:
        if any(sample.series == series for sample in measured):
            with _axes(folder, series) as axes:
                _throughput(axes, series, measured)
    memory = samples.read_memory(folder)
    if memory:
        with _axes(folder, "soak") as axes:
            _memory(axes, memory)


@contextmanager
def _axes(folder: Path, name: str) -> Iterator[Axes]:
    """Axes to draw on, saved as the plot `name`."""
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.set_title(PLOTS[name])
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    yield axes
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    axes.legend(frameon=False)
    # No metadata, so that equal data make equal files.
    figure.savefig(folder / f"{name}.png", dpi=120, metadata={"Software": None})
    plt.close(figure)


def _throughput(axes: Axes, series: str, measured: Sequence[Sample]) -> None:
    """A line through the medians, with the spread of the rounds around it."""
    points = sorted({sample.x for sample in measured if sample.series == series})
    for name, colour in COLOURS.items():
        spreads = {x: throughput(select(measured, series, name, x)) for x in points}
        found = {x: spread for x, spread in spreads.items() if spread}
        if found:
            axes.plot(list(found), [s.median for s in found.values()], marker="o", color=colour, label=name)
            lows, highs = [s.low for s in found.values()], [s.high for s in found.values()]
            axes.fill_between(list(found), lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel(SERIES[series])
    axes.set_ylabel("requests/s")
    if series != "workers":
        axes.set_xscale("log", base=2 if series == "connections" else 10)
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(points)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def _memory(axes: Axes, memory: Sequence[Memory]) -> None:
    for worker in sorted({row.worker for row in memory}):
        rows = [row for row in memory if row.worker == worker]
        axes.plot([row.requests for row in rows], [row.megabytes for row in rows], label=f"worker {worker}")
    axes.set_xlabel("requests to all workers")
    axes.set_ylabel("resident megabytes")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
