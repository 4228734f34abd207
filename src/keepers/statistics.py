"""Statistics of repeated runs: paired intervals, verdicts, rank agreement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Verdict = Literal["better", "worse", "inconclusive"]

ENOUGH_SEEDS = 5
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Paired difference in error, method less baseline, with its interval (None under 2 pairs)."""

    mean: float
    low: float | None
    high: float | None
    pairs: int
    verdict: Verdict


def paired_difference(
    errors: Sequence[float], baseline: Sequence[float], *, overlap: float = 0.0
) -> Difference:
    """Mean of e_s − b_s over J seeds s, with its 95% Student interval.

    The variance of the mean is σ² (1/J + overlap). `overlap` is 0 for independent repetitions;
    where they are draws from one small set it is the examples left out over those drawn, since
    their training sets have most examples in common. The verdict is "inconclusive" under 5 pairs,
    or where the interval holds 0.

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
        return Difference(mean=mean, low=None, high=None, pairs=pairs, verdict="inconclusive")
    quantile = float(stats.t.ppf(0.5 + CONFIDENCE / 2, pairs - 1))
    half = quantile * float(differences.std(ddof=1)) * math.sqrt(1 / pairs + overlap)
    low, high = mean - half, mean + half
    verdict: Verdict = "inconclusive"
    if pairs >= ENOUGH_SEEDS and high < 0:
        verdict = "better"
    elif pairs >= ENOUGH_SEEDS and low > 0:
        verdict = "worse"
    return Difference(mean=mean, low=low, high=high, pairs=pairs, verdict=verdict)


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
    return pearson([stats.rankdata(values) for values in scores])


def pearson(scores: Sequence[Floats]) -> Floats:
    """Product-moment correlation of every pair of vectors (m, m); 0 with a constant vector."""
    centred = np.stack([values - values.mean() for values in scores]).astype(np.float64)
    norms = np.linalg.norm(centred, axis=1)
    unit = np.divide(centred, norms[:, None], out=np.zeros_like(centred), where=norms[:, None] > 0)
    correlation = np.clip(unit @ unit.T, -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    return correlation
