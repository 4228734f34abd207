"""Naive Bayes on counts of words, by scikit-learn (whose import takes seconds: import it late)."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.naive_bayes import ComplementNB

from keepers.models.linear import used_columns
from keepers.sparse import columns


class NaiveBayes(ClassifierMixin, BaseEstimator):
    """Complement naive Bayes on counts of words and of pairs of words, sparse rows (n, buckets).

    Source: Rennie et al. 2003, Tackling the Poor Assumptions of Naive Bayes Text Classifiers; by
    scikit-learn.
    """

    def fit(self, X: Any, y: npt.NDArray[np.int64]) -> Self:
        """Fit on rows (n, buckets) and classes (n,)."""
        rows = X.tocsr(copy=True)
        self.used_ = used_columns(rows, None)
        self.classifier_ = ComplementNB().fit(columns(rows, self.used_), y)
        self.classes_ = self.classifier_.classes_
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[Any]:
        """Probabilities (n, classes seen), in the order of `classes_`."""
        return self.classifier_.predict_proba(columns(X.tocsr(copy=True), self.used_))
