"""Classifiers of scikit-learn: fitted as a whole, then asked; no steps, no schedule."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers.data import BagPool, DensePool, TextPool
from keepers.errors import KeepersError, ParameterError
from keepers.random import derived_seed
from keepers.sparse import principal_axes
from keepers.tasks import CLASSES, Targets, Task, labels_at
from keepers.types import Classifier, Pool

GIVES = frozenset(
    {
        *("log_probs", "log_odds", "predictions", "losses", "gradients", "gradient_norms"),
        "features",
    }
)
"""The signals that a classifier of scikit-learn gives."""

COMPONENTS = 64
"""Principal components that sparse features are projected on."""

FITTED_ON = 20_000
BLOCK = 16_384
NEARLY = 1.1
"""Examples of a run, for each that is asked for, that are cheaper to score than to copy."""


def fit_classifier(
    classifier: Classifier,
    pool: Pool,
    labels: Targets,
    members: Tensor,
    *,
    seed: int,
    task: Task = CLASSES,
    weights: Tensor | None = None,
    resample: bool = False,
    settled: Mapping[str, float] | None = None,
    parameter: str = "proxy",
) -> Any:
    """A classifier, fitted on the examples of `pool` at `members`.

    Args:
        labels: of the pool, of `task`.
        weights: (m,) multipliers of the members' losses, where there are any.
        resample: fit it on as many members drawn with replacement, as one of an ensemble
            (Breiman 1996, Bagging Predictors).
        settled: what `settled_by` gave of an earlier one, which is then not sought again.

    Of members of one class alone nothing can be learnt: that class is then always predicted.

    Raises:
        ParameterError: weights for what takes none, or whatever the classifier raises.
    """
    if resample:
        draw = np.random.default_rng(derived_seed(seed, "resample"))
        drawn = torch.from_numpy(np.sort(draw.integers(0, len(members), len(members))))
        members, weights = members[drawn], None if weights is None else weights[drawn]
    y = task.to_fit(labels_at(labels, members))
    if y.ndim == 1 and len(np.unique(y)) < 2:
        from sklearn.dummy import DummyClassifier

        return DummyClassifier().fit(np.zeros((len(y), 1)), y)
    made = classifier.make(seed)
    if hasattr(y, "toarray") and not _is_built_in(made):
        y = y.toarray()  # most classifiers of scikit-learn take no sparse labels
    if settled:
        made.set_params(**settled)
    given: dict[str, Any] = {}
    if weights is not None:
        last = made.steps[-1][0] + "__" if hasattr(made, "steps") else ""
        given[f"{last}sample_weight"] = weights.double().numpy()
    x = rows(pool, members)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of convergence: `converged` tells
            return made.fit(x, y, **given)
    except Exception as error:  # the user's own pipeline may raise anything
        if _is_built_in(made):
            raise
        remedy = "It is fitted on the data, as fit(rows, classes)"
        counts = isinstance(pool, BagPool | TextPool)
        if counts and ("dense" in str(error) or "sparse" in str(error)):
            remedy = (
                "Texts are sparse rows for it: give a pipeline that splits them itself and makes "
                "them dense, such as TfidfVectorizer, TruncatedSVD, then the classifier"
            )
        raise ParameterError(
            parameter, f"the classifier failed: {type(error).__name__}: {error}", remedy
        ) from error


def settled_by(fitted: Any) -> dict[str, float]:
    """What fitting a built-in classifier settled beside its weights: a search that others spare."""
    return getattr(fitted, "settled", {}) if _is_built_in(fitted) else {}


def _is_built_in(model: Any) -> bool:
    return type(model).__module__.startswith("keepers.models.")


def converged(fitted: Any) -> bool:
    """Whether a fitted classifier came to its end before its limit of iterations.

    Of a pipeline, its last step; what does not say counts as converged.
    """
    last: Any = fitted.steps[-1][1] if hasattr(fitted, "steps") else fitted
    last = getattr(last, "classifier_", last)
    done, most = getattr(last, "n_iter_", None), getattr(last, "max_iter", None)
    if done is None or not most or most < 0 or hasattr(last, "n_trees_per_iteration_"):
        return True  # the number of boosting rounds is a choice, not a limit
    return bool(np.max(done) < most)


def predict(
    fitted: Any,
    pool: Pool,
    positions: Tensor,
    num_outputs: int,
    parameter: str = "proxy",
    task: Task = CLASSES,
) -> Tensor:
    """What it predicts, (p, outputs) float32, of the examples at `positions`, as the task says it.

    Raises:
        ParameterError: predictions that are not finite, or whatever the classifier raises.
    """
    found = torch.empty(len(positions), num_outputs)
    for start in range(0, len(positions), BLOCK):
        part = positions[start : start + BLOCK]
        x, at = _rows_around(pool, part) if _is_built_in(fitted) else (rows(pool, part), None)
        try:
            said = task.asked(fitted, x, num_outputs)
        except Exception as error:  # the user's own pipeline may raise anything
            if _is_built_in(fitted) or isinstance(error, KeepersError):
                raise
            raise ParameterError(
                parameter,
                f"the model failed to predict: {type(error).__name__}: {error}",
                "It was fitted, and is asked for a row (n, outputs) of each example",
            ) from error
        said = said if at is None else said[at]
        if not bool(said.isfinite().all()):
            raise ParameterError(
                parameter,
                "the model gives predictions that are not finite",
                "Scale its input, or use another model",
            )
        found[start : start + len(part)] = said
    return found


def _rows_around(pool: Pool, positions: Tensor) -> tuple[Any, Tensor | None]:
    """Rows of the examples at `positions` in order, and the places of those among them.

    Vectors of nearly a whole run of examples are not copied: those between come along.
    """
    if isinstance(pool, DensePool) and pool.rows.ndim == 2 and pool.rows.is_floating_point():
        first, last = int(positions[0]), int(positions[-1])
        run = 0 <= last - first < NEARLY * len(positions)
        if run and bool((positions.diff() > 0).all()):
            return pool.rows[first : last + 1].numpy(), positions - first
    return rows(pool, positions), None


def last_input(fitted: Any, pool: Pool, positions: Tensor, seed: int) -> Tensor:
    """Features (p, d): what the last step of a pipeline is given.

    Sparse rows are projected on the `COMPONENTS` principal axes of `FITTED_ON` of them at most; a
    bare classifier is given its input itself.
    """
    if hasattr(fitted, "steps") and len(fitted.steps) > 1:
        before: Any = fitted[:-1].transform
    elif hasattr(fitted, "transform"):
        before = fitted.transform
    else:
        before = _as_they_are
    parts = [
        before(rows(pool, positions[start : start + BLOCK]))
        for start in range(0, len(positions), BLOCK)
    ]
    if not hasattr(parts[0], "tocsr"):
        return torch.from_numpy(np.concatenate(parts).astype(np.float32, copy=False))
    return torch.from_numpy(_projected(parts, seed))


def _as_they_are(values: Any) -> Any:
    return values


def _projected(parts: list[Any], seed: int) -> npt.NDArray[np.float32]:
    from scipy import sparse

    whole: Any = sparse.vstack(parts, format="csr")
    draw = np.random.default_rng(derived_seed(seed, "projected"))
    few = np.sort(draw.permutation(whole.shape[0])[:FITTED_ON])
    return (whole @ principal_axes(whole[few], COMPONENTS)).astype(np.float32, copy=False)


def rows(pool: Pool, positions: Tensor) -> Any:
    """What scikit-learn reads of some examples.

    Strings (n), sparse counts of hashed words (n, buckets), or float32 numbers (n, d): pictures
    by their pixels in [0, 1], one after the other.
    """
    if isinstance(pool, TextPool):
        return pool.texts(positions)
    if isinstance(pool, BagPool):
        return pool.counts(positions)
    (values,) = pool.gather(positions)
    return values.flatten(1).float().numpy()
