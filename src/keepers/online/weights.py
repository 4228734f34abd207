"""Weights on their way to scorers: one piece of memory, without what does not change."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

WeightsAs = Literal["same", "bf16"]
PROBED = 1024
"""Elements of a tensor without gradient that are looked at for a change."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a tensor of the model lies in a packet: its bytes from `start` on."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Packet:
    """Weights as bytes, and where in them each lies."""

    data: np.ndarray[Any, np.dtype[np.uint8]]
    places: list[Place]


class Packing:
    """Packs the weights of a model of which the receivers have a copy.

    Tensors that take no gradient travel once they differ from that copy: a frozen backbone stays
    where it is. With `as_dtype` `bf16`, single precision travels in half the bytes.

    >>> model = nn.Linear(2, 1)
    >>> packing, twin = Packing(model), nn.Linear(2, 1)
    >>> _ = model.bias.requires_grad_(False)
    >>> packet = packing.pack(model)
    >>> unpack(packet, twin)
    >>> [place.name for place in packet.places], torch.equal(twin.weight, model.weight)
    (['weight'], True)
    """

    def __init__(self, module: nn.Module, as_dtype: WeightsAs = "same") -> None:
        self.as_dtype = as_dtype
        self.sent = {name: _looks(value) for name, value in tensors_of(module).items()}

    def pack(self, module: nn.Module) -> Packet:
        """All that may differ from the copy."""
        chosen: dict[str, Tensor] = {}
        for name, value in tensors_of(module).items():
            if value.requires_grad or not _same(self.sent.get(name), value):
                self.sent.pop(name, None)  # once it differed, it travels
                value = value.detach()
                half = self.as_dtype == "bf16" and value.dtype == torch.float32
                chosen[name] = (value.bfloat16() if half else value).cpu().contiguous()
        places: list[Place] = []
        end = 0
        for name, value in chosen.items():
            places.append(Place(name=name, dtype=value.dtype, shape=tuple(value.shape), start=end))
            end += -(-value.nbytes // 16) * 16
        data = torch.empty(end, dtype=torch.uint8)
        for place, value in zip(places, chosen.values(), strict=True):
            flat = value.reshape(-1)
            data[place.start : place.start + value.nbytes].view(value.dtype).copy_(flat)
        return Packet(data=data.numpy(), places=places)


def unpack(packet: Packet, module: nn.Module) -> None:
    """Give a copy of the model the weights of a packet."""
    own = tensors_of(module)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", UserWarning)  # shared memory is read-only, and only read
        data = torch.from_numpy(packet.data)
        for place in packet.places:
            width = torch.empty((), dtype=place.dtype).element_size()
            size = width * int(np.prod(place.shape, dtype=np.int64))
            value = data[place.start : place.start + size].view(place.dtype)
            own[place.name].data.copy_(value.view(place.shape))


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
