"""The nearest candidates of each anchor, by blocked products over all of them."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK_ELEMENTS = 1 << 23
"""Distances, or features, that are held at a time."""


def by_products(features: Tensor, anchors: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Places (a, count) among the candidates, of Euclidean distance.

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
