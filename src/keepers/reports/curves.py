"""Learning curves: accuracy against steps or seconds, a mean over seeds and a line for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from keepers.reports import charts

GRID = 120  # places at which the seeds are averaged
DEPTH = 25.0  # points shown below what uniform reaches
Axis = Literal["step", "seconds"]
AXES: Mapping[Axis, str] = {"step": "gradient steps", "seconds": "seconds of training"}


def average(
    xs: Sequence[Sequence[float]], ys: Sequence[Sequence[float]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The mean of several curves, where all of them have values; between points they are straight.

    >>> x, y = average([[0, 10], [0, 20]], [[0.0, 1.0], [0.0, 1.0]])
    >>> float(x[-1]), float(y[-1])
    (10.0, 0.75)
    """
    low, high = max(x[0] for x in xs), min(x[-1] for x in xs)
    if high < low:
        return np.empty(0), np.empty(0)
    grid = np.linspace(low, high, GRID)
    return grid, np.mean([np.interp(grid, x, y) for x, y in zip(xs, ys, strict=True)], axis=0)


@charts.page_style()
def curve_chart(
    curves: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    styles: Mapping[str, charts.Style],
    *,
    against: Axis,
    level: float,
    score: str = "accuracy",
) -> Markup:
    """The test score in percent; `level` is drawn across, and what is far below it is cut off."""
    from matplotlib.ticker import MaxNLocator

    axes = charts.plain_axes(height=3.6)
    if level > 0:
        axes.axhline(100 * level, color=charts.INK, linewidth=1, linestyle=(0, (1, 2)))
    finals: list[float] = []
    for method, style in styles.items():
        seeds = [curve for curve in curves[method] if curve]
        if not seeds:
            continue
        xs = [[point[against] for point in curve] for curve in seeds]
        ys = [[100 * point["accuracy"] for point in curve] for curve in seeds]
        if len(seeds) > 1:
            for x, y in zip(xs, ys, strict=True):
                axes.plot(x, y, color=style.colour, linewidth=0.7, alpha=0.35)
        x, y = average(xs, ys)
        axes.plot(x, y, color=style.colour, linewidth=1.8, linestyle=charts.STROKES[style.stroke])
        finals += [y for curve in ys for y in curve[len(curve) // 4 :]]
    if finals:  # the first quarter of a training would take all the room
        room = max(0.5, 0.03 * (max(finals) - min(finals)))
        lowest = max(0.0, min(finals) - room, 100 * level - DEPTH if level > 0 else 0.0)
        axes.set_ylim(lowest, min(100.0, max(finals) + room))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(_plain)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(_percent)
    axes.set_xlabel(AXES[against])
    axes.set_ylabel(f"test {score}")
    return charts.as_svg(axes, f"Test {score} by {AXES[against]}")


def _plain(value: float, _: float | None) -> str:
    return f"{value:,.4g}" if value < 10_000 else f"{value:,.0f}"


def _percent(value: float, _: float | None) -> str:
    return f"{value:.3g}%"
