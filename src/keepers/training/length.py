"""How long a training is; the learning-rate schedule is fitted to it."""

from __future__ import annotations

from dataclasses import dataclass

from keepers.errors import ParameterError


@dataclass(frozen=True, kw_only=True)
class Length:
    """So many epochs (passes over the members), optimiser steps, or seconds of training.

    Seconds are those that the training is charged with: evaluation on the way does not count.
    A training limited by seconds cannot be repeated to the bit.

    Raises:
        ParameterError: not exactly one of the three, or one that is not positive.

    >>> Length(steps=200).progress(epochs=0.4, steps=50, seconds=9.0)
    0.25
    """

    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise ParameterError(
                "length", f"got {given or 'nothing'}", "Give one of epochs, steps and seconds"
            )
        for name, value in given.items():
            if not value > 0:
                raise ParameterError(name, f"got {value}", "Give a number over 0")

    def progress(self, *, epochs: float, steps: int, seconds: float) -> float:
        """How much of it is done, from 0; at 1 it is over."""
        if self.epochs is not None:
            return epochs / self.epochs
        if self.steps is not None:
            return steps / self.steps
        assert self.seconds is not None
        return seconds / self.seconds
