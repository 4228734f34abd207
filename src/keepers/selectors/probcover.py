"""ProbCover: as many points as can be within a radius of a pick.

Shape suffixes: N points, D features, C columns (other points), Q points that are asked.
"""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.selectors._clusters import k_means
from keepers.selectors._distances import SquaredDistances, row_blocks, squared_norms
from keepers.selectors.checks import (
    Features,
    check_count,
    check_features,
    check_selected,
    unselected,
)

MOST = 30_000
"""Points of the graph at most; of more points, a random part is used."""
QUERIES = 2_000
"""Balls whose purity is measured at most; of more balls, a random part is used."""
COLUMNS = 256
TAKEN = -(1 << 40)


def probcover(
    features: Features,
    k: int,
    *,
    generator: torch.Generator,
    selected: Tensor | None = None,
    delta: float | None = None,
    num_classes: int = 10,
    purity: float = 0.95,
) -> Tensor:
    """Pick the point with the most uncovered points around it, k times.

    A point is covered once it is nearer than δ to a selected or picked one:

        uₜ = argmax_c |{i : ‖xᵢ − x_c‖ < δ, min_{j ∈ S} ‖xᵢ − xⱼ‖ ≥ δ}|, S ← S ∪ {uₜ};

    ties go to the one farthest from S, then to the lower position. So once all are covered, the
    picks are those of k-center. Without `delta`, δ is the largest radius at which a share of
    `purity` of the balls around points hold one class only, where k-means with `num_classes`
    clusters stands in for the classes (a hair under it, so that rounding does not matter).

    The n × n graph is never held: counts of uncovered neighbours come from blocked products, and
    each point's neighbours are counted down once, when it is covered. Time O(n² d), memory O(n)
    beside the features. Over 30,000 points the graph is that of the selected ones and 30,000
    others that are drawn (k of them, where k is larger), and purity is estimated on 2,000. Picks
    nest for generators of the same state, as long as k is at most 30,000.

    Args:
        features: (n, d), a tensor or a NumPy array.
        k: number of new picks.
        generator: draws where k-means starts, and the samples.
        selected: positions (s,) already selected or labelled; what they cover needs no pick, and
            they are never picked again.
        delta: the radius, over 0; None estimates it.
        num_classes: classes of the estimate, 2 or more.
        purity: of the estimate, in (0, 1].

    Returns:
        Positions (k,) in pick order, int64.

    Raises:
        ParameterError: features that are not (n, d) or not finite; k over what is left;
            `selected` out of range or with repetitions; `delta`, `num_classes` or `purity` out of
            range.

    Example:
        >>> line = torch.tensor([[0.0], [1.0], [2.0], [7.0], [8.0], [20.0]])
        >>> probcover(line, 3, delta=1.5, generator=torch.Generator().manual_seed(0))
        tensor([1, 4, 5])

    Paper:
        Yehuda, Dekel, Hacohen and Weinshall, Active Learning Through a Covering Lens, NeurIPS
        2022.
    """
    points_ND = check_features(features)
    n = len(points_ND)
    taken = check_selected(selected, n, points_ND.device)
    check_count(k, n - len(taken))
    if delta is not None and not 0 < delta < float("inf"):
        raise ParameterError("delta", f"got {delta}", "Give a finite distance over 0")
    if num_classes < 2:
        raise ParameterError("num_classes", f"got {num_classes}", "Give 2 or more")
    if not 0 < purity <= 1:
        raise ParameterError("purity", f"got {purity}", "Give a share in (0, 1]")
    if not k:
        return taken[:0]
    squared_norms(points_ND)  # refuses what is not finite, in a sample or not
    if delta is None:
        delta = _pure_radius(points_ND, num_classes, purity, generator)
    free = unselected(n, taken)
    if len(free) <= MOST:
        return _cover(SquaredDistances(points_ND), taken, k, delta)
    drawn = torch.randperm(len(free), generator=generator, device=generator.device)[: max(MOST, k)]
    graph = torch.cat([taken, free[drawn.sort().values.to(free.device)]])
    members = torch.arange(len(taken), device=taken.device)
    return graph[_cover(SquaredDistances(points_ND[graph]), members, k, delta)]


def _cover(distances: SquaredDistances, selected: Tensor, k: int, delta: float) -> Tensor:
    # A copy of a pick, at distance 0, is covered whatever the radius.
    limit = max(delta**2 - distances.tie(delta**2), torch.finfo(distances.norms_N.dtype).tiny)
    nearest_N = distances.nearest(selected)
    covered_N = nearest_N < limit
    count_N = _num_within(distances, (~covered_N).nonzero().squeeze(1), limit)
    nearest_N[selected] = -1
    count_N[selected] = TAKEN
    column_N = torch.empty_like(nearest_N)
    picks = torch.empty(k, dtype=torch.int64, device=selected.device)
    for pick in range(k):
        best = int(count_N.max())
        position = distances.farthest(nearest_N.masked_fill(count_N < best, -1))
        picks[pick] = position
        torch.minimum(nearest_N, distances.to_point(position, column_N), out=nearest_N)
        nearest_N[position] = -1
        count_N[position] = TAKEN
        newly = ((column_N < limit) & ~covered_N).nonzero().squeeze(1)
        covered_N[newly] = True
        count_N -= _num_within(distances, newly, limit)
    return picks


def _num_within(distances: SquaredDistances, columns: Tensor, limit: float) -> Tensor:
    """For each point, how many of `columns` are nearer than √limit."""
    count_N = torch.zeros(len(distances), dtype=torch.int64, device=columns.device)
    for part in columns.split(COLUMNS) if len(columns) else ():
        centred_CD, term_C = distances.column_terms(part)
        for rows in row_blocks(len(distances), len(part)):
            block = torch.addmm(term_C, distances.points_ND[rows], centred_CD.T, alpha=-2)
            reach_R = limit - distances.norms_N[rows]
            count_N[rows] += (block < reach_R[:, None]).sum(1)
    return count_N


def _pure_radius(
    points_ND: Tensor, num_classes: int, purity: float, generator: torch.Generator
) -> float:
    """The ball around a point is pure below the distance to the nearest point of another class.

    So the largest δ with a share `purity` of pure balls is a quantile of those distances.
    """
    n = len(points_ND)
    classes_N = k_means(points_ND, min(num_classes, n), generator)
    asked = torch.arange(n, device=points_ND.device)
    if n > QUERIES:
        drawn = torch.randperm(n, generator=generator, device=generator.device)[:QUERIES]
        asked = drawn.sort().values.to(points_ND.device)
    distances = SquaredDistances(points_ND)
    found_Q = torch.full_like(asked, torch.inf, dtype=points_ND.dtype)
    for part in torch.arange(len(asked), device=asked.device).split(COLUMNS):
        centred_CD, term_C = distances.column_terms(asked[part])
        own_C = classes_N[asked[part]]
        for rows in row_blocks(n, len(part)):
            block = torch.addmm(term_C, points_ND[rows], centred_CD.T, alpha=-2)
            block += distances.norms_N[rows, None]
            block.masked_fill_(classes_N[rows, None] == own_C, torch.inf)
            found_Q[part] = torch.minimum(found_Q[part], block.amin(0))
    num_impure = int((1 - purity) * len(asked) + 1e-9)
    radius = float(found_Q.sort().values[num_impure].clamp(min=0).sqrt())
    return (1 - 1e-3) * radius
