"""The rows of the table that take pictures alone."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from keepers.models.layers import Block
from keepers.models.preact import BasicBlock, BottleneckBlock, PreactResNet
from keepers.models.recipe import Recipe
from keepers.models.residual import ResidualBlock, ResidualBottleneck, ResNet
from keepers.models.row import ModelRow, dense_encoder, fraction, scaled_filters
from keepers.models.vision import SmallCNN
from keepers.types import DataInfo, Model


def _residual(
    network: Callable[..., nn.Module], blocks: int | tuple[int, ...], block: type[Block]
) -> Callable[..., Model]:
    usual = (16, 32, 64) if network is PreactResNet else (64, 128, 256, 512)

    def build(info: DataInfo, *, width: float = 1.0) -> Model:
        filters = scaled_filters(usual, width)
        module = network(
            info.shape[0], info.num_classes, blocks=blocks, block=block, filters=filters
        )
        return Model(module=module, encoder=dense_encoder(info))

    return build


def _small_cnn(info: DataInfo, *, width: float = 1.0, dropout: float = 0.1) -> Model:
    channels, height, breadth = info.shape
    module = SmallCNN(
        (channels, height, breadth),
        info.num_classes,
        filters=scaled_filters((64, 128, 256), width),
        hidden=scaled_filters((128, 256), width),
        dropout=fraction("dropout", dropout),
    )
    return Model(module=module, encoder=dense_encoder(info))


_IDENTITY_MAPPINGS = "He et al. 2016, Identity Mappings in Deep Residual Networks"
_RESIDUAL = "He et al. 2016, Deep Residual Learning for Image Recognition"
_RHO_LOSS = "Mindermann et al. 2022, Prioritized Training on Points that are Learnable"


def picture_rows() -> list[ModelRow]:
    """The models for pictures: residual networks and a small one."""
    return [*_preact_rows(), *_target_rows(), _small_cnn_row()]


def _preact_rows() -> list[ModelRow]:
    basic = [
        ModelRow(
            name=f"preact{depth}",
            kinds=("image",),
            summary=f"pre-activation ResNet, {depth} layers, basic blocks",
            paper=_IDENTITY_MAPPINGS,
            defaults=_sgd(epochs, lr=0.2 if depth <= 20 else 0.1),
            build=_residual(PreactResNet, blocks, BasicBlock),
        )
        for depth, blocks, epochs in (
            (8, 1, 5),
            (14, 2, 10),
            (20, 3, 15),
            (56, 9, 30),
            (110, 18, 40),
        )
    ]
    bottleneck = ModelRow(
        name="preact164",
        kinds=("image",),
        summary="pre-activation ResNet, 164 layers, bottleneck blocks",
        paper=_IDENTITY_MAPPINGS,
        defaults=_sgd(40),
        build=_residual(PreactResNet, 18, BottleneckBlock),
    )
    return [*basic, bottleneck]


def _target_rows() -> list[ModelRow]:
    resnet18 = ModelRow(
        name="resnet18",
        kinds=("image",),
        summary="ResNet-18 with a stem for 32×32 pictures",
        paper=_RESIDUAL,
        defaults=_sgd(30),
        build=_residual(ResNet, (2, 2, 2, 2), ResidualBlock),
    )
    others = [
        ("resnet34", "ResNet-34", _RESIDUAL, _residual(ResNet, (3, 4, 6, 3), ResidualBlock)),
        ("resnet50", "ResNet-50", _RESIDUAL, _residual(ResNet, (3, 4, 6, 3), ResidualBottleneck)),
    ]
    return [
        resnet18,
        *(
            ModelRow(
                name=name,
                kinds=("image",),
                summary=f"{network}, for 32×32 pictures",
                paper=paper,
                defaults=_adamw(30),
                build=build,
            )
            for name, network, paper, build in others
        ),
    ]


def _small_cnn_row() -> ModelRow:
    return ModelRow(
        name="small-cnn",
        kinds=("image",),
        summary="three convolutions and three linear layers",
        paper=_RHO_LOSS,
        defaults=Recipe(epochs=10, batch_size=128, optimizer="adamw", lr=2e-3, bf16=True),
        build=_small_cnn,
    )


def _sgd(epochs: int, lr: float = 0.1) -> Recipe:
    return Recipe(epochs=epochs, batch_size=128, lr=lr, weight_decay=5e-4, augment=True, bf16=True)


def _adamw(epochs: int) -> Recipe:
    return Recipe(
        epochs=epochs,
        batch_size=128,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.01,
        augment=True,
        bf16=True,
    )
