"""Estimates: how many labels another accuracy would take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepers.errors import ParameterError

_FEWEST = 3
_EXPONENTS = (0.02, 4.0)
_GRID = 60
_MOST_LABELS = 10**12


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A learning curve: accuracy(n) = ceiling − scale · n^−exponent."""

    ceiling: float
    scale: float
    exponent: float

    def at(self, labels: float) -> float:
        """The accuracy with this number of labels."""
        return self.ceiling - self.scale * labels**-self.exponent


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """How many labels reach a goal, in all, with a 95% interval.

    `low` and `high` are None where the points do not support one: under 4 of them, or where the
    curve without one of its points does not reach the goal.
    """

    labels: int
    low: int | None
    high: int | None
    curve: Curve


def fit_curve(sizes: Sequence[float], accuracies: Sequence[float]) -> Curve | None:
    """The inverse power law of least squares through accuracies (m,) at numbers of labels (m,).

    a − b·n^−c with b > 0, a ≤ 1 and c from 0.02 to 4: for each c, a and b are a line's, so one
    number is searched. None under 3 different sizes, or where no such curve rises.

    >>> curve = fit_curve([100, 200, 400], [0.7, 0.75, 0.775])
    >>> round(curve.ceiling, 6), round(curve.exponent, 6)
    (0.8, 1.0)

    Raises:
        ParameterError: as many sizes as accuracies are needed, sizes over 0, all of them finite.

    Paper: Figueroa et al. 2012, Predicting sample size required for classification performance.
    """
    n = np.asarray(sizes, dtype=np.float64)
    y = np.asarray(accuracies, dtype=np.float64)
    if n.shape != y.shape or not np.isfinite(n).all() or not np.isfinite(y).all() or (n <= 0).any():
        raise ParameterError(
            "sizes",
            f"got {n.tolist()} with the accuracies {y.tolist()}",
            "Give a number over 0 and an accuracy for each point",
        )
    if len(np.unique(n)) < _FEWEST:
        return None
    unit = float(np.exp(np.log(n).mean()))  # powers of numbers near 1 keep their digits
    grid = np.geomspace(*_EXPONENTS, _GRID)
    errors = [_line(n / unit, y, exponent)[2] for exponent in grid]
    best = int(np.argmin(errors))
    around = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]

    def error(exponent: float) -> float:
        return _line(n / unit, y, exponent)[2]

    from scipy import optimize

    found = optimize.minimize_scalar(
        error,
        bounds=around,
        method="bounded",
        options={"xatol": 1e-10},
    )
    exponent = float(found.x) if found.fun <= errors[best] else float(grid[best])
    ceiling, scale, _ = _line(n / unit, y, exponent)
    if not scale > 1e-12:
        return None
    return Curve(ceiling=ceiling, scale=scale * unit**exponent, exponent=exponent)


def needed_for(curve: Curve, goal: float) -> int | None:
    """The fewest labels with which a curve reaches `goal`; None where it never does.

    >>> needed_for(Curve(ceiling=0.8, scale=10.0, exponent=1.0), 0.75)
    200
    """
    if goal >= curve.ceiling:
        return None
    labels = (curve.scale / (curve.ceiling - goal)) ** (1 / curve.exponent)
    return max(1, math.ceil(labels * (1 - 1e-9))) if labels <= _MOST_LABELS else None


def forecast(sizes: Sequence[float], accuracies: Sequence[float], goal: float) -> Forecast | None:
    """How many labels would reach the accuracy `goal`, going by the rounds so far.

    The interval is a jackknife's, of the logarithm of the number: each point is left out once.
    None under 3 different sizes, or where the curve through them never reaches the goal.

    Raises:
        ParameterError: a goal outside (0, 1], or as `fit_curve`.
    """
    if not 0 < goal <= 1:
        raise ParameterError("goal", f"got {goal}", "Give an accuracy over 0 and up to 1")
    curve = fit_curve(sizes, accuracies)
    labels = None if curve is None else needed_for(curve, goal)
    if curve is None or labels is None:
        return None
    low, high = _jackknife(sizes, accuracies, goal, labels)
    return Forecast(labels=labels, low=low, high=high, curve=curve)


def _jackknife(
    sizes: Sequence[float], accuracies: Sequence[float], goal: float, labels: int
) -> tuple[int | None, int | None]:
    logarithms: list[float] = []
    count = len(sizes)
    for out in range(count):
        kept = [place for place in range(count) if place != out]
        curve = fit_curve([sizes[i] for i in kept], [accuracies[i] for i in kept])
        needed = None if curve is None else needed_for(curve, goal)
        if needed is None:
            return None, None
        logarithms.append(math.log(needed))
    spread = math.sqrt((count - 1) * float(np.var(logarithms)))
    from scipy import special

    half = min(float(special.stdtrit(count - 1, 0.975)) * spread, math.log(_MOST_LABELS))
    return max(1, math.floor(labels * math.exp(-half))), math.ceil(labels * math.exp(half))


def _line(
    n: npt.NDArray[np.float64], y: npt.NDArray[np.float64], exponent: float
) -> tuple[float, float, float]:
    """Ceiling, scale and squared error of the best curve with a given exponent."""
    x = n**-exponent
    centred = x - x.mean()
    scale = -float(centred @ y) / float(centred @ centred)
    ceiling = float(y.mean()) + scale * float(x.mean())
    if ceiling > 1:
        ceiling, scale = 1.0, float(x @ (1 - y)) / float(x @ x)
    if scale < 0:
        ceiling, scale = min(1.0, float(y.mean())), 0.0
    residual = y - (ceiling - scale * x)
    return ceiling, scale, float(residual @ residual)
