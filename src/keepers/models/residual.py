"""Residual networks for small pictures (He et al. 2016, Deep Residual Learning)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from keepers.models.layers import Block, convolution, convolution_unit, stages


class ResidualBlock(Block):
    """Two 3×3 convolutions with batch normalisation, and a shortcut, then ReLU."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__(channels, filters, stride)
        self.body = nn.Sequential(
            *convolution_unit(channels, filters, 3, stride),
            convolution(filters, filters, 3),
            nn.BatchNorm2d(filters),
        )
        self.shortcut = _shortcut(channels, filters, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, channels, h, w) to (n, filters, h / stride, w / stride)."""
        return self.relu(self.body(x) + self.shortcut(x))


class ResidualBottleneck(Block):
    """1×1, 3×3 and 1×1 convolutions with batch normalisation, and a shortcut, then ReLU.

    The stride is that of the 3×3 convolution, so that no pixel is passed over.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__(channels, filters, stride)
        self.body = nn.Sequential(
            *convolution_unit(channels, filters, 1),
            *convolution_unit(filters, filters, 3, stride),
            convolution(filters, 4 * filters, 1),
            nn.BatchNorm2d(4 * filters),
        )
        self.shortcut = _shortcut(channels, 4 * filters, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, channels, h, w) to (n, 4 · filters, h / stride, w / stride)."""
        return self.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network for 32×32 pictures: a 3×3 stem without pooling, stages, a linear layer.

    Every stage but the first halves the picture.

    Args:
        channels: of the input.
        num_classes: of the output.
        blocks: in each stage; (2, 2, 2, 2) makes ResNet-18, (3, 4, 6, 3) ResNet-34 and, with
            bottlenecks, ResNet-50.
        block: `ResidualBlock` or `ResidualBottleneck`.
        filters: of each stage.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        blocks: Sequence[int],
        block: type[Block],
        filters: Sequence[int] = (64, 128, 256, 512),
    ) -> None:
        super().__init__()
        self.stem = convolution_unit(channels, filters[0], 3)
        self.blocks, width = stages(block, blocks, filters)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (n, classes) of pictures (n, channels, h, w)."""
        x = self.blocks(self.stem(pictures))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _shortcut(channels: int, filters: int, stride: int) -> nn.Module:
    if stride == 1 and channels == filters:
        return nn.Identity()
    return nn.Sequential(convolution(channels, filters, 1, stride), nn.BatchNorm2d(filters))
