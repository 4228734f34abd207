"""A row of the table of models, and the checks of its options."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keepers.errors import ParameterError
from keepers.models.layers import scaled
from keepers.models.recipe import Recipe
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
    """Pictures scaled to the size that the model reads, or vectors; normalised by the data."""
    if info.kind == "vector":
        return EncoderSpec(kind="vector", normalise="data")
    channels, height, width = info.shape
    return EncoderSpec(kind="image", size=(height, width), channels=channels, normalise="data")


def multiplier(width: Any) -> float:
    """The option `width`, which multiplies the filters of a network."""
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width < math.inf:
        raise ParameterError("width", f"got {width!r}", "Give a multiplier of the filters over 0")
    return width


def scaled_filters(filters: Sequence[int], width: Any) -> tuple[int, ...]:
    """Numbers of filters times the option `width`, 1 at least."""
    width = multiplier(width)
    return tuple(scaled(count, width) for count in filters)


def at_least_one(name: str, value: Any) -> int:
    """An option that counts something."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ParameterError(name, f"got {value!r}", "Give a whole number, 1 or more")
    return value


def fraction(name: str, value: Any) -> float:
    """An option in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ParameterError(name, f"got {value!r}", "Give a fraction in [0, 1)")
    return value
