"""Optimisers and learning-rate schedules, fitted to the steps there are."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from keepers.errors import ParameterError, unknown_name

Schedule = Callable[[float], float]
"""From progress through training, in [0, 1), to a factor on the peak learning rate."""


def constant(progress: float) -> float:
    """The peak learning rate throughout.

    >>> constant(0.7)
    1.0
    """
    return 1.0


def cosine(progress: float) -> float:
    """½(1 + cos πt), from the peak to nothing (Loshchilov & Hutter 2017).

    >>> cosine(0.0), round(cosine(0.5), 6)
    (1.0, 0.5)
    """
    return 0.5 * (1 + math.cos(math.pi * progress))


def linear(progress: float) -> float:
    """1 − t, from the peak to nothing.

    >>> linear(0.25)
    0.75
    """
    return 1 - progress


def one_cycle(progress: float, *, warmup: float = 0.3, start: float = 0.04) -> float:
    """Up linearly from `start` over the first `warmup` of training, then cosine to nothing.

    Smith & Topin 2018.

    >>> one_cycle(0.0), one_cycle(0.3), round(one_cycle(0.65), 6)
    (0.04, 1.0, 0.5)
    """
    if progress < warmup:
        return start + (1 - start) * progress / warmup
    return cosine((progress - warmup) / (1 - warmup))


def piecewise_constant(progress: float) -> float:
    """The schedule of Selection via Proxy for CIFAR, as fractions of its 181 epochs.

    0.1 of the peak for the first 1/181, the peak to 91/181, a tenth to 136/181, a hundredth after.

    >>> [piecewise_constant(epoch / 181) for epoch in (0, 1, 90, 91, 136, 180)]
    [0.1, 1.0, 1.0, 0.1, 0.01, 0.01]
    """
    epoch = progress * 181 + 1e-9
    if epoch < 1:
        return 0.1
    if epoch < 91:
        return 1.0
    return 0.1 if epoch < 136 else 0.01


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
    "one-cycle": one_cycle,
    "piecewise": piecewise_constant,
}


def schedule(name: str) -> Schedule:
    """A schedule by name.

    Raises:
        ParameterError: there is none of that name.
    """
    if name not in SCHEDULES:
        raise unknown_name("schedule", name, SCHEDULES)
    return SCHEDULES[name]


def optimizer(
    name: str, module: nn.Module, *, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW, fused where the device has it.

    Raises:
        ParameterError: neither of the two, a learning rate that is not positive, or nothing to
            train.
    """
    if not lr > 0:
        raise ParameterError("lr", f"got {lr}", "Give a positive learning rate")
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise ParameterError("model", "it has no parameter to train", "Give one with requires_grad")
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    extra: dict[str, Any] = {"fused": True} if fused else {}
    if name == "sgd":
        return _eager(torch.optim.SGD)(
            parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, **extra
        )
    if name == "adamw":
        return _eager(torch.optim.AdamW)(parameters, lr=lr, weight_decay=weight_decay, **extra)
    raise unknown_name("optimizer", name, ("sgd", "adamw"))


def _eager(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """The optimiser without its wrappers for torch.compile, whose import takes as long as torch's.

    They do nothing where nothing is compiled, but for the `no_grad` around a step.
    """
    plain: dict[str, Any] = {
        name: inspect.unwrap(getattr(kind, name)) for name in ("add_param_group", "zero_grad")
    }
    plain["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), plain)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set one learning rate for every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr
