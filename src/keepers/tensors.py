"""What tensors of values and of log-probabilities have to be, wherever they are given."""

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


def _refuse(wrong: Tensor, kind: str, parameter: str) -> None:
    if wrong.any():
        wrong_N = wrong.flatten(1).any(1) if wrong.ndim > 1 else wrong
        count, first = int(wrong_N.sum()), int(wrong_N.nonzero()[0])
        raise ParameterError(
            parameter,
            f"got {kind} at {count} positions, the first is {first}",
            "Look for a model that diverged, or leave those examples out",
        )
