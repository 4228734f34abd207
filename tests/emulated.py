"""An accelerator that is none: values on the CPU that say they are elsewhere.

It counts waits, and the elements of what is sent to it.

Whatever must bring a value to the host before the program can go on is a wait: reading one number,
shapes that depend on values, a copy to the CPU.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("lazy")  # one of those that need no driver to be named
WAITING = {
    "_local_scalar_dense",
    "_unique2",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}


class Elsewhere(Tensor):
    """A tensor that says it is on the accelerator."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        made = Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), dtype=inner.dtype, device=DEVICE
        )
        made.inner = inner
        return made

    def tolist(self) -> Any:
        """The values, which torch itself does not give of another class."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside of Accelerator")


class Accelerator(TorchDispatchMode):
    """Computes what is asked of the accelerator, and keeps the names of the waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.sent: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        on_it = any(isinstance(leaf, Elsewhere) for leaf in tree_leaves((args, given)))
        name, asked = func.overloadpacket.__name__, given.get("device")
        stays = on_it if asked is None else torch.device(asked).type == DEVICE.type
        if asked is not None and stays:
            given["device"] = torch.device("cpu")
        by_mask = name == "index" and any(
            isinstance(leaf, Tensor) and leaf.dtype == torch.bool for leaf in tree_leaves(args[1:])
        )
        if on_it and (name in WAITING or by_mask or not stays):
            self.waits.append(name)
        if stays and not on_it and name == "_to_copy":
            self.sent.append(args[0].numel())
        found = func(*tree_map(_inner, args), **tree_map(_inner, given))
        return tree_map(lambda leaf: _elsewhere(leaf) if stays else leaf, found)

    def model(self, module: nn.Module) -> nn.Module:
        """A copy of the module on the accelerator, which takes no gradients."""
        there = copy.deepcopy(module)
        for part in there.modules():
            for name, value in part.named_parameters(recurse=False):
                moved = nn.Parameter(Elsewhere(value.data), requires_grad=False)
                setattr(part, name, moved)
            for name, value in part.named_buffers(recurse=False):
                setattr(part, name, Elsewhere(value))
        return there


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, Elsewhere) else value


def _elsewhere(value: Any) -> Any:
    return Elsewhere(value) if isinstance(value, Tensor) else value
