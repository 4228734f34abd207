"""What a pilot says of selecting, of examples and of conversations, at every budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keepers.reports import describe, quantities
from keepers.reports.advice_view import Cell, View, difference, saved
from keepers.reports.by_budget import differences_drawn, styles_of
from keepers.reports.tuning import loss
from keepers.words import counted, probability

HUNDREDTHS = "hundredths of a nat against random"


def coreset_view(result: Mapping[str, Any], *, drawn: bool) -> View:
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


def tuning_view(result: Mapping[str, Any], *, drawn: bool) -> View:
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


def _gap(found: Mapping[str, Any] | None, told: str | None) -> Cell:
    if found is None or told is None:
        return Cell(text="–")
    between = " to ".join(loss(found[end], 3, signed=True) for end in ("low", "high"))
    return Cell(text=loss(found["mean"], 3, signed=True), told=told, below=between)
