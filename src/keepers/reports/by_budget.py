"""Ways of selecting drawn by their budgets: styles, test errors, differences from random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from keepers.reports import answers, charts

KEPT = "fraction kept"


@dataclass(frozen=True, kw_only=True)
class Style:
    """How one way of selecting is drawn; the legend under the chart says the same."""

    name: str
    colour: str
    variable: str
    marker: str
    glyph: str
    dashed: bool


def styles_of(by_name: Mapping[str, Sequence[Any]]) -> dict[str, Style]:
    """Random is grey; a method has one colour and marker, dashed where the target selects."""
    methods = list(dict.fromkeys(rows[0]["method"] for rows in by_name.values()))
    others = [method for method in methods if method != answers.RANDOM]
    places = {method: 1 + i for i, method in enumerate(others)} | {answers.RANDOM: 0}
    styles: dict[str, Style] = {}
    for name, rows in by_name.items():
        place = places[rows[0]["method"]]
        hue = 1 + (place - 1) % (charts.NUM_SERIES - 1) if place else 0
        shape = place % len(charts.MARKERS)
        styles[name] = Style(
            name=name,
            colour=charts.SERIES[hue],
            variable=f"series-{hue}",
            marker=charts.MARKERS[shape],
            glyph=charts.GLYPHS[shape],
            dashed=rows[0].get("selector") == "target",
        )
    return styles


def errors_drawn(
    by_name: Mapping[str, Sequence[Any]],
    styles: Mapping[str, Style],
    whole: Any = None,
    *,
    along: str = KEPT,
) -> Markup | None:
    """Test error by budget; `whole` is the row of training on everything."""
    lines = [
        _line(
            styles[name],
            [(row["keep"], row["error_mean"], row.get("error_std") or 0.0) for row in rows],
        )
        for name, rows in by_name.items()
    ]
    if not lines:
        return None
    level = None
    if whole is not None:
        level = (100 * whole["error_mean"], 100 * (whole.get("error_std") or 0.0))
    return charts.error_chart(lines, everything=level, along=along)


def differences_drawn(
    by_name: Mapping[str, Sequence[Any]], styles: Mapping[str, Style], *, along: str = KEPT
) -> Markup | None:
    """Difference from random by budget, where there is one."""
    lines: list[charts.Line] = []
    for name, rows in by_name.items():
        found = [(row["keep"], row["difference"]) for row in rows if row.get("difference")]
        if found:
            points = [(keep, d["mean"], *answers.interval(d)) for keep, d in found]
            lines.append(_line(styles[name], points))
    return charts.difference_chart(lines, along=along) if lines else None


def _line(style: Style, points: Sequence[tuple[float, ...]]) -> charts.Line:
    """Points are (keep, value, spread) or (keep, value, low, high), as fractions."""
    return charts.Line(
        fractions=[point[0] for point in points],
        values=[100 * point[1] for point in points],
        lows=[100 * (p[2] if len(p) == 4 else p[1] - p[2]) for p in points],
        highs=[100 * (p[3] if len(p) == 4 else p[1] + p[2]) for p in points],
        colour=style.colour,
        marker=style.marker,
        dashed=style.dashed,
    )
