"""Validation at the public edge of the scores."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.errors import ParameterError

ROUNDING = 0.1
"""How far log-probabilities may be from summing to 1: bfloat16 leaves that much."""


def check_no_nan(values: Tensor, parameter: str, *, finite: bool = False) -> Tensor:
    """Refuse NaN, and ±∞ if told so; give at least single precision, without gradient."""
    _refuse(values.isnan(), "NaN", parameter)
    if finite:
        _refuse(values.isinf(), "infinite values", parameter)
    values = values.detach()
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


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


def check_log_probs(log_probs: Tensor, ndim: int, parameter: str = "log_probs") -> Tensor:
    """Log-probabilities over the last dimension: at most 0, summing to 1 as probabilities."""
    middle = "samples" if parameter.startswith("posterior") else "runs"
    shape = "(n, classes)" if ndim == 2 else f"(n, {middle}, classes)"
    if log_probs.ndim != ndim or log_probs.shape[-1] < 2 or 0 in log_probs.shape[1:]:
        raise ParameterError(
            parameter,
            f"got shape {tuple(log_probs.shape)}",
            f"Give {shape} with at least 2 classes",
        )
    log_probs = check_no_nan(log_probs, parameter)
    if not len(log_probs):
        return log_probs
    total = log_probs.logsumexp(-1)
    if float(log_probs.max()) > ROUNDING or float(total.abs().max()) > ROUNDING:
        raise ParameterError(
            parameter,
            f"got values up to {float(log_probs.max()):.4g} whose probabilities sum to "
            f"{float(total.min().exp()):.4g} to {float(total.max().exp()):.4g}",
            "Give log-probabilities: logits.log_softmax(-1)",
        )
    return log_probs.clamp(max=0)


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


def _refuse(wrong: Tensor, kind: str, parameter: str) -> None:
    if wrong.any():
        wrong_N = wrong.flatten(1).any(1) if wrong.ndim > 1 else wrong
        count, first = int(wrong_N.sum()), int(wrong_N.nonzero()[0])
        raise ParameterError(
            parameter,
            f"got {kind} at {count} positions, the first is {first}",
            "Look for a model that diverged, or leave those examples out",
        )
