"""The labels that the budgets of a simulation come to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from keepers.errors import ParameterError
from keepers.types import Budget
from keepers.workflows.options.simulate import SimulateConfig


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """Labels so far: before the first round, after each, and where the target is measured."""

    initial: int
    rounds: tuple[int, ...]
    measured: frozenset[int]

    @classmethod
    def resolve(cls, config: SimulateConfig, n: int) -> Self:
        """The counts in a pool of `n` examples.

        Raises:
            ParameterError: a budget over the pool, rounds that do not increase from the initial
                labels on, or one to measure at that is no round.
        """
        initial = Budget.parse(config.initial, "initial").resolve(n, "initial")
        rounds = [Budget.parse(each, "rounds").resolve(n, "rounds") for each in config.rounds]
        given = ("initial", *config.rounds)
        for number, (before, after) in enumerate(pairwise((initial, *rounds))):
            if after <= before:
                raise ParameterError(
                    "rounds",
                    f"got {given[number + 1]} ({after:,} labels) after {given[number]} "
                    f"({before:,} labels), but each counts all labels so far",
                    "Give increasing budgets, such as 10%,20%,30%",
                )
        known = (initial, *rounds)
        measured: set[int] = set()
        for each in config.measure if config.measure is not None else rounds:
            k = Budget.parse(each, "measure").resolve(n, "measure")
            if k not in known:
                raise ParameterError(
                    "measure",
                    f"got {each} ({k:,} labels), which is not a round",
                    f"Give some of {', '.join(f'{count:,}' for count in known)}",
                )
            measured.add(k)
        return cls(initial=initial, rounds=tuple(rounds), measured=frozenset(measured))
