"""A linear classifier that settles its own regularisation, by likelihood on held-out rows."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from keepers.models.span import Spanned, spanned
from keepers.sparse import columns, inverse_frequencies, words_in

STRENGTHS = (0.2, 1.0, 5.0, 20.0)
"""Values of C, the inverse strength of regularisation, that are tried."""

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the trees in a mixture that are tried."""

HELD_OUT = 0.2
LOOSE = 1e-3
"""The largest gradient at the end while values of C are compared: which is best shows early."""

TRIED_ON = 20_000
"""Rows, drawn at random, on which the values of C are compared at most."""

CLEAR = 1.0
"""Of more rows than `TRIED_ON`, standard errors by which pairs of words must be likelier: they
cost many times what words alone do, and what they are worth shows on so many rows."""

RARE_FROM = 1_000
"""Texts from which on words that only one of them has are left out."""

TINY = 1e-12

FAR = 1e3
"""Standard deviations of a mean from 0, from which on float32 needs it taken off first."""

SMALL = 1e-30
"""A standard deviation under which weights divided by it may be too large for float32."""


class LinearClassifier(ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression on counts of words (TF-IDF) or on standardised numbers.

    Sparse rows (n, buckets) are counts of words and, from column `words` on, of pairs of words:
    each row is weighted by TF-IDF with sublinear counts, and from `RARE_FROM` rows on, what
    occurs in one row alone is left out. Dense rows (n, d) are standardised. C is the one of
    `STRENGTHS` with the highest likelihood on a fifth of the rows that is held out first, of
    `TRIED_ON` at most; pairs are read where they are likelier than words alone, of more rows than
    that clearly so. The model is then fitted on all rows, until the optimiser has converged.

    Args:
        random_state: of the held-out rows.
        words: the number of columns that count words; None: there are no pairs.
        C: the inverse strength of regularisation, where it is settled already.
        pairs: whether pairs are read, where that is settled already.
        copy: leave sparse rows as they are; otherwise fitting uses them up, to save memory.

    Once it is fitted, `settled` holds what it settled, as arguments of another one that need not
    settle it again.

    Source: scikit-learn's LogisticRegression (L-BFGS) and TfidfTransformer.
    """

    def __init__(
        self,
        random_state: int = 0,
        words: int | None = None,
        C: float | None = None,
        pairs: bool | None = None,
        copy: bool = True,
    ) -> None:
        self.random_state = random_state
        self.words = words
        self.copy = copy
        self.C = C
        self.pairs = pairs

    def fit(
        self, X: Any, y: npt.NDArray[np.int64], sample_weight: npt.NDArray[np.float64] | None = None
    ) -> Self:
        """Fit on rows (n, d), classes (n,) and, where they are given, weights (n,)."""
        rows = X.tocsr() if _is_sparse(X) else X
        self.settled: dict[str, float] = {}
        if self.C is None:
            self.settled = self._sought(rows, y, sample_weight)
        self.C_ = float(self.settled.get("C", 1.0 if self.C is None else self.C))
        alone = not self.settled.get("pairs", self.pairs in (None, True))
        self.used_ = None
        if _is_sparse(rows):
            self.used_ = _used(rows, self.words if alone else None)
            rows = columns(rows.copy() if self.copy else rows, self.used_)
        rows, self.scaler_ = scaled(rows)
        self.classifier_ = regression(self._tolerance, C=self.C_)
        fit_quietly(self.classifier_, spanned(rows, len(np.unique(y))), y, sample_weight)
        self.classes_ = self.classifier_.classes_
        self.n_iter_ = self.classifier_.n_iter_
        return self

    @property
    def _tolerance(self) -> float:
        """The largest gradient at the end: those of standardised numbers are of the order of 1."""
        return 1e-4 if self.used_ is not None else LOOSE

    def _sought(
        self, X: Any, y: npt.NDArray[np.int64], weight: npt.NDArray[np.float64] | None
    ) -> dict[str, float]:
        """The likeliest C and whether pairs are read; nothing where nothing can be held out."""
        held, rest = _held_out(y, self.random_state)
        if not len(held):
            return {}
        tried = np.sort(np.concatenate([held, rest]))
        few, classes = X[tried], y[tried]
        at = np.searchsorted(tried, held), np.searchsorted(tried, rest)
        given = None if weight is None else weight[tried]

        def likeliest(words: int | None) -> tuple[npt.NDArray[np.float64], float]:
            rows = columns(few.copy(), _used(few, words)) if _is_sparse(few) else few
            return self._strength(scaled(rows)[0], classes, given, *at)

        with_pairs, strength = likeliest(None)
        if self.words is None or not _is_sparse(X):
            return {"C": strength}
        alone, other = likeliest(self.words)
        gain = alone - with_pairs
        least = CLEAR * gain.std() / len(gain) ** 0.5 if len(y) > TRIED_ON else 0.0
        pairs = bool(gain.mean() > least)
        return {"C": strength if pairs else other, "pairs": pairs}

    def _strength(
        self,
        rows: Any,
        y: npt.NDArray[np.int64],
        weight: npt.NDArray[np.float64] | None,
        held: npt.NDArray[np.int64],
        rest: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[np.float64], float]:
        """The losses (h,) of the rows held out at the C where their mean is least, and that C."""
        losses: dict[float, npt.NDArray[np.float64]] = {}
        few = spanned(rows[rest], len(np.unique(y[rest])))
        given = None if weight is None else weight[rest]

        def tried(strength: float) -> float:
            # From nothing each time: where another C ended is an end by so loose a tolerance.
            model = regression(LOOSE, C=strength)
            fit_quietly(model, few, y[rest], given)
            losses[strength] = _losses(_likelihood(model, rows[held], y[held]))
            return float(losses[strength].mean())

        # Losses over C have one valley: the third value is on the side where it goes down.
        weak, middle, strong, strongest = STRENGTHS
        tried(strongest if tried(strong) < tried(middle) else weak)
        found = min(losses, key=lambda strength: float(losses[strength].mean()))
        return losses[found], found

    def transform(self, X: Any) -> Any:
        """What the linear layer sees (n, used): sparse for counts."""
        if self.used_ is None:
            return self.scaler_.transform(X)
        return self.scaler_.transform(columns(X.tocsr(copy=True), self.used_), copy=False)

    def predict_proba(self, X: Any) -> npt.NDArray[Any]:
        """Probabilities (n, classes seen), in the order of `classes_`."""
        if self.used_ is None:
            mean, scale = self.scaler_.mean_, self.scaler_.scale_
            if float(np.abs(mean / scale).max()) < FAR and float(scale.min()) > SMALL:
                return self._at_once(np.asarray(X))
        return self.classifier_.predict_proba(self.transform(X))

    def _at_once(self, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The same without standardised rows between: the layer takes the rows as they are."""
        weights = self.classifier_.coef_ / self.scaler_.scale_
        shift = self.classifier_.intercept_ - weights @ self.scaler_.mean_
        scores = X @ weights.T.astype(X.dtype) + shift.astype(X.dtype)
        if len(self.classes_) == 2:
            scores = np.hstack([np.zeros_like(scores), scores])
        return softmax(scores, axis=1)

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
            losses = [
                _losses((1 - share) * likely[0] + share * likely[1]).mean() for share in SHARES
            ]
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


def regression(tolerance: float, **settings: Any) -> Any:
    """A logistic regression that is not fitted yet."""
    return LogisticRegression(max_iter=1000, tol=tolerance, **settings)


def fit_quietly(
    model: Any, rows: Spanned, y: npt.NDArray[np.int64], weight: npt.NDArray[np.float64] | None
) -> None:
    """Fit a linear model; its coefficients are those of the columns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whether it has converged is read from n_iter_
        model.fit(rows.rows, y, weight)
    model.coef_ = rows.coefficients(model.coef_)
    model.n_features_in_ = model.coef_.shape[1]


def _likelihood(model: Any, rows: Any, y: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """p(y) of each row; every class of `y` was seen."""
    return model.predict_proba(rows)[np.arange(len(y)), np.searchsorted(model.classes_, y)]


def _losses(likely: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return -np.log(np.maximum(likely, TINY))


def _is_sparse(rows: Any) -> bool:
    return hasattr(rows, "tocsr")


def as_rows(X: Any) -> tuple[Any, npt.NDArray[np.int64] | None]:
    """Rows to fit on: of counts the buckets that are used, and which; numbers as they are."""
    if not _is_sparse(X):
        return X, None
    rows = X.tocsr(copy=True)
    used = _used(rows, None)
    return columns(rows, used), used


def scaled(rows: Any) -> tuple[Any, Any]:
    """Rows on one scale, and what scales others so; counts are weighted where they lie.

    TF-IDF keeps sparse rows sparse; standardising gives numbers one scale.
    """
    if not _is_sparse(rows):
        scaler: Any = StandardScaler()
        return scaler.fit_transform(rows), scaler
    weighted: Any = TfidfTransformer(sublinear_tf=True)
    weighted.idf_ = inverse_frequencies(rows)  # what its `fit` finds, in half the memory
    return weighted.transform(rows, copy=False), weighted


def _used(counts: Any, words: int | None) -> npt.NDArray[np.int64]:
    """The buckets that count, of the first `words`: those of one text alone say nothing."""
    least = 2 if counts.shape[0] >= RARE_FROM else 1
    found, seen = words_in(counts)
    found = found[(seen >= least) & (found < (counts.shape[1] if words is None else words))]
    return found if len(found) else np.array([0])
