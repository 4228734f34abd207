"""Linear models, and trees, for several labels and for numbers; regularisation on held-out rows."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin

from keepers.models.linear import (
    HELD_OUT,
    LOOSE,
    SHARES,
    STRENGTHS,
    TRIED_ON,
    as_rows,
    fit_quietly,
    regression,
    scaled,
)
from keepers.models.span import spanned
from keepers.sparse import columns

Floats = npt.NDArray[np.float64]

ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Strengths of a ridge that are tried, on standardised targets."""

FEW = 200
"""Rows below which numbers are tried on each fifth in turn: on one, of a few rows, it is luck."""


class LinearLabels(BaseEstimator):
    """A logistic regression for each label, on words (TF-IDF) or on standardised numbers.

    All labels share C, the one of `STRENGTHS` with the highest likelihood on a fifth of the rows
    that is held out first. A label that no row has, or all have, gets the log-odds of its share.

    Args:
        random_state: of the held-out rows.
        C: the inverse strength of regularisation, where it is settled already.

    Source: Tsoumakas and Katakis 2007, Multi-Label Classification (binary relevance).
    """

    def __init__(self, random_state: int = 0, C: float | None = None) -> None:
        self.random_state = random_state
        self.C = C

    def fit(self, X: Any, y: Any, sample_weight: Floats | None = None) -> Self:
        """Fit on rows (n, d) and labels (n, labels) of 0 and 1, sparse by columns."""
        whole, self.used_ = as_rows(X)
        labels = y.tocsc()
        self.settled: dict[str, float] = {}
        if self.C is None and whole.shape[0] >= 5:
            held, rest = _held_out(whole.shape[0], self.random_state)
            self.settled = {"C": self._strength(whole, labels, sample_weight, held, rest)}
        self.C_ = float(self.settled.get("C", self.C or 1.0))
        rows, self.scaler_ = scaled(whole)
        self.weights_, self.offsets_ = self._fitted(rows, labels, sample_weight, self.C_, 1e-4)
        return self

    def _strength(self, X: Any, y: Any, weight: Floats | None, held: Any, rest: Any) -> float:
        losses: dict[float, float] = {}
        few, scaler = scaled(X[rest])
        judged, truth = scaler.transform(X[held]), y[held].toarray()
        given = None if weight is None else weight[rest]

        def tried(strength: float) -> float:
            weights, offsets = self._fitted(few, y[rest].tocsc(), given, strength, LOOSE)
            odds = judged @ weights + offsets
            losses[strength] = float((np.logaddexp(0, odds) - truth * odds).mean())
            return losses[strength]

        weak, middle, strong, strongest = STRENGTHS
        tried(strongest if tried(strong) < tried(middle) else weak)
        return min(losses, key=lambda strength: losses[strength])

    def _fitted(
        self, rows: Any, y: Any, weight: Floats | None, strength: float, tolerance: float
    ) -> tuple[Floats, Floats]:
        """Weights (d, labels) and offsets (labels,)."""
        n, num_labels = y.shape
        alike = spanned(rows, 2)
        weights, offsets = np.zeros((rows.shape[1], num_labels)), np.zeros(num_labels)
        for label in range(num_labels):
            truth = np.zeros(n, dtype=np.int64)
            truth[y.indices[y.indptr[label] : y.indptr[label + 1]]] = 1
            ones = int(truth.sum())
            if 0 < ones < n:
                model = regression(tolerance, C=strength)
                fit_quietly(model, alike, truth, weight)
                weights[:, label], offsets[label] = model.coef_[0], model.intercept_[0]
            else:
                offsets[label] = np.log((ones + 0.5) / (n - ones + 0.5))
        return weights, offsets

    def transform(self, X: Any) -> Any:
        """What the linear layer sees (n, used)."""
        rows = X if self.used_ is None else columns(X.tocsr(copy=True), self.used_)
        return self.scaler_.transform(rows)

    def log_odds(self, X: Any) -> Floats:
        """Log-odds (n, labels)."""
        return self.transform(X) @ self.weights_ + self.offsets_


class LinearNumbers(RegressorMixin, BaseEstimator):
    """Ridge regression on words (TF-IDF) or on standardised numbers, of standardised targets.

    The strength is the one of `ALPHAS` with the least squared error on a fifth of the rows that
    is held out first; of fewer than `FEW` rows, on each fifth in turn.

    Args:
        random_state: of the held-out rows.
        alpha: the strength of regularisation, where it is settled already.

    Source: Hoerl and Kennard 1970, Ridge Regression; scikit-learn's Ridge.
    """

    def __init__(self, random_state: int = 0, alpha: float | None = None) -> None:
        self.random_state = random_state
        self.alpha = alpha

    def fit(self, X: Any, y: Floats, sample_weight: Floats | None = None) -> Self:
        """Fit on rows (n, d) and numbers (n, numbers)."""
        whole, self.used_ = as_rows(X)
        self.mean_, self.std_ = y.mean(0), np.maximum(y.std(0), 1e-12)
        target = (y - self.mean_) / self.std_
        self.settled: dict[str, float] = {}
        if self.alpha is None and len(y) >= 5:
            losses = dict.fromkeys(ALPHAS, 0.0)
            for held, rest in _tried_on(len(y), self.random_state):
                given = None if sample_weight is None else sample_weight[rest]
                few, scaler = scaled(whole[rest])
                judged = scaler.transform(whole[held])
                for alpha in ALPHAS:
                    said = _ridge(few, target[rest], given, alpha)(judged)
                    losses[alpha] += float(np.square(said - target[held]).mean())
            self.settled = {"alpha": min(losses, key=lambda alpha: losses[alpha])}
        self.alpha_ = float(self.settled.get("alpha", self.alpha or 1.0))
        rows, self.scaler_ = scaled(whole)
        self.told_ = _ridge(rows, target, sample_weight, self.alpha_)
        return self

    def transform(self, X: Any) -> Any:
        """What the linear layer sees (n, used)."""
        rows = X if self.used_ is None else columns(X.tocsr(copy=True), self.used_)
        return self.scaler_.transform(rows)

    def predict(self, X: Any) -> Floats:
        """Numbers (n, numbers)."""
        return self.mean_ + self.std_ * self.told_(self.transform(X))


class NumbersAndTrees(RegressorMixin, BaseEstimator):
    """A mixture of ridge regression and gradient-boosted trees, for numbers beside numbers.

    Both are fitted on four fifths first; the share of the trees is the one of `SHARES` with the
    least squared error on the fifth that is held out; of fewer than `FEW` rows, on each fifth in
    turn. Then both are fitted on all rows.

    Args:
        random_state: of the held-out rows and of the trees.
        alpha, share: the strength of the ridge and the share, where they are settled already.

    Source: Wolpert 1992, Stacked Generalization; scikit-learn's HistGradientBoostingRegressor.
    """

    def __init__(
        self, random_state: int = 0, alpha: float | None = None, share: float | None = None
    ) -> None:
        self.random_state = random_state
        self.alpha = alpha
        self.share = share

    def fit(self, X: Any, y: Floats, sample_weight: Floats | None = None) -> Self:
        """Fit on rows (n, d) and numbers (n, numbers)."""
        alpha, share = self.alpha, self.share
        self.settled: dict[str, float] = {}
        if share is None:
            share = 0.0
            if len(y) >= 20:
                spread = np.maximum(y.std(0), 1e-12)
                gaps, alphas = np.zeros(len(SHARES)), list[float]()
                for held, rest in _tried_on(len(y), self.random_state):
                    given = None if sample_weight is None else sample_weight[rest]
                    linear = LinearNumbers(self.random_state).fit(X[rest], y[rest], given)
                    said = linear.predict(X[held]), self._trees(X[rest], y[rest], given)(X[held])
                    gaps += [
                        np.square(((1 - w) * said[0] + w * said[1] - y[held]) / spread).mean()
                        for w in SHARES
                    ]
                    alphas.append(linear.alpha_)
                share, alpha = SHARES[int(gaps.argmin())], sorted(alphas)[len(alphas) // 2]
                self.settled = {"alpha": alpha, "share": share}
        self.share_ = share
        self.linear_ = LinearNumbers(self.random_state, alpha=alpha).fit(X, y, sample_weight)
        self.trees_ = self._trees(X, y, sample_weight) if share else None
        return self

    def _trees(self, X: Any, y: Floats, weight: Floats | None) -> Any:
        from sklearn.ensemble import HistGradientBoostingRegressor

        made = [
            HistGradientBoostingRegressor(random_state=self.random_state).fit(X, each, weight)
            for each in y.T
        ]

        def predict(rows: Any) -> Floats:
            return np.column_stack([each.predict(rows) for each in made])

        return predict

    def transform(self, X: Any) -> Any:
        """The rows (n, d), standardised."""
        return self.linear_.transform(X)

    def predict(self, X: Any) -> Floats:
        """Numbers (n, numbers)."""
        found = (1 - self.share_) * self.linear_.predict(X)
        return found if self.trees_ is None else found + self.share_ * self.trees_(X)


def _held_out(n: int, seed: int) -> tuple[Any, Any]:
    order = np.random.default_rng(seed).permutation(n)[:TRIED_ON]
    held, rest = np.split(order, [max(1, int(HELD_OUT * len(order)))])
    return np.sort(held), np.sort(rest)


def _tried_on(n: int, seed: int) -> list[tuple[Any, Any]]:
    """Rows to judge by and rows to fit, once; each fifth in turn where there are few."""
    if n >= FEW:
        return [_held_out(n, seed)]
    order = np.random.default_rng(seed).permutation(n)
    return [(np.sort(held), np.setdiff1d(order, held)) for held in np.array_split(order, 5)]


def _ridge(rows: Any, target: Floats, weight: Floats | None, alpha: float) -> Any:
    from sklearn.linear_model import Ridge

    model: Any = Ridge(alpha=alpha, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of matrices that are nearly singular
        model.fit(rows, target, weight)

    def predict(given: Any) -> Floats:
        return model.predict(given).reshape(given.shape[0], -1)

    return predict
