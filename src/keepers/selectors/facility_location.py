"""Facility location: every point near to some pick."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from keepers import random
from keepers.errors import ParameterError, unknown_name
from keepers.selectors._coverage import (
    TIE,
    WIDEST,
    Coverage,
    CoverageLists,
    best_candidate,
    first_pick,
)
from keepers.selectors._distances import SquaredDistances, row_blocks, squared_norms
from keepers.selectors._sampled import sampled
from keepers.selectors.checks import (
    Features,
    Report,
    check_count,
    check_features,
    check_selected,
    unheard,
)

Optimizer = Literal["lazy", "stochastic"]
LIST_ENTRIES = 2_000_000
"""Pairs that are listed, at most: 16 MB."""


def facility_location(
    features: Features,
    k: int,
    *,
    selected: Tensor | None = None,
    optimizer: Optimizer = "lazy",
    epsilon: float = 0.3,
    generator: torch.Generator | None = None,
    report: Report = unheard,
) -> Tensor:
    """Pick the points that bring all points nearest to a pick, greedily.

    uₜ = argmax_c f(S ∪ {c}), f(S) = Σᵢ max_{j ∈ S} (C − ‖xᵢ − xⱼ‖²), for any C that is at least
    the largest squared distance: the same as making Σᵢ min_{j ∈ S} ‖xᵢ − xⱼ‖² least. Where
    nothing is selected, the first pick is the point of least total squared distance. Ties go to
    the lower position. The n × n matrix is never held: gains come from blocked products, and,
    once few pairs can matter, from lists of about 16 MB.

    `lazy` is exact: an upper bound is kept for each candidate, and only those are evaluated
    again whose bound reaches the best gain. Picks nest: the first k of a larger budget are the
    picks of budget k.

    `stochastic` is meant for large n, and it may come out below the exact one or above. At each
    pick ⌈n/k · ln 1/ε⌉ candidates are drawn, and the best of these and of those drawn before is
    taken. Gains are estimated on 60 k of the points, drawn once, where there are more, and on
    48 MB of them at the most; a tenth tells which of the fresh candidates come into question. Then
    up to three rounds go over all points: picks that cover little give way to points that are
    covered badly, and each pick moves to the middle of the points that are nearest to it. Its
    picks do not nest.

    Args:
        features: (n, d), a tensor or a NumPy array.
        k: number of new picks.
        selected: positions (s,) already selected or labelled; they count as facilities and are
            never picked again.
        optimizer: `lazy` or `stochastic`.
        epsilon: of `stochastic`, in (0, 1): less of it draws more candidates.
        generator: of `stochastic`, draws the samples. None draws them with seed 0.
        report: is called with the name of a part of the work, how much is done, and of how much.

    Returns:
        Positions (k,) in pick order, int64.

    Raises:
        ParameterError: features that are not (n, d) or not finite; k over what is left;
            `selected` out of range or with repetitions; an unknown optimizer; epsilon not
            between 0 and 1.

    Example:
        >>> line = torch.tensor([[0.0], [1.0], [2.0], [9.0], [10.0], [11.0]])
        >>> facility_location(line, 3)
        tensor([2, 4, 0])

    Paper:
        Mirzasoleiman, Karbasi, Sarkar and Krause, Distributed Submodular Maximization, JMLR
        2016. Lazy: Minoux, 1978. Stochastic: Mirzasoleiman et al., Lazier Than Lazy Greedy, AAAI
        2015; swaps: Kaufman and Rousseeuw, Finding Groups in Data, 1990.
    """
    points_ND = check_features(features)
    n = len(points_ND)
    start = check_selected(selected, n, points_ND.device)
    check_count(k, n - len(start))
    if optimizer not in ("lazy", "stochastic"):
        raise unknown_name("optimizer", optimizer, ("lazy", "stochastic"))
    if not 0 < epsilon < 1:
        raise ParameterError("epsilon", f"got {epsilon}", "Give a number between 0 and 1")
    if not k:
        return start.new_empty(0)
    distances = SquaredDistances(points_ND)
    if optimizer == "lazy":
        return _lazy(Coverage(distances, start), k, start, report)
    generator = generator or random.generator(0, "facility-location")
    return sampled(distances, k, start, epsilon, generator, report)


def _lazy(coverage: Coverage, k: int, selected: Tensor, report: Report) -> Tensor:
    everyone = torch.arange(len(coverage), device=selected.device)
    bound_N = _no_bounds(coverage, selected)
    picks = first_pick(coverage, selected)
    bound_N[picks] = -torch.inf
    next_look = len(picks)
    _first_look(coverage, bound_N, report)
    while len(picks) < k:
        if len(picks) >= next_look:
            if coverage.num_entries() <= LIST_ENTRIES:
                return _with_lists(CoverageLists(coverage), k, picks, bound_N, report)
            next_look = max(1, 2 * next_look)
        position = best_candidate(coverage, everyone, bound_N)
        if position is None:
            break
        bound_N[position] = -torch.inf
        picks.append(position)
        coverage.add(position)
        report("picks", len(picks), k)
    return _rest_by_position(picks, k, bound_N)


def _no_bounds(coverage: Coverage, selected: Tensor) -> Tensor:
    """Upper bounds of the gains before any is known; −∞ where a point is taken."""
    bound_N = torch.full_like(coverage.distances.norms_N, torch.inf, dtype=torch.float64)
    bound_N[selected] = -torch.inf
    return bound_N


def _first_look(coverage: Coverage, bound_N: Tensor, report: Report) -> None:
    """All gains: most of the time where n is large."""
    free = (bound_N == torch.inf).nonzero().squeeze(1)
    for number, part in enumerate(free.split(WIDEST) if len(free) else ()):
        bound_N[part] = coverage.gains(part)
        report("first gains", min((number + 1) * WIDEST, len(free)), len(free))


def _with_lists(
    lists: CoverageLists, k: int, picks: list[int], bound_N: Tensor, report: Report
) -> Tensor:
    taken_N = bound_N == -torch.inf
    negligible = 1e-9 * float(lists.gain_N.max())
    while len(picks) < k:
        gain_N = lists.gain_N.masked_fill(taken_N, -torch.inf)
        best = float(gain_N.max())
        if best <= negligible:
            lists.refresh()
            gain_N = lists.gain_N.masked_fill(taken_N, -torch.inf)
            best = float(gain_N.max())
        if best <= 0:
            break
        position = int((gain_N >= best * (1 - TIE)).byte().argmax())
        picks.append(position)
        taken_N[position] = True
        lists.add(position)
        report("picks", len(picks), k)
    return _rest_by_position(picks, k, bound_N.masked_fill(taken_N, -torch.inf))


def _rest_by_position(picks: list[int], k: int, bound_N: Tensor) -> Tensor:
    """Nothing gains any more: what is missing comes by position."""
    rest = (bound_N != -torch.inf).nonzero().squeeze(1)[: k - len(picks)]
    return torch.cat([torch.tensor(picks, dtype=torch.int64, device=rest.device), rest])


def cluster_weights(features: Features, picks: Tensor) -> Tensor:
    """How many points are nearest to each pick, over their mean: the weights of CRAIG.

    Each pick counts itself, and each other point counts for the pick that is nearest to it, of
    several the first. So the weighted mean over the picks stands for the mean over all points.

    Args:
        features: (n, d), a tensor or a NumPy array.
        picks: positions (k,).

    Returns:
        Weights (k,), float32, over 0, with a mean of 1.

    Raises:
        ParameterError: features that are not (n, d) or not finite; `picks` out of range or with
            repetitions.

    Example:
        >>> line = torch.tensor([[0.0], [0.1], [0.2], [5.0]])
        >>> cluster_weights(line, torch.tensor([1, 3]))
        tensor([1.5000, 0.5000])

    Paper:
        Mirzasoleiman, Bilmes and Leskovec, Coresets for Data-efficient Training of Machine
        Learning Models, ICML 2020.
    """
    points_ND = check_features(features)
    squared_norms(points_ND)  # refuses what is not finite
    picks_K = check_selected(picks, len(points_ND), points_ND.device, "picks")
    if not len(picks_K):
        return torch.empty(0, device=points_ND.device)
    chosen_KD = points_ND[picks_K]
    nearest_N = torch.empty(len(points_ND), dtype=torch.int64, device=points_ND.device)
    for rows in row_blocks(len(points_ND), len(picks_K)):
        nearest_N[rows] = torch.cdist(points_ND[rows], chosen_KD).argmin(1)
    nearest_N[picks_K] = torch.arange(len(picks_K), device=points_ND.device)
    counts_K = nearest_N.bincount(minlength=len(picks_K)).float()
    return counts_K / counts_K.mean()
