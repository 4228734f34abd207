"""A linear classifier that settles its own regularisation, by likelihood on held-out rows."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

STRENGTHS = (0.2, 1.0, 5.0, 20.0)
"""Values of C, the inverse strength of regularisation, that are tried."""

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the trees in a mixture that are tried."""

HELD_OUT = 0.2
LOOSE = 1e-3
"""The largest gradient at the end while values of C are compared: which is best shows early."""

TRIED_ON = 20_000
"""Rows, drawn at random, on which the values of C are compared at most."""

RARE_FROM = 1_000
"""Texts from which on words that only one of them has are left out."""

TINY = 1e-12


class LinearClassifier(ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression on counts of words (TF-IDF) or on standardised numbers.

    Sparse rows (n, buckets) are counts of words and pairs of words: each row is weighted by
    TF-IDF with sublinear counts, and from `RARE_FROM` rows on, what occurs in one row alone is
    left out. Dense rows (n, d) are standardised. C is the one of `STRENGTHS` with the highest
    likelihood on a fifth of the rows that is held out first; the model is then fitted on all of
    them, until the optimiser has converged.

    Args:
        random_state: of the held-out rows.
        C: the inverse strength of regularisation, where it is settled already.

    Once it is fitted, `settled` holds what it settled, as arguments of another one that need not
    settle it again.

    Source: scikit-learn's LogisticRegression (L-BFGS) and TfidfTransformer.
    """

    def __init__(self, random_state: int = 0, C: float | None = None) -> None:
        self.random_state = random_state
        self.C = C

    def fit(
        self, X: Any, y: npt.NDArray[np.int64], sample_weight: npt.NDArray[np.float64] | None = None
    ) -> Self:
        """Fit on rows (n, d), classes (n,) and, where they are given, weights (n,)."""
        self.used_ = _used(X) if _is_sparse(X) else None
        # TF-IDF keeps sparse rows sparse; standardising gives numbers one scale.
        if self.used_ is None:
            self.scaler_: Any = StandardScaler()
            rows: Any = self.scaler_.fit_transform(X)
        else:
            rows = X[:, self.used_]
            del X  # counts that nobody else holds are free from here on
            self.scaler_ = TfidfTransformer(sublinear_tf=True).fit(rows)
            rows = self.scaler_.transform(rows, copy=False)
        found = self._strength(rows, y, sample_weight) if self.C is None else self.C
        self.C_ = 1.0 if found is None else found
        self.settled: dict[str, float] = {} if found is None else {"C": found}
        self.classifier_ = _regression(self._tolerance, C=self.C_)
        _fit(self.classifier_, rows, y, sample_weight)
        self.classes_ = self.classifier_.classes_
        self.n_iter_ = self.classifier_.n_iter_
        return self

    @property
    def _tolerance(self) -> float:
        """The largest gradient at the end: those of standardised numbers are of the order of 1."""
        return 1e-4 if self.used_ is not None else LOOSE

    def _strength(
        self, rows: Any, y: npt.NDArray[np.int64], weight: npt.NDArray[np.float64] | None
    ) -> float | None:
        """The likeliest C; None where there is nothing to hold out."""
        held, rest = _held_out(y, self.random_state)
        if not len(held):
            return None
        model = _regression(LOOSE, warm_start=True)
        losses: dict[float, float] = {}

        def tried(strength: float) -> float:
            model.set_params(C=strength)
            _fit(model, rows[rest], y[rest], None if weight is None else weight[rest])
            losses[strength] = _mean_loss(_likelihood(model, rows[held], y[held]))
            return losses[strength]

        # Losses over C have one valley: the third value is on the side where it goes down.
        weak, middle, strong, strongest = STRENGTHS
        tried(strongest if tried(strong) < tried(middle) else weak)
        return min(losses, key=losses.__getitem__)

    def transform(self, X: Any) -> Any:
        """What the linear layer sees (n, used): sparse for counts."""
        if self.used_ is None:
            return self.scaler_.transform(X)
        return self.scaler_.transform(X[:, self.used_], copy=False)  # the columns are a copy

    def predict_proba(self, X: Any) -> npt.NDArray[Any]:
        """Probabilities (n, classes seen), in the order of `classes_`."""
        return self.classifier_.predict_proba(self.transform(X))

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """The likeliest class (n,) of each row."""
        return self.classes_[self.predict_proba(X).argmax(1)]


class LinearAndTrees(ClassifierMixin, BaseEstimator):
    """A mixture of logistic regression and gradient-boosted trees.

    p = (1 − w) · p(regression) + w · p(trees). Both are fitted on four fifths first, and w is the
    one of `SHARES` that is likeliest on the fifth that is held out. Then both are fitted on all
    rows, the regression at the strength that it settled on before; trees without a share are not.

    Args:
        random_state: of the held-out rows and of the trees.
        C, share: the strength of the regression and w, where they are settled already.

    Once it is fitted, `settled` holds what it settled. Where nothing can be held out, w is 0.

    Source: Wolpert 1992, Stacked Generalization; scikit-learn's HistGradientBoostingClassifier.
    """

    def __init__(
        self, random_state: int = 0, C: float | None = None, share: float | None = None
    ) -> None:
        self.random_state = random_state
        self.C = C
        self.share = share

    def fit(
        self, X: Any, y: npt.NDArray[np.int64], sample_weight: npt.NDArray[np.float64] | None = None
    ) -> Self:
        """Fit on rows (n, d), classes (n,) and, where they are given, weights (n,)."""
        self.scaler_ = StandardScaler()
        rows: Any = self.scaler_.fit_transform(X)
        strength, self.share_ = self.C, self.share or 0.0
        held, rest = _held_out(y, self.random_state)
        if self.share is None and len(held):
            weight = None if sample_weight is None else sample_weight[rest]
            tried = self._made(self.C)
            likely = [
                _likelihood(m.fit(rows[rest], y[rest], weight), rows[held], y[held]) for m in tried
            ]
            losses = [_mean_loss((1 - share) * likely[0] + share * likely[1]) for share in SHARES]
            self.share_ = SHARES[int(np.argmin(losses))]
            strength = tried[0].C_
        known = self.share is not None or bool(len(held))
        linear, trees = self._made(strength)
        self.linear_ = linear.fit(rows, y, sample_weight)
        self.trees_ = trees.fit(rows, y, sample_weight) if self.share_ else None
        self.settled: dict[str, float] = (
            {"C": self.linear_.C_, "share": self.share_} if known else {}
        )
        self.classifier_ = self.linear_.classifier_  # what can have converged, or not
        self.classes_ = self.linear_.classes_
        return self

    def _made(self, strength: float | None) -> tuple[Any, Any]:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return (
            LinearClassifier(self.random_state, C=strength),
            HistGradientBoostingClassifier(random_state=self.random_state),
        )

    def transform(self, X: Any) -> npt.NDArray[Any]:
        """The rows (n, d), standardised."""
        scaler: Any = self.scaler_
        return scaler.transform(X)

    def predict_proba(self, X: Any) -> npt.NDArray[Any]:
        """Probabilities (n, classes seen), in the order of `classes_`."""
        rows, share = self.transform(X), self.share_
        found = (1 - share) * self.linear_.predict_proba(rows)
        return found if self.trees_ is None else found + share * self.trees_.predict_proba(rows)

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """The likeliest class (n,) of each row."""
        return self.classes_[self.predict_proba(X).argmax(1)]


def boosted_trees(seed: int) -> Any:
    """Gradient-boosted trees by histograms, stopped early where there are over 10,000 rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline

    # Trees do not need the scale; what reads the features does.
    return make_pipeline(StandardScaler(), HistGradientBoostingClassifier(random_state=seed))


def _held_out(
    y: npt.NDArray[np.int64], seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows to judge on and rows to fit on; none to judge on where there is nothing to fit."""
    order = np.random.default_rng(seed).permutation(len(y))[:TRIED_ON]
    held, rest = np.split(order, [max(1, int(HELD_OUT * len(order)))])
    if len(np.unique(y[rest])) < 2:
        return held[:0], rest
    return held[np.isin(y[held], y[rest])], rest


def _regression(tolerance: float, **settings: Any) -> Any:
    return LogisticRegression(max_iter=1000, tol=tolerance, **settings)


def _fit(
    model: Any, rows: Any, y: npt.NDArray[np.int64], weight: npt.NDArray[np.float64] | None
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whether it has converged is read from n_iter_
        model.fit(rows, y, weight)


def _likelihood(model: Any, rows: Any, y: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """p(y) of each row; every class of `y` was seen."""
    return model.predict_proba(rows)[np.arange(len(y)), np.searchsorted(model.classes_, y)]


def _mean_loss(likely: npt.NDArray[np.float64]) -> float:
    return -float(np.log(np.maximum(likely, TINY)).mean())


def _is_sparse(rows: Any) -> bool:
    return hasattr(rows, "tocsr")


def _used(counts: Any) -> npt.NDArray[np.int64]:
    """The buckets that count: those of one text alone say nothing of another."""
    least = 2 if counts.shape[0] >= RARE_FROM else 1
    found = np.flatnonzero(np.bincount(counts.indices, minlength=counts.shape[1]) >= least)
    return found if len(found) else np.array([0])
