"""From trials to the rows of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from keepers.ledger import Cost
from keepers.statistics import (
    Floats,
    judged,
    paired_difference,
    pearson,
    spearman,
    standard_deviation,
)

EVERYTHING, RANDOM, FRESH_RANDOM = "everything", "random", "fresh-random"
Selector = Literal["proxy", "target"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One target, trained on one choice with one seed; `taken` is the method that `auto` took."""

    method: str
    selector: Selector | None
    keep: float
    k: int
    seed: int
    test_error: float
    worst_class_error: float
    selection: Cost
    target: Cost
    changed_labels: float | None = None
    floored: int = 0
    taken: str | None = None


def summarise(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """One row for each method, selector and budget: means over seeds, and against random.

    Operations end to end, and what they save, are None where a model is not trained in steps:
    nobody counts what scikit-learn does.
    """
    groups: dict[tuple[str, Selector | None, int], list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.seed):
        group = groups.setdefault((trial.method, trial.selector, trial.k), [])
        assert all(trial.seed != other.seed for other in group), "one trial for each seed"
        group.append(trial)
    everything = next(group for (method, _, _), group in groups.items() if method == EVERYTHING)
    rows = [_row(group, everything) for group in groups.values()]
    return with_differences(rows, difference=random_of(rows))


Row = Mapping[str, Any]
BaselineOf = Callable[[Row], Row | None]


def random_of(rows: Sequence[Row]) -> BaselineOf:
    """What gives a row's baseline: random at the same budget; None where the row is random."""
    random = {row["k"]: row for row in rows if row["method"] == RANDOM}
    return lambda row: None if row["method"] == RANDOM else random.get(row["k"])


def with_differences(rows: Sequence[Row], **baselines: BaselineOf) -> list[dict[str, Any]]:
    """The rows, each with its difference from each baseline: one family, told together.

    Rows hold `errors`, one for each seed and in the same order of seeds. None where a row has no
    such baseline.
    """
    others = {
        (place, name): other
        for place, row in enumerate(rows)
        for name, baseline_of in baselines.items()
        if (other := baseline_of(row)) is not None
    }
    found = [
        paired_difference(rows[place]["errors"], other["errors"])
        for (place, _), other in others.items()
    ]
    told = dict(zip(others, judged(found), strict=True))
    return [
        {**row, **{name: told.get((place, name)) for name in baselines}}
        for place, row in enumerate(rows)
    ]


def _row(trials: Sequence[Trial], everything: Sequence[Trial]) -> dict[str, Any]:
    first = trials[0]
    errors = [trial.test_error for trial in trials]
    worst = [trial.worst_class_error for trial in trials]
    seconds = {name: _mean(trials, name, "seconds") for name in ("selection", "target")}
    flops = {name: _mean(trials, name, "flops") for name in ("selection", "target")}
    whole = _mean(everything, "target", "flops")
    selected_by_model = first.selector is not None or first.taken is not None
    counted = bool(flops["target"] and (flops["selection"] or not selected_by_model))
    changed = [trial.changed_labels for trial in trials if trial.changed_labels is not None]
    return {
        "method": first.method,
        "selector": first.selector,
        "taken": first.taken,
        "keep": first.keep,
        "k": first.k,
        "errors": errors,
        "error_mean": float(np.mean(errors)),
        "error_std": standard_deviation(errors),
        "worst_class_errors": worst,
        "worst_class_error_mean": float(np.mean(worst)),
        "changed_labels": float(np.mean(changed)) if changed else None,
        "floored": float(np.mean([trial.floored for trial in trials])),
        "steps": first.target.steps,
        "selection_seconds": seconds["selection"],
        "target_seconds": seconds["target"],
        "end_to_end_seconds": seconds["selection"] + seconds["target"],
        "selection_flops": flops["selection"],
        "target_flops": flops["target"],
        "end_to_end_flops": sum(flops.values()) if counted else None,
        "speedup_seconds": _mean(everything, "target", "seconds") / sum(seconds.values()),
        "speedup_flops": whole / sum(flops.values()) if counted else None,
    }


def _mean(trials: Sequence[Trial], part: str, unit: str) -> float:
    return float(np.mean([getattr(getattr(trial, part), unit) for trial in trials]))


def agreement(score: str, scores_by_model: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Correlation matrices of the scores that models give; a second seed is the noise ceiling."""
    if len(scores_by_model) < 2:
        return []
    vectors = list(scores_by_model.values())
    return [
        {
            "score": score,
            "models": list(scores_by_model),
            "spearman": spearman(vectors).tolist(),
            "pearson": pearson(vectors).tolist(),
        }
    ]
