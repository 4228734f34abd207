"""What comes from an accelerator to the host, which waits for it: as few transfers as can be."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def any_nan(scores: Tensor) -> bool:
    """Whether one of the scores is NaN; their sum says at once that none is."""
    return math.isnan(float(scores.sum())) and bool(scores.isnan().any())


def to_host(rows: Tensor, wrong: Tensor | None, over: Tensor | None) -> tuple[bool, bool, Tensor]:
    """Whether something is wrong, or selection over, and the rows on the host: one transfer."""
    if wrong is None and over is None:
        return False, False, rows.cpu()
    flags = [
        rows.new_zeros(1) if flag is None else flag.reshape(1).to(rows) for flag in (wrong, over)
    ]
    together = torch.cat([*flags, rows]).cpu()
    return bool(together[0]), bool(together[1]), together[2:]
