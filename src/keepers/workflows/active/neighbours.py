"""Candidates near to what is labelled, so that a round need not score the whole pool."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BLOCK_ELEMENTS = 1 << 24


def nearest(features: Tensor, anchors: Tensor, candidates: Tensor, count: int) -> Tensor:
    """The candidates that are among the `count` nearest of any anchor, sorted.

    Euclidean distance, exact: by faiss where it is installed (extra `ann`), else by blocked
    products. Memory grows with the anchors, never with anchors × candidates.

    Args:
        features: (n, d).
        anchors: positions (a,), the labelled examples.
        candidates: positions (c,), those that may be picked.
        count: nearest candidates of each anchor.

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
    found = _by_faiss(features, anchors, candidates, count)
    if found is None:
        found = _by_products(features, anchors, candidates, count)
    return candidates[found.flatten().unique()].sort().values


def _by_faiss(features: Tensor, anchors: Tensor, candidates: Tensor, count: int) -> Tensor | None:
    try:
        import faiss  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    index: Any = faiss.IndexFlatL2(features.shape[1])  # pyright: ignore
    for part in candidates.split(1 << 18):
        index.add(features[part].float().contiguous().numpy())
    _, found = index.search(features[anchors].float().contiguous().numpy(), count)
    return torch.from_numpy(found)


def _by_products(features: Tensor, anchors: Tensor, candidates: Tensor, count: int) -> Tensor:
    queries = features[anchors].float()
    best = torch.full((len(anchors), count), torch.inf)
    where = torch.zeros((len(anchors), count), dtype=torch.int64)
    step = max(1, BLOCK_ELEMENTS // len(anchors))
    for start in range(0, len(candidates), step):
        block = features[candidates[start : start + step]].float()
        distances = block.square().sum(1) - 2 * queries @ block.T  # + the anchor's own norm
        near = distances.topk(min(count, len(block)), largest=False)
        merged = torch.cat([best, near.values], 1)
        positions = torch.cat([where, near.indices + start], 1)
        kept = merged.topk(count, largest=False)
        best, where = kept.values, positions.gather(1, kept.indices)
    return where
