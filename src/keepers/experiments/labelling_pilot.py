"""The pilot of labelling: a simulated campaign on every fold of the existing labels."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
import torch

from keepers.baselines import RANDOM
from keepers.data import Source
from keepers.experiments.simulate_trials import Bench
from keepers.experiments.summary import ChoiceTrial
from keepers.random import generator
from keepers.selectors import folds
from keepers.statistics import Difference, judged, paired_difference
from keepers.workflows.looked_at import FOLDS
from keepers.workflows.options.active import ActiveConfig
from keepers.workflows.options.shared import AUTO
from keepers.workflows.options.simulate import SimulateConfig
from keepers.workflows.settling import told
from keepers.workflows.workplace import Workplace

DRAWS = 2
"""Campaigns on each fold, from other first labels: their mean is what the fold says."""

CHOICE = 2
"""Times the budget that a pool needs: choosing from a smaller one says nothing of a large pool."""


def needed_for(budget: int, times: int = 1) -> int:
    """Labelled examples whose folds leave `times` a budget to train on.

    >>> needed_for(100), needed_for(100, 2)
    (125, 250)
    """
    return -(-times * budget * FOLDS // (FOLDS - 1))


@dataclass(frozen=True, kw_only=True)
class Played:
    """Campaigns on every fold: their targets, and what they took.

    `taken[k]` is what `auto` took on the way to k labels, `rounds[method]` the seconds of training
    and of the rest in the last round; `pool` is the number of examples to choose from.
    """

    trials: tuple[ChoiceTrial, ...]
    taken: Mapping[int, tuple[str, ...]]
    rounds: Mapping[str, tuple[float, float]]
    pool: int
    seconds: float


class PilotConfig(SimulateConfig):
    """A simulation whose features and folds are drawn by a seed."""

    seed: int = 0

    @property
    def choosing(self) -> ActiveConfig:
        """How a campaign would choose."""
        return replace(cast("Any", super().choosing), seed=self.seed)


def play(data: Any, labelled: Source, config: PilotConfig, place: Workplace) -> Played:
    """Play a campaign by every method on all folds but one, tested on that one, for each fold."""
    units = torch.from_numpy(labelled.units)
    at = generator(config.seed, "pilot folds")
    fold_of = folds(labelled.proportions, units, FOLDS, generator=at).numpy()
    trials: list[ChoiceTrial] = []
    taken: dict[int, set[str]] = {}
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in config.methods}
    seconds, pool = 0.0, len(labelled)
    with place.under_way("pilot") as report:
        for fold in range(FOLDS):
            report("folds", fold, FOLDS)
            trained = labelled.take(np.flatnonzero(fold_of != fold))
            held = labelled.take(np.flatnonzero(fold_of == fold))
            bench = Bench.prepare(data, trained, held, config, place.aside(progress=None))
            trials += bench.trials([fold + FOLDS * draw for draw in range(DRAWS)])
            for each in bench.auto:
                for k in bench.rounds.budgets.rounds[max(0, each["round"] - 1) :]:
                    taken.setdefault(k, set()).add(each["taken"]["method"])
            for name in config.methods:
                rounds[name].append(_last_round(bench, fold, name))
            seconds += sum(cost.seconds for cost in bench.by_phase())
            pool = min(pool, len(bench.pool))
        report("folds", FOLDS, FOLDS)
    return Played(
        trials=tuple(trials),
        taken={k: tuple(sorted(names)) for k, names in taken.items()},
        rounds={name: _means(found) for name, found in rounds.items()},
        pool=pool,
        seconds=seconds,
    )


def _last_round(bench: Bench, fold: int, name: str) -> tuple[float, float]:
    """Seconds of training and of all else in the last round of a campaign."""
    step = bench.rounds.steps(fold, name, bench.selector(name))[-1]
    costs = [cost for costs in step.stages.values() for cost in costs]
    training = sum(cost.seconds for cost in costs if cost.phase.endswith("training"))
    return training, step.selection.seconds - training


def _means(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    first, second = zip(*pairs, strict=True)
    return statistics.fmean(first), statistics.fmean(second)


def rows_of(
    played: Played, budgets: Sequence[int], n: int, *, is_share: bool = True
) -> list[dict[str, Any]]:
    """One row for each budget and method, random first: its score, and against random.

    Intervals are widened for what the folds' training sets have in common, in proportion to how
    much of its pool a budget takes: all of it is cross-validation (Nadeau and Bengio 2003), and of
    few labels next to none are the same. On SST-2 and digits, 12 intervals of 95% held the truth in
    97% of 40 pilots, each in 88% at least (benchmarks/labelling_intervals.py).
    """
    errors: dict[tuple[str, int], list[float]] = {}
    for trial in played.trials:
        of_folds = errors.setdefault((trial.method, trial.k), [0.0] * FOLDS)
        of_folds[trial.seed % FOLDS] += trial.test_error / DRAWS
    overlaps = {k: min(1.0, k / played.pool) / (FOLDS - 1) for k in budgets}
    against: dict[tuple[str, int], Difference] = {
        (method, k): paired_difference(found, errors[RANDOM, k], overlap=overlaps[k])
        for (method, k), found in errors.items()
        if method != RANDOM and needed_for(k, CHOICE) <= n
    }
    # what is random itself is no question, and makes the others no harder to answer
    asked = [
        (method, k) for method, k in against if method != AUTO or played.taken.get(k) != (RANDOM,)
    ]
    against |= zip(asked, judged([against[cell] for cell in asked]), strict=True)
    rows: list[dict[str, Any]] = []
    for k in budgets:
        for method in dict.fromkeys(name for name, _ in errors):
            right = [1 - error for error in errors[method, k]]
            level = paired_difference(right, [0.0] * FOLDS, overlap=overlaps[k])
            assert level.low is not None
            assert level.high is not None
            low, high = max(0.0, level.low) if is_share else level.low, min(1.0, level.high)
            gap = against.get((method, k))
            rows.append(
                {
                    "k": k,
                    "method": method,
                    "taken": played.taken.get(k) if method == AUTO else None,
                    "score": {"mean": level.mean, "low": low, "high": high},
                    "difference": None if gap is None else asdict(gap),
                    "told": None if gap is None else told(gap),
                }
            )
    return rows
