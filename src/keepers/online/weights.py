"""Weights on their way to scorers: one piece of memory, without what does not change."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

WeightsAs = Literal["same", "bf16"]
HEAD, ALIGNED = 8, 16
PROBED = 1024
"""Elements of a tensor without gradient that are looked at for a change."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a tensor of the model lies in a packet: its bytes from `start` on."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int


Bytes = np.ndarray[Any, np.dtype[np.uint8]]
"""A packet: the length of its table in eight bytes, the table of places, the weights."""


class Packing:
    """Packs the weights of a model of which the receivers have a copy.

    Tensors that take no gradient travel once they differ from that copy: a frozen backbone stays
    where it is. With `as_dtype` `bf16`, single precision travels in half the bytes.

    >>> model = nn.Linear(2, 1)
    >>> packing, twin = Packing(model), nn.Linear(2, 1)
    >>> _ = model.bias.requires_grad_(False)
    >>> packet = packing.pack(model)
    >>> unpack(packet, twin)
    >>> [place.name for place in table(packet)], torch.equal(twin.weight, model.weight)
    (['weight'], True)
    """

    def __init__(self, module: nn.Module, as_dtype: WeightsAs = "same") -> None:
        self.as_dtype = as_dtype
        self.key: Any = None
        self.table, self.end = bytearray(), 0
        self.sent = {name: _looks(value) for name, value in tensors_of(module).items()}

    def pack(self, module: nn.Module) -> Bytes:
        """All that may differ from the copy, and where it lies."""
        chosen: dict[str, Tensor] = {}
        for name, value in tensors_of(module).items():
            if value.requires_grad or not _same(self.sent.get(name), value):
                self.sent.pop(name, None)  # once it differed, it travels
                value = value.detach()
                half = self.as_dtype == "bf16" and value.dtype == torch.float32
                chosen[name] = value.bfloat16() if half else value
        key = tuple((name, value.dtype, tuple(value.shape)) for name, value in chosen.items())
        if key != self.key:  # it is the same at every step, but for what is frozen or thawed
            self.key, (self.table, self.end) = key, _table(chosen)
        data = torch.empty(self.end, dtype=torch.uint8)
        data[: len(self.table)] = torch.frombuffer(self.table, dtype=torch.uint8)
        for start, value in zip(_starts(chosen, len(self.table)), chosen.values(), strict=True):
            data[start : start + value.nbytes].view(value.dtype).copy_(value.reshape(-1))
        return data.numpy()


def _starts(values: dict[str, Tensor], begin: int) -> list[int]:
    starts: list[int] = []
    for value in values.values():
        starts.append(begin)
        begin += -(-value.nbytes // ALIGNED) * ALIGNED
    return [*starts]


def _table(values: dict[str, Tensor]) -> tuple[bytearray, int]:
    """The table of places as bytes, filled up, and where the weights end."""
    sizes = _starts(values, 0)
    places = [
        Place(name=name, dtype=value.dtype, shape=tuple(value.shape), start=start)
        for (name, value), start in zip(values.items(), sizes, strict=True)
    ]
    body = pickle.dumps(places)
    whole = -(-(HEAD + len(body)) // ALIGNED) * ALIGNED
    head = len(body).to_bytes(HEAD, "little") + body
    end = sum(-(-value.nbytes // ALIGNED) * ALIGNED for value in values.values())
    return bytearray(head.ljust(whole, b"\0")), whole + end


def table(packet: Bytes) -> list[Place]:
    """Where in a packet of `Packing` each tensor lies, from the end of the table on."""
    size = int.from_bytes(packet[:HEAD].tobytes(), "little")
    return pickle.loads(packet[HEAD : HEAD + size].tobytes())


def unpack(packet: Bytes, module: nn.Module) -> None:
    """Give a copy of the model the weights of a packet."""
    own, size = tensors_of(module), int.from_bytes(packet[:HEAD].tobytes(), "little")
    begin = -(-(HEAD + size) // ALIGNED) * ALIGNED
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", UserWarning)  # shared memory is read-only, and only read
        data = torch.from_numpy(packet)[begin:]
        for place in table(packet):
            width = torch.empty((), dtype=place.dtype).element_size()
            length = width * int(np.prod(place.shape, dtype=np.int64))
            value = data[place.start : place.start + length].view(place.dtype)
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
