"""k-means over many points: fitted by scikit-learn, on a sample where there are many.

Shape suffixes: N points, D features, C clusters.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from keepers.selectors._distances import row_blocks

FITTED_ON = 50_000
"""Points that centres are fitted on at the most; of more, so many are drawn."""
BATCHED_OVER = 50
"""Clusters over which k-means is fitted by mini-batches, as in the paper of TypiClust."""
BATCH = 5_000


def k_means(points_ND: Tensor, num_clusters: int, generator: torch.Generator) -> Tensor:
    """The cluster (n,) of each point, from 0; a cluster may be empty.

    The same generator gives the same clusters: scikit-learn runs on one thread, as its sums over
    several come in any order.
    """
    n = len(points_ND)
    seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
    fitted = points_ND
    if n > FITTED_ON:
        order = torch.randperm(n, generator=generator, device=generator.device)
        fitted = points_ND[order[:FITTED_ON].sort().values.to(points_ND.device)]
    centres_CD = _fit(fitted, min(num_clusters, len(fitted)), seed).to(points_ND)
    return _nearest_centre(points_ND, centres_CD)


def _fit(points_ND: Tensor, num_clusters: int, seed: int) -> Tensor:
    from sklearn.cluster import KMeans, MiniBatchKMeans  # takes a second to import
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    if num_clusters > BATCHED_OVER:
        model = MiniBatchKMeans(num_clusters, batch_size=BATCH, random_state=seed)
    else:
        model = KMeans(num_clusters, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        model.fit(points_ND.cpu().numpy())
    return torch.from_numpy(model.cluster_centers_)


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
