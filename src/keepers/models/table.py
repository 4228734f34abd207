"""The table of models: for each name the kinds of data, the builder and the default recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from keepers.errors import ParameterError
from keepers.models.preact import BasicBlock, BottleneckBlock, PreactResNet
from keepers.models.recipe import Recipe
from keepers.models.text import STAGES, VDCNN, FastText
from keepers.models.vision import MLP, ResNet18, SmallCNN
from keepers.types import DataInfo, EncoderSpec, Kind, Model


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One model of the table. `build(info, **options)` makes it; its keywords are the options."""

    name: str
    kinds: tuple[Kind, ...]
    summary: str
    paper: str
    defaults: Recipe
    build: Callable[..., Model]


def dense_encoder(info: DataInfo) -> EncoderSpec:
    """Pictures at the size they are to be looked at, or vectors; normalised by the data."""
    if info.kind == "vector":
        return EncoderSpec(kind="vector", normalise="data")
    channels, height, width = info.shape
    return EncoderSpec(kind="image", size=(height, width), channels=channels, normalise="data")


def _scaled(filters: Sequence[int], width: Any) -> tuple[int, ...]:
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width < math.inf:
        raise ParameterError("width", f"got {width!r}", "Give a multiplier of the filters over 0")
    return tuple(max(1, round(count * width)) for count in filters)


