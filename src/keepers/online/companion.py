"""A second model that is trained on what is chosen: a stand-in, or an irreducible-loss model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from keepers.models import Optimizer
from keepers.models.mode import scoring_mode
from keepers.random import isolated
from keepers.tasks import CLASSES, Task
from keepers.training import Candidates, optimizer_state, restore_optimizer
from keepers.training.optim import optimizer as build_optimizer

Inputs = Callable[[Tensor], tuple[Any, ...]]


class Companion:
    """A second model that scores candidates, and is trained on the chosen examples.

    It computes in the precision of its weights, also within autocast.

    Args:
        module: on the device of the candidates.
        optimizer: `adamw` or `sgd`, with `lr`, `momentum` and `weight_decay`.
        inputs: gives un-augmented inputs by positions; None takes the inputs of the candidates.
        seed: for dropout in its training.
        task: the kind of labels.

    Raises:
        ParameterError: an unknown optimiser, a learning rate that is not positive, or a module
            without a parameter to train.

    >>> Companion(nn.Linear(2, 3), lr=0.1).optimizer.defaults["lr"]
    0.1
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        optimizer: Optimizer = "adamw",
        lr: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.01,
        inputs: Inputs | None = None,
        seed: int = 0,
        task: Task = CLASSES,
    ) -> None:
        self.module = module
        self.inputs = inputs
        self.seed, self.task = seed, task
        self.optimizer = build_optimizer(
            optimizer, module, lr=lr, momentum=momentum, weight_decay=weight_decay
        )

    def identity(self) -> list[Any]:
        """What its training depends on, beside weights and data."""
        names = ("lr", "momentum", "betas", "weight_decay")
        settings = {name: self.optimizer.defaults.get(name) for name in names}
        return [type(self.optimizer).__name__, settings, self.seed]

    def losses(self, candidates: Candidates) -> Tensor:
        """The losses (n,) of the candidates, in evaluation mode."""
        with torch.no_grad(), scoring_mode(self.module, batch_norm="eval"):
            return self.task.losses(self._output(candidates), candidates.labels)

    def update(self, chosen: Candidates) -> None:
        """One optimiser step on the chosen examples; the global random state does not change."""
        with isolated(self.seed, "companion", chosen.version), torch.enable_grad():
            self.module.train()
            self.task.loss(self._output(chosen), chosen.labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def arguments(self, candidates: Candidates) -> tuple[Any, ...]:
        """What the module is called with."""
        return candidates.args if self.inputs is None else self.inputs(candidates.positions)

    def _output(self, candidates: Candidates) -> Tensor:
        keywords = candidates.keywords if self.inputs is None else {}
        # Autocast would go on with the weights that it cast before the last step.
        with torch.autocast(candidates.labels.device.type, enabled=False):
            output = self.module(*self.arguments(candidates), **keywords)
        return self.task.check(output, candidates.labels, candidates.version)

    def state_dict(self) -> dict[str, Tensor]:
        """Weights and optimiser state as tensors."""
        state = {f"model.{name}": value for name, value in self.module.state_dict().items()}
        return state | {
            f"optimizer.{name}": value for name, value in optimizer_state(self.optimizer).items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}}
        for name, value in state.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        self.module.load_state_dict(parts["model"])
        self.optimizer.state.clear()
        restore_optimizer(self.optimizer, parts["optimizer"])
