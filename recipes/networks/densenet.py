"""DenseNet for small pictures (Huang et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from keepers.types import DataInfo
from recipes.networks.layers import PooledClassifier, convolution, scaled


class DenseLayer(nn.Module):
    """A 1×1 convolution to 4 · growth and a 3×3 one to `growth` filters, joined to the input.

    Batch normalisation and ReLU stand before each convolution.
    """

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            convolution(channels, 4 * growth, 1),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(inplace=True),
            convolution(4 * growth, growth, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, channels, h, w) to (n, channels + growth, h, w)."""
        return torch.cat([x, self.body(x)], dim=1)


class DenseNet(PooledClassifier):
    """DenseNet-BC for 32×32 pictures: a 3×3 stem without pooling, dense blocks, a linear layer.

    Between the blocks a 1×1 convolution halves the filters and a 2×2 mean the picture.

    Args:
        channels: of the input.
        num_classes: of the output.
        blocks: layers of each block; (6, 12, 24, 16) makes DenseNet-121.
        growth: filters that a layer adds; the stem has twice as many.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        blocks: Sequence[int] = (6, 12, 24, 16),
        growth: int = 32,
    ) -> None:
        filters = 2 * growth
        layers: list[nn.Module] = [convolution(channels, filters, 3)]
        for index, number in enumerate(blocks):
            if index > 0:
                layers += _transition(filters, filters // 2)
                filters //= 2
            for _ in range(number):
                layers.append(DenseLayer(filters, growth))
                filters += growth
        layers += [nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]
        super().__init__(layers, filters, num_classes)


def _transition(channels: int, filters: int) -> list[nn.Module]:
    return [
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        convolution(channels, filters, 1),
        nn.AvgPool2d(2, ceil_mode=True),
    ]


def densenet121(info: DataInfo, *, width: float = 1.0) -> DenseNet:
    """DenseNet-121 for these data; `width` multiplies its growth."""
    return DenseNet(info.shape[0], info.num_classes, growth=scaled(32, width))
