"""From the trials of a simulation to its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keepers.experiments.summary import RANDOM, Selector
from keepers.ledger import Cost
from keepers.statistics import Difference, paired_difference, standard_deviation


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One target, trained on what one campaign has labelled so far.

    `keep` is that as a fraction of the pool, `k` as a count. `selection` is what choosing all of
    it cost, `target` what training the target on it cost.
    """

    method: str
    selector: Selector | None
    keep: float
    k: int
    seed: int
    test_error: float
    worst_class_error: float
    selection: Cost
    target: Cost
    near_duplicates: int = 0


Key = tuple[str, Selector | None, int]


def summarise(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """One row for each method, selector and budget: means over seeds, against random, speed-up.

    `selection_speedup_*` of a proxy's row: what the target's own selection at the same budget
    took, over what the proxy's took; `against_target`: its error less that after the target's.
    """
    groups: dict[Key, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.seed):
        group = groups.setdefault((trial.method, trial.selector, trial.k), [])
        assert all(trial.seed != other.seed for other in group), "one trial for each seed"
        group.append(trial)
    rows: list[dict[str, Any]] = []
    for (method, selector, k), group in groups.items():
        random = groups[RANDOM, None, k] if method != RANDOM else None
        target = groups.get((method, "target", k)) if selector == "proxy" else None
        rows.append(_row(group, random, target))
    return rows


def _row(
    trials: Sequence[Trial], random: Sequence[Trial] | None, target: Sequence[Trial] | None
) -> dict[str, Any]:
    first = trials[0]
    errors = [trial.test_error for trial in trials]
    worst = [trial.worst_class_error for trial in trials]
    found: dict[str, Any] = {
        "method": first.method,
        "selector": first.selector,
        "keep": first.keep,
        "k": first.k,
        "errors": errors,
        "error_mean": float(np.mean(errors)),
        "error_std": standard_deviation(errors),
        "worst_class_errors": worst,
        "worst_class_error_mean": float(np.mean(worst)),
        "difference": _difference(trials, random),
        "against_target": _difference(trials, target),
        "near_duplicates": float(np.mean([trial.near_duplicates for trial in trials])),
        "steps": first.target.steps,
    }
    for unit in ("seconds", "flops"):
        selection, training = _mean(trials, "selection", unit), _mean(trials, "target", unit)
        found[f"selection_{unit}"] = selection
        found[f"target_{unit}"] = training
        found[f"end_to_end_{unit}"] = selection + training
        speedup = None
        if target and selection:
            speedup = _mean(target, "selection", unit) / selection
        found[f"selection_speedup_{unit}"] = speedup
    return found


def _difference(trials: Sequence[Trial], others: Sequence[Trial] | None) -> Difference | None:
    if not others:
        return None
    paired = {trial.seed: trial.test_error for trial in others}
    errors = [trial.test_error for trial in trials]
    return paired_difference(errors, [paired[trial.seed] for trial in trials])


def _mean(trials: Sequence[Trial], part: str, unit: str) -> float:
    return float(np.mean([getattr(getattr(trial, part), unit) for trial in trials]))


def reached(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Labels that each way of choosing needed to reach the final error of random.

    The first of the budgets measured whose mean error is no higher than that of random at the
    last one, and the labels saved; None where no budget was enough.
    """
    final = max((row for row in rows if row["method"] == RANDOM), key=lambda row: row["k"])
    ways = dict.fromkeys((row["method"], row["selector"]) for row in rows)
    found: list[dict[str, Any]] = []
    for method, selector in ways:
        enough = [
            row["k"]
            for row in rows
            if (row["method"], row["selector"]) == (method, selector)
            and row["error_mean"] <= final["error_mean"]
        ]
        labels = min(enough, default=None)
        saving = None if labels is None else 1 - labels / final["k"]
        found.append({"method": method, "selector": selector, "labels": labels, "saving": saving})
    return {"error": final["error_mean"], "labels": final["k"], "rows": found}
