"""VGG with batch normalisation for small pictures (Simonyan and Zisserman 2015)."""

from __future__ import annotations

from torch import nn

from keepers.types import DataInfo
from recipes.networks.layers import PooledClassifier, convolution_unit, scaled

_STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))


class VGG11(PooledClassifier):
    """VGG-11 (configuration A) with batch normalisation and one linear layer in place of three.

    Eight 3×3 convolutions in five stages, each ending in a 2×2 maximum; a side that is odd is
    rounded up, so that pictures of any size pass. 32×32 pictures end as one pixel.

    Args:
        channels: of the input.
        num_classes: of the output.
        width: multiplies the filters.
    """

    def __init__(self, channels: int, num_classes: int, *, width: float = 1.0) -> None:
        layers: list[nn.Module] = []
        for stage in _STAGES:
            for count in stage:
                filters = scaled(count, width)
                layers.append(convolution_unit(channels, filters, 3))
                channels = filters
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        super().__init__(layers, channels, num_classes)


def vgg11_bn(info: DataInfo, *, width: float = 1.0) -> VGG11:
    """The network for these data; `width` multiplies its filters."""
    return VGG11(info.shape[0], info.num_classes, width=width)
