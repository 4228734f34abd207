"""How a model is trained where nobody says otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from keepers.errors import ParameterError, unknown_name

MIN_STEPS = 400
"""Optimiser steps after which training three times as long gives about a point more at most.

Measured for the small models of the table (`benchmarks/recipes.py`); the large ones take it over.
"""

MAX_EPOCHS = 200
"""A few examples are seen this often at most, whatever the least number of steps."""

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["one-cycle", "cosine", "linear", "piecewise", "constant"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The defaults that a role takes for a model.

    `lr` is the peak learning rate of the schedule. `momentum` is used by SGD alone. `augment`:
    pictures are cropped and flipped at random. `bf16`: the model trains well, and faster, in
    bfloat16 where the hardware has it (precision `auto` follows this). `min_steps`: the least
    number of optimiser steps; where there are few examples that takes more epochs, `MAX_EPOCHS` at
    most. `decay_epochs`: in a training of more epochs than `epochs`, `weight_decay` is at least
    what lets the weights fade over this number of epochs, so that few examples are not learnt by
    heart.

    Raises:
        ParameterError: a number out of range, or an unknown optimizer or schedule.

    >>> Recipe(epochs=5, batch_size=128, lr=0.1).optimizer
    'sgd'
    """

    epochs: int
    batch_size: int
    lr: float
    optimizer: Optimizer = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Schedule = "one-cycle"
    augment: bool = False
    bf16: bool = False
    min_steps: int = 0
    decay_epochs: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ParameterError(name, f"got {getattr(self, name)}", "Give 1 or more")
        if self.min_steps < 0:
            raise ParameterError("min_steps", f"got {self.min_steps}", "Give 0 or more")
        if not self.lr > 0:
            raise ParameterError("lr", f"got {self.lr}", "Give a number over 0")
        if not 0 <= self.momentum < 1:
            raise ParameterError("momentum", f"got {self.momentum}", "Give a number in [0, 1)")
        if not self.weight_decay >= 0:
            raise ParameterError("weight_decay", f"got {self.weight_decay}", "Give 0 or more")
        if self.decay_epochs is not None and not self.decay_epochs > 0:
            raise ParameterError(
                "decay_epochs", f"got {self.decay_epochs}", "Give a number of epochs over 0"
            )
        for name, known in (("optimizer", Optimizer), ("schedule", Schedule)):
            if getattr(self, name) not in get_args(known):
                raise unknown_name(name, str(getattr(self, name)), get_args(known))

    def epochs_of(self, steps_in_epoch: int) -> int:
        """The epochs that are run where each has so many steps.

        >>> recipe = Recipe(epochs=5, batch_size=64, lr=0.1, min_steps=400)
        >>> recipe.epochs_of(1000), recipe.epochs_of(10), recipe.epochs_of(1)
        (5, 40, 200)
        """
        return max(self.epochs, min(MAX_EPOCHS, -(-self.min_steps // steps_in_epoch)))

    def weight_decay_of(self, steps_in_epoch: int, steps: int) -> float:
        """The weight decay of a training of so many steps, by the steps that an epoch has.

        max(λ, 1 / (η E s)) where it has more epochs than `epochs`, and λ elsewhere, with λ the
        `weight_decay`, η the `lr`, E the `decay_epochs` and s the steps in an epoch: AdamW takes
        1 / (η λ) steps to shrink a weight by e (Wang and Aitchison 2024, How to set AdamW's weight
        decay as you scale model and dataset size).

        >>> recipe = Recipe(epochs=10, batch_size=64, lr=1e-2, decay_epochs=20)
        >>> recipe.weight_decay_of(5, 400), recipe.weight_decay_of(5, 50)
        (1.0, 0.0)
        """
        if self.decay_epochs is None or steps <= self.epochs * steps_in_epoch:
            return self.weight_decay
        return max(self.weight_decay, 1 / (self.lr * self.decay_epochs * steps_in_epoch))


def long_enough(recipe: Recipe) -> Recipe:
    """The recipe with `MIN_STEPS` at least, which every model of ours has by default."""
    return replace(recipe, min_steps=MIN_STEPS)
