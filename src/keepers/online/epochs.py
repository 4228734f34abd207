"""How an epoch is cut into batches, and a batch among ranks: by its length alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Epoch:
    """The `rows` (n,) of epoch `number`, in order, cut into `batches`.

    Sizes of batches differ by one at most, the larger first.

    >>> import torch
    >>> epoch = Epoch.cut(0, torch.arange(10), 4)
    >>> [epoch.batch(step).tolist() for step in range(epoch.batches)]
    [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    >>> epoch.share(0, rank=1, ranks=2).tolist()
    [1, 3]
    """

    number: int
    rows: Tensor
    batches: int

    @classmethod
    def cut(cls, number: int, rows: Tensor, batch_size: int) -> Self:
        """Into batches of at most `batch_size`."""
        return cls(number=number, rows=rows, batches=math.ceil(len(rows) / batch_size))

    @property
    def least(self) -> int:
        """Examples of the smallest batch."""
        return len(self.rows) // self.batches

    def batch(self, step: int) -> Tensor:
        """The rows of a batch of all ranks."""
        size, longer = divmod(len(self.rows), self.batches)
        start = step * size + min(step, longer)
        return self.rows[start : start + size + (step < longer)]

    def share(self, step: int, *, rank: int, ranks: int) -> Tensor:
        """The rows of one rank in a batch: those at rank, rank + ranks, rank + 2 ranks…"""
        return self.batch(step)[rank::ranks]
