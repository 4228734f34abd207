"""The oracle of a simulation: it has all labels, and gives those that were asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from keepers.data import Source
from keepers.random import derived_seed
from keepers.workflows.active.asking import Labelled
from keepers.workflows.active.unlabelled import unlabelled


def round_seed(seed: int, number: int) -> int:
    """All that a round draws is drawn from it; the rounds of all methods share it."""
    return derived_seed(seed, "round", number)


@dataclass(frozen=True, kw_only=True, eq=False)
class Oracle:
    """Labels that are given only for what was picked.

    `pool` has no labels; `labels` are those of the data.
    """

    pool: Source
    labels: Any

    @classmethod
    def of(cls, source: Source) -> Oracle:
        """An oracle with the labels of labelled data, and a pool without them."""
        assert source.labels is not None
        return cls(pool=unlabelled(source), labels=source.labels)

    def label(self, members: Tensor) -> Labelled:
        """What is known once `members` are labelled."""
        task, places = self.pool.task, members.tolist()
        labels = self.labels
        targets = torch.from_numpy(labels) if isinstance(labels, np.ndarray) else labels
        answers = [answer for answer in task.answers(targets, places) if answer is not None]
        return Labelled(
            source=self.pool,
            labels=task.told(task.names, len(self.pool), places, answers),
            members=members.sort().values,
            closed=torch.zeros(len(self.pool), dtype=torch.bool),
            covered=torch.empty(0, dtype=torch.int64),
        )
