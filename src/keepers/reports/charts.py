"""Charts as inline SVG whose colours and font are those of the page, light or dark."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, StrMethodFormatter

# Colours that stand for the page's own: each is replaced by a CSS variable in the SVG.
INK, SOFT, RULE, KEPT, DROPPED = "#010201", "#010202", "#010203", "#010204", "#010205"
_VARIABLES = {INK: "ink", SOFT: "soft", RULE: "rule", KEPT: "kept", DROPPED: "dropped"}
NUM_SERIES = 8
SERIES = tuple(f"#0103{index:02x}" for index in range(NUM_SERIES))
_VARIABLES.update({colour: f"series-{index}" for index, colour in enumerate(SERIES)})

# A style that the user set for their own figures does not reach into a report.
_DRAWN = ("axes.", "grid.", "lines.", "patch.", "path.", "text.", "xtick.", "ytick.")
_OURS = (*_DRAWN, "figure.", "font.", "savefig.", "svg.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
GLYPHS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "⬟")


@contextlib.contextmanager
def page_style() -> Generator[None, None, None]:
    """Matplotlib's own defaults and the fonts of the page, whatever the user set."""
    style: dict[Any, Any] = {k: v for k, v in mpl.rcParamsDefault.items() if k.startswith(_OURS)}
    style |= {"svg.fonttype": "none", "font.size": 10.5}
    with mpl.rc_context(style):
        yield


@dataclass(frozen=True, kw_only=True)
class Line:
    """One method on a chart: fractions kept, values in percent, and the band around them."""

    fractions: Sequence[float]
    values: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    colour: str
    marker: str
    dashed: bool = False


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


@page_style()
def histogram_chart(histogram: Histogram, *, cut: float | None, name: str) -> Markup:
    """The score distribution, with the cut where there is one."""
    axes = plain_axes(height=2.6)
    edges = histogram.edges
    width = float(edges[1] - edges[0])
    left, dropped, kept = edges[:-1], histogram.dropped, histogram.kept
    if histogram.infinite_kept or histogram.infinite_dropped:
        left = np.append(left, edges[-1] + width)
        dropped = np.append(dropped, histogram.infinite_dropped)
        kept = np.append(kept, histogram.infinite_kept)
        ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(edges[0], edges[-1])
        ticks = [tick for tick in ticks if edges[0] <= tick <= edges[-1]]
        names = [f"{tick:g}".replace("-", "−") for tick in ticks]
        axes.set_xticks([*ticks, edges[-1] + 1.5 * width], [*names, "∞"])
    for heights, colour in ((dropped, DROPPED), (kept, KEPT)):
        axes.bar(left, heights, width, align="edge", color=colour, alpha=0.8, linewidth=0)
    if histogram.logarithmic:
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.margins(y=0.12)
    if cut is not None and np.isfinite(cut):
        axes.axvline(cut, color=INK, linewidth=1.1, linestyle=(0, (4, 3)))
        axes.annotate(
            "cut",
            (cut, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -8),
            textcoords="offset points",
            color=INK,
        )
    axes.set_xlabel(name, parse_math=False)
    axes.set_ylabel("examples, log scale" if histogram.logarithmic else "examples")
    return as_svg(axes, "Score distribution of the kept and the dropped examples")


@page_style()
def error_chart(
    lines: Sequence[Line], *, everything: tuple[float, float] | None, along: str = "fraction kept"
) -> Markup:
    """Test error in percent by the fraction kept, with bands of one standard deviation.

    `everything` is the mean and the standard deviation of training on all of it. `along` is what
    the fractions are called.
    """
    axes = plain_axes(height=3.6)
    if everything is not None:
        mean, spread = everything
        axes.axhspan(mean - spread, mean + spread, color=INK, alpha=0.08, linewidth=0)
        axes.axhline(mean, color=INK, linewidth=1, linestyle=(0, (1, 2)))
    for line in lines:
        axes.fill_between(
            line.fractions, line.lows, line.highs, color=line.colour, alpha=0.13, linewidth=0
        )
        if len(line.fractions) == 1:
            axes.vlines(line.fractions, line.lows, line.highs, color=line.colour, linewidth=1.4)
        _plot(axes, line.fractions, line, joined=True)
    _fractions_axis(axes, lines, along)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(_in_percent))
    axes.set_ylabel("test error")
    return as_svg(axes, f"Test error by the {along}")


@page_style()
def difference_chart(lines: Sequence[Line], *, along: str = "fraction kept") -> Markup:
    """Difference from random in points of error, with its interval; below 0 is better."""
    axes = plain_axes(height=3.6)
    axes.axhline(0, color=INK, linewidth=1, linestyle=(0, (1, 2)))
    fractions = sorted({fraction for line in lines for fraction in line.fractions})
    for place, line in enumerate(lines):
        offset = (place - (len(lines) - 1) / 2) * 0.7 / max(len(lines), 2)
        where = [fractions.index(fraction) + offset for fraction in line.fractions]
        axes.vlines(where, line.lows, line.highs, color=line.colour, linewidth=1.4)
        _plot(axes, where, line, joined=False)
    axes.set_xlim(-0.5, len(fractions) - 0.5)
    axes.set_xticks(range(len(fractions)), [_as_percent(fraction, 0) for fraction in fractions])
    axes.set_xlabel(along)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(_signed))
    axes.set_ylabel("points of error against random")
    return as_svg(axes, f"Difference from random by the {along}")


def _as_percent(value: float, _: int | None) -> str:
    return f"{value * 100:.3g}%"


def _in_percent(value: float, _: int | None) -> str:
    return f"{value:.3g}%"


def _signed(value: float, _: int | None) -> str:
    return "0" if abs(value) < 1e-9 else f"{value:+.3g}".replace("-", "−")


def _plot(axes: Axes, where: Sequence[float], line: Line, *, joined: bool) -> None:
    stroke = (0, (4, 2)) if line.dashed else "-"
    axes.plot(
        where,
        line.values,
        color=line.colour,
        linewidth=1.8,
        linestyle=stroke if joined else "none",
        marker=line.marker,
        markersize=5,
        markerfacecolor="none" if line.dashed else line.colour,
    )


def _fractions_axis(axes: Axes, lines: Sequence[Line], along: str) -> None:
    fractions = sorted({fraction for line in lines for fraction in line.fractions})
    if fractions:
        room = 0.1 * (fractions[-1] - fractions[0]) or 0.05
        axes.set_xlim(fractions[0] - room, fractions[-1] + room)
        axes.set_xticks(fractions if len(fractions) < 9 else fractions[:: len(fractions) // 8 + 1])
    axes.xaxis.set_major_formatter(FuncFormatter(_as_percent))
    axes.set_xlabel(along)


def plain_axes(*, height: float) -> Axes:
    """Empty axes in the colours of the page."""
    axes = Figure(figsize=(5.6, height), layout="constrained").subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, length=0, pad=5)
    axes.xaxis.label.set_color(SOFT)
    axes.yaxis.label.set_color(SOFT)
    return axes


def as_svg(axes: Axes, title: str) -> Markup:
    """The drawing as inline SVG in the colours and the font of the page."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": f"keepers {title}"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'font: ([\d.]+)px [^;"]+', r"font-size: \1px; font-family: inherit", text)
    used = set(re.findall(r"#([\w-]+)[\")]", text))
    text = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    head = f'<svg role="img" aria-label="{escape(title)}"'
    return Markup(text.replace("<svg", head, 1).strip())
