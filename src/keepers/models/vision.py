"""Small models for pictures and vectors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


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
    """Linear layers with ReLU between; no hidden layer is multinomial logistic regression.

    With `farthest`, inputs are cut at that distance from 0.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        hidden: Sequence[int],
        dropout: float = 0.0,
        farthest: float | None = None,
    ) -> None:
        super().__init__()
        self.farthest = farthest
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
        flat = inputs.flatten(1)
        if self.farthest is not None:
            flat = flat.clamp(-self.farthest, self.farthest)
        return self.layers(flat)
