"""The options of `train`, and what `irreducible_losses` shares with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from keepers.choices import BatchNorm, ScorePrecision
from keepers.errors import ParameterError, renamed
from keepers.options import Option, Options, at_least, cut, read
from keepers.workflows.options.irreducible import IlModelConfig
from keepers.workflows.options.shared import AUTO, ModelLike, Seeded, Shared

if TYPE_CHECKING:
    from keepers.online import IrreducibleLosses, Scoring
    from keepers.training import Length


AS_GIVEN = {name: f"score_{name}" for name in ("precision", "resolution", "part")}
"""What `Scoring` calls its fields, and a training does."""

EVERY = 100  # steps between evaluations at least, where the length is in seconds
EVALUATIONS = 20  # of a training at most, unless `evaluate_every` says otherwise


def fraction(keep: int | float | str) -> float:
    """The fraction of the candidates that `0.1` or `10%` says.

    Raises:
        ParameterError: a count, or out of range.
    """
    from keepers.types import Budget

    value = Budget.parse(keep).value
    if isinstance(value, int):
        raise ParameterError(
            "keep", f"got the count {keep}", "Give the fraction of the candidates, such as 0.1"
        )
    return value


def _own(options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    given: Any = options or {}
    if not isinstance(given, Mapping):
        raise ParameterError("select_options", f"got {given!r}", "Give a mapping")
    return dict(cast("Mapping[str, Any]", given))


class LengthConfig(Options):
    """How long a training is asked to be: one of the first three at most, or the model's own.

    Raises:
        ParameterError: a value out of range, or more than one length.
    """

    epochs: Annotated[
        int | None, Option("Passes over the candidates (default: the model's own)")
    ] = None
    steps: Annotated[int | None, Option("Optimiser steps, instead of epochs")] = None
    seconds: Annotated[float | None, Option("Seconds of training, instead of epochs")] = None
    evaluate_every: Annotated[
        int | None, at_least(1), Option("Steps between evaluations on the test data")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("epochs", "steps", "seconds") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ParameterError(given[1], f"got together with {given[0]}", "Give one of them")
        self.length(1)

    def length(self, epochs: int) -> Length:
        """The length that was asked for, by default `epochs`.

        >>> LengthConfig(steps=200).length(10)
        Length(epochs=None, steps=200, seconds=None)
        """
        from keepers.training import Length

        if self.steps is not None:
            return Length(steps=self.steps)
        if self.seconds is not None:
            return Length(seconds=self.seconds)
        return Length(epochs=epochs if self.epochs is None else self.epochs)


class CandidatesConfig(Options):
    """How many candidates a step has, and how they are scored, whatever selects among them.

    Raises:
        ParameterError: a value out of range.
    """

    keep: Annotated[float, Option("Fraction of the candidates to train on (0.1 or 10%)")] = read(
        default=0.1, converter=fraction
    )
    until: Annotated[float, Option("Share of the training after which steps are uniform")] = 1.0
    hand_over: Annotated[
        bool, Option("Let rho-loss change to uniform steps when nothing reducible is left")
    ] = True
    batch_norm: Annotated[
        BatchNorm, Option("Batch normalisation during scoring", after="folds")
    ] = "batch"
    score_precision: Annotated[
        ScorePrecision, Option("Number format of scoring; auto: bf16 if it is faster")
    ] = "same"
    score_resolution: Annotated[
        int | None, Option("Side in pixels to which pictures are scaled for scoring")
    ] = None
    score_part: Annotated[float, Option("Share of the candidates to score")] = 1.0
    max_age: Annotated[int, Option("Reuse a loss for up to N steps; 0: score at every step")] = 0
    stand_in: Annotated[ModelLike, Option("Small model that scores instead of the target")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.until <= 1:
            raise ParameterError("until", f"got {self.until}", "Give a share in (0, 1]")
        self.scoring()

    def scoring(self, *, gains_from_bf16: bool = False) -> Scoring:
        """How candidates are scored, by a model that does or does not gain from bf16 there."""
        from keepers.online import Scoring

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


class SelectionConfig(CandidatesConfig):
    """Which part of the candidates a step trains on, and how they are scored.

    Raises:
        ParameterError: a value out of range, or an unknown selection.
    """

    select: Annotated[
        str | None,
        Option(
            "How a step selects its candidates: auto, uniform, fresh-random, infobatch, "
            "rho-loss-original, or an online method of 'keepers methods'; for conversations "
            "auto, uniform, rho-loss or tokens",
            "`auto` is `rho-loss` if its losses are good and a step can save more than it "
            "costs, else `uniform`; for conversations always `uniform`. `tokens` trains on the "
            "tokens whose loss exceeds that of the reference `il_model` most. Default: `auto`; "
            "`rho-loss` for conversations with `il` or `il_model`; `uniform` for several labels "
            "and for numbers where no option of selection is given",
        ),
    ] = None
    select_options: Annotated[
        Mapping[str, Any],
        Option(
            more="Options of the selection. `infobatch` has `keep` (0.5), the fraction of the "
            "examples with low loss that stays, and `off` (0.125), the last share of the "
            "training, which uses everything. `tokens` has `keep` (0.6), the share of the "
            "tokens",
            after="stand_in",
        ),
    ] = read(default=None, converter=_own)
    max_staleness: Annotated[
        int,
        Option("With scorers: score candidates up to N steps ahead; 0: with the current weights"),
    ] = 0
    shortlist: Annotated[
        float | None,
        Option(
            "With max_staleness: share of the candidates that older weights shortlist; the "
            "current weights choose among them (default: twice --keep); 0: the older weights "
            "choose"
        ),
    ] = None

    def scoring(self, *, gains_from_bf16: bool = False) -> Scoring:
        """As of any candidates, and by which weights they are scored."""
        found = super().scoring(gains_from_bf16=gains_from_bf16)
        return replace(found, max_staleness=self.max_staleness, shortlist=self.shortlist)

    def __post_init__(self) -> None:
        super().__post_init__()
        from keepers.workflows.online.selections import check_options

        check_options(self.selects, self.select_options)

    @property
    def selects(self) -> str:
        """What selects, where the data do not say otherwise."""
        return self.select or AUTO


class TrainOptions(SelectionConfig, LengthConfig, IlModelConfig, Seeded, Shared):
    """The options of a training with online selection.

    Raises:
        ParameterError: a value out of range, one that the selection has no use for, or more than
            one of epochs, steps and seconds.
    """

    reads_conversations = True
    leaves_folder = True

    test: Annotated[Any, Option("Test data like DATA, or a fraction of DATA to split off")] = None
    model: Annotated[
        ModelLike,
        Option(
            "Model to train; in compare it is the target (default: by data)",
            after="hand_over",
            also=("--target",),
        ),
    ] = None
    il: Annotated[
        str | Path | IrreducibleLosses | None,
        Option("Irreducible losses of 'keepers il' (default: make them)", after="evaluate_every"),
    ] = None
    holdout: Annotated[
        Any,
        Option(
            "Data for the irreducible-loss model, or a fraction of DATA (default: folds)",
            after="il_epochs",
        ),
    ] = None
    scorers: Annotated[
        int | None,
        at_least(1),
        Option(
            "Score with N Ray workers, started on this machine or at --ray",
            after="shortlist",
        ),
    ] = None
    ray: Annotated[
        str | None,
        Option(
            "Ray cluster for the scorers: HOST:PORT, or auto for the one on this machine",
            after="scorers",
        ),
    ] = None
    seed: Annotated[int, Option("Same data, same seed, same weights")] = 0
    out: Annotated[
        str | Path | None,
        Option("File for the weights (safetensors); for a language model a folder"),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        from keepers.workflows.online.selections import check_used

        check_used(self.selects, self)
        for name in ("stand_in", "max_age", "score_part"):
            if self.scorers is not None and getattr(self, name) != getattr(TrainOptions, name):
                raise ParameterError(
                    "scorers",
                    f"got {self.scorers} together with {name}, which works only without scorers",
                    "Give one of them",
                )
        for name in ("max_staleness", "ray"):
            if getattr(self, name) and self.scorers is None:
                raise ParameterError(
                    name, "got without scorers, which work ahead of the training", "Give scorers"
                )

    def selection(self) -> SelectionConfig:
        """The part that is about selection."""
        return replace(cut(self, SelectionConfig), select=self.selects)

    def every(self, length: Length, epoch: int) -> int:
        """Steps between evaluations; by nothing that is measured: a rerun finds the same."""
        if self.evaluate_every is not None:
            return self.evaluate_every
        if length.seconds is not None:
            return max(epoch, EVERY)
        total = length.steps if length.epochs is None else length.epochs * epoch
        assert total is not None
        return max(epoch, math.ceil(total / EVALUATIONS))
