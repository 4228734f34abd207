"""The table of models: for each name the kinds of data, the builder and the default recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from keepers.errors import ParameterError
from keepers.models.pictures import picture_rows
from keepers.models.recipe import Recipe, long_enough
from keepers.models.row import ModelRow, at_least_one, dense_encoder, fraction
from keepers.models.text import FastText
from keepers.models.vision import MLP
from keepers.types import DataInfo, EncoderSpec, Model

DECAY_EPOCHS = 33
"""Epochs over which weights of the perceptron fade, where few examples are seen often.

Measured on half of the tables of `benchmarks/recipes_tables.py`, confirmed on the other half."""

FARTHEST = 10.0
"""Standard deviations from the mean at which the perceptron cuts features: what lies far outside of
what it was trained on would make its output as large (`benchmarks/recipes_tables.py`)."""


def _mlp(info: DataInfo, *, hidden: Sequence[int] = (512, 512), dropout: float = 0.0) -> Model:
    if not isinstance(hidden, list | tuple):
        raise ParameterError("hidden", f"got {hidden!r}", "Give a list of sizes such as [512, 512]")
    hidden = [at_least_one("hidden", count) for count in hidden]
    return _flat(info, hidden, dropout, FARTHEST if info.kind == "vector" else None)


def _logistic(info: DataInfo) -> Model:
    return _flat(info, (), 0.0)


def _flat(
    info: DataInfo, hidden: Sequence[int], dropout: float, farthest: float | None = None
) -> Model:
    dropout = fraction("dropout", dropout)
    size = math.prod(info.shape)
    module = MLP(size, info.num_classes, hidden=hidden, dropout=dropout, farthest=farthest)
    return Model(module=module, encoder=dense_encoder(info))


def _fasttext(info: DataInfo, *, dim: int = 10, buckets: int = 2**18, ngrams: int = 2) -> Model:
    for name, value in (("dim", dim), ("buckets", buckets), ("ngrams", ngrams)):
        at_least_one(name, value)
    return Model(
        module=FastText(buckets, info.num_classes, dim=dim),
        encoder=EncoderSpec(kind="text", scheme="hashed", buckets=buckets, ngrams=ngrams),
    )


_RHO_LOSS = "Mindermann et al. 2022, Prioritized Training on Points that are Learnable"


def _rows() -> list[ModelRow]:
    return [
        *picture_rows(),
        ModelRow(
            name="mlp",
            kinds=("image", "vector"),
            summary="two hidden layers of 512",
            paper=_RHO_LOSS,
            defaults=Recipe(
                epochs=10,
                batch_size=64,
                optimizer="adamw",
                lr=3e-3,
                weight_decay=0.01,
                decay_epochs=DECAY_EPOCHS,
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


MODELS: Mapping[str, ModelRow] = MappingProxyType(
    {row.name: replace(row, defaults=long_enough(row.defaults)) for row in _rows()}
)
"""Every built-in model, by name."""
