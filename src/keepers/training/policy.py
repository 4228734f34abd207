"""Batch policies: which members each epoch trains on, and in what order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from keepers.random import generator


class BatchPolicy(Protocol):
    """The order of an epoch. A pure function of (seed, epoch), so resuming needs no state."""

    def epoch_length(self, num_members: int) -> int:
        """Examples in one epoch."""
        ...

    def order(self, positions: Tensor, *, seed: int, epoch: int) -> Tensor:
        """The positions of one epoch, in training order."""
        ...


@dataclass(frozen=True)
class Shuffle:
    """Every member once an epoch, in a fresh random order."""

    def epoch_length(self, num_members: int) -> int:
        """All members."""
        return num_members

    def order(self, positions: Tensor, *, seed: int, epoch: int) -> Tensor:
        """A permutation of `positions`."""
        return positions[torch.randperm(len(positions), generator=generator(seed, "order", epoch))]


@dataclass(frozen=True)
class FreshSubset:
    """A fresh random subset of `size` members every epoch.

    A permutation is cut into ⌊n / size⌋ disjoint subsets, one for each epoch, and is then
    renewed; so no example comes twice in an epoch (Okanovic et al., "Repeated Random Sampling for
    Minimizing the Time-to-Accuracy of Learning", ICLR 2024).
    """

    size: int

    def epoch_length(self, num_members: int) -> int:
        """`size`, or all members where there are fewer."""
        return min(self.size, num_members)

    def order(self, positions: Tensor, *, seed: int, epoch: int) -> Tensor:
        """The positions of one epoch's subset, in training order."""
        size = self.epoch_length(len(positions))
        turn, part = divmod(epoch, len(positions) // size)
        shuffled = torch.randperm(len(positions), generator=generator(seed, "order", turn))
        return positions[shuffled[part * size : (part + 1) * size]]


def batches(order: Tensor, batch_size: int, *, at_least: int = 2) -> list[Tensor]:
    """Cut an epoch into batches; a last batch of fewer than `at_least` joins the one before it.

    Batch normalisation has no statistics for a batch of one.

    >>> [len(batch) for batch in batches(torch.arange(9), 4)]
    [4, 5]
    """
    parts = list(order.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) < at_least:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def num_batches(length: int, batch_size: int, *, at_least: int = 2) -> int:
    """How many batches `batches` cuts an epoch of `length` examples into.

    >>> num_batches(9, 4), num_batches(10, 4)
    (2, 3)
    """
    full, rest = divmod(length, batch_size)
    return max(1, full + (rest >= at_least))
