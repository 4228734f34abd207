"""What a pilot says, as a table and as a page: does selecting pay on these data?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from keepers.reports import describe, histogram, quantities
from keepers.reports.by_budget import Style, differences_drawn, errors_drawn, styles_of
from keepers.reports.page import as_yaml, write_page
from keepers.reports.terminal import plain_table
from keepers.reports.tuning import loss
from keepers.words import counted, probability

_COLOURS = {"better": "green", "worse": "red"}
LABELS = "labels"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one cell of the table says: a verdict beside it, and below it what a page has room for.

    >>> Cell(text="−1.00", told="better", below="−2.00 to 0.00").terminal
    '−1.00 [green]better[/]'
    """

    text: str = ""
    told: str = ""
    below: str = ""

    @property
    def terminal(self) -> str:
        """The same for a terminal, whose columns are narrow."""
        colour = _COLOURS.get(self.told)
        told = f"[{colour}]{self.told}[/]" if colour else self.told
        return " ".join(filter(None, (escape(self.text), told)))


@dataclass(frozen=True, kw_only=True)
class View:
    """What is shown of one advice, whoever shows it: groups of rows of cells below their headings.

    `headings` are names, and whether they hold numbers.
    """

    title: str
    lead: str
    subject: str
    headings: Sequence[tuple[str, bool]]
    groups: Sequence[Sequence[Sequence[Cell]]]
    note: str
    charts: Sequence[tuple[str, Markup | None]] = ()
    chart_note: str = ""
    styles: Sequence[Style] = field(default_factory=tuple[Style, ...])


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


def _coreset(result: Mapping[str, Any], *, drawn: bool) -> View:
    """Every method at every budget: what the pilot says, and what selecting costs and saves."""
    rows, pilot, target = result["rows"], result["pilot"], result["target"]
    fresh = any(row["fresh"] for row in rows)
    groups: list[list[list[Cell]]] = []
    for keep, taken in result["take"].items():
        here = [row for row in rows if row["keep"] == float(keep)]
        groups.append(
            [
                [
                    Cell(text=quantities.percent(row["keep"]) if not place else ""),
                    Cell(text=row["method"] + (" *" if row["method"] == taken else "")),
                    Cell(text=difference(row["error"]), told=row["told"]),
                    Cell(text=probability(row["probability"])),
                    _briefly(row, "stratified"),
                    *[_briefly(row, "fresh")] * fresh,
                    Cell(text=quantities.brief_duration(row["selection_seconds"])),
                    Cell(text=saved(row["saved_seconds"])),
                ]
                for place, row in enumerate(here)
            ]
        )
    by_name: dict[str, list[Any]] = {}
    for row in rows:
        by_name.setdefault(row["method"], []).append(
            {**row, "difference": row["error"], "selector": None}
        )
    styles = styles_of(by_name)
    alike = 100 * pilot.get("alike", 0.01)
    note = (
        f"* the choice of --method auto. Points of error (1 − {result['score']}), below 0 is "
        "better; 95% intervals. Chance: the probability that it is better than random. Better "
        "or worse: with a probability of 95% or more; = no difference: the interval lies within "
        f"{'a point' if alike == 1 else f'{alike:.2g} points'}; ? cannot tell. The pilot uses a "
        "small model on a part of the data: a large target or much more data may differ. "
    )
    if fresh:
        note += (
            f"Fresh random: a new random part in each of {target['epochs']} epochs, for the same "
            "number of steps; its gain over a fixed part is measured with a linear model "
            "trained in steps. "
        )
    return View(
        title="Does selecting pay?",
        lead=f"A pilot on {counted(pilot['examples'], 'example')} in "
        f"{counted(pilot['folds'], 'fold')}, measured on "
        f"{quantities.count(pilot['judged'])} of them, with "
        f"{describe.model_name(result['config']['proxy'])}, took "
        f"{quantities.duration(pilot['seconds'])}; training {target['model']} on everything "
        f"takes about {quantities.duration(target['seconds'])}.",
        subject="Methods and budgets",
        headings=[
            ("kept", True),
            ("method", False),
            ("against random, points", True),
            ("chance", True),
            ("stratified", True),
            *[("fresh random", True)] * fresh,
            ("select", True),
            ("saves", True),
        ],
        groups=groups,
        note=f"{note}keepers compare trains the target itself.",
        charts=[("Against a random choice", differences_drawn(by_name, styles))] if drawn else (),
        chart_note="Points of error on held-out data, with 95% intervals: below zero is better "
        "than a random choice of the same size.",
        styles=list(styles.values()),
    )


