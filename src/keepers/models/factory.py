"""Models by name: a row of the table, `hf:PATH`, or the user's own `package.module:function`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

from keepers.configuration import is_own_code
from keepers.errors import ParameterError, unknown_name
from keepers.models.classifiers import CLASSIFIERS, is_classifier
from keepers.models.imported import check_options, imported, telling
from keepers.models.layers import to_channels_last
from keepers.models.outline import outlined
from keepers.models.recipe import Recipe, long_enough
from keepers.models.table import MODELS, dense_encoder
from keepers.random import isolated
from keepers.types import DataInfo, Kind, Model

NO_STEPS = Recipe(epochs=1, batch_size=1, lr=1.0)
"""In the place of a recipe for what scikit-learn fits: nothing reads it."""

_KINDS: dict[Kind, str] = {"image": "pictures", "text": "texts", "vector": "vectors"}
_NO_OPTIONS: Mapping[str, Any] = {}
_OUTLINED: set[tuple[Callable[..., Model], DataInfo, str]] = set()
"""Builders, data and options that gave an outline once: a model is made often, with other seeds."""


def create(
    name: str,
    info: DataInfo,
    *,
    seed: int,
    options: Mapping[str, Any] = _NO_OPTIONS,
    parameter: str = "model",
) -> Model:
    """Make a model, its weights drawn by `seed`; torch's global generators are left as they were.

    Args:
        name: a row of `MODELS`; `hf:PATH`, a folder or hub name of a `transformers` classifier;
            or `package.module:function`, called as `function(info, **options)`, which returns a
            `Model`, or a module for pictures or vectors.
        info: the data it will see.
        seed: the same seed gives the same weights.
        options: keywords of the model: `width` (multiplies the filters of a convolutional
            network), `hidden` and `dropout` (`mlp`), `dim`, `buckets` and `ngrams` (`fasttext`),
            `length` or `size` (`hf:`).
        parameter: what errors call `name`.

    Raises:
        ParameterError: no such model, module or function; a kind of data that the model does not
            take; an unknown option or one out of range; or the function returned something else.
        MissingExtraError: `hf:` without the extra that it needs.

    >>> import torch
    >>> info = DataInfo(kind="vector", shape=(4,), num_classes=3)
    >>> create("mlp", info, seed=0, options={"hidden": (8,)}).module(torch.ones(2, 4)).shape
    torch.Size([2, 3])
    """
    if is_classifier(name):
        raise ParameterError(
            parameter,
            f"got '{name}', which scikit-learn fits as a whole",
            "Give a model that is trained in steps here, such as mlp, fasttext or preact20",
        )
    build = _builder(name, info, parameter)
    if info.num_classes < 1:
        raise ParameterError(parameter, f"got {info.num_classes} classes", "Give 1 or more")
    if options and name in MODELS:
        asked = MODELS[name].build, info, repr(sorted(options.items()))
        if asked not in _OUTLINED:
            outlined(lambda: build(info, options).module, name, parameter)
            _OUTLINED.add(asked)
    with isolated(seed, "initialise"):
        made = build(info, options)
    if info.kind == "image":
        to_channels_last(made.module)
    return made


def outline(
    name: str, info: DataInfo, options: Mapping[str, Any] = _NO_OPTIONS, parameter: str = "model"
) -> nn.Module:
    """The layers of a row of `MODELS` with shapes and no weights: nothing is allocated.

    Raises:
        ParameterError: as `create`.
    """
    build = _builder(name, info, parameter)
    return outlined(lambda: build(info, options).module, name, parameter)


def default_proxy(info: DataInfo, *, in_steps: bool = False) -> str:
    """The proxy for a kind of data where nobody names one.

    `in_steps`: one that is trained in steps, for what is observed while it is. So is one for
    targets that no built-in model of scikit-learn takes.

    >>> default_proxy(DataInfo(kind="image", shape=(3, 32, 32), num_classes=10))
    'preact8'
    >>> text = DataInfo(kind="text", shape=(), num_classes=2)
    >>> default_proxy(text), default_proxy(text, in_steps=True)
    ('linear', 'fasttext')
    """
    in_steps = in_steps or info.task not in CLASSIFIERS["linear"].make
    if info.kind == "text":
        return "fasttext" if in_steps else "linear"
    if info.kind == "vector" and not in_steps:
        return "tabular"
    if info.kind == "image" and min(info.shape[1:]) >= 12:
        return "preact8"
    return "mlp"


def default_target(info: DataInfo, *, in_steps: bool = False) -> str:
    """The target for a kind of data where nobody names one: larger than the proxy where it can be.

    >>> default_target(DataInfo(kind="image", shape=(3, 32, 32), num_classes=10))
    'preact20'
    """
    proxy = default_proxy(info, in_steps=in_steps)
    return "preact20" if proxy == "preact8" else proxy


def default_irreducible(info: DataInfo) -> str:
    """The irreducible-loss model for a kind of data where nobody names one.

    >>> default_irreducible(DataInfo(kind="image", shape=(3, 32, 32), num_classes=10))
    'small-cnn'
    """
    proxy = default_proxy(info, in_steps=True)
    return "small-cnn" if proxy == "preact8" else proxy


def default_recipe(name: str) -> Recipe:
    """How a model is trained where nobody says otherwise, for every name that `create` takes.

    >>> default_recipe("fasttext").epochs
    5
    """
    if name in MODELS:
        return MODELS[name].defaults
    if is_classifier(name):
        return NO_STEPS
    if name.startswith("hf:"):
        return long_enough(
            Recipe(
                epochs=3, batch_size=32, optimizer="adamw", lr=5e-5, weight_decay=0.01, bf16=True
            )
        )
    return long_enough(
        Recipe(epochs=10, batch_size=128, optimizer="adamw", lr=1e-3, weight_decay=0.01)
    )


def check_name(name: str, parameter: str = "model") -> None:
    """Refuse a name that no model of the table has; data are not needed for that.

    Raises:
        ParameterError: it is none, and names neither `hf:PATH` nor a function.

    >>> check_name("preact20")
    """
    if ":" not in name and name not in MODELS and name not in CLASSIFIERS:
        raise unknown_name(parameter, name, [*MODELS, *CLASSIFIERS])


_Build = Callable[[DataInfo, Mapping[str, Any]], Model]


def _builder(name: str, info: DataInfo, parameter: str) -> _Build:
    if name.startswith("hf:"):
        from keepers.models.huggingface import build_transformers

        def build_hf(info: DataInfo, options: Mapping[str, Any]) -> Model:
            check_options(build_transformers, name, options)
            return build_transformers(name.removeprefix("hf:"), info, parameter, **options)

        return build_hf
    if is_own_code(name):
        return lambda info, options: _call_own(name, info, options, parameter)
    check_name(name, parameter)
    row = MODELS[name]
    if info.kind not in row.kinds:
        suitable = ", ".join(row.name for row in MODELS.values() if info.kind in row.kinds)
        raise ParameterError(
            parameter,
            f"got '{name}', which takes {_words(row.kinds)}, but the data are {_KINDS[info.kind]}",
            f"For {_KINDS[info.kind]}: {suitable}",
        )

    def build_row(info: DataInfo, options: Mapping[str, Any]) -> Model:
        check_options(row.build, name, options)
        return row.build(info, **options)

    return build_row


def _words(kinds: Iterable[Kind]) -> str:
    return " or ".join(_KINDS[kind] for kind in kinds)


def _call_own(name: str, info: DataInfo, options: Mapping[str, Any], parameter: str) -> Model:
    with imported(name, parameter) as function:
        try:
            inspect.signature(function).bind(info, **options)
        except (TypeError, ValueError) as error:
            raise ParameterError(
                parameter,
                f"'{name}' cannot be called with (info, {', '.join(options) or 'no options'}): "
                f"{error}",
                "Define it as function(info, **options)",
            ) from error
        with telling(name, parameter):
            made = function(info, **options)
    if isinstance(made, Model):
        return made
    if not isinstance(made, nn.Module):
        raise ParameterError(
            parameter,
            f"'{name}' returned {type(made).__name__}",
            "Return a torch.nn.Module, or a keepers.types.Model",
        )
    if info.kind == "text":
        raise ParameterError(
            parameter,
            f"'{name}' returned a module, which does not define how text is encoded",
            "Return keepers.types.Model(module=..., encoder=EncoderSpec(kind='text', ...))",
        )
    return Model(module=made, encoder=dense_encoder(info))
