"""The report of an online comparison: does choosing what gets a gradient step pay?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepers.reports import charts, describe, online_answers
from keepers.reports.answers import worst_class_differs
from keepers.reports.curves import Stroke, curve_chart
from keepers.reports.expenses import expenses
from keepers.reports.online_answers import BASELINES, EQUAL_TIME, FRESH, UNIFORM
from keepers.reports.page import as_yaml, write_page

MARKS = {
    "corrupted": "Changed labels",
    "low_relevance": "Of classes of low relevance",
    "duplicated": "There more than once",
    "correct": "Classified correctly before the step",
}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A fraction of what a method was trained on."""

    name: str
    share: float
    baseline: bool


def online_report(result: Mapping[str, Any], path: str | Path, *, overwrite: bool = True) -> Path:
    """Write a self-contained HTML report of an online comparison, and return its path.

    `result` is the JSON object that `keepers compare --online` writes.

    Raises:
        RunError: `path` exists and `overwrite` is false.
    """
    rows = result["rows"]
    config: Mapping[str, Any] = result["config"]
    strokes = _strokes(result)
    level = result["level"]
    return write_page(
        Path(path),
        "online.html",
        overwrite=overwrite,
        data=result["data"],
        seeds=result["seeds"],
        target=describe.model_name(config.get("target")),
        headline=online_answers.headline(result),
        answers=online_answers.answers(result),
        about_learning=online_answers.about_learning(result),
        about_verdicts=online_answers.about_verdicts(result),
        worst=worst_class_differs(rows, "worst_class_accuracy_mean"),
        corruption=online_answers.corruption(result),
        rows=rows,
        name_of=online_answers.name_of,
        timed={row["method"] for row in rows if online_answers.took_equal_time(row, result)},
        about_equal_time=online_answers.about_equal_time(result),
        strokes=strokes,
        charts=[
            ("Against steps", curve_chart(result["curves"], strokes, against="step", level=level)),
            (
                "Against seconds",
                curve_chart(result["curves"], strokes, against="seconds", level=level),
            ),
        ],
        level=level,
        targets=[
            (target, [(row, _entry(row, target)) for row in rows])
            for target in reversed(result["targets"])
        ],
        speedups=_speedups(result),
        equal_time=EQUAL_TIME,
        uniform=UNIFORM,
        uses=result["uses"],
        prepared=any(online_answers.has_preparation(row) for row in rows),
        not_reached=online_answers.not_reached(result),
        parts=_parts(result),
        quality=result.get("irreducible") or [],
        expenses=expenses(result.get("costs")),
        facts=result.get("hardware") or {},
        config=as_yaml(config),
    )


def _strokes(result: Mapping[str, Any]) -> list[Stroke]:
    """The baselines are grey, told apart by their stroke; each method has a colour."""
    grey = {UNIFORM: "solid", EQUAL_TIME: "dashed", FRESH: "dotted"}
    found: list[Stroke] = []
    hues = 0
    for row in result["rows"]:
        name = row["method"]
        if name in BASELINES:
            hue, stroke = 0, grey[name]
        else:
            hue = 1 + hues % (charts.NUM_SERIES - 1)
            stroke = "solid" if hues < charts.NUM_SERIES - 1 else "dashed"
            hues += 1
        found.append(
            Stroke(
                name=name,
                colour=charts.SERIES[hue],
                variable=f"series-{hue}",
                stroke=stroke,  # pyright: ignore[reportArgumentType]
            )
        )
    return found


def _entry(row: Mapping[str, Any], target: float) -> Mapping[str, Any]:
    return next(entry for entry in row["targets"] if entry["accuracy"] == target)


def _speedups(result: Mapping[str, Any]) -> list[tuple[float, list[tuple[Any, Any]]]]:
    """For each accuracy the rows with a speed-up to it, the highest accuracy first."""
    found: list[tuple[float, list[tuple[Any, Any]]]] = []
    for target in reversed(result["targets"]):
        pairs = [(row, _entry(row, target)) for row in result["rows"] if row["method"] != UNIFORM]
        there = [(row, entry) for row, entry in pairs if entry["speedup"].get(UNIFORM)]
        if there:
            found.append((target, there))
    return found


def _parts(result: Mapping[str, Any]) -> list[tuple[str, list[Bar]]]:
    """For each mark the bars of all methods."""
    rows = result["rows"]
    there = rows[0]["fractions"]
    return [
        (
            words,
            [
                Bar(
                    name=online_answers.name_of(row["method"]),
                    share=row["fractions"][mark],
                    baseline=row["method"] in BASELINES,
                )
                for row in rows
            ],
        )
        for mark, words in MARKS.items()
        if mark in there
    ]
