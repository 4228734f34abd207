"""The report of a comparison: does selection beat random on these data, and what does it save?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from keepers.reports import answers, charts, describe
from keepers.reports.expenses import expenses
from keepers.reports.online import online_report
from keepers.reports.page import as_yaml, write_page


@dataclass(frozen=True, kw_only=True)
class Style:
    """How one way of selecting is drawn; the legend under the chart says the same."""

    name: str
    colour: str
    variable: str
    marker: str
    glyph: str
    dashed: bool


@dataclass(frozen=True, kw_only=True)
class Heat:
    """One cell of an agreement matrix; `ceiling` where both are seeds of the same model."""

    text: str
    strength: float
    ceiling: bool


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Agreement of the ranks that several models give, by one correlation."""

    heading: str
    models: Sequence[str]
    rows: list[list[Heat]]


def compare_report(result: Mapping[str, Any], path: str | Path, *, overwrite: bool = True) -> Path:
    """Write a self-contained HTML report of a comparison, and return its path.

    `result` is the JSON object that `keepers compare` writes, with or without `--online`.

    Raises:
        RunError: `path` exists and `overwrite` is false.
    """
    if result.get("kind") == "compare-online":
        return online_report(result, path, overwrite=overwrite)
    by_name = answers.series(result)
    styles = _styles(by_name)
    whole = answers.everything(result)
    agreement = result.get("agreement") or []
    config: Mapping[str, Any] = result.get("config") or {}
    facts = {key: config[key] for key in ("proxy", "target") if config.get(key)}
    facts |= result.get("hardware") or {}
    facts |= result.get("facts") or {}
    return write_page(
        Path(path),
        "compare.html",
        overwrite=overwrite,
        data=result["data"],
        facts=facts,
        target=describe.model_name(facts.get("target")),
        proxy=describe.model_name(facts.get("proxy")),
        changed=any(row.get("changed_labels") is not None for row in result["rows"]),
        seeds=result["seeds"],
        headline=answers.headline(result),
        answers=answers.answers(result),
        inconclusive=answers.why_inconclusive(result),
        nearest=answers.against_everything(result),
        chart=_chart(by_name, styles, whole),
        differences=_differences(by_name, styles),
        styles=list(styles.values()),
        whole=whole,
        groups=answers.by_fraction(by_name),
        agreement=[
            {
                "score": one["score"],
                "words": answers.noise_ceiling(one),
                "matrices": [_matrix(one, "spearman"), _matrix(one, "pearson")],
            }
            for one in agreement
        ],
        expenses=expenses(result.get("costs")),
        config=as_yaml(config),
    )


def _styles(by_name: Mapping[str, Sequence[Any]]) -> dict[str, Style]:
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


def _chart(
    by_name: Mapping[str, Sequence[Any]], styles: Mapping[str, Style], whole: Any
) -> Markup | None:
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
    return charts.error_chart(lines, everything=level)


def _differences(
    by_name: Mapping[str, Sequence[Any]], styles: Mapping[str, Style]
) -> Markup | None:
    lines: list[charts.Line] = []
    for name, rows in by_name.items():
        found = [(row["keep"], row["difference"]) for row in rows if row.get("difference")]
        if found:
            points = [(keep, d["mean"], *answers.interval(d)) for keep, d in found]
            lines.append(_line(styles[name], points))
    return charts.difference_chart(lines) if lines else None


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


def _matrix(agreement: Mapping[str, Any], kind: str) -> Matrix:
    models = agreement["models"]
    roles = [answers.role_of(model) for model in models]
    rows = [
        [
            Heat(
                text="–" if value is None else f"{value:.2f}".replace("-", "−"),
                strength=0.0 if value is None else round(75 * max(0.0, value) ** 2, 1),
                ceiling=i != j and roles[i] == roles[j],
            )
            for j, value in enumerate(values)
        ]
        for i, values in enumerate(agreement[kind])
    ]
    return Matrix(heading=kind.capitalize(), models=models, rows=rows)
