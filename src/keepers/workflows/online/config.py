"""The configurations of selection and of a training with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keepers.choices import BatchNorm, ScorePrecision
from keepers.configuration import picked
from keepers.errors import ParameterError, renamed
from keepers.online import Scoring
from keepers.roles import Role
from keepers.training import Length, LengthConfig
from keepers.types import Budget
from keepers.workflows.online.selections import check_options, unused
from keepers.workflows.parts import IlModelConfig

AS_GIVEN = {name: f"score_{name}" for name in ("precision", "resolution", "part")}
"""What `Scoring` calls its fields, and what a configuration does."""

EVERY = 100  # steps between evaluations at least, where the length is in seconds
EVALUATIONS = 20  # of a training at most, unless `evaluate_every` says otherwise


@dataclass(frozen=True, kw_only=True)
class CandidatesConfig:
    """How many candidates a step has, and how they are scored, whatever selects among them.

    Raises:
        ParameterError: a value out of range.
    """

    keep: float = 0.1
    until: float = 1.0
    hand_over: bool = True
    batch_norm: BatchNorm = "batch"
    score_precision: ScorePrecision = "same"
    score_resolution: int | None = None
    score_part: float = 1.0
    max_age: int = 0
    stand_in: str | Role | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ParameterError("keep", f"got {self.keep}", "Give a fraction in (0, 1]")
        if not 0 < self.until <= 1:
            raise ParameterError("until", f"got {self.until}", "Give a share in (0, 1]")
        self.scoring()
        Role.check("stand_in", self.stand_in)

    def scoring(self, *, gains_from_bf16: bool = False) -> Scoring:
        """How candidates are scored, by a model that does or does not gain from bf16 there."""
        precision = self.score_precision
        if precision == "auto":
            precision = "bf16" if gains_from_bf16 else "same"
        with renamed(AS_GIVEN):
            return Scoring(
                batch_norm=self.batch_norm,
                precision=precision,
                resolution=self.score_resolution,
                part=self.score_part,
                max_age=self.max_age,
            )


@dataclass(frozen=True, kw_only=True)
class SelectionConfig(CandidatesConfig):
    """Which part of the candidates a step trains on, and how they are scored.

    Raises:
        ParameterError: a value out of range, or an unknown selection.
    """

    select: str = "rho-loss"
    select_options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        check_options(self.select, self.select_options)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class TrainConfig(SelectionConfig, LengthConfig, IlModelConfig):
    """Everything a training with online selection depends on, beside the data.

    Raises:
        ParameterError: a value out of range, one that the selection has no use for, or more than
            one of epochs, steps and seconds.
    """

    model: str | Role | Mapping[str, Any] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        SelectionConfig.__post_init__(self)
        for name, remedy in unused(self.select).items():
            if getattr(self, name) != getattr(TrainConfig, name):
                found = f"got {getattr(self, name)}, which {self.select} does not use"
                raise ParameterError(name, found, remedy)
        LengthConfig.__post_init__(self)
        IlModelConfig.__post_init__(self)
        Role.check("model", self.model)

    def selection(self) -> SelectionConfig:
        """The part that is about selection."""
        return picked(SelectionConfig, vars(self))

    def every(self, length: Length, epoch: int) -> int:
        """Steps between evaluations; by nothing that is measured: a rerun finds the same."""
        if self.evaluate_every is not None:
            return self.evaluate_every
        if length.seconds is not None:
            return max(epoch, EVERY)
        total = length.steps if length.epochs is None else length.epochs * epoch
        assert total is not None
        return max(epoch, math.ceil(total / EVALUATIONS))


def fraction(keep: int | float | str) -> float:
    """The fraction of the candidates that `0.1` or `10%` says.

    Raises:
        ParameterError: a count, or out of range.
    """
    value = Budget.parse(keep).value
    if isinstance(value, int):
        raise ParameterError(
            "keep", f"got the count {keep}", "Give the fraction of the candidates, such as 0.1"
        )
    return value
