"""Floating-point operations of a forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


def count_flops(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Count the FLOPs of one forward pass over these inputs (a multiplication and an addition: 2).

    Matrix products, convolutions, attention and embedding bags are counted; elementwise
    operations are not. Training costs 3 × this: forward, and twice as much backward. The module
    runs once in evaluation mode, without gradients, and is left in the mode it was in.

    >>> count_flops(nn.Linear(3, 5), (torch.ones(2, 3),))
    60
    """
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad(), _Counter() as counter:
            module(*inputs)
        return counter.total
    finally:
        for part, training in modes.items():
            part.training = training


class _Counter(TorchDispatchMode):
    """Sums the FLOPs of what runs, by torch's own formulas.

    Torch's `FlopCounterMode` does the same, and imports all of torch.compile first.
    """

    total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is None and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        found = func(*args, **kwargs)
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=found))
        return found


def _embedding_bag_flops(weight: Tensor, indices: Tensor, *_: Any, **__: Any) -> int:
    return 2 * indices.numel() * weight.shape[1]


def _attention_flops(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    batch, heads, num_queries, width = query.shape
    num_keys, value_width = key.shape[2], value.shape[3]
    return 2 * batch * heads * num_queries * num_keys * (width + value_width)


_aten = torch.ops.aten
_FORMULAS: dict[Any, Any] = {
    **flop_registry,
    _aten._embedding_bag: _embedding_bag_flops,
    _aten._embedding_bag_forward_only: _embedding_bag_flops,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
}
