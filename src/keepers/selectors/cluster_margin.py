"""Cluster-margin: small margins, from clusters in turn."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.selectors._distances import squared_norms
from keepers.selectors.checks import Features, check_count, check_rows, check_scores, check_selected
from keepers.selectors.ranking import highest
from keepers.selectors.sampling import split_by

MOST = 4_000
"""Candidates that are clustered at once, at most: 64 MB of distances."""


def cluster_margin(
    scores: Tensor,
    features: Features,
    k: int,
    *,
    selected: Tensor | None = None,
    oversampling: float = 10,
    clusters_per_pick: float = 0.5,
) -> Tensor:
    """Pick from clusters of the examples with the smallest margins, in turn.

    The `oversampling` · k examples of the highest scores are the candidates (4,000 at the most).
    Agglomerative clustering with average linkage makes ⌈`clusters_per_pick` · k⌉ clusters of
    them. The clusters take turns, the smallest first, until k are picked; within a cluster the
    highest score is next (the paper draws there). Ties go to the lower position.

    The paper clusters the whole pool once and takes the clusters that candidates lie in. That
    needs memory of n²; here only the candidates are clustered, so that what counts as one cluster
    is what the candidates show. Where k is over 2,000, 2,000 at a time are picked like this.
    Picks do not nest, as k sets the number of candidates.

    Args:
        scores: (n,), the margin score 1 − (p₁ − p₂): higher = smaller margin. Any score will do.
        features: (n, d), a tensor or a NumPy array.
        k: number of new picks.
        selected: positions (s,) already selected or labelled; they take no part.
        oversampling: candidates for each pick, 1 or more.
        clusters_per_pick: clusters for each pick, over 0.

    Returns:
        Positions (k,) in pick order, int64.

    Raises:
        ParameterError: NaN scores; features that are not (n, d) or not finite; k over what is
            left; `selected` out of range or with repetitions; an option out of range.

    Example:
        >>> scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.1])
        >>> line = torch.tensor([[0.0], [0.1], [0.2], [9.0], [50.0]])
        >>> cluster_margin(scores, line, 2, oversampling=2, clusters_per_pick=1)
        tensor([3, 0])

    Paper:
        Citovsky et al., Batch Active Learning at Scale, NeurIPS 2021.
    """
    check_scores(scores)
    n = len(scores)
    points_ND = check_rows(features, n, "scores")
    squared_norms(points_ND)  # refuses what is not finite
    taken = check_selected(selected, n, scores.device)
    check_count(k, n - len(taken))
    if not 1 <= oversampling < float("inf"):
        raise ParameterError("oversampling", f"got {oversampling}", "Give a number of 1 or more")
    if not 0 < clusters_per_pick < float("inf"):
        raise ParameterError("clusters_per_pick", f"got {clusters_per_pick}", "Give more than 0")
    picks = taken[:0]
    while len(picks) < k:
        done = torch.cat([taken, picks])
        count = min(k - len(picks), MOST // 2)
        num_candidates = min(max(count, int(oversampling * count)), MOST, n - len(done))
        ranked = highest(scores.detach(), num_candidates, selected=done)
        num_clusters = min(max(1, -int(-clusters_per_pick * count // 1)), num_candidates)
        clusters = _average_linkage(points_ND[ranked], num_clusters)
        picks = torch.cat([picks, ranked[_in_turn(clusters.to(ranked.device), count)]])
    return picks


def _in_turn(clusters: Tensor, k: int) -> Tensor:
    """Positions (k,) into a ranking: the first of each cluster, the smallest first, and so on."""
    groups = split_by(clusters, torch.arange(len(clusters), device=clusters.device))
    groups.sort(key=lambda group: (len(group), int(group[0])))
    order = torch.cat(groups)
    turn = torch.cat([torch.arange(len(group), device=order.device) for group in groups])
    return order[turn.argsort(stable=True)][:k]


def _average_linkage(points_ND: Tensor, num_clusters: int) -> Tensor:
    """The cluster of each point."""
    from sklearn.cluster import AgglomerativeClustering  # takes a second to import

    if num_clusters == len(points_ND):
        return torch.arange(num_clusters)
    model = AgglomerativeClustering(num_clusters, linkage="average")
    return torch.from_numpy(model.fit_predict(points_ND.cpu().numpy()))
