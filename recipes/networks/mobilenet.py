"""MobileNetV2 for small pictures (Sandler et al. 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from keepers.types import DataInfo
from recipes.networks.layers import PooledClassifier, convolution, convolution_unit, scaled

# Of each stage: expansion, filters, blocks and stride. The paper's second stage has stride 2,
# as its stem has; 32×32 pictures are too small for both.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """A 1×1 expansion, a 3×3 convolution of each channel, a linear 1×1 projection.

    The input is added where the output has its shape.
    """

    def __init__(self, channels: int, filters: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = channels * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += convolution_unit(channels, hidden, 1, activation=nn.ReLU6)
        layers += convolution_unit(hidden, hidden, 3, stride, groups=hidden, activation=nn.ReLU6)
        layers += [convolution(hidden, filters, 1), nn.BatchNorm2d(filters)]
        self.body = nn.Sequential(*layers)
        self.is_residual = stride == 1 and channels == filters

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, channels, h, w) to (n, filters, h / stride, w / stride)."""
        return x + self.body(x) if self.is_residual else self.body(x)


class MobileNetV2(PooledClassifier):
    """MobileNetV2 for 32×32 pictures: strides of 1 in the stem and the second stage.

    Args:
        channels: of the input.
        num_classes: of the output.
        width: multiplies the filters, those of the last convolution too.
    """

    def __init__(self, channels: int, num_classes: int, *, width: float = 1.0) -> None:
        count = scaled(32, width)
        layers: list[nn.Module] = [convolution_unit(channels, count, 3, activation=nn.ReLU6)]
        for expansion, base, blocks, stride in _STAGES:
            filters = scaled(base, width)
            for index in range(blocks):
                layers.append(
                    InvertedResidual(
                        count, filters, expansion=expansion, stride=stride if index == 0 else 1
                    )
                )
                count = filters
        last = scaled(1280, width)
        layers.append(convolution_unit(count, last, 1, activation=nn.ReLU6))
        super().__init__(layers, last, num_classes)


def mobilenet_v2(info: DataInfo, *, width: float = 1.0) -> MobileNetV2:
    """The network for these data; `width` multiplies its filters."""
    return MobileNetV2(info.shape[0], info.num_classes, width=width)
