"""Weights on their way to scorers: without what does not change."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

WeightsAs = Literal["same", "bf16"]
Packet = dict[str, np.ndarray[Any, np.dtype[Any]]]
"""Weights by name; bfloat16, which numpy has not, as its bits in uint16."""
Attributes = dict[tuple[str, str], bool | int | float | str]
"""Numbers, words and modes that modules have beside tensors, by module and name."""
_PLAIN = (bool, int, float, str)
PROBED = 1024
"""Elements of a tensor without gradient that are compared to find a change."""


class Packing:
    """Packs the weights of a model of which the receivers have a copy.

    Tensors that take no gradient travel once they differ from that copy: a frozen backbone stays
    where it is. With `as_dtype` `bf16`, single precision travels in half the bytes.

    >>> model = nn.Linear(2, 1)
    >>> packing, twin = Packing(model), nn.Linear(2, 1)
    >>> _ = model.bias.requires_grad_(False)
    >>> packet = packing.pack(model)
    >>> unpack(packet, twin)
    >>> list(packet), torch.equal(twin.weight, model.weight)
    (['weight'], True)
    """

    def __init__(self, module: nn.Module, as_dtype: WeightsAs = "same") -> None:
        self.as_dtype = as_dtype
        self.sent = {name: _looks(value) for name, value in tensors_of(module).items()}
        self.attributes = attributes_of(module)
        self.changed: set[tuple[str, str]] = set()

    def pack(self, module: nn.Module) -> Packet:
        """All that may differ from the copy: on a CPU the weights themselves, to be sent at once.

        Ray takes arrays as they lie in memory; to write them into one file first takes longer than
        to send them.
        """
        packet: Packet = {}
        for name, value in tensors_of(module).items():
            if value.requires_grad or not _same(self.sent.get(name), value):
                self.sent.pop(name, None)  # once it differed, it travels
                value = value.detach().cpu()
                if self.as_dtype == "bf16" and value.dtype == torch.float32:
                    value = value.bfloat16()
                if value.dtype == torch.bfloat16:
                    value = value.view(torch.uint16)
                packet[name] = value.numpy()
        return packet

    def pack_attributes(self, module: nn.Module) -> Attributes:
        """Those that differ from the copy, or did: a mode, a temperature, a share of dropout."""
        now = attributes_of(module)
        self.changed |= {name for name, value in now.items() if self.attributes.get(name) != value}
        return {name: now[name] for name in self.changed & now.keys()}


def unpack(packet: Packet, module: nn.Module, attributes: Attributes | None = None) -> None:
    """Give a copy of the model the weights of a packet, and what else changed."""
    parts = dict(module.named_modules()) if attributes else {}
    for (part, name), value in (attributes or {}).items():
        vars(parts[part])[name] = value
    own = tensors_of(module)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", UserWarning)  # shared memory is read-only, and only read
        for name, array in packet.items():
            value = torch.from_numpy(array)
            bits = value.dtype == torch.uint16 and own[name].dtype != torch.uint16
            own[name].copy_(value.view(torch.bfloat16) if bits else value)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, those that no checkpoint holds, too."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def attributes_of(module: nn.Module) -> Attributes:
    """The plain attributes of a module and its parts."""
    return {
        (name, key): value
        for name, part in module.named_modules()
        for key, value in vars(part).items()
        if type(value) in _PLAIN
    }


def _looks(value: Tensor) -> tuple[int, Tensor]:
    """What would tell that a tensor changed: autograd's count of writes, and some elements."""
    flat = value.detach().reshape(-1)
    return value._version, flat[:: max(1, flat.numel() // PROBED)].clone()


def _same(before: tuple[int, Tensor] | None, value: Tensor) -> bool:
    if before is None or before[0] != value._version:
        return False
    probe = _looks(value)[1]
    return probe.shape == before[1].shape and torch.equal(probe, before[1])
