"""k-means over many points: seeded by k-means++, moved by Lloyd, on a sample where there are many.

Shape suffixes: N points, D features, C clusters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.selectors._distances import SquaredDistances, row_blocks

FITTED_ON = 50_000
"""Points that centres are fitted on at most; of more points, a random part is used."""
ROUNDS = 30
SETTLED = 1e-4
"""Centres that move less than this part of the mean variance of a feature have settled."""


def k_means(points_ND: Tensor, num_clusters: int, generator: torch.Generator) -> Tensor:
    """The cluster (n,) of each point, from 0; a cluster may be empty.

    The same generator gives the same clusters on a CPU.

    Source: Arthur and Vassilvitskii, k-means++, SODA 2007; Lloyd 1982.
    """
    n = len(points_ND)
    fitted = points_ND
    if n > FITTED_ON:
        order = torch.randperm(n, generator=generator, device=generator.device)
        fitted = points_ND[order[:FITTED_ON].sort().values.to(points_ND.device)]
    centres_CD = fitted[_seeds(fitted, min(num_clusters, len(fitted)), generator)]
    enough = SETTLED * float(fitted.double().var(0, correction=0).mean())
    for _ in range(ROUNDS):
        before_CD = centres_CD
        centres_CD = _means(fitted, _nearest_centre(fitted, before_CD), before_CD)
        if float((centres_CD - before_CD).square().sum()) <= enough:
            break
    return _nearest_centre(points_ND, centres_CD)


def _seeds(points_ND: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Positions (c,), each drawn with a chance ∝ its squared distance to those before."""
    distances = SquaredDistances(points_ND)
    nearest_N = torch.ones_like(distances.norms_N)
    column_N = torch.empty_like(nearest_N)
    picks: list[int] = []
    for _ in range(count):
        ends_N = nearest_N.double().cumsum(0)
        drawn = torch.rand((), dtype=torch.float64, generator=generator, device=generator.device)
        place = int(torch.searchsorted(ends_N, drawn.to(ends_N) * ends_N[-1], right=True))
        picks.append(min(place, len(points_ND) - 1))  # of copies alone, any
        distances.to_point(picks[-1], column_N)
        nearest_N = column_N.clone() if len(picks) == 1 else torch.minimum(nearest_N, column_N)
    return torch.tensor(picks, device=points_ND.device)


def _means(points_ND: Tensor, cluster_N: Tensor, before_CD: Tensor) -> Tensor:
    """The mean of each cluster (c, d); of an empty one, where it was."""
    sums_CD = torch.zeros_like(before_CD, dtype=torch.float64)
    for rows in row_blocks(len(points_ND), points_ND.shape[1]):
        sums_CD.index_add_(0, cluster_N[rows], points_ND[rows].double())
    size_C1 = torch.bincount(cluster_N, minlength=len(before_CD))[:, None]
    return torch.where(size_C1 > 0, sums_CD / size_C1.clamp(min=1), before_CD).to(before_CD)


def _nearest_centre(points_ND: Tensor, centres_CD: Tensor) -> Tensor:
    """argmin_c ‖x_i − c‖², by blocks; of equal ones the first."""
    mean_D = centres_CD.mean(0)
    centres_CD = centres_CD - mean_D  # a common offset would drown the differences
    halves_C = centres_CD.square().sum(1) / 2
    out_N = torch.empty(len(points_ND), dtype=torch.int64, device=points_ND.device)
    for rows in row_blocks(len(points_ND), max(centres_CD.shape)):
        block = torch.addmm(halves_C, points_ND[rows] - mean_D, centres_CD.T, alpha=-1)
        out_N[rows] = block.argmin(1)
    return out_N
