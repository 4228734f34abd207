from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from keepers.errors import ParameterError
from keepers.selectors import (
    coverage_centric,
    facility_location,
    greedy_sampling,
    importance_sample,
    k_center_greedy,
    percentile_sample,
    random_subset,
    share_budget,
    stratified,
    take_turns,
    top_k,
)
from keepers.selectors._coverage import Coverage
from keepers.selectors._distances import SquaredDistances
from keepers.selectors.checks import unheard
from keepers.selectors.ranking import FEW, highest

facility_module = importlib.import_module("keepers.selectors.facility_location")
sampled_module = importlib.import_module("keepers.selectors._sampled")

Greedy = Callable[..., Tensor]
GREEDY = (k_center_greedy, facility_location)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(seed: int, n: int, d: int = 4) -> Tensor:
    return torch.randn(n, d, generator=generator(seed))


def squared_distances(features: Tensor) -> Tensor:
    exact = features.double()
    return (exact[:, None] - exact[None]).square().sum(-1)


def naive_k_center(features: Tensor, k: int, selected: list[int]) -> list[int]:
    distances, chosen = squared_distances(features), list(selected)
    for _ in range(k):
        nearest = distances[:, chosen].amin(1)
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
    return chosen[len(selected) :]


def naive_facility_location(features: Tensor, k: int, selected: list[int]) -> list[int]:
    distances, chosen = squared_distances(features), list(selected)
    largest = float(distances.max())

    def value(chosen: list[int]) -> float:
        return float((largest - distances[:, chosen]).amax(1).sum()) if chosen else 0.0

    for _ in range(k):
        free = [c for c in range(len(features)) if c not in chosen]
        gains = torch.tensor([value([*chosen, c]) - value(chosen) for c in free])
        # Two points that serve only each other gain exactly the same: the lower position counts.
        chosen.append(free[int((gains >= gains.max() * (1 - 1e-6)).nonzero()[0])])
    return chosen[len(selected) :]


def mean_nearest(features: Tensor, picks: Tensor) -> float:
    return float(torch.cdist(features, features[picks]).amin(1).square().double().mean())


