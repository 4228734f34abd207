"""Layers that these networks share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def convolution(
    channels: int, filters: int, size: int | tuple[int, int], stride: int = 1, *, groups: int = 1
) -> nn.Conv2d:
    """A convolution without bias that keeps the size, drawn as He et al. 2015 do."""
    height, width = (size, size) if isinstance(size, int) else size
    layer = nn.Conv2d(
        channels,
        filters,
        (height, width),
        stride,
        padding=(height // 2, width // 2),
        groups=groups,
        bias=False,
    )
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    with torch.no_grad():  # an input meets the filters of its own group only
        layer.weight.mul_(math.sqrt(groups))
    return layer


def convolution_unit(
    channels: int,
    filters: int,
    size: int | tuple[int, int],
    stride: int = 1,
    *,
    groups: int = 1,
    activation: Callable[..., nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """A convolution, batch normalisation and an activation."""
    return nn.Sequential(
        convolution(channels, filters, size, stride, groups=groups),
        nn.BatchNorm2d(filters),
        activation(inplace=True),
    )


def scaled(count: int, width: float) -> int:
    """A number of filters times the width of a network, 1 at least."""
    return max(1, round(count * width))


class PooledClassifier(nn.Module):
    """Layers over pictures, the mean of each filter over the picture, and a linear layer."""

    def __init__(self, layers: Sequence[nn.Module], filters: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(filters, num_classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (n, classes) of pictures (n, channels, h, w)."""
        return self.classifier(F.adaptive_avg_pool2d(self.layers(pictures), 1).flatten(1))
