"""`Tags`: which labels each example has; what is there is held, not a table of 0 and 1."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Tags:
    """The labels of n examples: those of example i are `members[offsets[i]:offsets[i + 1]]`.

    `offsets` (n + 1,) and `members` are int64, the members of an example in ascending order. Memory
    grows with the labels that are there, not with examples × labels; an index gives rows of
    0 and 1 (float32) of some examples. `known` (n,) of bool says whose labels are known at all,
    None where all are; what is unknown has no members.

    >>> tags = Tags.of([[1], [], [0, 2]], 3)
    >>> tags[torch.tensor([2, 0])].tolist(), len(tags)
    ([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], 3)
    """

    offsets: Tensor
    members: Tensor
    num_labels: int
    known: Tensor | None = None

    @classmethod
    def of(cls, rows: Sequence[Sequence[int] | None], num_labels: int) -> Tags:
        """From the label numbers of each example, None where they are unknown.

        One that is there twice counts once.
        """
        unique = [sorted(set(row or ())) for row in rows]
        known = torch.tensor([row is not None for row in rows], dtype=torch.bool)
        lengths = torch.tensor([0, *map(len, unique)], dtype=torch.int64)
        members = torch.tensor([label for row in unique for label in row], dtype=torch.int64)
        return cls(lengths.cumsum(0), members, num_labels, None if known.all() else known)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, positions: Any) -> Tensor:
        at = torch.as_tensor(positions, dtype=torch.int64, device=self.offsets.device)
        dense = torch.zeros(len(at), self.num_labels, device=self.offsets.device)
        rows, members = self._entries(at)
        dense[rows, members] = 1.0
        return dense

    def _entries(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """For each label of the examples at `at`: the row of the example there, and the label."""
        starts, lengths = self.offsets[at], self.offsets[at + 1] - self.offsets[at]
        rows = torch.repeat_interleave(torch.arange(len(at), device=at.device), lengths)
        first = lengths.cumsum(0) - lengths
        within = torch.arange(len(rows), device=at.device) - first[rows]
        return rows, self.members[starts[rows] + within]

    def take(self, positions: npt.ArrayLike | Tensor) -> Tags:
        """The labels of some examples."""
        at = torch.as_tensor(positions, dtype=torch.int64, device=self.offsets.device)
        lengths = self.offsets[at + 1] - self.offsets[at]
        zero = torch.zeros(1, dtype=torch.int64, device=at.device)
        offsets, known = torch.cat([zero, lengths.cumsum(0)]), self.known
        known = None if known is None else known[at]
        return Tags(offsets, self._entries(at)[1], self.num_labels, known)

    def having(self, label: int) -> Tensor:
        """Which examples have a label (n,), of bool."""
        found = torch.zeros(len(self), dtype=torch.bool, device=self.offsets.device)
        at = (self.members == label).nonzero()[:, 0]
        found[torch.searchsorted(self.offsets, at, right=True) - 1] = True
        return found

    def counts(self) -> Tensor:
        """How many examples have each label (labels,)."""
        return torch.bincount(self.members, minlength=self.num_labels)

    def rows(self) -> Tensor:
        """The example that each of the members is of, as long as `members`."""
        each = torch.arange(len(self), device=self.offsets.device)
        return torch.repeat_interleave(each, self.offsets.diff())

    def kinds(self) -> Tensor:
        """Numbers (n,) that are equal where examples have the same labels."""
        seen: dict[bytes, int] = {}
        parts = self.members.cpu().numpy().astype(np.int64)
        ends = self.offsets.tolist()
        rows = (parts[start:stop].tobytes() for start, stop in itertools.pairwise(ends))
        return torch.tensor([seen.setdefault(row, len(seen)) for row in rows], dtype=torch.int64)

    def sparse(self) -> Any:
        """A sparse array of scipy (n, labels) of ones."""
        from scipy.sparse import csr_array

        members = self.members.numpy()
        given = (np.ones(len(members), dtype=np.int8), members, self.offsets.numpy())
        return csr_array(given, shape=(len(self), self.num_labels))

    def to(self, device: torch.device | str) -> Tags:
        """The same on another device."""
        known = None if self.known is None else self.known.to(device)
        return Tags(self.offsets.to(device), self.members.to(device), self.num_labels, known)

    def cpu(self) -> Tags:
        """The same on the CPU."""
        return self.to("cpu")

    def numpy(self) -> npt.NDArray[np.int64]:
        """All of it as one array, for fingerprints."""
        whole = [torch.tensor([len(self), self.num_labels]), self.offsets, self.members]
        whole += [] if self.known is None else [self.known.long()]
        return torch.cat([part.cpu() for part in whole]).numpy()
