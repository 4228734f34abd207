"""TypiClust: the typical points of the clusters that nobody has labelled yet.

Shape suffixes: N points, D features, M members of a cluster, R of them at a time.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.selectors._clusters import k_means
from keepers.selectors._distances import SquaredDistances, squared_norms
from keepers.selectors.checks import Features, check_count, check_features, check_selected

SMALL = 5
"""A cluster of fewer points is used only when the others have no more to give."""
REFERENCES = 5_000
"""Members of a cluster that are searched for neighbours; of more members, a random part."""


def typiclust(
    features: Features,
    k: int,
    *,
    generator: torch.Generator,
    selected: Tensor | None = None,
    num_neighbours: int = 20,
    max_clusters: int = 500,
) -> Tensor:
    """Pick the most typical point of each of the largest clusters without a pick.

    k-means makes min(|selected| + k, `max_clusters`) clusters. The next pick comes from the
    cluster that has the fewest selected or picked points, the largest of those first: the one of
    highest typicality in it that is left,

        typicality(x) = 1 / mean distance of x to its nearest neighbours in the cluster,

    `num_neighbours` of them, or all others of a smaller cluster. Clusters under 5 points (the
    paper drops them) come when the others have nothing left. Ties go to the lower position.

    It is made for few labels and features that were learnt without them. Picks do not nest, as k
    sets the number of clusters. Over 50,000 points the centres are fitted on 50,000 that are
    drawn, and in a cluster over 5,000 neighbours are looked for among 5,000 that are drawn, so
    that memory beside the features stays at O(n) and some tens of megabytes.

    Args:
        features: (n, d), a tensor or a NumPy array.
        k: number of new picks.
        generator: draws where k-means starts, and the samples.
        selected: positions (s,) already selected or labelled; they are never picked again.
        num_neighbours: neighbours that typicality looks at.
        max_clusters: clusters at the most.

    Returns:
        Positions (k,) in pick order, int64.

    Raises:
        ParameterError: features that are not (n, d) or not finite; k over what is left;
            `selected` out of range or with repetitions; `num_neighbours` or `max_clusters` under 1.

    Example:
        >>> line = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 90.0, 91.0, 92.0, 93.0, 94.0, 95.0])
        >>> draw = torch.Generator().manual_seed(0)
        >>> typiclust(line[:, None], 2, generator=draw, num_neighbours=2)
        tensor([6, 1])

    Paper:
        Hacohen, Dekel and Weinshall, Active Learning on a Budget: Opposite Strategies Suit High
        and Low Budgets, ICML 2022.
    """
    points_ND = check_features(features)
    n = len(points_ND)
    taken = check_selected(selected, n, points_ND.device)
    check_count(k, n - len(taken))
    for name, value in (("num_neighbours", num_neighbours), ("max_clusters", max_clusters)):
        if value < 1:
            raise ParameterError(name, f"got {value}", "Give 1 or more")
    if not k:
        return taken[:0]
    squared_norms(points_ND)  # refuses what is not finite
    clusters_N = k_means(points_ND, min(len(taken) + k, max_clusters, n), generator)
    free_N = torch.ones(n, dtype=torch.bool, device=points_ND.device)
    free_N[taken] = False
    sizes = clusters_N.bincount().tolist()
    covered = clusters_N[taken].bincount(minlength=len(sizes)).tolist()
    left = clusters_N[free_N].bincount(minlength=len(sizes)).tolist()
    order = clusters_N.argsort(stable=True)
    members = order.split(sizes)
    queues: dict[int, list[int]] = {}
    picks: list[int] = []
    for cluster in itertools.islice(_turns(sizes, covered, left), k):
        if cluster not in queues:
            own = members[cluster]
            ranked = own[_typicality_order(points_ND[own], num_neighbours, generator)]
            queues[cluster] = ranked[free_N[ranked]].tolist()[::-1]
        picks.append(queues[cluster].pop())
    return torch.tensor(picks, dtype=torch.int64, device=points_ND.device)


def _turns(sizes: list[int], covered: list[int], left: list[int]) -> Iterator[int]:
    """The cluster of each pick: few points covered first, then large ones, small ones at last."""
    heap = [
        (size < SMALL, covered[cluster], -size, cluster)
        for cluster, size in enumerate(sizes)
        if left[cluster]
    ]
    heapq.heapify(heap)
    while heap:
        small, count, size, cluster = heap[0]
        yield cluster
        left[cluster] -= 1
        if left[cluster]:
            heapq.heapreplace(heap, (small, count + 1, size, cluster))
        else:
            heapq.heappop(heap)


def _typicality_order(points_MD: Tensor, num_neighbours: int, generator: torch.Generator) -> Tensor:
    """The members of a cluster, the most typical first."""
    num = len(points_MD)
    if num == 1:
        return torch.zeros(1, dtype=torch.int64, device=points_MD.device)
    references = torch.arange(num, device=points_MD.device)
    if num > REFERENCES:
        drawn = torch.randperm(num, generator=generator, device=generator.device)[:REFERENCES]
        references = drawn.sort().values.to(points_MD.device)
    distances = SquaredDistances(points_MD)
    near = min(num_neighbours, len(references) - 1)
    mean_M = points_MD.new_empty(num)
    centred_RD, term_R = distances.column_terms(references)
    for rows in torch.arange(num, device=points_MD.device).split(512):
        block = torch.addmm(term_R, points_MD[rows], centred_RD.T, alpha=-2)
        block += distances.norms_N[rows, None]
        block.masked_fill_(rows[:, None] == references, torch.inf)
        columns = references[block.topk(near, largest=False).indices.flatten()]
        found = distances.exact(rows.repeat_interleave(near), columns)
        mean_M[rows] = found.view(-1, near).sqrt().mean(1)
    return mean_M.argsort(stable=True)
