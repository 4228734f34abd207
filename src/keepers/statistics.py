"""Statistics of repeated runs: paired intervals, verdicts of a family, rank agreement."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from keepers.errors import ParameterError

Floats = npt.NDArray[np.float64]
Verdict = Literal["better", "worse", "inconclusive", "cannot tell"]
"""`cannot tell`: nothing is said of these models, whatever the figures."""

LEVEL = 0.05
SURE = 0.95
"""The probability from which on a forecast says better, or worse."""
_NORMAL_QUANTILE = 1.959963984540054  # of 0.975
ENOUGH_SEEDS = 5
FEW_SEEDS_LEVEL, FEWEST_SEEDS = 0.01, 3


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Paired difference in error, method less baseline, with its own interval and p-value.

    Interval and p are None under 2 pairs. The verdict is that of `judged`, of the whole family of
    differences that are told together, or, of a forecast, of this one alone.
    """

    mean: float
    low: float | None
    high: float | None
    pairs: int
    p: float | None = None
    verdict: Verdict = "inconclusive"

    @property
    def probability(self) -> float:
        """That the method is better, by p; a half where nothing is known."""
        half = 0.5 if self.p is None else self.p / 2
        return 1 - half if self.mean < 0 else half


def paired_difference(
    errors: Sequence[float],
    baseline: Sequence[float],
    *,
    overlap: float = 0.0,
    level: float = LEVEL,
) -> Difference:
    """Mean of e_s − b_s over J seeds s, with its Student interval of coverage 1 − `level`.

    The variance of the mean is σ² (1/J + overlap). `overlap` is 0 for independent repetitions;
    where they are draws from one small set it is the examples left out over those drawn, since
    their training sets have most examples in common. The verdict is that of a family of one.

    Paper:
        Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003.

    Raises:
        ValueError: the two have different lengths, or are empty.

    >>> paired_difference([0.1, 0.2, 0.15, 0.12, 0.11], [0.3, 0.41, 0.34, 0.33, 0.3]).verdict
    'better'
    >>> paired_difference([0.1, 0.2], [0.3, 0.4]).verdict
    'inconclusive'
    """
    if len(errors) != len(baseline) or not errors:
        raise ValueError(f"got {len(errors)} errors and {len(baseline)} of the baseline")
    differences = np.asarray(errors, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    pairs, mean = len(differences), float(differences.mean())
    if pairs < 2:
        return Difference(mean=mean, low=None, high=None, pairs=pairs)
    error = float(differences.std(ddof=1)) * math.sqrt(1 / pairs + overlap)
    return judged([_of_student(mean, error, pairs - 1, pairs, level)])[0]


def overlap_of(parts: Sequence[AbstractSet[int]]) -> float:
    """What J repetitions that train on these examples, many of them the same, add to the variance.

    It is the `overlap` of `paired_difference`. In J folds of one set it is 1 / (J - 1), where two
    of them share (J - 2) / (J - 1) of what they train on; where they share less, it is less in
    proportion.

    >>> folds = [{0, 1, 2, 3, 4} - {left} for left in range(5)]
    >>> overlap_of(folds), overlap_of([{0}, {1}, {2}])
    (0.25, 0.0)
    """
    pairs = itertools.combinations(parts, 2)
    shared = [len(one & other) / min(len(one), len(other)) for one, other in pairs]
    return float(np.mean(shared)) / (len(parts) - 2)


def forecasts(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]], *, overlap: float, spread: float
) -> list[Difference]:
    """Differences of several methods in the same J folds, as forecasts of what is so elsewhere.

    J folds hardly know their own standard deviation, so none is taken to be below that of all
    methods, the root of the mean of their variances, with J - 1 degrees of freedom for each method.
    That of a mean is it times √(1/J + `overlap`) · `spread`, `spread` being how much farther off
    forecasts were found to be than folds of one set tell. Verdicts are of each alone: a probability
    of `SURE` either way. Where no fold differs from another, nothing is known.

    Args:
        pairs: errors of a method and of its baseline, both (J), for each method; J is 2 or more.
        overlap: as in `paired_difference`.

    >>> steady, other = [0.30, 0.31, 0.29], [0.20, 0.22, 0.19]
    >>> found = forecasts([(other, steady), (steady, steady)], overlap=0.0, spread=1.0)
    >>> [(each.verdict, round(each.probability, 3)) for each in found]
    [('better', 1.0), ('inconclusive', 0.5)]
    """
    differences = np.asarray([np.subtract(*pair) for pair in pairs], dtype=np.float64)
    folds, variances = differences.shape[1], differences.var(1, ddof=1)
    widening = math.sqrt(1 / folds + overlap) * spread
    freedom = len(pairs) * (folds - 1)
    found: list[Difference] = []
    for mean, variance in zip(differences.mean(1).tolist(), variances.tolist(), strict=True):
        error = math.sqrt(max(variance, float(variances.mean()))) * widening
        each = _of_student(mean, error, freedom, folds)
        each = each if error else replace(each, p=1.0)
        found.append(replace(each, verdict=_sure(each.probability)))
    return found


