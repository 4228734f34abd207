"""What a simulation says in words: what selection took by each selector, and the labels it saved.

A simulation is the JSON object that `keepers active simulate` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keepers.baselines import RANDOM
from keepers.reports import answers, quantities
from keepers.reports.answer import Row
from keepers.words import counted
from keepers.workflows.active.judging import about_ceiling


def paces(result: Mapping[str, Any]) -> list[tuple[Row, Row]]:
    """Where both selected: the proxy's row and the target's, in the order of the rows."""
    rows = result["rows"]
    target = {(row["method"], row["k"]): row for row in rows if row["selector"] == "target"}
    return [
        (row, target[row["method"], row["k"]])
        for row in rows
        if row["selector"] == "proxy" and (row["method"], row["k"]) in target
    ]


def about_selection(result: Mapping[str, Any]) -> str:
    """How much faster the proxy selects, and whether that costs accuracy, at the last budget."""
    found = [row for row, _ in paces(result)]
    if not found:
        return ""
    last = [row for row in found if row["k"] == max(each["k"] for each in found)]
    ratios = sorted(row["selection_speedup_seconds"] or 0.0 for row in last)
    spread = quantities.times(ratios[0])
    if len(ratios) > 1:
        spread = f"{spread} to {quantities.times(ratios[-1])}"
    by_verdict = {
        verdict: [
            row["method"]
            for row in last
            if row["against_target"] and row["against_target"]["verdict"] == verdict
        ]
        for verdict in ("better", "worse", "inconclusive", "cannot tell")
    }
    words = {
        "better": "with a lower error for {}",
        "worse": "with a higher error for {}",
        "inconclusive": "with an error that does not clearly differ from the target's for {}",
        "cannot tell": "with a target that was still learning for {}",
    }
    parts = [
        text.format(quantities.listed(by_verdict[verdict]))
        for verdict, text in words.items()
        if by_verdict[verdict]
    ]
    return (
        f"Up to {quantities.percent(last[0]['keep'])} labelled, the proxy selected {spread} as "
        f"fast as the target itself, {'; '.join(parts)}."
    )


def differences(result: Mapping[str, Any]) -> list[Row]:
    """Every difference that has a verdict: from random, and from the target's own choice."""
    found = [row[name] for row in result["rows"] for name in ("difference", "against_target")]
    return [difference for difference in found if difference]


def label_savings(result: Mapping[str, Any]) -> list[str]:
    """One sentence for each way of choosing: the labels it needed for the final error of random."""
    goal = result["reached"]
    found: list[str] = []
    for row in goal["rows"]:
        if row["method"] == RANDOM:
            continue
        name = answers.name_of(row)
        if row["labels"] is None:
            found.append(f"{name}: not reached")
        else:
            saved = f", {quantities.percent(row['saving'], 0)} fewer" if row["saving"] else ""
            words = f"{name}: {counted(row['labels'], 'label')}{saved}"
            found.append(f"{words} ({_certainty(row)})")
    return found


def _certainty(row: Row) -> str:
    """The difference at the first budget that was enough, and from where it is beyond chance."""
    gap = row["difference"]
    words = f"{quantities.points(gap['mean'], signed=True)} points"
    if gap["low"] is not None:
        low, high = (quantities.points(gap[end], signed=True) for end in ("low", "high"))
        words += f", {low} to {high}"
    if row["certain"] is None:
        return f"{words}; at no budget significantly lower"
    if row["certain"] == row["labels"]:
        return f"{words}; lower beyond chance"
    return f"{words}; significantly lower from {counted(row['certain'], 'label')} on"


def about_agreement(result: Mapping[str, Any]) -> str:
    """Mean agreement over rounds and methods, with the ceilings."""
    found: Sequence[Row] = result["agreement"]
    if not found:
        return ""
    means = {
        name: sum(row[name] for row in found) / len(found)
        for name in ("proxy_target", "proxy_seeds", "target_seeds")
    }
    told = about_ceiling({**means, "sample": min(row["sample"] for row in found)})
    return (
        f"Over all rounds, proxy and target agree at Spearman {means['proxy_target']:.2f}. Two "
        f"seeds of the same model agree at {means['proxy_seeds']:.2f} for the proxy and "
        f"{means['target_seeds']:.2f} for the target: {told}."
    )
