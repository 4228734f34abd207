"""Ways of selecting by their budgets: what page and terminal show of them, and their charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup
from rich.markup import escape
from rich.table import Table

from keepers.baselines import RANDOM
from keepers.reports import answers, charts, describe, quantities
from keepers.reports.answer import Row, interval, worst_class_differs
from keepers.reports.charts import Style
from keepers.reports.page import as_yaml
from keepers.reports.terminal import gap_cells, plain_table

KEPT = "fraction kept"


def budget_page(result: Mapping[str, Any], *, along: str) -> dict[str, Any]:
    """What every page of a result by budget shows, whatever else is on it."""
    by_name = answers.series(result)
    styles = styles_of(by_name)
    whole = answers.everything(result)
    config: Mapping[str, Any] = result.get("config") or {}
    return {
        "data": result["data"],
        "seeds": result["seeds"],
        "target": describe.model_name(config.get("target")),
        "proxy": describe.model_name(config.get("proxy")),
        "headline": answers.headline(result),
        "answers": answers.answers(result),
        "about_learning": answers.about_learning(result),
        "worst": worst_class_differs(result["rows"]),
        "along": along,
        "chart": errors_drawn(by_name, styles, whole, along=along),
        "differences": differences_drawn(by_name, styles, along=along),
        "styles": list(styles.values()),
        "whole": whole,
        "groups": answers.by_fraction(by_name),
        "expenses": result.get("costs") or [],
        "config": as_yaml(config),
    }


def budget_table(
    result: Mapping[str, Any],
    *,
    heading: str,
    budget: Callable[[Row], str],
    faster: str,
    about: Sequence[str],
) -> Table:
    """Errors, verdicts, times and speed-ups, one section for each budget.

    `heading` and `budget` are the first column, `faster` the figure of the last; `about` are the
    lines below, without those that are empty.
    """
    worst = worst_class_differs(result["rows"])
    table = plain_table(
        (heading, True),
        ("method", False),
        ("by", False),
        ("error %", True),
        ("against random", True),
        ("", False),
        *[("worst", True)] * worst,
        ("select", True),
        ("train", True),
        ("faster", True),
    )
    whole = answers.everything(result)
    groups = answers.by_fraction(answers.series(result))
    if whole is not None:
        groups.append([("everything", whole)])
    for group in groups:
        for index, (_, row) in enumerate(group):
            worst_error = row.get("worst_class_error_mean")
            table.add_row(
                "" if index else budget(row),
                escape(": ".join(filter(None, (row["method"], row.get("taken"))))),
                escape(row.get("selector") or ""),
                quantities.with_spread(row["error_mean"], row.get("error_std")),
                *gap_cells(row.get("difference")),
                *["–" if worst_error is None else quantities.points(worst_error, 1)] * worst,
                quantities.brief_duration(row.get("selection_seconds")),
                quantities.brief_duration(row.get("target_seconds")),
                quantities.times(row.get(faster)),
            )
        table.add_section()
    table.caption = escape("\n".join(filter(None, about)))
    return table


def styles_of(by_name: Mapping[str, Sequence[Any]]) -> dict[str, Style]:
    """Random is grey; a method has one colour and marker, dashed where the target selects."""
    methods = list(dict.fromkeys(rows[0]["method"] for rows in by_name.values()))
    others = [method for method in methods if method != RANDOM]
    places = {method: 1 + i for i, method in enumerate(others)} | {RANDOM: 0}
    styles: dict[str, Style] = {}
    for name, rows in by_name.items():
        place = places[rows[0]["method"]]
        styles[name] = Style(
            name=name,
            hue=charts.hue_of(place - 1) if place else 0,
            shape=place % len(charts.MARKERS),
            stroke="dashed" if rows[0].get("selector") == "target" else "solid",
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
    by_name: Mapping[str, Sequence[Any]],
    styles: Mapping[str, Style],
    *,
    along: str = KEPT,
    unit: str = charts.POINTS,
) -> Markup | None:
    """Difference from random by budget, where there is one, in hundredths of what rows hold."""
    lines: list[charts.Line] = []
    for name, rows in by_name.items():
        found = [(row["keep"], row["difference"]) for row in rows if row.get("difference")]
        if found:
            points = [(keep, d["mean"], *interval(d)) for keep, d in found]
            lines.append(_line(styles[name], points))
    return charts.difference_chart(lines, along=along, unit=unit) if lines else None


def _line(style: Style, points: Sequence[tuple[float, ...]]) -> charts.Line:
    """Points are (keep, value, spread) or (keep, value, low, high), as fractions."""
    return charts.Line(
        fractions=[point[0] for point in points],
        values=[100 * point[1] for point in points],
        lows=[100 * (p[2] if len(p) == 4 else p[1] - p[2]) for p in points],
        highs=[100 * (p[3] if len(p) == 4 else p[1] + p[2]) for p in points],
        style=style,
    )
