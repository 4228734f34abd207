"""The inputs of a training's steps, wherever they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from keepers.random import derived_seed
from keepers.training.policy import Arguments, Candidates
from keepers.types import Augment, Pool, Targets


@dataclass(frozen=True, kw_only=True, eq=False)
class Feed:
    """Gathers and augments examples: a function of (seed, step, stream) and their positions."""

    pool: Pool
    labels: Targets
    augment: Augment | None
    seed: int

    def inputs(self, positions: Tensor, step: int, stream: int = 0) -> tuple[Any, ...]:
        """The inputs of the examples at `positions` (n,), as a step sees them."""
        inputs = self.pool.gather(positions)
        if self.augment is None:
            return inputs
        draw = torch.Generator(self.pool.device)
        draw.manual_seed(derived_seed(self.seed, "augment", step, stream))
        return self.augment(inputs, draw)

    def candidates(self, positions: Tensor, step: int) -> Candidates:
        """Those among which a step chooses: every process sees them augmented alike."""
        inputs = self.inputs(positions, step)

        def cut(rows: Tensor) -> Arguments:
            if self.augment is not None:
                return tuple(part[rows] for part in inputs), {}
            return self.pool.gather(positions[rows]), {}

        return Candidates(
            positions=positions, labels=self.labels[positions], args=inputs, cut=cut, version=step
        )

    def to(self, device: torch.device | str) -> Feed:
        """The same on a device."""
        pool, labels = self.pool.to(device), self.labels.to(device)
        return Feed(pool=pool, labels=labels, augment=self.augment, seed=self.seed)
