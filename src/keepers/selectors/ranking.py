"""Selection by score alone."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.selectors._checks import check_count, check_scores, check_selected


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
    order = scores.detach().argsort(descending=True, stable=True)
    if len(taken):
        free_N = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
        free_N[taken] = False
        order = order[free_N[order]]
    return order[:k]
