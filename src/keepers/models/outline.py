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
from keepers.types import Model


class _Uninitialised(TorchFunctionMode):
    """Leaves out whatever fills a tensor in place: on the meta device it is slow and of no use."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func.__name__.endswith("_") and not func.__name__.endswith("__"):
            return next(iter((*args, *given.values())))
        return func(*args, **given)


def outlined(build: Callable[[], Model], name: str, parameter: str) -> nn.Module:
    """What `build` makes, with shapes and no values: nothing is allocated.

    Raises:
        ParameterError: it cannot be built, or its weights are larger than this machine's memory.
    """
    try:
        with torch.device("meta"), _Uninitialised():
            module = build().module
    except KeepersError:
        raise
    except Exception as error:  # sizes that nobody thought of fail in many ways
        reason = str(error).partition("\n")[0]
        raise ParameterError(
            parameter, f"'{name}' cannot be built with its options: {reason}", "Give other sizes"
        ) from None
    size = sum(each.nbytes for each in chain(module.parameters(), module.buffers()))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise ParameterError(
            parameter,
            f"the weights of '{name}' with its options take {size / 1e9:,.0f} GB, and this machine "
            f"has {memory / 1e9:,.0f} GB of memory",
            "Give smaller sizes",
        )
    return module
