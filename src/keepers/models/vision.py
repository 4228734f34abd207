"""The other models for pictures and vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from keepers.models.layers import convolution


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch normalisation, and a shortcut, then ReLU."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(channels, filters, 3, stride),
            nn.BatchNorm2d(filters),
            nn.ReLU(inplace=True),
            convolution(filters, filters, 3),
            nn.BatchNorm2d(filters),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != filters:
            self.shortcut = nn.Sequential(
                convolution(channels, filters, 1, stride), nn.BatchNorm2d(filters)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, channels, h, w) to (n, filters, h / stride, w / stride)."""
        return self.relu(self.body(x) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 for 32×32 pictures: a 3×3 stem without pooling, four stages of two blocks."""

    def __init__(
        self, channels: int, num_classes: int, *, filters: Sequence[int] = (64, 128, 256, 512)
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            convolution(channels, filters[0], 3), nn.BatchNorm2d(filters[0]), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        width = filters[0]
        for stage, count in enumerate(filters):
            blocks.append(ResidualBlock(width, count, 1 if stage == 0 else 2))
            blocks.append(ResidualBlock(count, count, 1))
            width = count
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (n, classes) of pictures (n, channels, h, w)."""
        x = self.blocks(self.stem(pictures))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


class SmallCNN(nn.Module):
    """Three 3×3 convolutions (dropout, pooling, ReLU after each) and three linear layers.

    Pictures under 22 pixels are padded, since three unpadded convolutions and poolings would
    leave nothing of them.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        num_classes: int,
        *,
        filters: Sequence[int] = (64, 128, 256),
        hidden: Sequence[int] = (128, 256),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        channels, *size = shape
        small = min(size) < 22
        layers: list[nn.Module] = []
        for count in filters:
            layers += [
                nn.Conv2d(channels, count, 3, padding=1 if small else 0),
                nn.Dropout2d(dropout),
                nn.MaxPool2d(2, ceil_mode=small),
                nn.ReLU(inplace=True),
            ]
            size = [-(-side // 2) if small else (side - 2) // 2 for side in size]
            channels = count
        self.convolutions = nn.Sequential(*layers)
        self.classifier = MLP(channels * size[0] * size[1], num_classes, hidden=hidden)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (n, classes) of pictures (n, channels, h, w)."""
        return self.classifier(self.convolutions(pictures))


class MLP(nn.Module):
    """Linear layers with ReLU between; no hidden layer is multinomial logistic regression."""

    def __init__(
        self, num_features: int, num_classes: int, *, hidden: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = num_features
        for count in hidden:
            layers += [nn.Linear(width, count), nn.ReLU(inplace=True)]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            width = count
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) of vectors (n, d) or of anything else, flattened."""
        return self.layers(inputs.flatten(1))
