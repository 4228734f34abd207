"""Facility location: every point near to some pick."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from keepers import random
from keepers.errors import ParameterError, unknown_name
from keepers.selectors._coverage import Coverage, CoverageLists
from keepers.selectors._distances import SquaredDistances, multiply, row_blocks
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
"""Pairs that are listed at the most: 16 MB."""
POINTS_PER_PICK = 100
"""`stochastic` sums gains over so many points for each pick."""
FEW, ENOUGH = 10, 1_000
"""A tenth of those points tells which candidates to evaluate on all, if it is enough points."""
BEST, LEAST = 16, 16
"""Evaluated on all is the best sixteenth of the candidates, and 16 at the least."""
NARROWEST, WIDEST = 16, 256
"""Candidates that are evaluated in one matrix product."""
TIE = 1e-6
"""Gains that differ by less than this fraction are a tie: products round so much."""


def facility_location(
    features: Features,
    k: int,
    *,
    selected: Tensor | None = None,
    optimizer: Optimizer = "lazy",
    epsilon: float = 0.01,
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
    picks of budget k. `stochastic` takes the best of a fresh sample of ⌈n/k · ln 1/ε⌉ candidates
    at each pick. It is meant for large n: gains are estimated on 100 k of the points, drawn once,
    where there are more, and a tenth of these tells which candidates come into question. In the
    end each pick moves to the middle of the points, of all of them, that are nearest to it.

    Args:
        features: (n, d), a tensor or a NumPy array.
        k: number of new picks.
        selected: positions (s,) already selected or labelled; they count as facilities and are
            never picked again.
        optimizer: `lazy` or `stochastic`.
        epsilon: of `stochastic`, in (0, 1).
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
        2015.
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
    picks = _stochastic(distances, k, start, epsilon, generator, report)
    return _settled(distances, start, picks, report)


def _lazy(coverage: Coverage, k: int, selected: Tensor, report: Report) -> Tensor:
    everyone = torch.arange(len(coverage), device=selected.device)
    bound_N = _no_bounds(coverage, selected)
    picks = _first(coverage, selected, bound_N)
    next_look = len(picks)
    _first_look(coverage, bound_N, report)
    while len(picks) < k:
        if len(picks) >= next_look:
            if coverage.num_entries() <= LIST_ENTRIES:
                return _with_lists(CoverageLists(coverage), k, picks, bound_N, report)
            next_look = max(1, 2 * next_look)
        position = _best(coverage, everyone, bound_N)
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


def _first(coverage: Coverage, selected: Tensor, bound_N: Tensor) -> list[int]:
    """The point of least total squared distance, where nothing is selected yet."""
    if len(selected):
        return []
    position = coverage.most_central()
    bound_N[position] = -torch.inf
    coverage.add(position)
    return [position]


def _first_look(coverage: Coverage, bound_N: Tensor, report: Report) -> None:
    """All gains: most of the time where n is large."""
    free = (bound_N == torch.inf).nonzero().squeeze(1)
    for number, part in enumerate(free.split(WIDEST) if len(free) else ()):
        bound_N[part] = coverage.gains(part)
        report("first gains", min((number + 1) * WIDEST, len(free)), len(free))


def _best(coverage: Coverage, candidates_C: Tensor, bound_C: Tensor) -> int | None:
    """The index of the candidate of greatest gain; None where nothing gains."""
    seen, gains = _highest(coverage, candidates_C, bound_C, 1)
    if not len(seen):
        return None
    return int(seen[gains >= float(gains.max()) * (1 - TIE)].min())


def _highest(
    coverage: Coverage, candidates_C: Tensor, bound_C: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Indices and gains of candidates among which are the `count` of greatest gain.

    Only candidates whose bound reaches that gain are evaluated; `bound_C` gets what is found.
    Those that gain nothing are left out.
    """
    seen = candidates_C.new_empty(0)
    gains = bound_C.new_empty(0)
    enough = 0.0
    width = WIDEST if bool((bound_C == torch.inf).any()) else NARROWEST
    while True:
        top, indices = bound_C.topk(min(width, len(bound_C)))
        indices = indices[(top >= enough) & (top > 0)]
        if not len(indices):
            break
        found = coverage.gains(candidates_C[indices])
        seen, gains = torch.cat([seen, indices]), torch.cat([gains, found])
        bound_C[indices] = -torch.inf
        if len(gains) >= count:
            enough = float(gains.topk(count).values[-1]) * (1 - TIE)
        width = min(2 * width, WIDEST)
    bound_C[seen] = gains
    return seen[gains > 0], gains[gains > 0]


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


