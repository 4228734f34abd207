"""What a `SelectingLoader` refuses when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from keepers.errors import ParameterError
from keepers.online.loop import BatchSelector
from keepers.online.policy import Selecting
from keepers.training import BatchPolicy
from keepers.words import counted

_OURS = {
    "sampler": "Give a policy, which sets the order of each epoch",
    "batch_sampler": "Give a policy, which sets the order of each epoch",
    "drop_last": "Leave it out: an epoch is cut into batches of equal size (or one fewer)",
    "generator": "Give a seed",
}


def check_loading(
    choose: object,
    batch_size: object,
    policy: object,
    shuffle: bool,
    n: int,
    loading: Mapping[str, Any],
) -> None:
    """Refuse what a loader of `n` examples cannot do.

    Raises:
        ParameterError: an argument of DataLoader that the loader makes itself, or another kind of
            selector, policy or batch size than it takes.
    """
    for name, remedy in _OURS.items():
        if name in loading:
            raise ParameterError(name, "the loader makes its batches itself", remedy)
    if choose is not None and not isinstance(choose, BatchSelector):
        raise ParameterError(
            "choose", f"got {type(choose).__name__}", "Give a keepers.RhoLoss or BatchSelector"
        )
    if type(batch_size) is bool or not isinstance(batch_size, Integral) or batch_size < 1:
        raise ParameterError("batch_size", f"got {batch_size!r}", "Give a count, 1 or more")
    if policy is None:
        return
    if not isinstance(policy, BatchPolicy) or isinstance(policy, Selecting):
        raise ParameterError(
            "policy",
            f"got {type(policy).__name__}",
            "Give one of keepers.training or keepers.InfoBatch(); a selector is given as choose",
        )
    if not shuffle:
        raise ParameterError(
            "shuffle", "got False together with a policy, which sets the order", "Give one of them"
        )
    weights = getattr(policy, "num_weights", n)
    if weights != n:
        raise ParameterError(
            "policy", f"got {weights} weights for {counted(n, 'example')}", "Give one for each"
        )


def check_replicas(rank: int | None, num_replicas: int | None) -> None:
    """Refuse a rank that is none of so many.

    Raises:
        ParameterError: one of the two is missing, or the rank is not from 0 to num_replicas - 1.
    """
    if rank is None and num_replicas is None:
        return
    if rank is None or num_replicas is None:
        raise ParameterError("rank", "got one of rank and num_replicas", "Give both or neither")
    if not 0 <= rank < num_replicas:
        raise ParameterError(
            "rank", f"got {rank} of {num_replicas} replicas", "Ranks count from 0 to one fewer"
        )