def _sure(probability: float) -> Verdict:
    if probability >= SURE:
        return "better"
    return "worse" if probability <= 1 - SURE else "inconclusive"


def _of_student(
    mean: float, error: float, freedom: int, pairs: int, level: float = LEVEL
) -> Difference:
    """A mean with the interval and p of Student's t, from its standard error."""
    from scipy import special  # half a second; scipy.stats takes two

    half = float(special.stdtrit(freedom, 1 - level / 2)) * error
    p = float(mean == 0)  # what remains where all differences are equal
    if error:
        p = 2 * float(special.stdtr(freedom, -abs(mean) / error))
    return Difference(mean=mean, low=mean - half, high=mean + half, pairs=pairs, p=p)


def judged(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences with verdicts that hold together.

    The chance that any "better" or "worse" of the family is false is at most 5%, however the
    differences depend on each other: p-values are adjusted by Holm's step-down method. From 5 pairs
    on the adjusted p is held to 0.05; with 3 or 4, where the spread itself is hardly known, to
    0.01; with fewer the verdict is "inconclusive".

    Paper:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of
        Statistics 6, 1979.

    >>> clear = Difference(mean=-0.1, low=-0.12, high=-0.08, pairs=5, p=0.001)
    >>> alone = Difference(mean=-0.1, low=-0.19, high=-0.01, pairs=5, p=0.04)
    >>> [found.verdict for found in judged([clear, alone, alone])]
    ['better', 'inconclusive', 'inconclusive']
    """
    adjusted = holm([1.0 if found.p is None else found.p for found in differences])
    return [
        replace(found, verdict=_verdict(found, p))
        for found, p in zip(differences, adjusted, strict=True)
    ]


def _verdict(found: Difference, p: float) -> Verdict:
    level = LEVEL if found.pairs >= ENOUGH_SEEDS else FEW_SEEDS_LEVEL
    if found.pairs < FEWEST_SEEDS or p >= level:
        return "inconclusive"
    return "better" if found.mean < 0 else "worse"


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number, in the order given (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


def standard_deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation; None under two values.

    >>> standard_deviation([1.0, 3.0]) == 2**0.5, standard_deviation([1.0])
    (True, None)
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def spearman(scores: Sequence[Floats]) -> Floats:
    """Rank correlation of every pair of score vectors: (m, m).

    >>> spearman([np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0])]).round(6).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    return pearson([_ranks(values) for values in scores])


def _ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[inverse]


def pearson(scores: Sequence[Floats]) -> Floats:
    """Product-moment correlation of every pair of vectors (m, m); 0 with a constant vector."""
    centred = np.stack([values - values.mean() for values in scores]).astype(np.float64)
    norms = np.linalg.norm(centred, axis=1)
    unit = np.divide(centred, norms[:, None], out=np.zeros_like(centred), where=norms[:, None] > 0)
    correlation = np.clip(unit @ unit.T, -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def roc_auc(scores: Floats, positive: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Chance that a positive scores higher than a negative, and its interval of 95%.

    The area under the ROC curve of `scores` (n,); ties count half. With A the area, a positives
    and b negatives its variance is (A(1-A) + (a-1)(A/(2-A) - A²) + (b-1)(2A²/(1+A) - A²)) / ab.
    Half, and anything from 0 to 1, where there are none of one kind.

    >>> area, low, high = roc_auc(np.arange(40.0), np.arange(40) % 4 == 3)
    >>> round(area, 3), round(low, 3), round(high, 3)
    (0.55, 0.339, 0.761)

    Source: Hanley & McNeil 1982, The meaning and use of the area under a ROC curve.
    """
    a, b = int(positive.sum()), int((~positive).sum())
    if not a or not b:
        return 0.5, 0.0, 1.0
    area = float(_ranks(scores)[positive].sum() - a * (a + 1) / 2) / (a * b)
    of_one, of_other = area / (2 - area), 2 * area**2 / (1 + area)
    spread = (a - 1) * (of_one - area**2) + (b - 1) * (of_other - area**2)
    half = _NORMAL_QUANTILE * math.sqrt((area * (1 - area) + spread) / (a * b))
    return area, max(0.0, area - half), min(1.0, area + half)


def wilson(correct: int, n: int) -> tuple[float, float]:
    """The 95% Wilson interval of a proportion, `correct` out of `n`; (0, 1) of nothing.

    With p = correct / n and z the normal quantile of 0.975:
    (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n).

    >>> low, high = wilson(90, 100)
    >>> round(low, 4), round(high, 4)
    (0.8256, 0.9448)

    Raises:
        ParameterError: more correct than there are.

    Paper: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    if not 0 <= correct <= n:
        raise ParameterError("correct", f"got {correct} out of {n}", "Give one from 0 to n")
    if n == 0:
        return 0.0, 1.0
    share, z = correct / n, _NORMAL_QUANTILE
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == n else centre + half
    return max(0.0, low), min(1.0, high)
