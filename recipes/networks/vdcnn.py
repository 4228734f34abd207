"""Convolutions over characters (Conneau et al. 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from keepers.types import DataInfo, EncoderSpec, Model
from recipes.networks.layers import scaled

STAGES = {9: (1, 1, 1, 1), 17: (2, 2, 2, 2), 29: (5, 5, 2, 2), 49: (8, 8, 5, 3)}
"""Blocks of two convolutions in each of the four stages of a VDCNN, by depth."""

CHARACTERS = 256
"""Rows of the VDCNN embedding: one for each code that a byte can hold."""

K_MAX = 8


class VDCNN(nn.Module):
    """Very deep convolutional network over characters (Conneau et al. 2017).

    Embedding, a first convolution, four stages of blocks with a halving of the length between
    them, the 8 largest activations of each filter in their order, two hidden linear layers.
    """

    def __init__(
        self,
        length: int,
        num_classes: int,
        *,
        depth: int,
        filters: tuple[int, int, int, int] = (64, 128, 256, 512),
        hidden: int = 2048,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, 16)
        layers: list[nn.Module] = [_conv(16, filters[0])]
        width = filters[0]
        for stage, (blocks, count) in enumerate(zip(STAGES[depth], filters, strict=True)):
            if stage > 0:
                layers.append(nn.MaxPool1d(3, stride=2, padding=1))
                length = (length + 1) // 2
            for _ in range(blocks):
                layers.append(_block(width, count))
                width = count
        self.convolutions = nn.Sequential(*layers)
        self.num_kept = min(K_MAX, length)
        self.classifier = nn.Sequential(
            nn.Linear(width * self.num_kept, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, characters: Tensor) -> Tensor:
        """Logits (n, classes) of character codes (n, length)."""
        x = self.convolutions(self.embedding(characters).transpose(1, 2))
        return self.classifier(k_max(x, self.num_kept).flatten(1))


def k_max(x: Tensor, k: int) -> Tensor:
    """The `k` largest values along the last dimension, in their original order."""
    return x.gather(-1, x.topk(k, dim=-1).indices.sort(dim=-1).values)


def _block(channels: int, filters: int) -> nn.Sequential:
    return nn.Sequential(
        _conv(channels, filters),
        nn.BatchNorm1d(filters),
        nn.ReLU(inplace=True),
        _conv(filters, filters),
        nn.BatchNorm1d(filters),
        nn.ReLU(inplace=True),
    )


def _conv(channels: int, filters: int) -> nn.Conv1d:
    conv = nn.Conv1d(channels, filters, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
    return conv


def vdcnn(
    info: DataInfo, *, depth: int = 29, width: float = 1.0, length: int = 1014, hidden: int = 2048
) -> Model:
    """A VDCNN of 9, 17, 29 or 49 layers over the first `length` characters of a text."""
    module = VDCNN(
        length,
        info.num_classes,
        depth=depth,
        filters=(scaled(64, width), scaled(128, width), scaled(256, width), scaled(512, width)),
        hidden=hidden,
    )
    encoder = EncoderSpec(kind="text", scheme="characters", length=length)
    return Model(module=module, encoder=encoder)
