"""The score distribution of a core-set, as inline SVG.

Bars need no drawing library: matplotlib would take as long to import as the rest of the command.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

WIDTH, HEIGHT = 403, 187
LEFT, RIGHT, TOP, BOTTOM = 50, 398, 8, 146
"""The drawing, and where its axes lie, in pixels."""

LOWEST = 0.7
"""Where a logarithmic axis of counts begins."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Scores in bins, kept and dropped apart; counts of ∞ stand beside the last bin."""

    edges: npt.NDArray[np.float64]
    kept: npt.NDArray[np.int64]
    dropped: npt.NDArray[np.int64]
    infinite_kept: int = 0
    infinite_dropped: int = 0
    logarithmic: bool = False


def bin_scores(
    scores: npt.NDArray[np.float64],
    kept: npt.NDArray[np.bool_],
    *,
    cut: float | None = None,
    num_bins: int = 40,
) -> Histogram:
    """Count scores (n,) in equal bins, one of whose edges is the cut where there is one.

    Whole numbers of a small range get a bin each.

    >>> bin_scores(np.array([0.0, 1.0, 1.0, np.inf]), np.array([False, True, True, True])).kept
    array([0, 2])
    """
    finite = np.isfinite(scores)
    values = scores[finite]
    whole = len(values) > 0 and bool(np.all(values == np.round(values)))
    if whole and np.ptp(values) <= 60:
        edges = np.arange(values.min() - 0.5, values.max() + 1.0)
    else:
        alike = len(values) > 0 and np.ptp(values) <= 1e-12 * max(1.0, np.abs(values).max())
        span = (values.min() - 0.5, values.max() + 0.5) if alike else None  # as where all are equal
        edges = np.histogram_bin_edges(values, num_bins, range=span)
        if cut is not None and edges[0] < cut < edges[-1]:
            width = edges[1] - edges[0]
            below = int(np.ceil((cut - edges[0]) / width))
            edges = cut + width * np.arange(-below, num_bins - below + 2)
            if len(values):  # rounding must not leave an extreme score outside
                edges[0], edges[-1] = min(edges[0], values.min()), max(edges[-1], values.max())
    kept_counts = np.histogram(scores[finite & kept], edges)[0]
    dropped_counts = np.histogram(scores[finite & ~kept], edges)[0]
    heights = np.maximum(kept_counts, dropped_counts)
    filled = heights[heights > 0]
    return Histogram(
        edges=edges,
        kept=kept_counts,
        dropped=dropped_counts,
        infinite_kept=int(np.sum(np.isposinf(scores) & kept)),
        infinite_dropped=int(np.sum(np.isposinf(scores) & ~kept)),
        logarithmic=len(filled) > 0 and float(filled.max()) > 25 * float(np.median(filled)),
    )


def histogram_chart(histogram: Histogram, *, cut: float | None, name: str) -> Markup:
    """The score distribution, with the cut where there is one."""
    edges = histogram.edges
    low, high, width = float(edges[0]), float(edges[-1]), float(edges[1] - edges[0])
    left, dropped, kept = edges[:-1], histogram.dropped, histogram.kept
    names = [(tick, _number(tick, high - low)) for tick in ticks(low, high)]
    if histogram.infinite_kept or histogram.infinite_dropped:
        left = np.append(left, high + width)
        dropped = np.append(dropped, histogram.infinite_dropped)
        kept = np.append(kept, histogram.infinite_kept)
        names.append((high + 1.5 * width, "∞"))
    first, last = float(left[0]), float(left[-1]) + width
    most = max(1.0, float(np.maximum(kept, dropped).max()))
    if histogram.logarithmic:
        counts = [10**power for power in range(math.floor(math.log10(most)) + 1)]
        base = math.log10(LOWEST)
        scale = (BOTTOM - TOP) / (1.06 * (math.log10(most) - base))
    else:
        counts = [round(tick) for tick in ticks(0.0, most, whole=True)]
        base, scale = 0.0, (BOTTOM - TOP) / (1.12 * most)

    def across(value: float) -> float:
        return LEFT + (value - first) / (last - first) * (RIGHT - LEFT)

    def up(count: float) -> float:
        if histogram.logarithmic:
            count = math.log10(max(count, LOWEST))
        return BOTTOM - (count - base) * scale

    parts = [_text(across(place), BOTTOM + 16, words, "middle") for place, words in names]
    parts += [_line(LEFT, up(count), RIGHT, up(count), "rule") for count in counts]
    parts += [_text(LEFT - 5, up(count) + 4, f"{count:,}", "end") for count in counts]
    for heights, colour in ((dropped, "dropped"), (kept, "kept")):
        drawn = zip(left.tolist(), heights.tolist(), strict=True)
        parts += _bars([(across(x), across(x + width), up(count)) for x, count in drawn], colour)
    parts.append(_line(LEFT, BOTTOM, RIGHT, BOTTOM, "rule"))
    if cut is not None and first <= cut <= last:
        parts.append(_line(across(cut), TOP, across(cut), BOTTOM, "ink", dashed=True))
        parts.append(_text(across(cut) + 4, TOP + 9, "cut", "start", colour="ink"))
    middle = (TOP + BOTTOM) / 2
    counted = "examples, log scale" if histogram.logarithmic else "examples"
    turned = Markup(' transform="rotate(-90 {} {})"').format(12, middle)
    parts.append(_text((LEFT + RIGHT) / 2, BOTTOM + 34, name, "middle"))
    parts.append(_text(12, middle, counted, "middle", more=turned))
    head = Markup(
        '<svg role="img" aria-label="Score distribution of the kept and the dropped examples" '
        'viewBox="0 0 {} {}" style="font-size: 10.5px">'
    ).format(WIDTH, HEIGHT)
    return head + Markup("").join(parts) + Markup("</svg>")


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Up to 6 round numbers from `low` to `high`, equally far apart.

    >>> ticks(-0.5, 4.5), ticks(0.0, 3.0, whole=True)
    ([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 3.0])
    """
    rough = (high - low) / 5
    if not (math.isfinite(rough) and rough > 0):
        return [low]
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * part for part in (1, 2, 5, 10) if unit * part >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, step)
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [number * step for number in numbers]


def _number(value: float, span: float) -> str:
    """With as many digits as tell neighbouring ticks apart."""
    digits = 2 + math.ceil(math.log10(max(abs(value) / span, 1.0))) if span > 0 else 6
    return f"{value:.{max(digits, 6)}g}".replace("-", "−")


def _bars(bars: Sequence[tuple[float, float, float]], colour: str) -> list[Markup]:
    return [
        Markup(
            '<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" opacity="0.8" '
            'style="fill: var(--{})"/>'
        ).format(x, y, end - x, BOTTOM - y, colour)
        for x, end, y in bars
        if y < BOTTOM
    ]


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False
) -> Markup:
    return Markup(
        '<line x1="{:.2f}" y1="{:.2f}" x2="{:.2f}" y2="{:.2f}"{} style="stroke: var(--{})"/>'
    ).format(x1, y1, x2, y2, Markup(' stroke-dasharray="4 3"' if dashed else ""), colour)


def _text(
    x: float, y: float, words: str, anchor: str, *, colour: str = "soft", more: str = ""
) -> Markup:
    return Markup(
        '<text x="{:.2f}" y="{:.2f}" text-anchor="{}"{} style="fill: var(--{})">{}</text>'
    ).format(x, y, anchor, more, colour, words)
