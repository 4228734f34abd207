"""The examples among which a step chooses, and where the inputs of a training's steps come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from keepers.random import derived_seed
from keepers.types import Augment, Pool, Targets

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""The positional and the keyword arguments of a module's `forward`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """The examples among which a step chooses.

    `positions` (n,) are what the caller numbers its examples by, `labels` (n, ...) class numbers
    or what the caller's own loss takes, `args` and `keywords` what the module is called with,
    `cut(rows)` the same for some of the rows. `version` counts the choices before, one to an
    optimiser step, so it names the weights; where a step takes several (accumulated gradients),
    `weights` is the version of its first. `ids[row]` is what errors call the example in a row,
    where positions say little.
    """

    positions: Tensor
    labels: Tensor
    args: tuple[Any, ...]
    cut: Callable[[Tensor], Arguments]
    keywords: dict[str, Any] = field(default_factory=dict[str, Any])
    version: int = 0
    weights: int | None = None
    ids: Any = None

    def __len__(self) -> int:
        return self.positions.shape[0]  # len() of a tensor takes a hot path longer

    def name(self, row: int) -> Any:
        """What an error calls the example in a row."""
        found = self.positions[row] if self.ids is None else self.ids[row]
        return found.item() if hasattr(found, "item") else found

    def take(self, rows: Tensor) -> Self:
        """The candidates at `rows` alone."""

        def cut(inner: Tensor) -> Arguments:
            return self.cut(rows[inner])

        args, keywords = self.cut(rows)
        return replace(
            self,
            positions=self.positions[rows],
            labels=self.labels[rows],
            args=args,
            keywords=keywords,
            cut=cut,
            ids=None if self.ids is None else AtRows(self.ids, rows),
        )


@dataclass(frozen=True, eq=False)
class AtRows:
    """The ids at some rows, looked up only when one is asked for."""

    ids: Any
    rows: Tensor

    def __getitem__(self, row: int) -> Any:
        return self.ids[int(self.rows[row])]


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
