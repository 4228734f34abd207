"""Facility location by sampling: greedy on a part of the points, then bettered on all of them.

Shape suffixes: N points, D features, C candidates, F facilities: what is selected, then picks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from keepers.selectors._coverage import TIE, WIDEST, Coverage, best_candidate, first_pick
from keepers.selectors._distances import (
    SquaredDistances,
    flat_positions,
    multiply,
    row_blocks,
    smallest,
)
from keepers.selectors.checks import Report

POINTS_PER_PICK, HELD = 60, 5_000_000
"""Points for each pick that gains are summed over, and numbers (20 MB) that are held at most: every
pick goes through them several times."""
FEW, ENOUGH = 10, 1_000
"""A tenth of those points tells which fresh candidates are evaluated on all of them, if it is
enough points."""
LEAST, PASSED, SHARE = 8, 48, 12
"""Fresh candidates that are evaluated on all of those points: from 8 to 48, or a twelfth."""
POOL = 4_096
"""Candidates that stay in question at the most."""
WIDE = 256
ROUNDS, WORTH, MANY = 3, 100, 12_000_000
"""Rounds of swaps at the most; one that swaps fewer than one pick in a hundred is the last, and so
is the first where the points are more than `MANY` numbers: each swap goes through all of them."""


def sampled(
    distances: SquaredDistances,
    k: int,
    selected: Tensor,
    epsilon: float,
    generator: torch.Generator,
    report: Report,
) -> Tensor:
    """Positions (k,) of picks that bring all points near to one, beside `selected`."""
    facilities = torch.cat([selected, _greedy(distances, k, selected, epsilon, generator, report)])
    for _ in range(ROUNDS):
        nearest = _nearest(distances, facilities, report)
        facilities, num_swaps = _swapped(
            distances, facilities, len(selected), nearest, generator, report
        )
        facilities = _settled(distances, facilities, len(selected), nearest.facility)
        if num_swaps * WORTH < k or distances.points_ND.numel() > MANY:
            break
    return facilities[len(selected) :]


def _greedy(
    distances: SquaredDistances,
    k: int,
    selected: Tensor,
    epsilon: float,
    generator: torch.Generator,
    report: Report,
) -> Tensor:
    """At each pick the best of the candidates that are drawn then or were drawn before."""
    n, device = len(distances), selected.device
    points = min(n, POINTS_PER_PICK * k, HELD // distances.points_ND.shape[1] + 1)
    order = torch.randperm(n, generator=generator, device=generator.device).to(device)
    coverage = Coverage(distances, selected, sample=order[:points] if points < n else None)
    free_N = torch.ones(n, dtype=torch.bool, device=device)
    free_N[selected] = False
    picks = first_pick(coverage, selected)
    free_N[picks] = False
    # A point of the sample gains from itself, which favours it: those are drawn last.
    waiting = order.flip(0)
    waiting = waiting[free_N[waiting]]
    size = math.ceil(n / k * math.log(1 / epsilon))
    few, sieve = points // FEW, None
    passed = min(PASSED, max(LEAST, size // SHARE))
    if few >= ENOUGH and size > passed:
        facilities = torch.cat([selected, selected.new_tensor(picks)])
        sieve = Coverage(distances, facilities, sample=order[:few])
    pool_C = waiting[:0]
    bound_C = _gains(coverage, pool_C)
    held_back: list[Tensor] = []
    while len(picks) < k:
        if len(waiting) < size:
            waiting, held_back = torch.cat([waiting, *held_back]), []
        fresh_C, waiting = waiting[:size], waiting[size:]
        if sieve is not None:
            fresh_C, others = _split(fresh_C, _gains(sieve, fresh_C), passed)
            held_back.append(others)
        gain_C = _gains(coverage, fresh_C)
        enough = float(gain_C.max()) if len(gain_C) else 0.0
        best = best_candidate(coverage, pool_C, bound_C, enough)
        pool_C, bound_C = torch.cat([pool_C, fresh_C]), torch.cat([bound_C, gain_C])
        if best is None:
            best = int(bound_C.argmax())
        position = int(pool_C[best])
        picks.append(position)
        coverage.add(position)
        if sieve is not None:
            sieve.add(position)
        report("picks", len(picks), k)
        pool_C[best], bound_C[best] = pool_C[-1], bound_C[-1]
        pool_C, bound_C = pool_C[:-1], bound_C[:-1]
        if len(pool_C) > POOL:
            pool_C, others = _split(pool_C, bound_C, POOL // 2)
            bound_C = bound_C.sort(descending=True, stable=True).values[: POOL // 2]
            held_back.append(others)
    return selected.new_tensor(picks)


def _gains(coverage: Coverage, candidates_C: Tensor) -> Tensor:
    gain_C = torch.empty(len(candidates_C), dtype=torch.float64, device=candidates_C.device)
    for start in range(0, len(candidates_C), WIDEST):
        gain_C[start : start + WIDEST] = coverage.gains(candidates_C[start : start + WIDEST])
    return gain_C


def _split(candidates_C: Tensor, gain_C: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` candidates of greatest gain, in that order, and the others."""
    ranked_C = candidates_C[gain_C.argsort(descending=True, stable=True)]
    return ranked_C[:count], ranked_C[count:]


class _Nearest(NamedTuple):
    """For each point (n,) the nearest two facilities, by number, and its squared distances."""

    facility: Tensor
    apart: Tensor
    second: Tensor
    second_apart: Tensor


