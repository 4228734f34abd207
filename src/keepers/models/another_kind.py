"""A model of another kind than a pilot's linear one, cheap to fit: for a second look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from keepers.types import Classifier, DataInfo

TREES = 50


def _trees_of_classes(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(TREES, random_state=seed % 2**32)


def _trees_of_numbers(seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(TREES, random_state=seed % 2**32)


_MAKE: Mapping[str, Callable[[int], Any]] = MappingProxyType(
    {"class": _trees_of_classes, "number": _trees_of_numbers}
)


def another_kind(classifier: Classifier, info: DataInfo) -> tuple[str, Classifier] | None:
    """Trees, where there are any for the task, that read the same numbers or pixels; their name.

    None of texts: naive Bayes was tried on them, and refused none of what did harm there.

    Source: Breiman 2001, Random Forests; by scikit-learn.
    """
    if info.kind == "text" or info.task not in _MAKE:
        return None
    return "a random forest", replace(classifier, make=_MAKE[info.task])
