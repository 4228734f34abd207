"""From the trials of a simulation to its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keepers.experiments.summary import (
    RANDOM,
    BaselineOf,
    Row,
    Selector,
    random_of,
    with_differences,
)
from keepers.ledger import Cost
from keepers.statistics import standard_deviation


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
    rows = [_row(group) for group in groups.values()]
    with_target = target_of(rows)
    for row in rows:
        target = with_target(row)
        for unit in ("seconds", "flops"):
            own = row[f"selection_{unit}"]
            known = target[f"selection_{unit}"] if target else 0.0  # 0: operations nobody counts
            row[f"selection_speedup_{unit}"] = known / own if known and own else None
    return with_differences(rows, difference=random_of(rows), against_target=with_target)


def target_of(rows: Sequence[Row]) -> BaselineOf:
    """What gives a proxy's row the row of the target's own choice, at the same budget."""
    targets = {(row["method"], row["k"]): row for row in rows if row["selector"] == "target"}
    return lambda row: (
        targets.get((row["method"], row["k"])) if row["selector"] == "proxy" else None
    )


def _row(trials: Sequence[Trial]) -> dict[str, Any]:
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
        "near_duplicates": float(np.mean([trial.near_duplicates for trial in trials])),
        "steps": first.target.steps,
    }
    for unit in ("seconds", "flops"):
        selection, training = _mean(trials, "selection", unit), _mean(trials, "target", unit)
        found[f"selection_{unit}"] = selection
        found[f"target_{unit}"] = training
        found[f"end_to_end_{unit}"] = selection + training
    return found


def _mean(trials: Sequence[Trial], part: str, unit: str) -> float:
    return float(np.mean([getattr(getattr(trial, part), unit) for trial in trials]))


def reached(rows: Sequence[Row]) -> dict[str, Any]:
    """Labels that each way of choosing needed to reach the final error of random.

    `labels` is the first of the budgets measured whose mean error is no higher than that of random
    at the last one, `saving` the labels saved, `difference` what lies between the two errors there;
    None where no budget was enough. `certain` is the first budget at which the error is lower
    beyond chance, all ways and budgets taken together.
    """
    final = max((row for row in rows if row["method"] == RANDOM), key=lambda row: row["k"])
    ways: dict[tuple[str, Selector | None], list[Row]] = {}
    for row in with_differences(rows, difference=lambda row: None if row is final else final):
        ways.setdefault((row["method"], row["selector"]), []).append(row)
    return {
        "error": final["error_mean"],
        "labels": final["k"],
        "rows": [
            {"method": method, "selector": selector, **_labels(way, final)}
            for (method, selector), way in ways.items()
        ],
    }


def _labels(way: Sequence[Row], final: Row) -> dict[str, Any]:
    way = sorted(way, key=lambda row: row["k"])
    enough = [row for row in way if row["error_mean"] <= final["error_mean"]]
    sure = [row for row in way if row["difference"] and row["difference"].verdict == "better"]
    return {
        "labels": enough[0]["k"] if enough else None,
        "saving": 1 - enough[0]["k"] / final["k"] if enough else None,
        "difference": enough[0]["difference"] if enough else None,
        "certain": sure[0]["k"] if sure else None,
    }