def _nearest(distances: SquaredDistances, facilities: Tensor, report: Report) -> _Nearest:
    """The second is at distance ∞ where there is but one facility."""
    points_ND, n = distances.points_ND, len(distances)
    centred_FD, term_F = distances.column_terms(facilities)
    turned_DF = (centred_FD * -2).T.contiguous()
    tolerance_F = distances.tolerance(facilities)
    own_N = torch.full((n,), -1, device=facilities.device)
    own_N[facilities] = torch.arange(len(facilities), device=facilities.device)
    found = _Nearest(
        torch.empty_like(own_N),
        torch.empty_like(distances.norms_N),
        torch.empty_like(own_N),
        torch.empty_like(distances.norms_N),
    )
    for rows in row_blocks(n, len(facilities)):
        block = multiply(points_ND[rows], turned_DF).add_(term_F)
        own_R = own_N[rows]
        is_facility = flat_positions(own_R >= 0)
        block[is_facility, own_R[is_facility]] = -torch.inf
        for facility_N, apart_N in (found[:2], found[2:]):
            facility_R = smallest(block)
            apart_R = block.gather(1, facility_R[:, None]).squeeze(1)
            block.scatter_(1, facility_R[:, None], torch.inf)
            apart_R += distances.norms_N[rows]
            near_P = flat_positions(apart_R <= tolerance_F[facility_R])
            apart_R[near_P] = distances.exact(near_P + rows.start, facilities[facility_R[near_P]])
            facility_N[rows], apart_N[rows] = facility_R, apart_R
        report("points by their nearest pick", rows.stop, n)
    return found


def _swapped(
    distances: SquaredDistances,
    facilities: Tensor,
    num_fixed: int,
    nearest: _Nearest,
    generator: torch.Generator,
    report: Report,
) -> tuple[Tensor, int]:
    """Facilities after swaps of those that cover little, and the number of swaps; f only rises.

    Candidates are drawn by their squared distance to the nearest facility, as k-means++ does, so
    a cluster that has none is found. Facility j goes where one of them gains more than the loss
    Σ (distance to the second − distance to the nearest) over the points of j. What is nearest is
    brought up to date; the second is so for the points of those that stayed.

    Source: PAM's swaps (Kaufman and Rousseeuw, 1990), with losses and gains apart.
    """
    facility_N, apart_N, second_N, second_apart_N = nearest
    loss_F = torch.zeros(len(facilities), dtype=torch.float64, device=facilities.device)
    loss_F.index_add_(0, facility_N, (second_apart_N - apart_N).double())
    loss_F[:num_fixed] = torch.inf
    drawn_C = _draw(apart_N, len(facilities) - num_fixed, generator)
    coverage = Coverage(distances, facilities, nearest=apart_N)
    bound_C = _gains(coverage, drawn_C)
    facilities, num_swaps = facilities.clone(), 0
    gone_F = torch.zeros_like(loss_F, dtype=torch.bool)
    needed_F = gone_F.clone()
    column_N = torch.empty_like(apart_N)
    for place, number in enumerate(loss_F.argsort(stable=True).tolist()):
        report("picks that may be swapped", place, len(facilities))
        if needed_F[number]:
            continue
        own_P = flat_positions(facility_N == number)
        heir_P = second_N[own_P]
        if bool(gone_F[heir_P].any()):
            continue
        best = best_candidate(coverage, drawn_C, bound_C, float(loss_F[number]) * (1 + TIE))
        if best is None:
            break
        bound_C[best] = -torch.inf
        facilities[number] = drawn_C[best]
        gone_F[number], needed_F[heir_P] = True, True
        facility_N[own_P], apart_N[own_P] = heir_P, second_apart_N[own_P]
        distances.to_point(int(drawn_C[best]), column_N)
        closer_P = flat_positions(column_N < apart_N)
        facility_N[closer_P], apart_N[closer_P] = number, column_N[closer_P]
        num_swaps += 1
    return facilities, num_swaps


def _draw(weight_N: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """The distinct ones of `count` positions drawn by their weight (n,); none of weight 0."""
    upto_N = weight_N.double().cumsum(0)
    if not float(upto_N[-1]):
        return torch.empty(0, dtype=torch.int64, device=weight_N.device)
    draws = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64)
    found = torch.searchsorted(upto_N, draws.to(upto_N.device) * upto_N[-1], right=True)
    return found.clamp_(max=int(weight_N.nonzero()[-1])).unique()


def _settled(
    distances: SquaredDistances, facilities: Tensor, num_fixed: int, nearest_N: Tensor
) -> Tensor:
    """Each pick moved to the middle of the points that are nearest to it: f only rises.

    Σᵢ ‖xᵢ − c‖² = m ‖c − x̄‖² + Σᵢ ‖xᵢ − x̄‖² over those m points: least at the one nearest to
    their mean x̄. One step of k-medoids over all points; the first `num_fixed` stay.
    """
    points_ND, n = distances.points_ND, len(distances)
    mean_FD = torch.zeros(
        len(facilities), points_ND.shape[1], dtype=torch.float64, device=facilities.device
    )
    for rows in row_blocks(n, points_ND.shape[1]):
        mean_FD.index_add_(0, nearest_N[rows], points_ND[rows].double())
    mean_FD /= torch.bincount(nearest_N, minlength=len(facilities))[:, None]
    apart_N = torch.empty(n, dtype=torch.float64, device=facilities.device)
    for rows in row_blocks(n, points_ND.shape[1]):
        apart_N[rows] = (points_ND[rows] - mean_FD[nearest_N[rows]]).square_().sum(1)
    least_F = apart_N[facilities].scatter_reduce_(0, nearest_N, apart_N, "amin")
    middle = flat_positions(apart_N == least_F[nearest_N])
    found_F = torch.full_like(facilities, n).scatter_reduce_(0, nearest_N[middle], middle, "amin")
    return torch.cat([facilities[:num_fixed], found_F[num_fixed:]])
