"""What every experiment is made of: trials, groups of them, and differences tested as a family."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from keepers.ledger import Cost
from keepers.statistics import Difference, judged, paired_difference

Row = Mapping[str, Any]
"""One way in a result: means over its seeds."""

UNITS = ("seconds", "flops")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One target, trained in one way with one seed; `target` is what training it cost."""

    method: str
    seed: int
    target: Cost

    @property
    def way(self) -> tuple[Any, ...]:
        """What the trials of all seeds have in common."""
        return (self.method,)


@dataclass(frozen=True, kw_only=True)
class ChosenTrial(Trial):
    """One target, trained on what was chosen; `selection` is what choosing all of it cost."""

    selection: Cost


T = TypeVar("T", bound=Trial)
K = TypeVar("K", bound=Hashable)


def by_way(trials: Iterable[T]) -> dict[tuple[Any, ...], list[T]]:
    """The trials of each way, one for each seed, in the order of the seeds."""
    groups: dict[tuple[Any, ...], list[T]] = {}
    for trial in sorted(trials, key=lambda trial: trial.seed):
        group = groups.setdefault(trial.way, [])
        assert all(trial.seed != other.seed for other in group), "one trial for each seed"
        group.append(trial)
    return groups


def mean(values: Sequence[float]) -> float:
    """The mean over seeds."""
    return float(np.mean(values))


def differences(
    pairs: Mapping[K, tuple[Sequence[float], Sequence[float]]], *, overlap: float = 0.0
) -> dict[K, Difference]:
    """Differences of errors from those of a baseline, by seed, tested as one family.

    `overlap`: as in `paired_difference`.
    """
    found = [paired_difference(*pair, overlap=overlap) for pair in pairs.values()]
    return dict(zip(pairs, judged(found), strict=True))
