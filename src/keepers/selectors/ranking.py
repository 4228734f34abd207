"""Selection by score alone."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.selectors.checks import check_count, check_scores, check_selected

FEW = 4096
SHARE = 8
"""From at most `FEW` scores, such as a batch of candidates, a small share is taken unsorted."""


def top_k(scores: Tensor, k: int, *, selected: Tensor | None = None) -> Tensor:
    """The k highest scores, highest first; ties go to the lower position.

    Args:
        scores: (n,), higher = selected first; ±∞ are allowed.
        k: number of new picks.
        selected: positions (s,) already selected; they are never picked again.

    Returns:
        Positions (k,) in pick order, int64. Picks nest.

    Raises:
        ParameterError: NaN; k over what is left; `selected` out of range or with repetitions.

    Example:
        >>> top_k(torch.tensor([0.5, 2.0, 2.0, 1.0]), 3)
        tensor([1, 2, 3])
    """
    check_scores(scores)
    taken = check_selected(selected, len(scores), scores.device)
    check_count(k, len(scores) - len(taken))
    return highest(scores.detach(), k, selected=taken if len(taken) else None)


def highest(scores: Tensor, k: int, *, selected: Tensor | None = None) -> Tensor:
    """`top_k` without its checks: no value is read back from an accelerator."""
    few = 0 < k * SHARE <= scores.numel() <= FEW
    if few and selected is None and scores.is_cpu:
        top = scores.topk(k + 1)
        values = top.values.tolist()
        if len(set(values)) > k and values[0] == values[0]:  # no ties, no NaN: the order is the one
            return top.indices[:k]
    order = scores.argsort(descending=True, stable=True)
    if selected is not None:
        taken_N = torch.zeros(len(scores), dtype=torch.uint8, device=scores.device)
        taken_N.index_fill_(0, selected.to(scores.device), 1)
        order = order[taken_N[order].argsort(stable=True)]
    return order[:k]
