"""What a task is where nothing is said of it: names, and outputs and labels as they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from keepers.tasks.task import Targets, weighted_mean


class Plain(ABC):
    """A base for tasks whose outputs, and labels of a batch, are taken as they are."""

    names: tuple[str, ...]

    floor: ClassVar[int] = 1
    right_words: ClassVar[str] = "right"

    @property
    def num_outputs(self) -> int:
        """One for each name."""
        return len(self.names)

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """None."""
        return (), ()

    @property
    def strata_names(self) -> tuple[str, ...]:
        """The names."""
        return self.names

    def begin(self, module: nn.Module) -> nn.Module:
        """As it is."""
        return module

    def batch(self, labels: Tensor) -> Tensor:
        """As they are."""
        return labels

    def say(self, output: Tensor) -> Tensor:
        """The output in float32."""
        return output.float()

    def loss(self, output: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """The mean of `losses`, each multiplied by its weight."""
        return weighted_mean(self.losses(output, targets), weights)

    def proportions(self, targets: Targets) -> Targets:
        """The strata (n,)."""
        return self.strata(targets)

    @abstractmethod
    def strata(self, targets: Targets) -> Tensor:
        """The stratum (n,) of each example."""
        ...

    @abstractmethod
    def losses(self, output: Tensor, targets: Tensor) -> Tensor:
        """The loss (n,) of each example."""
