"""As many picks as fit into a number of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.types import Picks, TokenBudget

S = TypeVar("S")

SPARE = 1.1
"""How much more is asked for than seems to fill the budget, where too little was picked."""


def within_tokens(
    choose: Callable[[int], tuple[Picks, S]], tokens: Tensor, budget: TokenBudget
) -> tuple[Picks, S]:
    """The picks of a method in their order, up to the first that would go over the budget.

    How many that are is found by asking for too many first. What is given is what the method
    picks when it is asked for that number, so shares of sources, floors and bands are of what is
    kept.

    Args:
        choose: gives the number of picks it is called with, and something beside them.
        tokens: (n,), of all that can be picked.
        budget: of the tokens.

    Raises:
        ParameterError: more tokens than there are, or fewer than the first pick has.

    >>> import torch
    >>> longest = lambda k: (Picks(positions=torch.tensor([2, 0, 1])[:k]), None)
    >>> picks, _ = within_tokens(longest, torch.tensor([3, 2, 4]), TokenBudget(8))
    >>> picks.positions
    tensor([2, 0])
    """
    n, most = len(tokens), budget.resolve(int(tokens.sum()))
    k = min(n, max(1, round(n * most / max(1, int(tokens.sum())))))
    while True:
        found = choose(k)
        ends = tokens[found[0].positions.cpu()].cumsum(0)
        if k == n or int(ends[-1]) > most:
            break
        k = min(n, max(k + 1, int(SPARE * k * most / max(1, int(ends[-1])))))
    if int(ends[-1]) <= most:
        return found
    fit = int((ends <= most).sum())
    if not fit:
        raise ParameterError(
            "keep_tokens",
            f"got {most:,}, but the first picked conversation has {int(ends[0]):,}",
            "Give more",
        )
    return _largest(choose, tokens, most, found[0].positions, fit)


def _largest(
    choose: Callable[[int], tuple[Picks, S]], tokens: Tensor, most: int, over: Tensor, fit: int
) -> tuple[Picks, S]:
    """The picks of the largest number whose tokens are `most` or fewer.

    Picks (k,) that are `over` have too many. Their first `fit` have not, and are what is given
    where a method picks the same again; else numbers are tried, halving what is between.
    """
    low, high, trial = 0, len(over), fit
    best: tuple[Picks, S] | None = None
    while trial > low:
        found = choose(trial)
        positions = found[0].positions
        if int(tokens[positions.cpu()].sum()) <= most:
            low, best = trial, found
            if len(positions) == fit and torch.equal(positions.cpu(), over[:fit].cpu()):
                break
        else:
            high = trial
        trial = (low + high) // 2
    if best is None:
        raise ParameterError(
            "keep_tokens", f"got {most:,}, in which not one pick of a method fits", "Give more"
        )
    return best
