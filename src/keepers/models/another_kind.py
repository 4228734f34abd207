"""A model of another kind than a pilot's linear one, cheap to fit: for a second look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

from keepers.models.linear import used_columns
from keepers.sparse import columns
from keepers.types import Classifier, DataInfo

TREES = 50


class NaiveBayes(ClassifierMixin, BaseEstimator):
    """Complement naive Bayes on counts of words and of pairs of words, sparse rows (n, buckets).

    Source: Rennie et al. 2003, Tackling the Poor Assumptions of Naive Bayes Text Classifiers; by
    scikit-learn.
    """

    def fit(self, X: Any, y: npt.NDArray[np.int64]) -> Self:
        """Fit on rows (n, buckets) and classes (n,)."""
        from sklearn.naive_bayes import ComplementNB

        rows = X.tocsr(copy=True)
        self.used_ = used_columns(rows, None)
        self.classifier_ = ComplementNB().fit(columns(rows, self.used_), y)
        self.classes_ = self.classifier_.classes_
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[Any]:
        """Probabilities (n, classes seen), in the order of `classes_`."""
        return self.classifier_.predict_proba(columns(X.tocsr(copy=True), self.used_))


def _naive_bayes(seed: int) -> Any:
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
