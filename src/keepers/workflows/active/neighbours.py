"""Candidates near to what is labelled, so that a round need not score the whole pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from keepers.workflows.active.exact_neighbours import by_products
from keepers.workflows.active.neighbour_index import Index


def nearest(
    features: Tensor, anchors: Tensor, candidates: Tensor, count: int, index: Index | None = None
) -> Tensor:
    """The candidates that are among the `count` nearest of any anchor, sorted.

    Euclidean distance: exact by blocked products, or, for a large pool, by an `index` that was
    made of the features (`neighbour_index.made`), which finds nearly all of them. An anchor for
    which that finds nothing is searched exactly. Memory grows with the anchors, never with
    anchors × candidates.

    Args:
        features: (n, d).
        anchors: positions (a,), the labelled examples.
        candidates: positions (c,), those that may be picked.
        count: nearest candidates of each anchor.
        index: of the features.

    Raises:
        RunError: the file of the index is damaged.

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
    if index is None or not index.serves:
        return candidates[by_products(features, anchors, candidates, count)].unique()
    found = index.search(features, anchors, candidates, count)
    near = found[found >= 0]
    missed = anchors[(found < 0).all(1)]
    if len(missed):
        exact = candidates[by_products(features, missed, candidates, count)]
        near = torch.cat([near, exact.flatten()])
    return near.unique()


def search_facts(count: int, index: Index | None, found: int) -> dict[str, Any]:
    """How a round found its candidates: the `share` of the `count` nearest that a sample showed.

    `index_share` is that of the index, where one was made, be it used or not.
    """
    by_index = index is not None and index.serves
    return {
        "count": count,
        "candidates": found,
        "search": "index" if by_index else "exact",
        "share": index.share if index is not None and by_index else 1.0,
        "index_share": None if index is None else index.share,
        "index": None if index is None else index.folder.name,
    }


def said_of_search(facts: Mapping[str, Any]) -> str:
    """It in a sentence.

    >>> facts = {"count": 20, "candidates": 5000, "share": 1.0, "index_share": 0.583}
    >>> said_of_search(facts | {"search": "exact"}).partition(", ")[2]
    'found exactly, because an index would find only 58% of them'
    """
    count, share = facts["count"], facts["index_share"]
    what = "the nearest neighbour" if count == 1 else f"the {count:,} nearest neighbours"
    if facts["search"] == "index":
        how = f"found by an index, {share:.0%} of them on a sample"
    elif share is not None:
        how = f"found exactly, because an index would find only {share:.0%} of them"
    else:
        how = "found exactly"
    return f"Scored: {what} of each labelled example, {how}"
