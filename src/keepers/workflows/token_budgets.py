"""As many picks as fit into a number of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

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
        choose: gives so many picks, and something beside them.
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
    while (fit := int((ends <= most).sum())) < k:
        if not fit:
            raise ParameterError(
                "keep_tokens",
                f"got {most:,}, but the first picked conversation has {int(ends[0]):,}",
                "Give more",
            )
        k = fit
        found = choose(k)
        ends = tokens[found[0].positions.cpu()].cumsum(0)
    return found