@pytest.fixture(params=["lists", "bounds"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facility location by lists of near pairs, and by bounds only, as it is on large data."""
    if request.param == "bounds":
        monkeypatch.setattr(facility_module, "LIST_ENTRIES", -1)


# Ranking and sampling


@given(st.lists(st.sampled_from([-math.inf, 0.0, 1.0, 2.0, math.inf]), max_size=20), st.data())
def test_top_k_breaks_ties_by_position(values: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(0, len(values)))
    expected = sorted(range(len(values)), key=lambda position: (-values[position], position))[:k]
    assert top_k(torch.tensor(values), k).tolist() == expected


@pytest.mark.parametrize("n", [FEW - 1, FEW, FEW + 1])
@pytest.mark.parametrize("k", [1, 40, FEW - 1])
def test_few_scores_are_ranked_as_many_are(n: int, k: int) -> None:
    scores = torch.randn(n, generator=torch.Generator().manual_seed(n))
    expected = scores.argsort(descending=True, stable=True)[:k]
    assert torch.equal(highest(scores, k), expected)
    scores[expected[-1:]] = float(scores[0])  # a tie at the edge
    assert torch.equal(highest(scores, k), scores.argsort(descending=True, stable=True)[:k])
    scores[[5, 9]] = torch.nan
    assert torch.equal(highest(scores, k), scores.argsort(descending=True, stable=True)[:k])


def test_top_k_leaves_out_what_is_selected() -> None:
    assert top_k(torch.tensor([3.0, 1.0, 2.0]), 2, selected=torch.tensor([0])).tolist() == [2, 1]


def test_ranking_without_checks_never_waits_for_the_device() -> None:
    # Tensors on `meta` have no values: to read one back is an error.
    scores, selected = torch.zeros(9, device="meta"), torch.zeros(2, device="meta").long()
    assert highest(scores, 5, selected=selected).shape == (5,)
    found = highest(torch.tensor([-torch.inf, 1.0, 2.0]), 2, selected=torch.tensor([1]))
    assert found.tolist() == [2, 0]


def test_top_k_refuses_nan_and_too_large_a_budget() -> None:
    with pytest.raises(ParameterError, match="scores: got NaN at 1 positions, the first is 1"):
        top_k(torch.tensor([0.0, torch.nan]), 1)
    with pytest.raises(ParameterError, match="k: got 2, but there are only 1 to pick from"):
        top_k(torch.zeros(2), 2, selected=torch.tensor([0]))


def test_random_subset_is_uniform_and_nests() -> None:
    counts = torch.zeros(5)
    draw = generator()
    for _ in range(2000):
        counts[random_subset(5, 2, generator=draw)] += 1
    assert counts.sub(800).abs().max() < 120  # over five standard deviations
    long = random_subset(50, 40, generator=generator(3))
    assert torch.equal(random_subset(50, 7, generator=generator(3)), long[:7])


def test_stratified_rounds_by_largest_remainder() -> None:
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 17 + [3] * 3)
    drawn = labels[stratified(labels, 10, generator=generator())]
    assert drawn.bincount(minlength=4).tolist() == [5, 3, 2, 0]
    assert drawn[:5].bincount(minlength=4).tolist() == [3, 1, 1, 0]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.data())
def test_shares_are_equal_as_far_as_the_groups_reach(sizes: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(0, sum(sizes)))
    shares = share_budget(sizes, k)
    assert sum(shares) == k
    assert all(share <= size for share, size in zip(shares, sizes, strict=True))
    unfilled = [s for s, size in zip(shares, sizes, strict=True) if s < size]
    assert not unfilled or max(shares) - min(unfilled) <= 1
    if k < sum(sizes):
        more = share_budget(sizes, k + 1)
        assert all(after >= before for after, before in zip(more, shares, strict=True))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_turns_with_shares_nest(sizes: list[int]) -> None:
    groups = list(torch.arange(sum(sizes)).split(sizes))

    def merged(k: int) -> list[int]:
        shares = share_budget(sizes, k)
        parts = [group[:share] for group, share in zip(groups, shares, strict=True)]
        return take_turns(parts, sizes).tolist()

    for k in range(sum(sizes)):
        assert merged(k + 1)[:k] == merged(k)


# Sampling by score


def test_importance_weights_are_the_inverse_of_the_chances() -> None:
    # g = 3, 1, 0, 4 of 8: w = 1 / (4 p) = 8 / (4 g).
    importance = torch.tensor([3.0, 1.0, 0.0, 4.0])
    picks = importance_sample(importance, 500, generator=generator())
    assert picks.weights is not None
    assert set(picks.positions.tolist()) == {0, 1, 3}
    torch.testing.assert_close(picks.weights, 2 / importance[picks.positions])


def test_importance_weights_are_unbiased() -> None:
    n, k, rounds = 50, 20, 2000
    draw = generator(1)
    losses = 5 * torch.rand(n, generator=draw, dtype=torch.float64)
    importance = torch.rand(n, generator=draw, dtype=torch.float64) + 0.05
    chances = importance / importance.sum()
    estimates = torch.zeros(rounds, dtype=torch.float64)
    plain = torch.zeros(rounds, dtype=torch.float64)
    for index in range(rounds):
        picks = importance_sample(importance, k, generator=draw)
        assert picks.weights is not None
        drawn = losses[picks.positions]
        estimates[index], plain[index] = (picks.weights * drawn).mean(), drawn.mean()
    # The exact variance of one estimate: Σ p (l / (n p))² − mean², over k.
    variance = ((losses / (n * chances)).square() * chances).sum() - losses.mean().square()
    bound = 4 * (variance / (k * rounds)).sqrt()
    assert float((estimates.mean() - losses.mean()).abs()) < float(bound)
    assert float(estimates.var()) == pytest.approx(float(variance / k), rel=0.15)
    # Without the weights the mean is that of what is drawn more often.
    assert float((plain.mean() - (chances * losses).sum()).abs()) < float(bound)
    assert float((plain.mean() - losses.mean()).abs()) > float(bound)


def test_importance_draws_keep_their_repetitions() -> None:
    importance = torch.tensor([0.0, 1.0, 0.0])
    picks = importance_sample(importance, 5, generator=generator())
    assert picks.positions.tolist() == [1] * 5
    assert picks.weights is not None
    torch.testing.assert_close(picks.weights, torch.full((5,), 1 / 3))


def test_importance_of_zero_everywhere_is_uniform() -> None:
    picks = importance_sample(torch.zeros(4), 4000, generator=generator())
    assert picks.weights is not None
    assert torch.equal(picks.weights, torch.ones(4000))
    counts = picks.positions.bincount(minlength=4)
    assert counts.sub(1000).abs().max() < 140  # five standard deviations


@pytest.mark.parametrize(("uniform", "expected"), [(0.0, 1), (1 - 2**-53, 2)])
def test_importance_never_draws_what_has_none(
    monkeypatch: pytest.MonkeyPatch, uniform: float, expected: int
) -> None:
    def rand(k: int, **_: object) -> Tensor:
        return torch.full((k,), uniform, dtype=torch.float64)

    monkeypatch.setattr(torch, "rand", rand)
    for total in (1.0, 3.0, 7.0):
        importance = torch.tensor([0.0, 0.25, 0.75, 0.0], dtype=torch.float64) * total
        picks = importance_sample(importance, 3, generator=generator())
        assert picks.positions.tolist() == [expected] * 3


def test_importance_leaves_out_what_is_selected() -> None:
    importance = torch.tensor([5, 1, 3, 7])  # integers, as counts would be
    picks = importance_sample(importance, 60, generator=generator(), selected=torch.tensor([0, 3]))
    assert set(picks.positions.tolist()) == {1, 2}
    assert picks.weights is not None
    torch.testing.assert_close(picks.weights, 2 / importance[picks.positions])


def test_importance_refuses_odd_scores_and_nothing_to_draw_from() -> None:
    with pytest.raises(ParameterError, match=r"scores: got NaN or infinite values at 1 .* is 1"):
        importance_sample(torch.tensor([0.0, torch.inf]), 1, generator=generator())
    with pytest.raises(ParameterError, match=r"scores: got -0.5. Give scores of 0 or more"):
        importance_sample(torch.tensor([0.0, -0.5]), 1, generator=generator())
    with pytest.raises(ParameterError, match="k: got 1, but there are only 0 to pick from"):
        importance_sample(torch.zeros(0), 1, generator=generator())
    with pytest.raises(ParameterError, match="k: got -1, but there are only 2 to pick from"):
        importance_sample(torch.zeros(2), -1, generator=generator())
    assert len(importance_sample(torch.zeros(0), 0, generator=generator()).positions) == 0


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_percentile_sample_draws_by_the_power_of_the_percentile(beta: float) -> None:
    # Ties share a percentile: those of these losses are 1/5, 3/5, 3/5, 4/5, 1.
    losses = torch.tensor([-torch.inf, 2.0, 2.0, 7.0, torch.inf])
    weights = torch.tensor([0.2, 0.6, 0.6, 0.8, 1.0]).double() ** beta
    first = weights / weights.sum()
    both = [sum_of_pairs(first, position) for position in range(5)]
    rounds, draw = 4000, generator(2)
    once, twice = torch.zeros(5).double(), torch.zeros(5).double()
    for _ in range(rounds):
        picks = percentile_sample(losses, 2, beta=beta, generator=draw).positions
        once[picks[0]] += 1
        twice[picks] += 1
    for counts, chances in ((once, first), (twice, torch.tensor(both).double())):
        deviation = (rounds * chances * (1 - chances)).sqrt()
        assert bool(((counts - rounds * chances).abs() < 4.5 * deviation).all())


def sum_of_pairs(chances: Tensor, position: int) -> float:
    """The chance to be among the first two of a draw without replacement."""
    p = chances.tolist()
    other = sum(q * p[position] / (1 - q) for i, q in enumerate(p) if i != position)
    return p[position] + other


def test_percentile_sample_nests_and_only_ranks_count() -> None:
    losses = points(0, 100, 1)[:, 0]
    draw = partial(percentile_sample, beta=1.0)  # beta=auto is another for another budget
    long = draw(losses, 60, generator=generator(1)).positions
    assert len(long.unique()) == 60
    assert torch.equal(draw(losses, 7, generator=generator(1)).positions, long[:7])
    stretched = draw(losses.exp(), 60, generator=generator(1)).positions
    assert torch.equal(stretched, long)


def test_percentile_sample_takes_percentiles_among_what_is_left() -> None:
    losses = torch.tensor([9.0, 1.0, 8.0, 2.0, 3.0])
    selected = torch.tensor([0, 2])
    found = percentile_sample(losses, 3, generator=generator(4), selected=selected).positions
    alone = percentile_sample(losses[[1, 3, 4]], 3, generator=generator(4)).positions
    assert torch.equal(torch.tensor([1, 3, 4])[alone], found)


def test_percentile_sample_refuses_nan_and_odd_options() -> None:
    with pytest.raises(ParameterError, match="scores: got NaN at 1 positions, the first is 1"):
        percentile_sample(torch.tensor([0.0, torch.nan]), 1, generator=generator())
    with pytest.raises(ParameterError, match="k: got 2, but there are only 1 to pick from"):
        percentile_sample(torch.zeros(2), 2, generator=generator(), selected=torch.tensor([0]))
    for beta in (-1.0, math.inf, math.nan):
        with pytest.raises(ParameterError, match=f"beta: got {beta}"):
            percentile_sample(torch.zeros(2), 1, generator=generator(), beta=beta)


# Coverage-centric


def test_coverage_centric_shares_evenly_over_bins_of_equal_width() -> None:
    # Of 110, the hardest 11 go. The rest spans 0 to 10: 90 easy ones, and 9 in two hard bins.
    difficulty = torch.cat(
        [
            torch.linspace(0, 1.9, 90),
            torch.tensor([5.0, 5.1, 5.2]),
            torch.linspace(8.5, 10, 6),
            torch.linspace(50, 90, 11),
        ]
    )
    picks = coverage_centric(difficulty, 12, generator=generator(), beta=0.1, num_bins=5)
    assert picks.excluded is not None
    assert picks.excluded.tolist() == list(range(109, 98, -1))
    bins = (difficulty[picks.positions] / 2).long().clamp(max=4)
    assert bins.bincount(minlength=5).tolist() == [5, 0, 3, 0, 4]  # 3, then ⌊9/2⌋, then the rest
    assert "ccs" in picks.why_excluded


def test_coverage_centric_draws_uniformly_within_a_bin() -> None:
    difficulty = torch.cat([torch.zeros(10), torch.ones(10)])
    counts = torch.zeros(20)
    draw = generator()
    for _ in range(1000):
        counts[coverage_centric(difficulty, 4, generator=draw, beta=0).positions] += 1
    assert counts.sub(200).abs().max() < 65  # five standard deviations


def test_coverage_centric_sets_fewer_aside_when_the_budget_needs_them() -> None:
    picks = coverage_centric(torch.arange(10.0), 9, generator=generator(), beta=0.5)
    assert picks.excluded is not None
    assert picks.excluded.tolist() == [9]
    assert sorted(picks.positions.tolist()) == list(range(9))


def test_coverage_centric_nests() -> None:
    difficulty = points(0, 300, 1)[:, 0]
    long = coverage_centric(difficulty, 200, generator=generator(1)).positions
    short = coverage_centric(difficulty, 31, generator=generator(1)).positions
    assert torch.equal(short, long[:31])


def test_coverage_centric_refuses_infinite_difficulty_and_odd_options() -> None:
    with pytest.raises(ParameterError, match="difficulty: got NaN or infinite values"):
        coverage_centric(torch.tensor([0.0, torch.inf]), 1, generator=generator())
    with pytest.raises(ParameterError, match="beta: got 1"):
        coverage_centric(torch.zeros(2), 1, generator=generator(), beta=1)
    with pytest.raises(ParameterError, match="num_bins: got 0"):
        coverage_centric(torch.zeros(2), 1, generator=generator(), num_bins=0)


# Greedy selection in feature space


@given(st.integers(0, 10**6), st.integers(3, 40), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_k_center_is_the_naive_one(seed: int, n: int, num_selected: int) -> None:
    features = points(seed, n)
    selected = random_subset(n, min(num_selected, n - 1), generator=generator(seed))
    k = (n - len(selected)) // 2
    found = k_center_greedy(features, k, selected=selected, generator=generator(seed)).tolist()
    if len(selected):
        assert found == naive_k_center(features, k, selected.tolist())
    elif k:
        assert found[1:] == naive_k_center(features, k - 1, found[:1])


def grid(seed: int) -> Tensor:
    """Whole numbers or one-hot rows, where most distances are ties."""
    drawn, n = generator(seed), 6 + seed % 30
    if seed % 4 == 3:
        rows = torch.randint(12, (n,), generator=drawn)
        return torch.nn.functional.one_hot(rows, 12).float() + seed % 5
    return torch.randint(4, (n, 1 + seed % 5), generator=drawn).float() * (1 + seed % 3)


def test_k_center_breaks_ties_by_position() -> None:
    found = k_center_greedy(torch.tensor([[0.0, 2], [2, 2], [0, 0]]), 1, selected=torch.tensor([0]))
    assert found.tolist() == [1]
    for seed in range(200):
        features = grid(seed)
        found = k_center_greedy(features, len(features) - 1, selected=torch.tensor([seed % 3]))
        assert found.tolist() == naive_k_center(features, len(features) - 1, [seed % 3]), seed


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("seed", range(12))
def test_facility_location_is_the_naive_one(seed: int) -> None:
    n = 10 + 3 * seed
    features = points(seed, n, 2 + seed % 5)
    selected = random_subset(n, seed % 4, generator=generator(seed))
    found = facility_location(features, n // 2, selected=selected)
    assert found.tolist() == naive_facility_location(features, n // 2, selected.tolist())


def test_facility_location_begins_with_the_point_of_least_total_distance() -> None:
    features = points(5, 200) + 3
    totals = squared_distances(features).sum(1)
    assert facility_location(features, 1).tolist() == [int(totals.argmin())]


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("select", GREEDY)
def test_greedy_picks_nest(select: Greedy) -> None:
    features = points(1, 300, 8)
    long = select(features, 120)
    for k in (0, 1, 2, 37):
        assert torch.equal(select(features, k), long[:k])
    follow = select(features, 60, selected=long[:60])
    assert torch.equal(follow, long[60:])


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("select", GREEDY)
def test_copies_are_picked_last_and_by_position(select: Greedy) -> None:
    distinct = points(2, 20, 8)
    order = torch.randperm(60, generator=generator(2))
    features = distinct.repeat(3, 1)[order] + 10
    picks = select(features, 60, selected=None, generator=generator())
    which = (order % 20)[picks]
    assert len(which[:20].unique()) == 20
    assert picks[20:].tolist() == sorted(picks[20:].tolist())
    assert len(picks.unique()) == 60


def test_k_center_sees_nearly_equal_points_far_from_the_origin() -> None:
    # In float32, ‖x‖² + ‖y‖² − 2 x·y of these is pure rounding.
    offsets = torch.tensor([[0.0, 0.0], [0.25, 0.0], [0.0, 1.0], [0.0, 0.5]])
    outlier = torch.tensor([[4000.0, 4000.0]])
    features = torch.cat([offsets, outlier]) + 4096
    found = k_center_greedy(features, 3, selected=torch.tensor([0, 4])).tolist()
    assert found == [2, 3, 1]


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("select", GREEDY)
@pytest.mark.parametrize("seed", range(3))
def test_greedy_follows_a_permutation(select: Greedy, seed: int) -> None:
    features = points(seed, 200)
    order = torch.randperm(200, generator=generator(seed))
    place = order.argsort()
    selected = torch.tensor([3, 170])
    found = select(features, 15, selected=selected)
    moved = select(features[order], 15, selected=place[selected])
    assert torch.equal(order[moved], found)


@pytest.mark.parametrize("select", [*GREEDY, partial(facility_location, optimizer="stochastic")])
def test_what_was_selected_counts_and_is_not_picked_again(select: Greedy) -> None:
    # small-text mixes the two index spaces here and covers worse than it could.
    features = torch.cat([points(0, 50) * 0.1, points(1, 50) * 0.1 + 10])
    selected = torch.arange(10, 50)
    before = features.clone(), selected.clone()
    picks = select(features, 1, selected=selected)
    assert 50 <= int(picks[0]) < 100  # the cluster that nothing covers yet
    rest = select(features, 60, selected=selected)
    assert sorted([*rest.tolist(), *selected.tolist()]) == list(range(100))
    assert torch.equal(features, before[0])
    assert torch.equal(selected, before[1])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("select", GREEDY)
def test_scale_and_precision_do_not_matter(select: Greedy, scale: float) -> None:
    features = points(4, 100, 6)
    expected = select(features, 20)
    assert torch.equal(select(features * scale, 20), expected)
    assert torch.equal(select(features.double() * scale, 20), expected)


def test_k_center_draws_its_first_point_from_the_generator() -> None:
    features = points(0, 100)
    first = {int(k_center_greedy(features, 1, generator=generator(seed))) for seed in range(20)}
    assert len(first) > 10
    assert torch.equal(k_center_greedy(features, 5), k_center_greedy(features, 5))


@pytest.mark.parametrize("select", GREEDY)
def test_greedy_refuses_bad_input(select: Greedy) -> None:
    features = points(0, 6)
    broken = features.clone()
    broken[4, 1] = torch.nan
    with pytest.raises(ParameterError, match=r"features: got NaN or infinite values at 1 .* is 4"):
        select(broken, 2)
    with pytest.raises(ParameterError, match=r"features: got shape \(6,\)"):
        select(features[:, 0], 2)
    with pytest.raises(ParameterError, match="k: got 7, but there are only 6 to pick from"):
        select(features, 7)
    with pytest.raises(ParameterError, match="k: got -1"):
        select(features, -1)
    with pytest.raises(ParameterError, match="selected: got a position twice"):
        select(features, 2, selected=torch.tensor([1, 1]))
    with pytest.raises(ParameterError, match="selected: got positions from 2 to 6"):
        select(features, 2, selected=torch.tensor([2, 6]))
    with pytest.raises(ParameterError, match=r"selected: got shape \(6,\) of torch.bool"):
        select(features, 2, selected=torch.zeros(6, dtype=torch.bool))


@pytest.mark.parametrize("select", GREEDY)
def test_features_may_be_arrays(select: Greedy) -> None:
    features = points(3, 60, 5)
    expected = select(features, 12)
    array = features.numpy()
    read_only = array.copy()
    read_only.flags.writeable = False
    for given_as in (array, array.astype(">f4"), np.asfortranarray(array), read_only):
        assert torch.equal(select(given_as, 12), expected)
    for narrow in (np.float16, np.int16):
        as_read = torch.from_numpy((array * 50).astype(narrow)).float()
        assert torch.equal(select((array * 50).astype(narrow), 12), select(as_read, 12))
    with pytest.raises(ParameterError, match=r"features: got an array of <U1\. Give rows of num"):
        select(np.array([["a", "b"], ["c", "d"]]), 1)
    with pytest.raises(ParameterError, match=r"features: got shape \(60,\)"):
        select(array[:, 0], 1)


def test_facility_location_refuses_unknown_optimizers() -> None:
    with pytest.raises(ParameterError, match="Did you mean 'lazy'"):
        facility_location(points(0, 6), 2, optimizer="laziest")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError, match="epsilon: got 1"):
        facility_location(points(0, 6), 2, optimizer="stochastic", epsilon=1)


def test_stochastic_clearly_beats_random_and_comes_near_to_lazy() -> None:
    # apricot's stochastic optimiser is no better than random.
    features = points(0, 2000, 16)
    lazy = mean_nearest(features, facility_location(features, 100))
    found = [
        mean_nearest(
            features,
            facility_location(features, 100, optimizer="stochastic", generator=generator(seed)),
        )
        for seed in range(3)
    ]
    random = [
        mean_nearest(features, random_subset(2000, 100, generator=generator(seed)))
        for seed in range(10)
    ]
    assert max(found) < lazy + 0.1 * (min(random) - lazy)
    assert lazy <= min(found) * 1.001


def test_stochastic_estimates_gains_on_a_sample_of_large_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampled_module, "POINTS_PER_PICK", 30)
    features = points(0, 3000, 8)
    found = mean_nearest(features, facility_location(features, 20, optimizer="stochastic"))
    lazy = mean_nearest(features, facility_location(features, 20))
    random = min(
        mean_nearest(features, random_subset(3000, 20, generator=generator(seed)))
        for seed in range(10)
    )
    assert found < lazy + 0.5 * (random - lazy)


@pytest.mark.parametrize("optimizer", ["lazy", "stochastic"])
def test_facility_location_says_how_far_it_is(optimizer: str) -> None:
    heard: list[tuple[str, int, int]] = []
    facility_location(
        points(0, 700),
        30,
        optimizer=optimizer,  # pyright: ignore[reportArgumentType]
        report=lambda *told: heard.append(told),
    )
    assert [told for told in heard if told[0] == "picks"][-1] == ("picks", 30, 30)
    if optimizer == "stochastic":
        parts = list(dict.fromkeys(part for part, _, _ in heard))
        assert parts[1:] == ["points by their nearest pick", "picks that may be swapped"]
        assert ("points by their nearest pick", 700, 700) in heard
    looks = [(done, total) for part, done, total in heard if part == "first gains"]
    assert looks == ([(256, 699), (512, 699), (699, 699)] if optimizer == "lazy" else [])


@pytest.mark.parametrize("clusters", [0, 40])
def test_few_points_tell_which_candidates_are_evaluated_on_all(
    clusters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = points(0, 4000, 8)
    if clusters:
        features = points(1, clusters, 8)[torch.arange(4000) % clusters] + features / 4
    evaluated = 0
    gains = Coverage.gains

    def counted(coverage: Any, candidates: Tensor) -> Tensor:
        nonlocal evaluated
        evaluated += len(coverage.nearest_N) * len(candidates)
        return gains(coverage, candidates)

    monkeypatch.setattr(Coverage, "gains", counted)
    monkeypatch.setattr(sampled_module, "PASSED", 8)
    costs: list[int] = []
    found: list[float] = []
    for enough in (4001, 200):
        monkeypatch.setattr(sampled_module, "ENOUGH", enough)
        evaluated = 0
        picks = facility_location(features, 40, optimizer="stochastic")
        costs.append(evaluated)
        found.append(mean_nearest(features, picks))
    assert costs[1] < 0.6 * costs[0]
    random = mean_nearest(features, random_subset(4000, 40, generator=generator(0)))
    assert found[1] < found[0] + 0.1 * (random - found[0])


def covered(seed: int) -> tuple[Tensor, Tensor]:
    """Points with copies, and 16 facilities of which two are copies of each other."""
    features = points(seed, 300, 3) + 5
    features[7] = features[90]
    features[120:140] = features[120]
    rest = torch.randperm(110, generator=generator(seed))[:14]
    return features, torch.cat([rest, torch.tensor([121, 133])])


@pytest.mark.parametrize("seed", range(3))
def test_the_two_nearest_facilities_are_known(seed: int) -> None:
    features, facilities = covered(seed)
    exact = squared_distances(features)[:, facilities]
    exact[facilities, torch.arange(16)] = -1
    expected = exact.argsort(dim=1, stable=True)[:, :2]
    found = sampled_module._nearest(SquaredDistances(features), facilities, unheard)
    assert torch.equal(torch.stack([found.facility, found.second], 1), expected)
    apart = torch.stack([found.apart, found.second_apart], 1)
    exact = exact.gather(1, expected).clamp(min=0)
    torch.testing.assert_close(apart.double(), exact, rtol=1e-4, atol=1e-4)
    assert float(found.apart[121]) == float(found.second_apart[133]) == 0


@pytest.mark.parametrize("seed", range(3))
def test_picks_settle_in_the_middle_of_the_points_nearest_to_them(seed: int) -> None:
    features, facilities = covered(seed)
    distances = SquaredDistances(features)
    nearest = sampled_module._nearest(distances, facilities, unheard).facility
    expected = facilities[:4].tolist()
    for own in range(4, 16):
        members = (nearest == own).nonzero().squeeze(1)
        middle = features[members].double().mean(0)
        apart = (features[members].double() - middle).square().sum(1)
        expected.append(int(members[apart <= apart.min() + 1e-9].min()))  # the lower of two copies
    found = sampled_module._settled(distances, facilities, 4, nearest)
    assert found.tolist() == expected
    assert mean_nearest(features, found) <= mean_nearest(features, facilities)


@pytest.mark.parametrize("seed", range(6))
def test_swaps_lower_the_objective_and_keep_what_is_nearest_up_to_date(seed: int) -> None:
    features, facilities = covered(seed)
    distances = SquaredDistances(features)
    nearest = sampled_module._nearest(distances, facilities, unheard)
    found, num_swaps = sampled_module._swapped(
        distances, facilities, 4, nearest, generator(seed), unheard
    )
    assert 0 < num_swaps == int((found != facilities).sum())
    assert torch.equal(found[:4], facilities[:4])
    assert len(found.unique()) == 16
    before, after = mean_nearest(features, facilities), mean_nearest(features, found)
    assert after < before
    assert float(nearest.apart.double().mean()) == pytest.approx(after, rel=1e-4)
    assert torch.equal(found[nearest.facility[found]], found)


def test_sampling_finds_clusters_that_no_sample_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    # Gains on 300 of the points tell nothing of 30 clusters of 2 points each.
    centres = 20 * points(0, 40, 6)
    size = torch.tensor([500] * 10 + [2] * 30)
    features = centres.repeat_interleave(size, 0) + points(1, int(size.sum()), 6)
    monkeypatch.setattr(sampled_module, "POINTS_PER_PICK", 8)
    picks = facility_location(features, 40, optimizer="stochastic")
    kinds = torch.arange(40).repeat_interleave(size)
    assert len(kinds[picks].unique()) >= 39
    monkeypatch.setattr(sampled_module, "ROUNDS", 0)
    alone = facility_location(features, 40, optimizer="stochastic")
    assert mean_nearest(features, picks) < 0.5 * mean_nearest(features, alone)


def test_wide_features_are_sampled_less(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: set[int] = set()
    gains = Coverage.gains

    def seen(coverage: Any, candidates: Tensor) -> Tensor:
        sizes.add(len(coverage.nearest_N))
        return gains(coverage, candidates)

    monkeypatch.setattr(Coverage, "gains", seen)
    monkeypatch.setattr(sampled_module, "HELD", 800)
    features = points(0, 600, 8)
    picks = facility_location(features, 20, optimizer="stochastic")
    assert sizes == {101, 600}  # the swaps go over all points
    monkeypatch.setattr(sampled_module, "HELD", 10_000)
    whole = facility_location(features, 20, optimizer="stochastic")
    best, random = mean_nearest(features, whole), random_subset(600, 20, generator=generator(0))
    assert mean_nearest(features, picks) < best + 0.3 * (mean_nearest(features, random) - best)


@pytest.mark.parametrize("k", [1, 2, 59, 60])
@pytest.mark.parametrize("epsilon", [0.01, 0.3, 0.9])
def test_sampling_picks_as_many_as_there_are(k: int, epsilon: float) -> None:
    features = points(0, 20, 3).repeat(3, 1)  # three copies each: most picks gain nothing
    picks = facility_location(features, k, optimizer="stochastic", epsilon=epsilon)
    assert len(picks.unique()) == k
    if k > 20:
        assert mean_nearest(features, picks) < 1e-6


def test_candidates_out_of_question_wait_until_others_were_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = points(0, 400, 3)
    expected = facility_location(features, 100, optimizer="stochastic")
    monkeypatch.setattr(sampled_module, "POOL", 4)
    few = facility_location(features, 100, optimizer="stochastic")
    assert len(few.unique()) == 100
    assert mean_nearest(features, few) < 1.05 * mean_nearest(features, expected)


def test_stochastic_repeats_under_a_generator() -> None:
    features = points(0, 500)
    run = partial(facility_location, features, 50, optimizer="stochastic")
    assert torch.equal(run(generator=generator(1)), run(generator=generator(1)))
    assert not torch.equal(run(generator=generator(1)), run(generator=generator(2)))


def test_bounds_and_lists_agree_across_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    features = points(3, 600, 5)
    expected = facility_location(features, 150)
    for entries in (-1, 3_000, 30_000):
        monkeypatch.setattr(facility_module, "LIST_ENTRIES", entries)
        assert torch.equal(facility_location(features, 150), expected)


def test_ccs_sets_a_part_of_the_free_ones_aside() -> None:
    difficulty = torch.arange(20.0)
    selected = torch.arange(10)  # the easiest half is taken: a fifth of the other ten is two
    picks = coverage_centric(
        difficulty, 4, beta=0.2, generator=torch.Generator().manual_seed(0), selected=selected
    )
    assert picks.excluded is not None
    assert picks.excluded.tolist() == [19, 18]
    assert set(picks.positions.tolist()) <= set(range(10, 18))


def test_greedy_sampling_goes_by_features_where_all_values_are_alike() -> None:
    points = torch.tensor([[0.0], [1.0], [2.0], [9.0]])
    alike = torch.full((4, 1), 152.1)
    alike[1] += 1e-5  # what rounding leaves of a model that predicts the mean
    picks = greedy_sampling(points, alike, 2, selected=torch.tensor([0]))
    assert picks.tolist() == [3, 2]
