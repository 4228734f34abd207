"""What tensors of values and of log-probabilities have to be, wherever they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from keepers.errors import ParameterError

BLOCK = 1 << 18
"""Elements of a block of rows, 1 MiB of float32: large arrays are read in such blocks."""
ROUNDING = 0.1
"""How far log-probabilities may be from summing to 1: bfloat16 leaves that much."""


def row_blocks(values: Tensor) -> Iterator[slice]:
    """The rows of an array in blocks of about `BLOCK` elements.

    >>> list(row_blocks(torch.zeros(300, 2048)))
    [slice(0, 128, None), slice(128, 256, None), slice(256, 300, None)]
    """
    n, width = len(values), max(1, values[:1].numel())
    rows = max(1, BLOCK // width)
    return (slice(start, min(n, start + rows)) for start in range(0, n, rows))


def by_rows(formula: Callable[..., Tensor], *arrays: Tensor) -> Tensor:
    """formula(*arrays) (n, ...) whose row i depends on row i of each array, block by block.

    Nothing of the size of the arrays, which may be mapped from disk, is held beside them.
    """
    first, out = arrays[0], None
    if not first.is_cpu or first.numel() <= BLOCK:
        return formula(*arrays)
    for rows in row_blocks(first):
        part = formula(*(each[rows] for each in arrays))
        # Made before the next block: pieces kept between blocks would split the freed memory.
        out = part.new_empty((len(first), *part.shape[1:])) if out is None else out
        out[rows] = part
    assert out is not None
    return out


def check_no_nan(values: Tensor, parameter: str, *, finite: bool = False) -> Tensor:
    """Refuse NaN, and ±∞ if told so; give at least single precision, without gradient."""
    _refuse(torch.isnan, values, "NaN", parameter)
    if finite:
        _refuse(torch.isinf, values, "infinite values", parameter)
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
    total = by_rows(_log_totals, log_probs)
    most = float(log_probs.max())
    if most > ROUNDING or float(total.abs().max()) > ROUNDING:
        raise ParameterError(
            parameter,
            f"got values up to {most:.4g} whose probabilities sum to "
            f"{float(total.min().exp()):.4g} to {float(total.max().exp()):.4g}",
            "Give log-probabilities: logits.log_softmax(-1)",
        )
    return log_probs.clamp(max=0) if most > 0 else log_probs


def _log_totals(log_probs: Tensor) -> Tensor:
    return log_probs.logsumexp(-1)


def _refuse(wrong: Callable[[Tensor], Tensor], values: Tensor, kind: str, parameter: str) -> None:
    def wrong_rows(part: Tensor) -> Tensor:
        return wrong(part).flatten(1).any(1)

    wrong_N = by_rows(wrong_rows, values[:, None])
    if wrong_N.any():
        count, first = int(wrong_N.sum()), int(wrong_N.nonzero()[0])
        raise ParameterError(
            parameter,
            f"got {kind} at {count} positions, the first is {first}",
            "Look for a model that diverged, or leave those examples out",
        )
