"""Pre-activation residual networks for small pictures (He et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from keepers.models.layers import Block, convolution, stages


class BasicBlock(Block):
    """Two 3×3 convolutions, each after batch normalisation and ReLU, and a shortcut."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__(channels, filters, stride)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = convolution(channels, filters, 3, stride)
        self.norm2 = nn.BatchNorm2d(filters)
        self.conv2 = convolution(filters, filters, 3)
        self.shortcut = _shortcut(channels, filters, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, channels, h, w) to (n, filters, h / stride, w / stride)."""
        active = self.relu(self.norm1(x))
        skip = x if self.shortcut is None else self.shortcut(active)
        return skip + self.conv2(self.relu(self.norm2(self.conv1(active))))


class BottleneckBlock(Block):
    """1×1, 3×3 and 1×1 convolutions, each after batch normalisation and ReLU, and a shortcut."""

    expansion: ClassVar[int] = 4

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__(channels, filters, stride)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = convolution(channels, filters, 1)
        self.norm2 = nn.BatchNorm2d(filters)
        self.conv2 = convolution(filters, filters, 3, stride)
        self.norm3 = nn.BatchNorm2d(filters)
        self.conv3 = convolution(filters, 4 * filters, 1)
        self.shortcut = _shortcut(channels, 4 * filters, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, channels, h, w) to (n, 4 · filters, h / stride, w / stride)."""
        active = self.relu(self.norm1(x))
        skip = x if self.shortcut is None else self.shortcut(active)
        middle = self.conv2(self.relu(self.norm2(self.conv1(active))))
        return skip + self.conv3(self.relu(self.norm3(middle)))


class PreactResNet(nn.Module):
    """3×3 stem, three stages of blocks at strides 1, 2, 2, a final normalisation, a linear layer.

    Depth is 2 + 6 · blocks with basic blocks and 2 + 9 · blocks with bottlenecks: the stem, the
    convolutions of the blocks and the linear layer (shortcuts are not counted).

    Args:
        channels: of the input.
        num_classes: of the output.
        blocks: in each stage.
        block: `BasicBlock` or `BottleneckBlock`.
        filters: of each stage.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        blocks: int,
        block: type[Block],
        filters: Sequence[int] = (16, 32, 64),
    ) -> None:
        super().__init__()
        self.stem = convolution(channels, filters[0], 3)
        self.blocks, width = stages(block, [blocks] * len(filters), filters)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (n, classes) of pictures (n, channels, h, w)."""
        x = self.relu(self.norm(self.blocks(self.stem(pictures))))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _shortcut(channels: int, filters: int, stride: int) -> nn.Conv2d | None:
    return (
        None if stride == 1 and channels == filters else convolution(channels, filters, 1, stride)
    )
