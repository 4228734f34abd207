"""What a pilot says, as a table and as a page: does selecting pay on these data?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from keepers.reports import describe, histogram, quantities
from keepers.reports.advice_view import Cell, View, difference
from keepers.reports.advise_selecting import coreset_view, tuning_view
from keepers.reports.by_budget import differences_drawn, errors_drawn, styles_of
from keepers.reports.page import as_yaml, write_page
from keepers.reports.terminal import plain_table
from keepers.words import counted

LABELS = "labels"


def advice_table(result: Mapping[str, Any]) -> RenderableType:
    """What a pilot says, for a terminal."""
    view = VIEWS[result["kind"]](result, drawn=False)
    shown = plain_table(*view.headings)
    for group in view.groups:
        for row in group:
            shown.add_row(*(cell.terminal for cell in row))
        shown.add_section()
    return Group(shown, Text(view.note, style="dim"))


def advice_report(result: Mapping[str, Any], path: str | Path, *, overwrite: bool = True) -> Path:
    """Write a self-contained HTML report of what a pilot says, and return its path.

    Raises:
        RunError: `path` exists and `overwrite` is false.
    """
    return write_page(
        Path(path),
        "advise.html",
        overwrite=overwrite,
        data=result["data"],
        view=VIEWS[result["kind"]](result, drawn=True),
        sentences=result["sentences"],
        config=as_yaml(result["config"]),
    )


def _online(result: Mapping[str, Any], *, drawn: bool) -> View:
    """What selecting among the candidates of a step costs, what it can save, and by what."""
    facts, made, seconds = result["facts"], result["irreducible"], result["seconds"]
    keep = result["config"]["keep"]

    def between(name: str) -> str:
        return " to ".join(quantities.percent(end) for end in facts[f"{name}_interval"])

    rows = [
        ("cost of a selecting step, in plain steps (m)", f"{facts['ratio']:.2f}", "measured"),
        (
            "value of a useful step, in plain steps",
            f"at most {facts['speedup']:.1f}",
            " to ".join(f"{end:.1f}" for end in facts["speedup_interval"]),
        ),
        ("redundant examples", quantities.percent(facts["redundant"]), between("redundant")),
        (
            "labels wrong or too hard",
            quantities.percent(facts["unlearnable"]),
            between("unlearnable"),
        ),
        (
            "irreducible-loss model, held-out accuracy",
            quantities.percent(made["accuracy"]),
            f"largest class {quantities.percent(made['majority'])}",
        ),
        ("plain training", quantities.duration(seconds["plain"]), f"{seconds['steps']:,} steps"),
        ("selecting, at best", quantities.duration(seconds["selecting"]), "without the losses"),
        ("selecting, at best", quantities.duration(seconds["charged"]), "with the losses"),
    ]
    likely = result["likely"]
    edges, useful, spared = (np.array(likely[name]) for name in ("edges", "useful", "spared"))
    chart = None
    if drawn:
        bins = histogram.Histogram(edges=edges, kept=useful, dropped=spared)
        name = "probability of the label, by the irreducible-loss model"
        chart = histogram.histogram_chart(bins, cut=None, name=name)
    return View(
        title=f"Does online selection pay? {facts['outlook'].capitalize()}",
        lead=f"Irreducible losses of {counted(made['examples'], 'example')}; target "
        f"{describe.model_name(result['config']['target'])}; {quantities.percent(keep)} of "
        "the candidates of a step are kept.",
        subject="The numbers",
        headings=[("", False), ("found", True), ("95% interval, or how", False)],
        groups=[[[Cell(text=text) for text in row] for row in rows]],
        note="These are bounds: at best, a selector trains only on examples that are neither "
        "redundant nor wrong. The 95% intervals are for a sample of this size; another "
        "irreducible-loss model changes the result more. keepers compare --online trains "
        "both.",
        charts=[("The examples, by the irreducible-loss model", chart)],
        chart_note="Green: worth a step. Grey, right: the model is already nearly sure. Grey, "
        "left: the label is wrong or too hard for the model.",
    )


def _labelling(result: Mapping[str, Any], *, drawn: bool) -> View:
    """What labels bring at every budget, by chance and by choice."""
    rows, pilot, score = result["rows"], result["pilot"], result["score"]
    model = describe.model_name(result["config"]["proxy"])
    groups: list[list[list[Cell]]] = []
    by_name: dict[str, list[Any]] = {}
    for row in rows:
        first = not groups or row["k"] != rows[sum(map(len, groups)) - 1]["k"]
        if first:
            groups.append([])
        found, gap = row["score"], row["difference"]
        low, high = (quantities.percent(found[end]) for end in ("low", "high"))
        taken = f": {quantities.listed(row['taken'])}" if row["taken"] else ""
        against = Cell(text="–") if gap is None else Cell(text=difference(gap), told=row["told"])
        groups[-1].append(
            [
                Cell(text=quantities.count(row["k"]) if first else ""),
                Cell(text=row["method"] + taken),
                Cell(text=f"{quantities.percent(found['mean'])} ({low} to {high})"),
                against if row["method"] != "random" else Cell(),
            ]
        )
        by_name.setdefault(row["method"], []).append(
            {
                **row,
                "keep": row["k"],
                "selector": None,
                "error_mean": 1 - found["mean"],
                "error_std": (found["high"] - found["low"]) / 2,
            }
        )
    styles, charts = styles_of(by_name), []
    if drawn:
        charts = [
            ("What labels bring", errors_drawn(by_name, styles, along=LABELS)),
            ("Against random labels", differences_drawn(by_name, styles, along=LABELS)),
        ]
    return View(
        title="What will labels bring, and does choosing them pay?",
        lead=f"Simulated campaigns on {counted(pilot['examples'], 'labelled example')} in "
        f"{counted(pilot['folds'], 'fold')}, with {model}, took "
        f"{quantities.duration(pilot['seconds'])}.",
        subject="Budgets and methods",
        headings=[
            ("labels", True),
            ("chosen", False),
            (f"held-out {score}", True),
            ("against random, points of error", True),
        ],
        groups=groups,
        note="95% intervals over the folds, widened for the labels that they share. Verdicts "
        "are corrected for the whole table (Holm, 5%); no difference: the interval lies "
        "within a point. A method has a verdict only if the pilot's pool had at least "
        "twice as many examples.",
        charts=[(title, chart) for title, chart in charts if chart],
        chart_note="95% intervals: below zero is better than as many random labels.",
        styles=list(styles.values()),
    )


VIEWS = {
    "advise": coreset_view,
    "advise-online": _online,
    "advise-labelling": _labelling,
    "advise-tuning": tuning_view,
}
