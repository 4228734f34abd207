"""From the trials of a simulation to its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keepers.baselines import RANDOM
from keepers.experiments.summary import (
    BaselineOf,
    ChoiceTrial,
    Chooser,
    costs_of,
    errors_of,
    random_of,
    with_differences,
)
from keepers.experiments.trial import UNITS, Row, by_way, mean


def summarise(trials: Sequence[ChoiceTrial]) -> list[dict[str, Any]]:
    """One row for each method, selector and budget: means over seeds, against random, speed-up.

    `selection_speedup_*` of a proxy's row: what the target's own selection at the same budget
    took, over what the proxy's took; `against_target`: its error less that after the target's.
    """
    rows: list[dict[str, Any]] = [
        {
            "method": method,
            "selector": selector,
            **errors_of(group),
            "near_duplicates": mean([trial.near_duplicates for trial in group]),
            **costs_of(group),
        }
        for (method, selector, _), group in by_way(trials).items()
    ]
    with_target = target_of(rows)
    for row in rows:
        target = with_target(row)
        for unit in UNITS:
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


def reached(rows: Sequence[Row]) -> dict[str, Any]:
    """Labels that each way of choosing needed to reach the final error of random.

    `labels` is the first of the budgets measured whose mean error is no higher than that of random
    at the last one, `saving` the labels saved, `difference` what lies between the two errors there;
    None where no budget was enough. `certain` is the first budget at which the error is lower
    beyond chance, all ways and budgets taken together.
    """
    final = max((row for row in rows if row["method"] == RANDOM), key=lambda row: row["k"])
    ways: dict[tuple[str, Chooser | None], list[Row]] = {}
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
