"""From learning curves to the rows of an online comparison."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from keepers.experiments.convergence import UNTOLD
from keepers.experiments.trial import Row, Trial, by_way, differences, mean
from keepers.ledger import Cost
from keepers.statistics import Difference, standard_deviation
from keepers.training import Point

Curve = Sequence[Mapping[str, float]]
COUNTED = ("epoch", "step", "examples")
CHARGED = ("flops", "seconds")
BELOW = (0.0, 0.01, 0.02, 0.05)  # the default targets: so far below what uniform reaches
_MEASURED = frozenset(field.name for field in fields(Point)) - {"correct"}


@dataclass(frozen=True, kw_only=True)
class OnlineTrial(Trial):
    """One target, trained with one selection.

    `preparation` is what had to be made before: irreducible losses, a core-set; None where its
    cost is not known.
    """

    curve: Curve
    epochs: float
    candidates: int
    choosing_seconds: float
    preparation: Cost | None
    trained_on: int
    hand_over: Mapping[str, Any] | None = None


def reached(curve: Curve, target: float) -> Mapping[str, float] | None:
    """The first of two evaluations in a row with an accuracy of `target` or more.

    >>> curve = [{"step": s, "accuracy": a} for s, a in ((1, 0.9), (2, 0.7), (3, 0.8), (4, 0.9))]
    >>> reached(curve, 0.8)["step"], reached(curve, 0.9)
    (3, None)
    """
    for here, after in itertools.pairwise(curve):
        if min(here["accuracy"], after["accuracy"]) >= target:
            return here
    return None


def held(curve: Curve) -> float:
    """The highest accuracy that `reached` finds; 0 with fewer than two evaluations.

    >>> held([{"accuracy": 0.9}, {"accuracy": 0.7}, {"accuracy": 0.8}])
    0.7
    """
    pairs = itertools.pairwise(point["accuracy"] for point in curve)
    return max((min(pair) for pair in pairs), default=0.0)


def composition(curve: Curve) -> dict[str, float]:
    """Of everything that was trained on, the fraction that was right, or that a mark covers.

    Each evaluation counts by the examples since the one before, also where the fraction is 0.

    >>> found = composition([{"examples": 10, "correct": 0.0}, {"examples": 40, "correct": 0.8}])
    >>> round(found["correct"], 6)
    0.6
    """
    seen = [point["examples"] for point in curve]
    new = [after - before for before, after in itertools.pairwise([0, *seen])]
    names = [name for name in (curve[0] if curve else {}) if name not in _MEASURED]
    total = max(1, sum(new))
    return {
        name: sum(point[name] * n for point, n in zip(curve, new, strict=True)) / total
        for name in names
    }


def level_of(baseline: Sequence[OnlineTrial]) -> float:
    """The accuracy that uniform reaches in every seed, rounded down to a tenth of a point."""
    return math.floor(1000 * min(held(trial.curve) for trial in baseline) + 1e-9) / 1000


def targets_of(level: float, asked: Sequence[float]) -> list[float]:
    """The accuracies to reach, the lowest first: those asked for, or what uniform reaches and less.

    >>> targets_of(0.97, ()), targets_of(0.97, (0.9,))
    ([0.92, 0.95, 0.96, 0.97], [0.9, 0.97])
    """
    wanted = [*asked, level] if asked else [round(level - below, 3) for below in BELOW]
    return sorted({target for target in wanted if target > 0})


def summarise(
    trials: Sequence[OnlineTrial],
    *,
    uniform: str,
    baselines: Sequence[str],
    asked: Sequence[float] = (),
    uses: int = 1,
) -> dict[str, Any]:
    """The targets, and one row for each method: means over seeds, and against the baselines.

    Preparation is charged to a training in three ways: `none` of it, a `shared` part
    (1 / `uses`), and in `full`.
    """
    groups = {method: group for (method,), group in by_way(trials).items()}
    groups = {name: groups[name] for name in (*baselines, *groups) if name in groups}
    level = level_of(groups[uniform])
    targets = targets_of(level, asked)
    charges = {"none": 0.0, "shared": 1 / uses, "full": 1.0}
    times = {
        name: [_to_target(group, target, charges) for target in targets]
        for name, group in groups.items()
    }
    for name, entries in times.items():
        for place, entry in enumerate(entries):
            entry["speedup"] = {
                other: _speedup(times[other][place], entry)
                for other in baselines
                if other in times and other != name
            }
    rows = [_row(group, charges) | {"targets": times[name]} for name, group in groups.items()]
    rows = with_differences(rows, baselines)
    return {"level": level, "targets": targets, "uses": uses, "rows": rows}


def _to_target(
    trials: Sequence[OnlineTrial], target: float, charges: Mapping[str, float]
) -> dict[str, Any]:
    points = [reached(trial.curve, target) for trial in trials]
    there = [point for point in points if point is not None]
    entry: dict[str, Any] = {
        "accuracy": target,
        "reached": len(there),
        "of": len(points),
        "points": [
            None if point is None else {name: point[name] for name in (*COUNTED, *CHARGED)}
            for point in points
        ],
    }
    if len(there) < len(points):  # a mean over the seeds that got there would flatter
        return entry | dict.fromkeys((*COUNTED, *CHARGED))
    for name in COUNTED:
        entry[name] = mean([point[name] for point in there])
    for name in CHARGED:
        entry[name] = _charged(trials, name, [point[name] for point in there], charges)
    return entry


def _charged(
    trials: Sequence[OnlineTrial], name: str, values: Sequence[float], charges: Mapping[str, float]
) -> dict[str, float | None]:
    """By charge, the mean of the values plus that part of the preparation; None if unknown."""
    before = [trial.preparation for trial in trials]
    found: dict[str, float | None] = {}
    for charge, part in charges.items():
        if part and any(cost is None for cost in before):
            found[charge] = None
            continue
        more = [part * getattr(cost, name) if cost is not None else 0.0 for cost in before]
        found[charge] = mean([value + extra for value, extra in zip(values, more, strict=True)])
    return found


def _speedup(baseline: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """Ratios of means, baseline over method; None where either did not get there in each seed."""
    if baseline["step"] is None or entry["step"] is None:
        return None
    found: dict[str, Any] = {name: _ratio(baseline[name], entry[name]) for name in COUNTED}
    for name in CHARGED:
        found[name] = {
            charge: _ratio(baseline[name]["none"], value) for charge, value in entry[name].items()
        }
    return found


def _row(trials: Sequence[OnlineTrial], charges: Mapping[str, float]) -> dict[str, Any]:
    accuracies = [trial.curve[-1]["accuracy"] for trial in trials]
    worst = [trial.curve[-1]["worst_class_accuracy"] for trial in trials]
    parts = [composition(trial.curve) for trial in trials]
    preparations = [trial.preparation for trial in trials]
    known = [cost for cost in preparations if cost is not None]
    return {
        "method": trials[0].method,
        "seeds": [trial.seed for trial in trials],
        "accuracies": accuracies,
        "accuracy_mean": mean(accuracies),
        "accuracy_std": standard_deviation(accuracies),
        "worst_class_accuracies": worst,
        "worst_class_accuracy_mean": mean(worst),
        "trained_on": trials[0].trained_on,
        "steps": mean([trial.target.steps for trial in trials]),
        "epochs": mean([trial.epochs for trial in trials]),
        "examples": mean([trial.target.examples for trial in trials]),
        "candidates": mean([trial.candidates for trial in trials]),
        "choosing_seconds": mean([trial.choosing_seconds for trial in trials]),
        "step_seconds": [trial.target.seconds / max(1, trial.target.steps) for trial in trials],
        "preparation": None
        if len(known) < len(preparations)
        else {name: mean([getattr(cost, name) for cost in known]) for name in CHARGED},
        "fractions": {name: mean([part[name] for part in parts]) for name in parts[0]},
    } | {
        name: _charged(trials, name, [getattr(trial.target, name) for trial in trials], charges)
        for name in CHARGED
    }


def with_differences(rows: Sequence[Row], baselines: Sequence[str]) -> list[dict[str, Any]]:
    """The rows, each with its differences from the baselines: final accuracies, above 0 is better.

    The differences of the methods are tested as one family, those of the baselines as another.
    """
    others = [row for row in rows if row["method"] in baselines]
    found: dict[str, dict[str, Any]] = {row["method"]: {} for row in rows}
    for family in ([row for row in rows if row["method"] not in baselines], others):
        pairs = {
            (row["method"], other["method"]): (_errors(row), _errors(other))
            for row in family
            for other in others
            if other is not row
        }
        for (method, other), difference in differences(pairs).items():
            found[method][other] = _as_accuracies(difference)
    return [{**row, "differences": found[row["method"]]} for row in rows]


def without_verdicts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows, their differences without verdict: the baseline was still learning."""
    return [
        {
            **row,
            "differences": {
                name: {**found, "verdict": UNTOLD} for name, found in row["differences"].items()
            },
        }
        for row in rows
    ]


def _errors(row: Row) -> list[float]:
    return [1 - accuracy for accuracy in row["accuracies"]]


def _as_accuracies(found: Difference) -> dict[str, Any]:
    return asdict(found) | {
        "mean": -found.mean,
        "low": None if found.high is None else -found.high,
        "high": None if found.low is None else -found.low,
    }


def _ratio(baseline: float | None, value: float | None) -> float | None:
    return baseline / value if baseline is not None and value else None
