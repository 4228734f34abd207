"""Floating-point operations of a forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


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
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_EXTRA) as counter:
            module(*inputs)
        return int(counter.get_total_flops())
    finally:
        for part, training in modes.items():
            part.training = training


def _embedding_bag_flops(
    weight: torch.Size, indices: torch.Size, *_: Any, out_shape: Any = None, **__: Any
) -> int:
    return 2 * indices.numel() * weight[1]


def _attention_flops(
    query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, out_shape: Any = None, **__: Any
) -> int:
    batch, heads, num_queries, width = query
    num_keys, value_width = key[2], value[3]
    return 2 * batch * heads * num_queries * num_keys * (width + value_width)


_aten = torch.ops.aten
_EXTRA: dict[Any, Any] = {
    _aten._embedding_bag: _embedding_bag_flops,
    _aten._embedding_bag_forward_only: _embedding_bag_flops,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
}
