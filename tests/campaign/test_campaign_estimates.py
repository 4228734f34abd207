from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.metrics import roc_auc_score

from keepers.campaign import Curve, control, fit_curve, forecast, needed_for, wilson
from keepers.errors import ParameterError
from keepers.statistics import roc_auc


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (10, 10), (3, 7), (90, 100), (499, 500)])
def test_wilson_solves_its_equation(correct: int, n: int) -> None:
    low, high = wilson(correct, n)
    theirs = stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    z = stats.norm.ppf(0.975)
    for bound in (low, high):
        gap = abs(correct / n - bound)
        assert gap == pytest.approx(z * math.sqrt(bound * (1 - bound) / n), abs=1e-9)


def test_wilson_of_nothing_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ParameterError, match="correct: got 5 out of 4"):
        wilson(5, 4)


@pytest.mark.parametrize("ties", [1, 10])
def test_the_area_under_the_curve_is_that_of_scikit_learn(ties: int) -> None:
    draw = np.random.default_rng(ties)
    positive = draw.random(200) < 0.3
    scores = np.floor(ties * 10 * (draw.random(200) + 0.3 * positive)) / ties
    area, low, high = roc_auc(scores, positive)
    assert area == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    assert low < area < high
    more = roc_auc(np.repeat(scores, 4), np.repeat(positive, 4))
    assert more[0] == pytest.approx(area)
    assert more[2] - more[1] == pytest.approx((high - low) / 2, rel=0.02)


def test_the_interval_of_an_area_holds_the_truth() -> None:
    truth = stats.norm.cdf(1 / math.sqrt(2))
    draw = np.random.default_rng(0)
    positive = np.arange(100) < 15
    found = [roc_auc(draw.normal(size=100) + positive, positive) for _ in range(400)]
    assert 0.93 <= np.mean([low <= truth <= high for _, low, high in found]) <= 0.98


@pytest.mark.parametrize("positive", [True, False])
def test_errors_alone_or_none_say_nothing(positive: bool) -> None:
    assert roc_auc(np.arange(5.0), np.full(5, positive)) == (0.5, 0.0, 1.0)


SIZES = [50, 100, 200, 400, 800]


@pytest.mark.parametrize(
    "truth",
    [
        Curve(ceiling=0.9, scale=2.0, exponent=0.5),
        Curve(ceiling=0.99, scale=0.8, exponent=0.25),
        Curve(ceiling=0.7, scale=30.0, exponent=1.2),
    ],
)
def test_a_curve_is_found_again(truth: Curve) -> None:
    points = [truth.at(n) for n in SIZES]
    found = fit_curve(SIZES, points)
    assert found is not None
    assert found.ceiling == pytest.approx(truth.ceiling, abs=1e-4)
    assert found.exponent == pytest.approx(truth.exponent, abs=1e-4)
    goal = truth.ceiling - 0.02
    exact = (truth.scale / 0.02) ** (1 / truth.exponent)
    assert needed_for(truth, goal) == math.ceil(exact * (1 - 1e-9))
    told = forecast(SIZES, points, goal)
    assert told is not None
    assert told.labels == pytest.approx(exact, rel=0.01)
    assert told.low is not None
    assert told.high is not None
    assert told.low <= told.labels <= told.high


def test_the_fit_is_that_of_least_squares() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, len(SIZES))
    points = [0.9 - 2.0 * n**-0.5 + e for n, e in zip(SIZES, noise, strict=True)]
    found = fit_curve(SIZES, points)
    assert found is not None

    def residuals(parameters: tuple[float, float, float]) -> list[float]:
        a, b, c = parameters
        return [a - b * n**-c - y for n, y in zip(SIZES, points, strict=True)]

    ours = sum(r * r for r in residuals((found.ceiling, found.scale, found.exponent)))
    bounds = ([0, 0, 0.02], [1, 1e4, 4])
    theirs = min(
        optimize.least_squares(residuals, (a, b, c), bounds=bounds).cost * 2
        for a, b, c in [(0.9, 2.0, 0.5), (0.8, 5.0, 1.0), (0.99, 1.0, 0.2)]
    )
    assert ours <= theirs * (1 + 1e-6)


def test_the_interval_is_a_jackknife_of_the_logarithm() -> None:
    points = [0.62, 0.71, 0.76, 0.81, 0.83]
    told = forecast(SIZES, points, 0.85)
    assert told is not None
    logs = np.array(
        [
            math.log(f.labels)
            for out in range(5)
            if (
                f := forecast(
                    [n for i, n in enumerate(SIZES) if i != out],
                    [y for i, y in enumerate(points) if i != out],
                    0.85,
                )
            )
        ]
    )
    assert len(logs) == 5
    error = math.sqrt(4 / 5 * ((logs - logs.mean()) ** 2).sum())
    half = stats.t.ppf(0.975, 4) * error
    assert told.low == max(1, math.floor(told.labels * math.exp(-half)))
    assert told.high == math.ceil(told.labels * math.exp(half))


def test_no_forecast_where_the_points_support_none() -> None:
    assert forecast([100, 200], [0.7, 0.8], 0.9) is None
    assert forecast([100, 100, 200], [0.7, 0.71, 0.8], 0.9) is None
    assert forecast([100, 200, 400], [0.7, 0.75, 0.775], 0.85) is None
    assert forecast([100, 200, 400, 800], [0.8, 0.79, 0.78, 0.77], 0.9) is None
    assert forecast([100, 200, 400, 800], [0.5] * 4, 0.9) is None
    three = forecast([100, 200, 400], [0.7, 0.75, 0.775], 0.79)
    assert three is not None
    assert (three.labels, three.low, three.high) == (1000, None, None)


def test_a_ceiling_over_one_is_one() -> None:
    curve = fit_curve([10, 20, 40, 80], [0.2, 0.4, 0.6, 0.8])
    assert curve is not None
    assert curve.ceiling == 1.0
    assert needed_for(curve, 1.0) is None


@pytest.mark.parametrize("sizes", [[0, 1, 2], [1, 2], [1, 2, math.nan], [-1, 2, 3]])
def test_points_that_are_none_are_refused(sizes: list[float]) -> None:
    with pytest.raises(ParameterError, match="sizes: got"):
        fit_curve(sizes, [0.1, 0.2, 0.3])
    with pytest.raises(ParameterError, match="goal: got 90"):
        forecast([1, 2, 3], [0.1, 0.2, 0.3], 90)


def test_the_reserve_is_a_uniform_sample_that_rows_to_come_leave_alone() -> None:
    ids = [f"{n:05d}" for n in range(20_000)]
    u = control.numbers(ids, 0)
    assert stats.kstest(u, "uniform").pvalue > 0.001
    assert u.min() >= 0
    assert u.max() < 1
    held = control.in_reserve(u, 0.1)
    assert 0.09 < held.mean() < 0.11
    assert np.array_equal(control.numbers(ids[::-3], 0), u[::-3])
    assert not (held & ~control.in_reserve(u, 0.2)).any()
    assert not control.in_reserve(u, 0.0).any()
    assert control.in_reserve(u, 1.0).all()
    other = control.numbers(ids, 1)
    assert abs(np.corrcoef(u, other)[0, 1]) < 0.03
    assert control.numbers([7, "7"], 0)[0] != control.numbers([7, "7"], 0)[1]
    with pytest.raises(ParameterError, match=r"control: got the share 1\.5"):
        control.in_reserve(u, 1.5)
