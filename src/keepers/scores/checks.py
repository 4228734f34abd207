"""Validation at the public edge of the scores."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.tensors import check_no_nan


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