def _stochastic(
    distances: SquaredDistances,
    k: int,
    selected: Tensor,
    epsilon: float,
    generator: torch.Generator,
    report: Report,
) -> Tensor:
    n, device = len(distances), selected.device
    points = min(n, POINTS_PER_PICK * k)
    order = torch.randperm(n, generator=generator, device=generator.device).to(device)
    coverage = Coverage(distances, selected, order[:points] if points < n else None)
    bound_N = _no_bounds(coverage, selected)
    picks = _first(coverage, selected, bound_N)
    free_N = (bound_N != -torch.inf).nonzero().squeeze(1)
    num_free = len(free_N)
    size = math.ceil(n / k * math.log(1 / epsilon))
    count, few = max(LEAST, size // BEST), points // FEW
    sieve = None
    if few >= ENOUGH and size > count:
        sieve = Coverage(distances, torch.cat([selected, selected.new_tensor(picks)]), order[:few])
    coarse_N = bound_N.clone()
    while len(picks) < k:
        slots = _draw(num_free, min(size, num_free), generator).to(device)
        slots = slots[free_N[slots].argsort()]
        if sieve is not None:
            bound_C = coarse_N[free_N[slots]]
            seen, gains = _highest(sieve, free_N[slots], bound_C, count)
            coarse_N[free_N[slots]] = bound_C
            seen = seen[gains.topk(min(len(gains), count)).indices]
            slots = slots[seen.sort().values] if len(seen) else slots[:count]
        bound_C = bound_N[free_N[slots]]
        slot = int(slots[_best(coverage, free_N[slots], bound_C) or 0])
        bound_N[free_N[slots]] = bound_C
        picks.append(int(free_N[slot]))
        coverage.add(picks[-1])
        if sieve is not None:
            sieve.add(picks[-1])
        report("picks", len(picks), k)
        num_free -= 1
        free_N[slot] = free_N[num_free]
    return torch.tensor(picks, dtype=torch.int64, device=device)


def _settled(
    distances: SquaredDistances, selected: Tensor, picks: Tensor, report: Report
) -> Tensor:
    """Each pick moved to the middle of the points that are nearest to it: f only rises.

    Σᵢ ‖xᵢ − c‖² = m ‖c − x̄‖² + Σᵢ ‖xᵢ − x̄‖² over those m points: least at the one nearest to
    their mean x̄. One step of k-medoids over all points, C facilities being `selected` and picks.
    """
    points_ND, n = distances.points_ND, len(distances)
    facilities = torch.cat([selected, picks])
    centred_CD, term_C = distances.column_terms(facilities)
    turned_DC = (centred_CD * -2).T.contiguous()
    nearest_N = torch.empty(n, dtype=torch.int64, device=picks.device)
    for rows in row_blocks(n, len(facilities)):
        nearest_N[rows] = multiply(points_ND[rows], turned_DC).add_(term_C).argmin(1)
        report("points by their nearest pick", rows.stop, n)
    nearest_N[facilities] = torch.arange(len(facilities), device=picks.device)
    mean_CD = torch.zeros_like(centred_CD, dtype=torch.float64)
    for rows in row_blocks(n, points_ND.shape[1]):
        mean_CD.index_add_(0, nearest_N[rows], points_ND[rows].double())
    mean_CD /= torch.bincount(nearest_N, minlength=len(facilities))[:, None]
    apart_N = torch.empty(n, dtype=torch.float64, device=picks.device)
    for rows in row_blocks(n, points_ND.shape[1]):
        apart_N[rows] = (points_ND[rows] - mean_CD[nearest_N[rows]]).square_().sum(1)
    least_C = apart_N[facilities].scatter_reduce_(0, nearest_N, apart_N, "amin")
    middle = (apart_N == least_C[nearest_N]).nonzero().squeeze(1)
    found_C = torch.full_like(facilities, n)
    return found_C.scatter_reduce_(0, nearest_N[middle], middle, "amin")[len(selected) :]


def _draw(n: int, size: int, generator: torch.Generator) -> Tensor:
    """Distinct integers below n: all of them, or what is distinct of `size` draws."""
    if size == n:
        return torch.arange(n)
    return torch.randint(n, (size,), generator=generator, device=generator.device).unique()


def _rest_by_position(picks: list[int], k: int, bound_N: Tensor) -> Tensor:
    """Nothing gains any more: what is missing comes by position."""
    rest = (bound_N != -torch.inf).nonzero().squeeze(1)[: k - len(picks)]
    return torch.cat([torch.tensor(picks, dtype=torch.int64, device=rest.device), rest])
