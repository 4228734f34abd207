"""What a `SelectingLoader` refuses when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import torch

from keepers.errors import ParameterError
from keepers.online.infobatch import InfoBatch
from keepers.online.loop import BatchSelector
from keepers.online.policy import Selecting
from keepers.training import BatchPolicy, Weighted
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
    epochs: object,
    seed: object,
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
    if not _is_count(batch_size):
        raise ParameterError("batch_size", f"got {batch_size!r}", "Give a count, 1 or more")
    if epochs is not None and not _is_count(epochs):
        raise ParameterError(
            "epochs", f"got {epochs!r}", "Give a count, 1 or more, or leave it out"
        )
    if type(seed) is bool or not isinstance(seed, Integral):
        raise ParameterError("seed", f"got {seed!r}", "Give a whole number")
    if policy is None:
        return
    if isinstance(policy, InfoBatch) and policy.off and epochs is None:
        raise ParameterError(
            "epochs",
            "got none, but InfoBatch trains on everything in the last part of all epochs",
            "Give their number, or keepers.InfoBatch(off=0)",
        )
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
    if isinstance(policy, Weighted):
        own = policy.weights(torch.arange(n))
        wrong = (~(own.isfinite() & (own > 0))).nonzero().squeeze(1)
        if len(wrong):
            problem = f"got the weight {float(own[wrong[0]]):g} for row {int(wrong[0])}"
            raise ParameterError("policy", problem, "Give finite weights over 0")


def _is_count(value: object) -> bool:
    return type(value) is not bool and isinstance(value, Integral) and int(value) >= 1


def check_replicas(rank: int | None, num_replicas: int | None) -> None:
    """Refuse a rank outside of 0 to num_replicas - 1.

    Raises:
        ParameterError: it is outside, or one of the two is missing.
    """
    if rank is None and num_replicas is None:
        return
    if rank is None or num_replicas is None:
        raise ParameterError("rank", "got one of rank and num_replicas", "Give both or neither")
    if not 0 <= rank < num_replicas:
        raise ParameterError(
            "rank", f"got {rank} of {num_replicas} replicas", "Ranks count from 0 to one fewer"
        )
