"""Layers that several networks share."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

NARROW = 16
"""Input channels from which a strided 1×1 convolution is left as it is."""


def convolution(channels: int, filters: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the size, drawn as He et al. 2015 do."""
    layer = nn.Conv2d(channels, filters, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def convolution_unit(channels: int, filters: int, size: int, stride: int = 1) -> nn.Sequential:
    """A convolution, batch normalisation and ReLU."""
    return nn.Sequential(
        convolution(channels, filters, size, stride),
        nn.BatchNorm2d(filters),
        nn.ReLU(inplace=True),
    )


class Block(nn.Module):
    """A block that maps pictures of some channels to `expansion` times as many as its filters."""

    expansion: ClassVar[int] = 1

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()


def stages(
    block: type[Block], blocks: Sequence[int], filters: Sequence[int]
) -> tuple[nn.Sequential, int]:
    """Blocks in stages, all but the first of which halve the picture, and their last width."""
    layers: list[nn.Module] = []
    width = filters[0]
    for stage, (number, count) in enumerate(zip(blocks, filters, strict=True)):
        for index in range(number):
            layers.append(block(width, count, 2 if stage > 0 and index == 0 else 1))
            width = count * block.expansion
    return nn.Sequential(*layers), width


def scaled(count: int, width: float) -> int:
    """A number of filters times the width of a network, 1 at least.

    >>> scaled(64, 0.5), scaled(64, 0.001)
    (32, 1)
    """
    return max(1, round(count * width))


def to_channels_last(module: nn.Module) -> nn.Module:
    """Convolutions in the memory format that CPUs and tensor cores prefer, in place.

    A narrow strided 1×1 convolution leaves out pixels before it multiplies instead of after:
    the same outputs and gradients, without a backward pass of oneDNN that has ended processes.
    """
    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    for part in convolutions:
        if (
            part.in_channels < NARROW
            and part.kernel_size == (1, 1)
            and part.stride != (1, 1)
            and part.padding in ((0, 0), "valid")
        ):
            part.register_forward_pre_hook(functools.partial(_leave_out, part.stride))
            part.stride = (1, 1)
    if convolutions:
        module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return module


def _leave_out(
    stride: tuple[int, ...], layer: nn.Module, inputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    pictures, *others = inputs
    return (pictures[..., :: stride[0], :: stride[1]], *others)
