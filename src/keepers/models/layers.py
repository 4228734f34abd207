"""Layers that several networks share."""

from __future__ import annotations

from torch import nn


def convolution(channels: int, filters: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the size, drawn as He et al. 2015 do."""
    layer = nn.Conv2d(channels, filters, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
