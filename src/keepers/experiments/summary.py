"""From trials to the rows of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from keepers.baselines import EVERYTHING, RANDOM
from keepers.experiments.trial import UNITS, ChosenTrial, Row, by_way, differences, mean
from keepers.statistics import Floats, pearson, spearman, standard_deviation

Chooser = Literal["proxy", "target"]
BaselineOf = Callable[[Row], Row | None]


@dataclass(frozen=True, kw_only=True)
class ChoiceTrial(ChosenTrial):
    """One target, trained on what was chosen up to one budget.

    `keep` is that as a fraction, `k` as a count; `taken` is the method that `auto` took.
    """

    selector: Chooser | None
    keep: float
    k: int
    test_error: float
    worst_class_error: float
    changed_labels: float | None = None
    floored: int = 0
    near_duplicates: int = 0
    taken: str | None = None

    @property
    def way(self) -> tuple[Any, ...]:
        """Method, role that selected, and budget."""
        return (self.method, self.selector, self.k)


def summarise(trials: Sequence[ChoiceTrial]) -> list[dict[str, Any]]:
    """One row for each method, selector and budget: means over seeds, and against random.

    Operations end to end, and what they save, are None where a model is not trained in steps:
    nobody counts what scikit-learn does.
    """
    groups = by_way(trials)
    everything = costs_of(next(g for (method, *_), g in groups.items() if method == EVERYTHING))
    rows = [_row(group, everything) for group in groups.values()]
    return with_differences(rows, difference=random_of(rows))


def random_of(rows: Sequence[Row]) -> BaselineOf:
    """What gives a row's baseline: random at the same budget; None where the row is random."""
    random = {row["k"]: row for row in rows if row["method"] == RANDOM}
    return lambda row: None if row["method"] == RANDOM else random.get(row["k"])


def with_differences(
    rows: Sequence[Row], *, overlap: float = 0.0, **baselines: BaselineOf
) -> list[dict[str, Any]]:
    """The rows, each with its difference from each baseline, tested as one family.

    Rows hold `errors`, one for each seed and in the same order of seeds. None where a row has no
    such baseline. `overlap`: as in `paired_difference`.
    """
    found = differences(
        {
            (place, name): (row["errors"], other["errors"])
            for place, row in enumerate(rows)
            for name, baseline_of in baselines.items()
            if (other := baseline_of(row)) is not None
        },
        overlap=overlap,
    )
    return [
        {**row, **{name: found.get((place, name)) for name in baselines}}
        for place, row in enumerate(rows)
    ]


def _row(trials: Sequence[ChoiceTrial], everything: Row) -> dict[str, Any]:
    first, costs = trials[0], costs_of(trials)
    by_model = first.selector is not None or first.taken is not None
    counted = bool(costs["target_flops"] and (costs["selection_flops"] or not by_model))
    changed = [trial.changed_labels for trial in trials if trial.changed_labels is not None]
    if not counted:
        costs["end_to_end_flops"] = None
    return {
        "method": first.method,
        "selector": first.selector,
        "taken": first.taken,
        **errors_of(trials),
        "changed_labels": mean(changed) if changed else None,
        "floored": mean([trial.floored for trial in trials]),
        **costs,
        "speedup_seconds": everything["target_seconds"] / costs["end_to_end_seconds"],
        "speedup_flops": everything["target_flops"] / costs["end_to_end_flops"]
        if counted
        else None,
    }


def errors_of(trials: Sequence[ChoiceTrial]) -> dict[str, Any]:
    """The budget, and the test errors of all seeds."""
    errors = [trial.test_error for trial in trials]
    worst = [trial.worst_class_error for trial in trials]
    return {
        "keep": trials[0].keep,
        "k": trials[0].k,
        "errors": errors,
        "error_mean": mean(errors),
        "error_std": standard_deviation(errors),
        "worst_class_errors": worst,
        "worst_class_error_mean": mean(worst),
    }


def costs_of(trials: Sequence[ChosenTrial]) -> dict[str, Any]:
    """What selecting and training took, and both."""
    found: dict[str, Any] = {"steps": trials[0].target.steps}
    for unit in UNITS:
        selection = mean([getattr(trial.selection, unit) for trial in trials])
        training = mean([getattr(trial.target, unit) for trial in trials])
        found[f"selection_{unit}"] = selection
        found[f"target_{unit}"] = training
        found[f"end_to_end_{unit}"] = selection + training
    return found


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
