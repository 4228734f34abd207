"""The oracle of a simulation: it has all labels, and gives those that were asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers.data import Source
from keepers.random import derived_seed
from keepers.workflows.active.asking import Labelled


def round_seed(seed: int, number: int) -> int:
    """All that a round draws is drawn from it; the rounds of all methods share it."""
    return derived_seed(seed, "round", number)


@dataclass(frozen=True, kw_only=True, eq=False)
class Oracle:
    """Labels that are given only for what was picked.

    `pool` has no labels; `labels` (n,) are those of the data.
    """

    pool: Source
    labels: npt.NDArray[np.int64]

    @classmethod
    def of(cls, source: Source) -> Oracle:
        """An oracle with the labels of labelled data, and a pool without them."""
        assert source.labels is not None
        hidden = np.full(len(source), -1, dtype=np.int64)
        return cls(pool=replace(source, labels=hidden), labels=source.labels)

    def label(self, members: Tensor) -> Labelled:
        """What is known once `members` are labelled."""
        labels = np.full(len(self.pool), -1, dtype=np.int64)
        labels[members.numpy()] = self.labels[members.numpy()]
        return Labelled(
            source=self.pool,
            labels=labels,
            members=members.sort().values,
            closed=torch.zeros(len(self.pool), dtype=torch.bool),
            covered=torch.empty(0, dtype=torch.int64),
        )
