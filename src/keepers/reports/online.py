"""The report of an online comparison: does choosing what gets a gradient step pay?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from keepers.baselines import BASELINES, EQUAL_TIME, FRESH, UNIFORM
from keepers.reports import charts, describe, online_answers, quantities
from keepers.reports.answer import about_verdicts, worst_class_differs
from keepers.reports.curves import Axis, curve_chart
from keepers.reports.page import as_yaml, write_page
from keepers.reports.terminal import gap_cells, plain_table
from keepers.tasks import CLASSES

GREY: Mapping[str, charts.Stroke] = {UNIFORM: "solid", EQUAL_TIME: "dashed", FRESH: "dotted"}
"""The stroke of each baseline."""

CHARTS: Mapping[Axis, str] = {"step": "Against steps", "seconds": "Against seconds"}

MARKS = {
    "corrupted": "Changed labels",
    "low_relevance": "Of classes of low relevance",
    "duplicated": "There more than once",
    "correct": "{} before the step",
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
    styles = _styles(result)
    level = result["level"]
    score = result["data"].get("score", "accuracy")
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
        about_verdicts=about_verdicts(
            [
                found
                for row in online_answers.methods(result)
                for found in row["differences"].values()
            ]
        ),
        worst=worst_class_differs(rows, "worst_class_accuracy_mean"),
        corruption=online_answers.corruption(result),
        rows=rows,
        name_of=online_answers.name_of,
        timed={row["method"] for row in rows if online_answers.took_equal_time(row, result)},
        about_equal_time=online_answers.about_equal_time(result),
        styles=list(styles.values()),
        charts=[
            (title, curve_chart(result["curves"], styles, against=axis, level=level, score=score))
            for axis, title in CHARTS.items()
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
        expenses=result.get("costs") or [],
        facts=result.get("hardware") or {},
        config=as_yaml(config),
    )


def _styles(result: Mapping[str, Any]) -> dict[str, charts.Style]:
    """The baselines are grey, told apart by their stroke; each method has a colour."""
    methods = [row["method"] for row in result["rows"] if row["method"] not in BASELINES]
    found: dict[str, charts.Style] = {}
    for row in result["rows"]:
        method = row["method"]
        name = online_answers.name_of(method)
        if method in BASELINES:
            found[method] = charts.Style(name=name, hue=0, stroke=GREY[method])
        else:
            place = methods.index(method)
            many = place >= charts.NUM_SERIES - 1
            stroke = "dashed" if many else "solid"
            found[method] = charts.Style(name=name, hue=charts.hue_of(place), stroke=stroke)
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
    right = str(result["data"].get("right", CLASSES.right_words))
    right = right[:1].upper() + right[1:]
    return [
        (
            words.format(right),
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


def online_table(result: Mapping[str, Any]) -> Table:
    """Final accuracies and verdicts, and what the accuracy that uniform reaches took."""
    level = result["level"]
    worst = worst_class_differs(result["rows"], "worst_class_accuracy_mean")
    table = plain_table(
        ("method", False),
        (f"{result['data'].get('score', 'accuracy')} %", True),
        ("against equal time", True),
        ("", False),
        *[("worst", True)] * worst,
        (f"to {quantities.percent(level, 2)}: steps", True),
        ("time", True),
        ("in full", True),
        ("wrong", True),
    )
    for row in result["rows"]:
        timed = online_answers.took_equal_time(row, result)
        table.add_row(*_online_cells(row, level, timed=timed, worst=worst))
    about = online_answers.about_equal_time(result)
    learning = online_answers.about_learning(result)
    lines = (online_answers.headline(result), about, learning)
    table.caption = escape("\n".join(filter(None, lines)))
    return table


def _online_cells(
    row: Mapping[str, Any], level: float, *, timed: bool, worst: bool
) -> tuple[str, ...]:
    gap, verdict = gap_cells(row["differences"].get(EQUAL_TIME))
    entry = online_answers.at_level(row, level)
    taken = ("–", "–", "–")
    if entry is not None and entry["step"] is None:
        reached = f"{entry['reached']} of {entry['of']}" if entry["reached"] else "not reached"
        taken = (reached, "–", "–")
    elif entry is not None:
        full = entry["seconds"]["full"]
        taken = (
            quantities.count(entry["step"]),
            quantities.brief_duration(entry["seconds"]["none"]),
            "unknown" if full is None else quantities.brief_duration(full),
        )
    equal_time = row["method"] == EQUAL_TIME
    return (
        "equal time" if equal_time else escape(str(row["method"])),
        quantities.with_spread(row["accuracy_mean"], row["accuracy_std"]),
        gap,
        verdict if timed else "",
        *[quantities.points(row["worst_class_accuracy_mean"], 1)] * worst,
        *taken,
        quantities.percent(row["fractions"].get("corrupted"), 0),
    )
