"""Charts as inline SVG whose colours and font are those of the page, light or dark.

Matplotlib takes a second to import, so a chart that is drawn imports it.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
Stroke = Literal["solid", "dashed", "dotted"]
STROKES = {"solid": "-", "dashed": (0, (4, 2)), "dotted": (0, (1, 1.4))}
GLYPHS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "⬟")


POINTS = "points of error against random"


@contextlib.contextmanager
def page_style() -> Generator[None, None, None]:
    """Matplotlib's own defaults and the fonts of the page, whatever the user set."""
    import matplotlib as mpl

    style: dict[Any, Any] = {k: v for k, v in mpl.rcParamsDefault.items() if k.startswith(_OURS)}
    style |= {"svg.fonttype": "none", "font.size": 10.5}
    with mpl.rc_context(style):
        yield


@dataclass(frozen=True, kw_only=True)
class Style:
    """How one way of selecting is drawn; the legend under the chart says the same.

    `shape` counts the markers; None is a curve without.
    """

    name: str
    hue: int
    shape: int | None = None
    stroke: Stroke = "solid"

    @property
    def colour(self) -> str:
        """What stands for the page's colour in a drawing."""
        return SERIES[self.hue]

    @property
    def variable(self) -> str:
        """The page's name of that colour."""
        return f"series-{self.hue}"

    @property
    def glyph(self) -> str:
        """The marker as a letter."""
        return "" if self.shape is None else GLYPHS[self.shape]

    @property
    def legend(self) -> str:
        """What stands for it in the legend."""
        strokes = {"solid": "━━", "dashed": "╍╍", "dotted": "┉┉"}
        if self.shape is not None:
            strokes = {"solid": "─", "dashed": "┄"}
        return f"{self.glyph}{strokes[self.stroke]}"


def hue_of(place: int) -> int:
    """The colour of the method at `place`; 0 is that of what all are compared with."""
    return 1 + place % (NUM_SERIES - 1)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One method on a chart: fractions kept, values in percent, and the band around them."""

    fractions: Sequence[float]
    values: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    style: Style


@page_style()
def error_chart(
    lines: Sequence[Line], *, everything: tuple[float, float] | None, along: str = "fraction kept"
) -> Markup:
    """Test error in percent by the fraction kept, with bands of one standard deviation.

    `everything` is the mean and the standard deviation of training on all of it. `along` is what
    the fractions are called.
    """
    from matplotlib.ticker import MaxNLocator

    axes = plain_axes(height=3.6)
    if everything is not None:
        mean, spread = everything
        axes.axhspan(mean - spread, mean + spread, color=INK, alpha=0.08, linewidth=0)
        axes.axhline(mean, color=INK, linewidth=1, linestyle=(0, (1, 2)))
    for line in lines:
        colour = line.style.colour
        axes.fill_between(
            line.fractions, line.lows, line.highs, color=colour, alpha=0.13, linewidth=0
        )
        if len(line.fractions) == 1:
            axes.vlines(
                line.fractions, line.lows, line.highs, color=line.style.colour, linewidth=1.4
            )
        _plot(axes, line.fractions, line, joined=True)
    _fractions_axis(axes, lines, along)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(_in_percent)
    axes.set_ylabel("test error")
    return as_svg(axes, f"Test error by the {along}")


@page_style()
def difference_chart(
    lines: Sequence[Line], *, along: str = "fraction kept", unit: str = POINTS
) -> Markup:
    """Difference from random, with its interval; below 0 is better."""
    from matplotlib.ticker import MaxNLocator

    axes = plain_axes(height=3.6)
    axes.axhline(0, color=INK, linewidth=1, linestyle=(0, (1, 2)))
    fractions = sorted({fraction for line in lines for fraction in line.fractions})
    for place, line in enumerate(lines):
        offset = (place - (len(lines) - 1) / 2) * 0.7 / max(len(lines), 2)
        where = [fractions.index(fraction) + offset for fraction in line.fractions]
        axes.vlines(where, line.lows, line.highs, color=line.style.colour, linewidth=1.4)
        _plot(axes, where, line, joined=False)
    axes.set_xlim(-0.5, len(fractions) - 0.5)
    axes.set_xticks(range(len(fractions)), [_as_budget(fraction, 0) for fraction in fractions])
    axes.set_xlabel(along)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(_signed)
    axes.set_ylabel(unit)
    return as_svg(axes, f"Difference from random by the {along}")


def _as_budget(value: float, _: float | None) -> str:
    """A budget as a person writes it: a count of examples is over 1."""
    return f"{value:,.0f}" if value > 1 else f"{value * 100:.3g}%"


def _in_percent(value: float, _: float | None) -> str:
    return f"{value:.3g}%"


def _signed(value: float, _: float | None) -> str:
    return "0" if abs(value) < 1e-9 else f"{value:+.3g}".replace("-", "−")


def _plot(axes: Axes, where: Sequence[float], line: Line, *, joined: bool) -> None:
    style = line.style
    dashed = style.stroke == "dashed"
    axes.plot(
        where,
        line.values,
        color=style.colour,
        linewidth=1.8,
        linestyle=STROKES[style.stroke] if joined else "none",
        marker=MARKERS[style.shape or 0],
        markersize=5,
        markerfacecolor="none" if dashed else style.colour,
    )


def _fractions_axis(axes: Axes, lines: Sequence[Line], along: str) -> None:
    fractions = sorted({fraction for line in lines for fraction in line.fractions})
    if fractions:
        room = 0.1 * (fractions[-1] - fractions[0]) or 0.05
        axes.set_xlim(fractions[0] - room, fractions[-1] + room)
        axes.set_xticks(fractions if len(fractions) < 9 else fractions[:: len(fractions) // 8 + 1])
    axes.xaxis.set_major_formatter(_as_budget)
    axes.set_xlabel(along)


def plain_axes(*, height: float) -> Axes:
    """Empty axes in the colours of the page."""
    from matplotlib.figure import Figure

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
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure = axes.get_figure(root=True)
    assert figure is not None
    for patch in (figure.patch, axes.patch):
        patch.set(facecolor="none", edgecolor="none")
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": f"keepers {title}"}):
        # `savefig` would draw twice: its first drawing finds the layout, as this one does.
        FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
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