def _briefly(row: Mapping[str, Any], baseline: str) -> Cell:
    found = row[baseline]
    if found is None:
        return Cell(text="–")
    low, high = (quantities.points(found[name]) for name in ("low", "high"))
    told = {"no difference": "=", "cannot tell": "?"}.get(row[f"told_{baseline}"])
    return Cell(
        text=quantities.points(found["mean"]),
        told=told or row[f"told_{baseline}"],
        below=f"{low} to {high}",
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


def _tuning(result: Mapping[str, Any], *, drawn: bool) -> View:
    """Every choice of conversations at every budget, against random and against the longest."""
    pilot, target = result["pilot"], result["target"]
    groups: list[list[list[Cell]]] = []
    by_name: dict[str, list[Any]] = {}
    for keep, taken in result["take"].items():
        here = [row for row in result["rows"] if row["keep"] == float(keep)]
        groups.append(
            [
                [
                    Cell(text=quantities.percent(row["keep"]) if not place else ""),
                    Cell(text=row["method"] + (" *" if row["method"] == taken else "")),
                    Cell(text=quantities.count(round(row["rows"]))),
                    Cell(text=loss(row["loss_mean"], 3)),
                    _gap(row["difference"], row["told"]),
                    _gap(row["from_longest"], row["told_longest"]),
                    Cell(text=quantities.brief_duration(row["selection_seconds"])),
                    Cell(text=saved(row["saved_seconds"])),
                ]
                for place, row in enumerate(here)
            ]
        )
        for row in here:
            by_name.setdefault(row["method"], []).append({**row, "selector": None})
    styles = styles_of(by_name)
    return View(
        title="Does selecting pay?",
        lead=f"{counted(pilot['draws'], 'draw')} of {quantities.count(pilot['tokens'])} of "
        f"{quantities.count(result['data']['tokens'])} tokens, each measured on "
        f"{counted(pilot['judged'], 'conversation')} held out. Tuning copies of "
        f"{target['model']} for {counted(pilot['steps'], 'step')} or more took "
        f"{quantities.duration(pilot['seconds'])}; tuning it on everything, "
        f"{counted(target['epochs'], 'pass', 'passes')}, takes about "
        f"{quantities.duration(target['seconds'])}.",
        subject="Methods and budgets",
        headings=[
            ("kept", True),
            ("tuned on", False),
            ("rows", True),
            ("loss", True),
            ("against random", True),
            ("against the longest", True),
            ("select", True),
            ("saves", True),
        ],
        groups=groups,
        note="* the recommended choice. Nats per token of held-out answers, below 0 is better; "
        "95% intervals over the draws, widened if these share conversations. All verdicts "
        "are corrected together (Holm, 5%). No difference: the interval lies within 0.01. "
        "The pilot's budgets are small: a method that pays there may not pay with ten "
        "times the tokens. keepers compare tunes on the budget itself.",
        charts=[("Against a random part", differences_drawn(by_name, styles, unit=HUNDREDTHS))]
        if drawn
        else (),
        chart_note="Hundredths of a nat per token (about percent of perplexity), with 95% "
        "intervals: below zero is better than a random part with as many tokens.",
        styles=list(styles.values()),
    )


HUNDREDTHS = "hundredths of a nat against random"


def _gap(found: Mapping[str, Any] | None, told: str | None) -> Cell:
    if found is None or told is None:
        return Cell(text="–")
    between = " to ".join(loss(found[end], 3, signed=True) for end in ("low", "high"))
    return Cell(text=loss(found["mean"], 3, signed=True), told=told, below=between)


VIEWS = {
    "advise": _coreset,
    "advise-online": _online,
    "advise-labelling": _labelling,
    "advise-tuning": _tuning,
}


def difference(found: Mapping[str, Any]) -> str:
    """A difference in points and its interval.

    >>> difference({"mean": -0.01, "low": -0.02, "high": 0.0})
    '−1.00 (−2.00 to 0.00)'
    """
    mean, low, high = (quantities.points(found[name]) for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def saved(seconds: float) -> str:
    """Seconds saved end to end; what is lost says so.

    >>> saved(-2.0)
    'costs 2.0s'
    """
    told = quantities.brief_duration(abs(seconds))
    return told if seconds > 0 else f"costs {told}"
