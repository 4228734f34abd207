"""Outlines: a model's layers without their weights, to see what it takes before it is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from keepers.errors import KeepersError, ParameterError

_MOST_STEPS = 300_000
"""Tensor operations of an outline, which take seconds; a weight takes about three."""


class _Uninitialised(TorchFunctionMode):
    """Leaves out whatever fills a tensor in place: on the meta device it is slow and of no use.

    Ends after `_MOST_STEPS`: a number of layers that is absurd would never be built to its end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise ValueError("it has too many layers")
        if func.__name__.endswith("_") and not func.__name__.endswith("__"):
            return next(iter((*args, *given.values())))
        return func(*args, **given)


def outlined(build: Callable[[], nn.Module], name: str, parameter: str) -> nn.Module:
    """What `build` makes, with shapes and no values: nothing is allocated.

    Raises:
        ParameterError: it cannot be built, or its weights are larger than this machine's memory.
    """
    try:
        module = without_values(build)
    except KeepersError:
        raise
    except Exception as error:  # sizes that nobody thought of fail in many ways
        raise ParameterError(
            parameter,
            f"'{name}' cannot be built with its options: {first_words(error)}",
            "Give other sizes",
        ) from None
    check_memory(module, f"'{name}' with its options", parameter)
    return module


def without_values(build: Callable[[], nn.Module]) -> nn.Module:
    """What `build` makes, on the meta device."""
    with torch.device("meta"), _Uninitialised():
        return build()


def check_memory(module: nn.Module, what: str, parameter: str) -> None:
    """Refuse weights that are larger than this machine's memory.

    Raises:
        ParameterError: they are; `what` has them.
    """
    size = sum(each.nbytes for each in chain(module.parameters(), module.buffers()))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise ParameterError(
            parameter,
            f"the weights of {what} take {size / 1000000000.0:,.0f} GB, but this machine has "
            f"{memory / 1000000000.0:,.0f} GB of memory",
            "Give smaller sizes",
        )


def first_words(error: Exception) -> str:
    """The first line of what a library says, and the next where that ends with a colon.

    >>> first_words(ValueError("Field 'size':\\n    got 'many'\\n    in line 3"))
    "Field 'size': got 'many'"
    """
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    return " ".join(lines[: 1 + lines[0].endswith(":")]).rstrip(".")
