"""Inception networks for small pictures: GoogLeNet (2015) and Inception-v3 (2016)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from keepers.types import DataInfo
from recipes.networks.layers import PooledClassifier, convolution_unit, scaled

_Size = int | tuple[int, int]


@dataclass(frozen=True)
class _Fork:
    chains: tuple[_Chain, ...]


# Filters, size and stride of a convolution, what makes a pooling, or chains side by side.
_Layer = tuple[int, _Size, int] | Callable[[], nn.Module] | _Fork
_Chain = Sequence[_Layer]


class Branches(nn.Module):
    """Layers side by side over the same input, their outputs joined along the channels."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, channels, h, w) to (n, the sum of the branches' filters, h', w')."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class GoogLeNet(PooledClassifier):
    """GoogLeNet with batch normalisation for 32×32 pictures, without auxiliary classifiers.

    A 3×3 stem of 192 filters without pooling, nine inception modules, and the picture halved after
    the second and the seventh. Two 3×3 convolutions stand for each 5×5 one, as in the paper that
    brought batch normalisation (Ioffe and Szegedy 2015).

    Args:
        channels: of the input.
        num_classes: of the output.
        width: multiplies the filters.
    """

    def __init__(self, channels: int, num_classes: int, *, width: float = 1.0) -> None:
        layers, filters = _assemble(_googlenet(), channels, width)
        super().__init__(layers, filters, num_classes)


class InceptionV3(PooledClassifier):
    """Inception-v3 for 32×32 pictures, without the auxiliary classifier.

    The stem keeps its five convolutions, all with stride 1 and without pooling; the two reductions
    leave 8×8 pixels of 32×32. Every convolution is padded, so that pictures of any size pass.

    Args:
        channels: of the input.
        num_classes: of the output.
        width: multiplies the filters.
    """

    def __init__(self, channels: int, num_classes: int, *, width: float = 1.0) -> None:
        layers, filters = _assemble(_inception_v3(), channels, width)
        super().__init__(layers, filters, num_classes)


def _assemble(chain: _Chain, channels: int, width: float) -> tuple[list[nn.Module], int]:
    """The modules of a chain, and the number of filters that come out of it."""
    modules: list[nn.Module] = []
    for layer in chain:
        if isinstance(layer, _Fork):
            built = [_assemble(each, channels, width) for each in layer.chains]
            modules.append(Branches([nn.Sequential(*branch) for branch, _ in built]))
            channels = sum(filters for _, filters in built)
        elif isinstance(layer, tuple):
            count, size, stride = layer
            filters = scaled(count, width)
            modules.append(convolution_unit(channels, filters, size, stride))
            channels = filters
        else:
            modules.append(layer())
    return modules, channels


def _conv(filters: int, size: _Size, stride: int = 1) -> _Layer:
    return filters, size, stride


def _fork(*chains: _Chain) -> _Fork:
    return _Fork(chains)


def _mean() -> nn.Module:
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def _maximum() -> nn.Module:
    return nn.MaxPool2d(3, stride=1, padding=1)


def _halving() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, padding=1)


def _googlenet() -> list[_Layer]:
    def module(
        single: int, before3: int, after3: int, before5: int, after5: int, pooled: int
    ) -> _Layer:
        return _fork(
            [_conv(single, 1)],
            [_conv(before3, 1), _conv(after3, 3)],
            [_conv(before5, 1), _conv(after5, 3), _conv(after5, 3)],
            [_maximum, _conv(pooled, 1)],
        )

    return [
        _conv(192, 3),
        module(64, 96, 128, 16, 32, 32),
        module(128, 128, 192, 32, 96, 64),
        _halving,
        module(192, 96, 208, 16, 48, 64),
        module(160, 112, 224, 24, 64, 64),
        module(128, 128, 256, 24, 64, 64),
        module(112, 144, 288, 32, 64, 64),
        module(256, 160, 320, 32, 128, 128),
        _halving,
        module(256, 160, 320, 32, 128, 128),
        module(384, 192, 384, 48, 128, 128),
    ]


def _inception_v3() -> list[_Layer]:
    row, column = (1, 7), (7, 1)

    def square(pooled: int) -> _Layer:
        return _fork(
            [_conv(64, 1)],
            [_conv(48, 1), _conv(64, 5)],
            [_conv(64, 1), _conv(96, 3), _conv(96, 3)],
            [_mean, _conv(pooled, 1)],
        )

    def factorised(count: int) -> _Layer:
        twice = [_conv(count, column), _conv(count, row), _conv(count, column)]
        return _fork(
            [_conv(192, 1)],
            [_conv(count, 1), _conv(count, row), _conv(192, column)],
            [_conv(count, 1), *twice, _conv(192, row)],
            [_mean, _conv(192, 1)],
        )

    def expanded() -> _Layer:
        both = _fork([_conv(384, (1, 3))], [_conv(384, (3, 1))])
        return _fork(
            [_conv(320, 1)],
            [_conv(384, 1), both],
            [_conv(448, 1), _conv(384, 3), both],
            [_mean, _conv(192, 1)],
        )

    return [
        _conv(32, 3),
        _conv(32, 3),
        _conv(64, 3),
        _conv(80, 1),
        _conv(192, 3),
        square(32),
        square(64),
        square(64),
        _fork([_conv(384, 3, 2)], [_conv(64, 1), _conv(96, 3), _conv(96, 3, 2)], [_halving]),
        factorised(128),
        factorised(160),
        factorised(160),
        factorised(192),
        _fork(
            [_conv(192, 1), _conv(320, 3, 2)],
            [_conv(192, 1), _conv(192, row), _conv(192, column), _conv(192, 3, 2)],
            [_halving],
        ),
        expanded(),
        expanded(),
    ]


def googlenet(info: DataInfo, *, width: float = 1.0) -> GoogLeNet:
    """The network for these data; `width` multiplies its filters."""
    return GoogLeNet(info.shape[0], info.num_classes, width=width)


def inception_v3(info: DataInfo, *, width: float = 1.0) -> InceptionV3:
    """The network for these data; `width` multiplies its filters."""
    return InceptionV3(info.shape[0], info.num_classes, width=width)
