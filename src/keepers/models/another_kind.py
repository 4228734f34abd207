"""A model of another kind than a pilot's linear one, cheap to fit: for a second look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from keepers.types import Classifier, DataInfo

TREES = 50


def _naive_bayes(seed: int) -> Any:
    from keepers.models.naive_bayes import NaiveBayes

    return NaiveBayes()


def _trees_of_classes(seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(TREES, random_state=seed % 2**32)


def _trees_of_numbers(seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(TREES, random_state=seed % 2**32)


_KINDS: dict[tuple[bool, str], tuple[str, Callable[[int], Any]]] = {
    (True, "class"): ("naive Bayes", _naive_bayes),
    (False, "class"): ("randomised trees", _trees_of_classes),
    (False, "number"): ("randomised trees", _trees_of_numbers),
}
"""What it is called, and what makes it: for texts or not, by task."""


def another_kind(classifier: Classifier, info: DataInfo) -> tuple[str, Classifier] | None:
    """A model of another kind that reads the same rows, and what it is called.

    None for a task that has none here.

    Source: Geurts et al. 2006, Extremely Randomized Trees; by scikit-learn.
    """
    found = _KINDS.get((info.kind == "text", info.task))
    return None if found is None else (found[0], replace(classifier, make=found[1]))