def _at_least_one(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ParameterError(name, f"got {value!r}", "Give a whole number, 1 or more")
    return value


def _fraction(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ParameterError(name, f"got {value!r}", "Give a fraction in [0, 1)")
    return value


def _preact(blocks: int, block: type[BasicBlock] | type[BottleneckBlock]) -> Callable[..., Model]:
    def build(info: DataInfo, *, width: float = 1.0) -> Model:
        first, second, third = _scaled((16, 32, 64), width)
        module = PreactResNet(
            info.shape[0],
            info.num_classes,
            blocks=blocks,
            block=block,
            filters=(first, second, third),
        )
        return Model(module=module, encoder=dense_encoder(info))

    return build


def _resnet18(info: DataInfo, *, width: float = 1.0) -> Model:
    filters = _scaled((64, 128, 256, 512), width)
    module = ResNet18(info.shape[0], info.num_classes, filters=filters)
    return Model(module=module, encoder=dense_encoder(info))


def _small_cnn(info: DataInfo, *, width: float = 1.0, dropout: float = 0.1) -> Model:
    channels, height, breadth = info.shape
    module = SmallCNN(
        (channels, height, breadth),
        info.num_classes,
        filters=_scaled((64, 128, 256), width),
        hidden=_scaled((128, 256), width),
        dropout=_fraction("dropout", dropout),
    )
    return Model(module=module, encoder=dense_encoder(info))


def _mlp(info: DataInfo, *, hidden: Sequence[int] = (512, 512), dropout: float = 0.0) -> Model:
    if not isinstance(hidden, list | tuple):
        raise ParameterError("hidden", f"got {hidden!r}", "Give a list of sizes such as [512, 512]")
    return _flat(info, [_at_least_one("hidden", count) for count in hidden], dropout)


def _logistic(info: DataInfo) -> Model:
    return _flat(info, (), 0.0)


def _flat(info: DataInfo, hidden: Sequence[int], dropout: float) -> Model:
    dropout = _fraction("dropout", dropout)
    module = MLP(math.prod(info.shape), info.num_classes, hidden=hidden, dropout=dropout)
    return Model(module=module, encoder=dense_encoder(info))


def _fasttext(info: DataInfo, *, dim: int = 10, buckets: int = 2**18, ngrams: int = 2) -> Model:
    for name, value in (("dim", dim), ("buckets", buckets), ("ngrams", ngrams)):
        _at_least_one(name, value)
    return Model(
        module=FastText(buckets, info.num_classes, dim=dim),
        encoder=EncoderSpec(kind="text", scheme="hashed", buckets=buckets, ngrams=ngrams),
    )


def _vdcnn(depth: int) -> Callable[..., Model]:
    def build(
        info: DataInfo, *, width: float = 1.0, length: int = 1014, hidden: int = 2048
    ) -> Model:
        first, second, third, fourth = _scaled((64, 128, 256, 512), width)
        module = VDCNN(
            _at_least_one("length", length),
            info.num_classes,
            depth=depth,
            filters=(first, second, third, fourth),
            hidden=_at_least_one("hidden", hidden),
        )
        return Model(
            module=module, encoder=EncoderSpec(kind="text", scheme="characters", length=length)
        )

    return build


_IDENTITY_MAPPINGS = "He et al. 2016, Identity Mappings in Deep Residual Networks"
_VERY_DEEP = "Conneau et al. 2017, Very Deep Convolutional Networks for Text Classification"
_RHO_LOSS = "Mindermann et al. 2022, Prioritized Training on Points that are Learnable"


def _rows() -> list[ModelRow]:
    rows: list[ModelRow] = []
    for depth, blocks, epochs in ((8, 1, 5), (14, 2, 10), (20, 3, 15), (56, 9, 30), (110, 18, 40)):
        rows.append(
            ModelRow(
                name=f"preact{depth}",
                kinds=("image",),
                summary=f"pre-activation ResNet, {depth} layers, basic blocks",
                paper=_IDENTITY_MAPPINGS,
                defaults=_pictures(epochs, lr=0.2 if depth <= 20 else 0.1),
                build=_preact(blocks, BasicBlock),
            )
        )
    rows += [
        ModelRow(
            name="preact164",
            kinds=("image",),
            summary="pre-activation ResNet, 164 layers, bottleneck blocks",
            paper=_IDENTITY_MAPPINGS,
            defaults=_pictures(40),
            build=_preact(18, BottleneckBlock),
        ),
        ModelRow(
            name="resnet18",
            kinds=("image",),
            summary="ResNet-18 with a stem for 32×32 pictures",
            paper="He et al. 2016, Deep Residual Learning for Image Recognition",
            defaults=_pictures(30),
            build=_resnet18,
        ),
        ModelRow(
            name="small-cnn",
            kinds=("image",),
            summary="three convolutions and three linear layers",
            paper=_RHO_LOSS,
            defaults=Recipe(epochs=10, batch_size=128, optimizer="adamw", lr=2e-3, bf16=True),
            build=_small_cnn,
        ),
        ModelRow(
            name="mlp",
            kinds=("image", "vector"),
            summary="two hidden layers of 512",
            paper=_RHO_LOSS,
            defaults=Recipe(
                epochs=10, batch_size=64, optimizer="adamw", lr=3e-3, weight_decay=0.01
            ),
            build=_mlp,
        ),
        ModelRow(
            name="logistic",
            kinds=("image", "vector"),
            summary="multinomial logistic regression",
            paper="Cox 1958, The Regression Analysis of Binary Sequences",
            defaults=Recipe(epochs=10, batch_size=64, optimizer="adamw", lr=1e-2),
            build=_logistic,
        ),
        ModelRow(
            name="fasttext",
            kinds=("text",),
            summary="bag of hashed words and bigrams, averaged, then a linear layer",
            paper="Joulin et al. 2017, Bag of Tricks for Efficient Text Classification",
            defaults=Recipe(epochs=5, batch_size=64, optimizer="adamw", lr=1e-2),
            build=_fasttext,
        ),
    ]
    for depth in STAGES:
        rows.append(
            ModelRow(
                name=f"vdcnn{depth}",
                kinds=("text",),
                summary=f"convolutions over characters, {depth} layers",
                paper=_VERY_DEEP,
                defaults=Recipe(
                    epochs=15,
                    batch_size=128,
                    optimizer="adamw",
                    lr=1e-3,
                    weight_decay=1e-4,
                    bf16=True,
                ),
                build=_vdcnn(depth),
            )
        )
    return rows


def _pictures(epochs: int, lr: float = 0.1) -> Recipe:
    return Recipe(epochs=epochs, batch_size=128, lr=lr, weight_decay=5e-4, augment=True, bf16=True)


MODELS: Mapping[str, ModelRow] = MappingProxyType({row.name: row for row in _rows()})
"""Every built-in model, by name."""
