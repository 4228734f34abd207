"""Weights on their way to scorers: without what does not change."""

from __future__ import annotations

from typing import Literal

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

WeightsAs = Literal["same", "bf16"]
PROBED = 1024
"""Elements of a tensor without gradient that are looked at for a change."""


class Packing:
    """Packs the weights of a model of which the receivers have a copy.

    Tensors that take no gradient travel once they differ from that copy: a frozen backbone stays
    where it is. With `as_dtype` `bf16`, single precision travels in half the bytes.

    >>> model = nn.Linear(2, 1)
    >>> packing, twin = Packing(model), nn.Linear(2, 1)
    >>> _ = model.bias.requires_grad_(False)
    >>> packet = packing.pack(model)
    >>> unpack(packet, twin)
    >>> list(load(packet)), torch.equal(twin.weight, model.weight)
    (['weight'], True)
    """

    def __init__(self, module: nn.Module, as_dtype: WeightsAs = "same") -> None:
        self.as_dtype = as_dtype
        self.sent = {name: _looks(value) for name, value in tensors_of(module).items()}

    def pack(self, module: nn.Module) -> bytes:
        """All that may differ from the copy, as safetensors has it."""
        chosen: dict[str, Tensor] = {}
        for name, value in tensors_of(module).items():
            if value.requires_grad or not _same(self.sent.get(name), value):
                self.sent.pop(name, None)  # once it differed, it travels
                half = self.as_dtype == "bf16" and value.dtype == torch.float32
                dtype = torch.bfloat16 if half else value.dtype
                # A copy of its own: safetensors refuses tensors that share memory.
                chosen[name] = value.detach().to("cpu", dtype, copy=True).contiguous()
        return save(chosen)


def unpack(packet: bytes, module: nn.Module) -> None:
    """Give a copy of the model the weights of a packet."""
    own = tensors_of(module)
    with torch.no_grad():
        for name, value in load(packet).items():
            own[name].copy_(value)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, those that no checkpoint holds, too."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _looks(value: Tensor) -> tuple[int, Tensor]:
    """What would tell that a tensor changed: autograd's count of writes, and some elements."""
    flat = value.detach().reshape(-1)
    return value._version, flat[:: max(1, flat.numel() // PROBED)].clone()


def _same(before: tuple[int, Tensor] | None, value: Tensor) -> bool:
    if before is None or before[0] != value._version:
        return False
    probe = _looks(value)[1]
    return probe.shape == before[1].shape and torch.equal(probe, before[1])
