"""Observers: what watches a training without taking part in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from keepers.tasks import CLASSES, Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What an observer sees of one step.

    `positions` (n,), `labels` (n, ...) and `logits` (n, outputs) are of what was trained on, before
    the update; `task` says what they mean. `number` counts steps from 1, `epoch` is a fraction of
    passes over the members,
    `examples` and `candidates` what was trained on and chosen from so far, `progress` how much
    of the training is done. `began` is the reading of `time.perf_counter` at which a training
    without interruptions would have begun.
    """

    positions: Tensor
    labels: Tensor
    logits: Tensor
    task: Task = CLASSES
    number: int = 0
    epoch: float = 0.0
    examples: int = 0
    candidates: int = 0
    flops: float = 0.0
    progress: float = 0.0
    began: float = 0.0


class Observer(Protocol):
    """Called after each step; its state is part of every checkpoint."""

    def after_step(self, step: Step) -> float:
        """Take note of one step; returns the seconds that the training is not charged with."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """The state as tensors."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        ...
