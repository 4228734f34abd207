"""What a comparison of conversations is asked for: target, budgets, and learning rates to try."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from keepers.errors import ParameterError
from keepers.roles import Role
from keepers.types import TokenBudget
from keepers.workflows.language_roles import language_role
from keepers.workflows.options.compare import CompareConfig

OPTIONS = frozenset({"length", "batch_tokens"})


def lowest(
    values: Sequence[float], first: float, loss_at: Callable[[float], float]
) -> dict[float, float]:
    """The losses at some of the values: from the first one on, downhill to both sides.

    >>> sorted(lowest((1, 2, 3, 4, 5), 2, lambda value: abs(value - 4)))
    [2, 3, 4, 5]
    >>> sorted(lowest((1, 2, 3, 4, 5), 2, lambda value: abs(value - 2)))
    [1, 2, 3]
    """
    at = values.index(first)
    found = {first: loss_at(first)}
    for step in (1, -1):
        place, best = at + step, found[first]
        while 0 <= place < len(values):
            found[values[place]] = loss_at(values[place])
            if found[values[place]] >= best:
                break
            best = found[values[place]]
            place += step
        if min(found.values()) < found[first]:
            break
    return found


def budgets_of(config: CompareConfig, tokens: Tensor) -> tuple[int, ...]:
    """The budgets, each once, the smallest first, of conversations with these tokens (n,).

    Raises:
        ParameterError: a count of rows, or less than the longest conversation has.
    """
    total, longest = int(tokens.sum()), int(tokens.max())
    given = config.keep_tokens or config.keep
    found = [TokenBudget.parse(each) for each in given]
    if not config.keep_tokens and any(isinstance(each.value, int) for each in found):
        raise ParameterError(
            "keep",
            "got a count of rows, but conversations are compared at equal tokens",
            "Give fractions of the tokens, or counts with --keep-tokens (keep_tokens=)",
        )
    budgets = tuple(sorted({each.resolve(total) for each in found}))
    if budgets[0] < longest:
        raise ParameterError(
            "keep_tokens" if config.keep_tokens else "keep",
            f"got {budgets[0]:,} of {total:,} tokens, but the longest conversation has {longest:,}",
            "Give more, or cut conversations with --set target.options.length=512",
        )
    return budgets


def target_of(config: CompareConfig) -> Role:
    """The target, checked.

    Raises:
        ParameterError: none, options that it does not take, or options for classes alone.
    """
    _check(config)
    role = language_role(
        config.target, "target", takes=("epochs", "lr", "weight_decay"), options=OPTIONS
    )
    return role.having(epochs=config.target_epochs)


def _check(config: CompareConfig) -> None:
    """Refuse what is asked of classes alone."""
    for name, given in (
        ("noise", config.noise),
        ("epochs", config.epochs),
        ("ensemble", config.ensemble),
        ("with_target", config.with_target),
        ("target_resolution", config.target_resolution),
    ):
        if given:
            raise ParameterError(
                name, f"got {given}, which does not apply to conversations", "Leave it out"
            )
