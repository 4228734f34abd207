"""What a core-set report finds in a run: shares, the cut, the extremes, the doubtful labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of a class or a group were kept."""

    name: str
    total: int
    kept: int

    @property
    def dropped(self) -> int:
        """Those that were not kept."""
        return self.total - self.kept

    @property
    def share(self) -> float:
        """The fraction kept."""
        return self.kept / self.total if self.total else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """Where kept ends and dropped begins.

    `kind`: `score`, one score divides them; `class`, one score in each class; `none`, the method
    draws, so that no score divides them. `above` and `below` are the positions nearest to the
    cut, nearest first; `tied` counts the examples that share the score at the cut.
    """

    kind: Literal["score", "class", "none"]
    value: float | None
    tied: int
    above: Integers
    below: Integers


def shares(values: Integers, names: Sequence[str], kept: Mask, candidates: Mask) -> list[Share]:
    """Kept and total of each of `names`, over the candidates; names that none has are left out.

    >>> labels, kept = np.array([0, 0, 1]), np.array([True, False, True])
    >>> [(s.name, s.kept, s.total) for s in shares(labels, ["a", "b", "c"], kept, kept | True)]
    [('a', 1, 2), ('b', 1, 1)]
    """
    candidates = candidates & (values >= 0)
    totals = np.bincount(values[candidates], minlength=len(names))
    keeps = np.bincount(values[candidates & kept], minlength=len(names))
    return [
        Share(name=str(name), total=int(total), kept=int(keep))
        for name, total, keep in zip(names, totals, keeps, strict=True)
        if total
    ]


def find_cut(
    scores: Floats,
    rank: Integers,
    candidates: Mask,
    labels: Integers | None,
    *,
    count: int,
) -> Cut:
    """The cut, and the `count` examples nearest to it on each side.

    >>> everyone = np.array([True] * 4)
    >>> cut = find_cut(np.array([4.0, 1, 3, 2]), np.array([0, -1, 1, -1]), everyone, None, count=1)
    >>> cut.kind, cut.value, cut.above, cut.below
    ('score', 2.5, array([2]), array([3]))
    """
    kept, dropped = candidates & (rank >= 0), candidates & (rank < 0)
    values = _finite(scores)
    for kind, classes in (("score", np.zeros(len(values), np.int64)), ("class", labels)):
        if classes is None:
            continue
        lowest, highest = _bounds(values, classes, kept, dropped)
        both = np.isfinite(lowest) & np.isfinite(highest)
        if np.any(lowest[both] < highest[both]):
            continue
        middle = np.where(both, (lowest + np.where(both, highest, 0)) / 2, np.nan)
        distance = np.abs(values - middle[classes])
        here = ~np.isnan(distance)
        one = kind == "score" and bool(both[0])
        return Cut(
            kind="score" if kind == "score" else "class",
            value=_middle_of(scores, kept, dropped) if one else None,
            tied=_tied(scores, kept, dropped) if one else 0,
            above=_nearest(distance, -rank, kept & here, count),
            below=_nearest(distance, np.arange(len(rank)), dropped & here, count),
        )
    last = np.flatnonzero(kept)
    last = last[np.argsort(-rank[last], kind="stable")][:count]
    return Cut(kind="none", value=None, tied=0, above=last, below=last[:0])


def extremes(scores: Floats, candidates: Mask, *, count: int) -> tuple[Integers, Integers]:
    """The candidates with the highest and with the lowest scores; ties by position.

    >>> extremes(np.array([1.0, 3.0, 2.0]), np.array([True] * 3), count=1)
    (array([1]), array([0]))
    """
    there = np.flatnonzero(candidates & ~np.isnan(scores))
    highest = there[np.argsort(-scores[there], kind="stable")][:count]
    lowest = there[np.argsort(scores[there], kind="stable")][:count]
    return highest, lowest


def doubtful(predicted: Integers, labels: Integers, label_probability: Floats) -> Integers:
    """Positions where the model predicts another class, least probable label first.

    >>> doubtful(np.array([0, 1, 1]), np.array([0, 0, 0]), np.array([0.9, 0.4, 0.1]))
    array([2, 1])
    """
    there = np.flatnonzero((predicted != labels) & (labels >= 0) & ~np.isnan(label_probability))
    return there[np.argsort(label_probability[there], kind="stable")]


def negative(margin: Floats) -> Integers:
    """Positions where another class was the likelier one over training, the clearest first.

    Pleiss et al. 2020, "Identifying Mislabeled Data using the Area Under the Margin Ranking".

    >>> negative(np.array([1.0, -0.5, np.nan, -2.0]))
    array([3, 1])
    """
    there = np.flatnonzero(margin < 0)
    return there[np.argsort(margin[there], kind="stable")]


def _finite(scores: Floats) -> Floats:
    known = scores[np.isfinite(scores)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
    return np.nan_to_num(scores, nan=low, posinf=high + 1.0, neginf=low - 1.0)


def _bounds(values: Floats, classes: Integers, kept: Mask, dropped: Mask) -> tuple[Floats, Floats]:
    lowest = np.full(int(classes.max(initial=0)) + 1, np.inf)
    highest = np.full(len(lowest), -np.inf)
    np.minimum.at(lowest, classes[kept], values[kept])
    np.maximum.at(highest, classes[dropped], values[dropped])
    return lowest, highest


def _middle_of(scores: Floats, kept: Mask, dropped: Mask) -> float | None:
    middle = (float(scores[kept].min()) + float(scores[dropped].max())) / 2
    return middle if np.isfinite(middle) else None


def _tied(scores: Floats, kept: Mask, dropped: Mask) -> int:
    border = scores[kept].min()
    if scores[dropped].max() < border:
        return 0
    return int(np.sum(scores[kept | dropped] == border))


def _nearest(distance: Floats, tie: Integers, members: Mask, count: int) -> Integers:
    there = np.flatnonzero(members)
    return there[np.lexsort((tie[there], distance[there]))][:count]
