"""Ranks, and the combination of an ensemble's scores by rank."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.scores.checks import check_one_each


def ranks(scores: Tensor) -> Tensor:
    """The rank of each score from 0 (lowest); equal scores share the mean of their ranks.

    Args:
        scores: (n,), ±∞ allowed.

    Returns:
        Ranks (n,) in float64.

    Raises:
        ParameterError: NaN or another shape.

    Example:
        >>> ranks(torch.tensor([3.0, 1.0, 3.0])).tolist()
        [1.5, 0.0, 1.5]
    """
    _, inverse, counts = check_one_each(scores, "scores").unique(
        return_inverse=True, return_counts=True
    )
    last = counts.cumsum(0) - 1
    return (last.double() - (counts - 1).double() / 2)[inverse]


def combine_ranks(members: Sequence[Tensor]) -> Tensor:
    """The mean over an ensemble of the ranks that its members give.

    Args:
        members: scores (n,) of each member, higher = selected first.

    Returns:
        Scores (n,) in float64, higher = selected first.

    Raises:
        ParameterError: no member, lengths that differ, or NaN.

    Example:
        >>> combine_ranks([torch.tensor([0.1, 0.9, 0.5]), torch.tensor([7.0, 8.0, 9.0])]).tolist()
        [0.0, 1.5, 1.5]

    Paper:
        Coleman et al., Selection via Proxy, ICLR 2020.
    """
    lengths = sorted({len(scores) for scores in members})
    if len(lengths) != 1:
        raise ParameterError(
            "members",
            f"got lengths {lengths}" if lengths else "got none",
            "Give the scores of at least one member, each for the same examples",
        )
    return torch.stack([ranks(scores) for scores in members]).mean(0)
