"""Validation at the public edge of the scores: what is checked is written once, by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import ParamSpec, cast

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.tensors import by_rows, check_log_probs, check_no_nan

P = ParamSpec("P")
Formula = Callable[..., Tensor]


def check_one_each(values: Tensor, parameter: str, *, finite: bool = False) -> Tensor:
    """One number for each example; ±∞ are allowed unless told otherwise."""
    if values.ndim != 1:
        raise ParameterError(
            parameter, f"got shape {tuple(values.shape)}", "Give one number for each example"
        )
    return check_no_nan(values, parameter, finite=finite)


def check_counts(values: Tensor, parameter: str) -> Tensor:
    """One count of 0 or more for each example; ∞ is allowed."""
    counts = check_one_each(values, parameter)
    if len(counts) and float(counts.min()) < 0:
        raise ParameterError(parameter, f"got {float(counts.min()):g}", "Give counts of 0 or more")
    return counts


def check_features(features: Tensor, parameter: str = "features") -> Tensor:
    """Features (n, d), finite."""
    if features.ndim != 2 or not features.shape[1]:
        raise ParameterError(
            parameter, f"got shape {tuple(features.shape)}", "Give (n, d), one row per example"
        )
    return check_no_nan(features, parameter, finite=True)


def check_committee(predictions: Tensor, parameter: str = "posterior_predictions") -> Tensor:
    """Predicted numbers (n, models, numbers), finite, of 2 models or more."""
    if predictions.ndim != 3 or predictions.shape[1] < 2:
        raise ParameterError(
            parameter,
            f"got shape {tuple(predictions.shape)}",
            "Give (n, models, numbers) of 2 models or more: an ensemble",
        )
    return check_no_nan(predictions, parameter, finite=True)


def check_labels(labels: Tensor, n: int, num_classes: int) -> Tensor:
    """One class number for each example."""
    if labels.shape != (n,) or labels.dtype.is_floating_point or labels.dtype == torch.bool:
        raise ParameterError(
            "labels",
            f"got shape {tuple(labels.shape)} of {labels.dtype}",
            f"Give one class number for each of the {n} examples",
        )
    if n and (int(labels.min()) < 0 or int(labels.max()) >= num_classes):
        raise ParameterError(
            "labels",
            f"got classes from {int(labels.min())} to {int(labels.max())}",
            f"Give classes from 0 to {num_classes - 1}",
        )
    return labels.long()


CHECKS: Mapping[str, Callable[[Tensor, str], Tensor]] = {
    "log_probs": lambda value, name: check_log_probs(value, 2, name),
    "early_log_probs": lambda value, name: check_log_probs(value, 3, name),
    "posterior_log_probs": lambda value, name: check_log_probs(value, 3, name),
    "out_of_fold_log_probs": lambda value, name: check_log_probs(value, 2, name),
    "losses": check_one_each,
    "gradients": check_features,
    "gradient_norms": check_one_each,
    "early_gradient_norms": check_features,
    "qualities": check_one_each,
    "answer_losses": check_one_each,
    "lengths": check_one_each,
    "similarities": check_features,
    "gradient_similarities": check_features,
    "unconditional_losses": lambda value, name: check_one_each(value, name, finite=True),
    "irreducible_losses": lambda value, name: check_one_each(value, name, finite=True),
    "features": check_features,
    "log_odds": check_features,
    "predictions": check_features,
    "posterior_predictions": check_committee,
    "forgetting": check_counts,
    "events": check_counts,
    "aum": check_one_each,
}
"""How each signal is checked; labels are, by the predictions beside them."""


def fit_for_formula(signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The signals that a formula reads, checked, and where the first of them is.

    Raises:
        ParameterError: one that is none, or not as many as there are of the first.
    """
    found: dict[str, Tensor] = {}
    for name, value in signals.items():
        first = next(iter(found.values()), value)
        if name == "labels":
            if any(each.endswith("log_probs") for each in found):
                value = check_labels(value, len(first), first.shape[-1])
        else:
            value = CHECKS[name](value, name)
            _check_length(value, name, len(first))
        found[name] = value.to(first.device)
    return found


def _check_length(value: Tensor, parameter: str, n: int) -> None:
    if len(value) == n:
        return
    if value.ndim > 1:
        raise ParameterError(parameter, f"got shape {tuple(value.shape)}", f"Give {n} rows")
    raise ParameterError(
        parameter, f"got {len(value)} of them", f"Give one for each of the {n} examples"
    )


def checked(formula: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """The formula for anybody to call: what it is given is checked, by its name."""
    signature = inspect.signature(formula)

    @functools.wraps(formula)
    def score(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        given = signature.bind(*args, **kwargs).arguments
        return cast(Formula, formula)(*fit_for_formula(given).values())

    return score


def unchecked(score: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """The formula of a score: nothing is checked, and no value is read back from the device."""
    return vars(score)["__wrapped__"]


def row_wise(formula: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """The formula, block by block where an array is large."""

    @functools.wraps(formula)
    def blocked(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        return by_rows(formula, *cast("tuple[Tensor, ...]", args), **kwargs)

    return blocked
