"""Candidates near to what is labelled, so that a round need not score the whole pool."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from keepers.workflows.active import neighbour_index

BLOCK_ELEMENTS = 1 << 23
"""Distances, or features, that are held at a time."""


def nearest(
    features: Tensor, anchors: Tensor, candidates: Tensor, count: int, index: Path | None = None
) -> Tensor:
    """The candidates that are among the `count` nearest of any anchor, sorted.

    Euclidean distance: exact by blocked products, or, for a large pool, by an `index` that was
    made of the features (`neighbour_index.made`), which finds nearly all of them. Memory grows
    with the anchors, never with anchors × candidates.

    Args:
        features: (n, d).
        anchors: positions (a,), the labelled examples.
        candidates: positions (c,), those that may be picked.
        count: nearest candidates of each anchor.
        index: the file of an index.

    Paper:
        Coleman et al., Similarity Search for Efficient Active Learning and Search of Rare
        Concepts (SEALS), AAAI 2022.

    >>> line = torch.tensor([[0.0], [1.0], [2.0], [9.0]])
    >>> nearest(line, torch.tensor([0]), torch.arange(1, 4), 2)
    tensor([1, 2])
    """
    count = min(count, len(candidates))
    if count == len(candidates):
        return candidates.sort().values
    if index is not None:
        return neighbour_index.search(index, features, anchors, candidates, count)
    found = _by_products(features, anchors, candidates, count)
    return candidates[found.flatten().unique()].sort().values


def _by_products(features: Tensor, anchors: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Places (a, count) among the candidates.

    Past the first block few distances are under the largest that an anchor holds: only those are
    looked at again, so that the products are most of the work.
    """
    queries = features[anchors].float()
    step = max(count, BLOCK_ELEMENTS // max(queries.shape))
    best, places = torch.empty(0), torch.empty(0)
    for start in range(0, len(candidates), step):
        block = features[candidates[start : start + step]].float()
        # Squared distances, without the anchor's own norm, which orders nothing.
        distances = torch.addmm(block.square().sum(1), queries, block.T, alpha=-2)
        if not start:
            best, places = distances.topk(count, largest=False)
            continue
        nearer, columns = _gathered(distances, distances < best[:, -1:])
        best, kept = torch.cat([best, nearer], 1).topk(count, largest=False)
        places = torch.cat([places, columns + start], 1).gather(1, kept)
    return places


def _gathered(values: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """The chosen values of each row, moved to its left, and their columns; ∞ beyond them."""
    rows, columns = chosen.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=len(values))
    slots = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
    shape = (len(values), int(counts.max()))
    found = torch.full(shape, torch.inf), torch.zeros(shape, dtype=torch.int64)
    found[0][rows, slots] = values[rows, columns]
    found[1][rows, slots] = columns
    return found
