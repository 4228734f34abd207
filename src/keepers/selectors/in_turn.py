"""Picks for several queries in turn."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.selectors.checks import check_count, check_selected
from keepers.tensors import check_no_nan


def in_turn(similarities: Tensor, k: int, *, selected: Tensor | None = None) -> Tensor:
    """Each query in turn picks what is most similar to it of what is left; ties to the lower.

    Args:
        similarities: (n, queries), higher = nearer.
        k: number of new picks.
        selected: positions (s,) already selected; they are never picked again.

    Returns:
        Positions (k,) in pick order, int64. Picks nest.

    Raises:
        ParameterError: NaN, another shape, no query, or k over what is left.

    Example:
        >>> in_turn(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.0, 0.15]]), 3)
        tensor([0, 1, 2])

    Paper:
        Ivison et al., Large-Scale Data Selection for Instruction Tuning, 2025 (2503.01807): RDS+.
    """
    if similarities.ndim != 2 or not similarities.shape[1]:
        raise ParameterError(
            "similarities", f"got shape {tuple(similarities.shape)}", "Give (n, queries)"
        )
    n, queries = similarities.shape
    values = check_no_nan(similarities, "similarities")
    taken = torch.zeros(n, dtype=torch.bool)
    before = check_selected(selected, n, taken.device)
    taken[before] = True
    check_count(k, n - len(before))
    # A query looks no further than what all picks could have taken before it.
    depth = min(n, k + len(before))
    orders = [
        values[:, query].sort(descending=True, stable=True).indices[:depth].tolist()
        for query in range(queries)
    ]
    at = [0] * queries
    picks: list[int] = []
    gone = taken.tolist()
    while len(picks) < k:
        query = len(picks) % queries
        while gone[orders[query][at[query]]]:
            at[query] += 1
        position = orders[query][at[query]]
        gone[position] = True
        picks.append(position)
    return torch.tensor(picks, dtype=torch.int64)
