"""`train`: a target, trained on what is worth a gradient step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from keepers import processes
from keepers.configuration import picked
from keepers.data import Source
from keepers.errors import ParameterError, renamed
from keepers.files import plain, write_json
from keepers.models import default_target
from keepers.online import BatchNorm, IrreducibleLosses, Scoring, Selecting, StepCost
from keepers.roles import OnBadRow, Role, encode_like, prepare
from keepers.training import Hardware, Length, Point, Precision, steps_in_epoch
from keepers.types import Budget, Progress
from keepers.workflows.expected import expected_cost, forward_share, in_words, measured_ratio
from keepers.workflows.irreducible import Irreducible, IrreducibleConfig
from keepers.workflows.online import (
    FRESH,
    INFOBATCH,
    ORIGINAL,
    OnlineTrained,
    OnlineTraining,
    ScorePrecision,
    SelectionConfig,
    prepare_stand_in,
    train_online,
)
from keepers.workflows.opening import Reading, Say, say_or_not, say_skipped, share, workplace
from keepers.workflows.sought import OF_IRREDUCIBLE, Sought
from keepers.workflows.stages import Workplace
from keepers.workflows.tested import with_test

EVERY = 100
EVALUATIONS = 20
UNUSED: Mapping[str, Mapping[str, str]] = {
    INFOBATCH: {
        "keep": "Give select_options.keep, the fraction of the examples with low loss that stays",
        "until": "Give select_options.off, the share of the training that ends on everything",
    },
    FRESH: {"until": "Leave it out"},
}
"""What a selection has no use for, and what to do about it."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything a training with online selection depends on, beside the data.

    Raises:
        ParameterError: a value out of range, or more than one of epochs, steps and seconds.
    """

    select: str = "rho-loss"
    keep: float = 0.1
    until: float = 1.0
    model: str | Role | Mapping[str, Any] | None = None
    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None
    evaluate_every: int | None = None
    il_model: str | Role | Mapping[str, Any] | None = None
    il_epochs: int | None = None
    folds: int = 2
    batch_norm: BatchNorm = "batch"
    score_precision: ScorePrecision = "same"
    score_resolution: int | None = None
    score_part: float = 1.0
    max_age: int = 0
    stand_in: str | Role | Mapping[str, Any] | None = None
    select_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        self.selection()
        for name, remedy in UNUSED.get(self.select, {}).items():
            if getattr(self, name) != getattr(TrainConfig, name):
                found = f"got {getattr(self, name)}, which {self.select} does not use"
                raise ParameterError(name, found, remedy)
        given = [n for n in ("epochs", "steps", "seconds") if getattr(self, n) is not None]
        if len(given) > 1:
            raise ParameterError(given[1], f"got beside {given[0]}", "Give one of them")
        if self.evaluate_every is not None and self.evaluate_every < 1:
            raise ParameterError("evaluate_every", f"got {self.evaluate_every}", "Give 1 or more")
        self.length(1)
        with renamed(OF_IRREDUCIBLE):
            self.irreducible()
        Hardware(device=self.device, precision=self.precision)

    def selection(self) -> SelectionConfig:
        """The part that is about selection."""
        return picked(SelectionConfig, vars(self))

    def irreducible(self) -> IrreducibleConfig:
        """The part that is about irreducible losses."""
        return IrreducibleConfig(
            model=self.il_model,
            folds=self.folds,
            epochs=self.il_epochs,
            seed=self.seed,
            device=self.device,
            precision=self.precision,
        )

    def length(self, epochs: int) -> Length:
        """How long the training is, `epochs` where nobody says so."""
        if self.steps is not None:
            return Length(steps=self.steps)
        if self.seconds is not None:
            return Length(seconds=self.seconds)
        return Length(epochs=epochs if self.epochs is None else self.epochs)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainResult:
    """A trained target.

    `weights` is a safetensors file with the state of the module, `curve` has one entry for each
    evaluation, `metadata` says how it came about and what it cost. Irreducible losses that were
    made on the way (`made_losses`) lie in `run` as il.parquet.
    """

    weights: Path
    curve: list[dict[str, float]]
    metadata: dict[str, Any]
    run: Path
    made_losses: bool = False

    def __repr__(self) -> str:
        accuracy = self.metadata.get("accuracy")
        reached = "" if accuracy is None else f", accuracy={accuracy:.4f}"
        return f"TrainResult(select={self.metadata['select']!r}{reached})"


def train(
    data: Any,
    *,
    test: Any = None,
    select: str = "rho-loss",
    keep: float | str = 0.1,
    until: float = 1.0,
    model: str | Role | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    evaluate_every: int | None = None,
    il: str | Path | IrreducibleLosses | None = None,
    il_model: str | Role | Mapping[str, Any] | None = None,
    il_epochs: int | None = None,
    holdout: Any = None,
    folds: int = 2,
    batch_norm: BatchNorm = "batch",
    score_precision: ScorePrecision = "same",
    score_resolution: int | None = None,
    score_part: float = 1.0,
    max_age: int = 0,
    stand_in: str | Role | Mapping[str, Any] | None = None,
    select_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    input: str | None = None,
    label: str | None = None,
    id: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    on_bad_row: OnBadRow = "error",
    run: str | Path | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    say: Say | None = None,
) -> TrainResult:
    """Train a target; each step takes the best `keep` of its candidates.

    Of n_B = n_b / keep candidates a step trains on the n_b with the highest score; n_b is the
    batch size of the model's recipe, and an epoch one pass over the candidates.

    Args:
        data, test: as in `keepers.coreset`; the target is measured on `test` on the way.
        select: `uniform`, `fresh-random`, `infobatch`, `rho-loss-original`, or a method of
            `keepers methods` that online training offers.
        keep: the fraction of the candidates that is trained on; of `infobatch`, see
            `select_options`.
        until: after this share of the training, steps are uniform.
        model: the target: a name or a `Role`.
        epochs, steps, seconds: how long; the learning-rate schedule is fitted to it.
        evaluate_every: steps between measurements on `test`; None is once an epoch, but at most
            twenty times, or every 100 steps where the length is in seconds.
        il: irreducible losses, or their file; None makes them, with `il_model`, `il_epochs`,
            `holdout` and `folds` as in `keepers.irreducible_losses`.
        batch_norm, score_precision, score_resolution, score_part, max_age: how candidates are
            scored, see `keepers.Scoring`.
        stand_in: a small model that is scored in place of the target, and trained beside it.
        select_options: options of the selection; of `infobatch` `keep` (0.5), the fraction of the
            examples with low loss that stays, and `off` (0.125), the last share of the training,
            which is on everything.
        seed, device, precision, run, resume, progress, say: as in `keepers.coreset`.
        input, label, id, split, limit, on_bad_row: likewise.

    Raises:
        KeepersError: anything wrong with what was given.

    >>> import keepers, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = keepers.train("digits", steps=20, il_epochs=1, run=folder)
    >>> result.metadata["costs"][-1]["steps"]
    20
    """
    given = {**locals(), "select_options": dict(select_options or {}), "keep": _fraction(keep)}
    config = picked(TrainConfig, given)
    reading = picked(Reading, given)
    say = say_or_not(say)
    sought = Sought.read(config.select, il, holdout, config.irreducible(), say)
    opened = workplace(
        data,
        reading=reading,
        seed=config.seed,
        hardware=Hardware(device=config.device, precision=config.precision),
        purpose="train",
        run=run,
        resume=resume,
        progress=progress,
    )
    with opened as (source, place):
        for sentence in source.found:
            say(sentence)
        return _train(source, test, sought, config, place, reading.on_bad_row, say)


def _train(
    source: Source,
    test: Any,
    sought: Sought | None,
    config: TrainConfig,
    place: Workplace,
    on_bad_row: OnBadRow,
    say: Say,
) -> TrainResult:
    tested = None
    if test is not None:
        source, tested, _ = with_test(source, test, on_bad_row, place.progress, say)
        if sought is not None:
            sought.check(tested, say, split_off=share(test, "test") is not None)
    role = Role.parse(config.model, default_target(source.info()), "model")
    with place.ledger.phase("encoding") as tally:
        source, prepared = prepare(
            role,
            source,
            parameter="model",
            on_bad_row=on_bad_row,
            cache=place.run.path / "encoded",
            progress=place.progress,
        )
        tally.examples = len(source)
    say_skipped(source, say)
    view, test_data = None, ""
    if tested is not None:
        view = encode_like(prepared, tested, on_bad_row=on_bad_row)
        test_data = tested.fingerprint
    training = OnlineTraining(
        prepared=prepared,
        source=source,
        members=torch.arange(len(source)),
        selection=config.selection(),
        length=config.length(prepared.recipe.epochs),
        seed=config.seed,
        values=None if sought is None else torch.zeros(len(source)),  # as good for the cost
        stand_in=prepare_stand_in(config.selection(), source),
        test=view,
        test_data=test_data,
    )
    expected = None if config.select == ORIGINAL else _expected(training, place, say)
    if sought is not None:
        training = _with_losses(training, sought.of(source, place, on_bad_row, say, tested))
    if config.select == ORIGINAL:
        expected = _expected(training, place, say)
    irreducible, members = training.irreducible, training.members
    epoch = steps_in_epoch(len(members), prepared.recipe.batch_size, training.policy())
    training = replace(training, every=config.evaluate_every or _every(training.length, epoch))
    say(
        f"Target: {role.model}, {config.select}, {len(members):,} examples, "
        f"steps an epoch: {epoch:,}"
    )
    trained = train_online(place, training, say=lambda point, _: say(_words(point)))
    metadata: dict[str, Any] = plain(
        {
            "kind": "train",
            "select": config.select,
            "keep": config.keep,
            "until": config.until,
            "seed": config.seed,
            "data": {"name": source.name, "n": len(source), "fingerprint": source.fingerprint},
            "trained_on": len(members),
            "model": prepared.role.identity(),
            "irreducible": None if irreducible is None else irreducible.losses.metadata,
            "accuracy": trained.curve[-1]["accuracy"] if trained.curve else None,
            "worst_class_accuracy": (
                trained.curve[-1]["worst_class_accuracy"] if trained.curve else None
            ),
            "epochs": trained.facts["epochs"],
            "candidates": trained.facts["candidates"],
            "choosing_seconds": trained.facts["choosing_seconds"],
            "step_cost": None if expected is None else _step_cost(*expected, training, trained),
            "costs": place.ledger.by_phase(),
            "hardware": place.hardware.identity(gains_from_bf16=prepared.recipe.bf16),
        }
    )
    if processes.rank() == 0:
        result = {**metadata, "curve": trained.curve}
        write_json(place.run.path / "train.json", result)
    return TrainResult(
        weights=trained.weights,
        curve=trained.curve,
        metadata=metadata,
        run=place.run.path,
        made_losses=sought is not None and sought.il is None,
    )


def _expected(
    training: OnlineTraining, place: Workplace, say: Say
) -> tuple[StepCost, Scoring] | None:
    if not isinstance(training.policy(), Selecting):
        return None
    expected = expected_cost(training, place)
    say(in_words(*expected))
    return expected


def _with_losses(training: OnlineTraining, irreducible: Irreducible) -> OnlineTraining:
    members = irreducible.members
    values = torch.full((len(training.source),), torch.nan)
    values[members] = irreducible.losses.of(training.source.take(members.numpy()))
    return replace(training, members=members, irreducible=irreducible, values=values)


def _every(length: Length, epoch: int) -> int:
    """Steps between evaluations; nothing that is measured, so that a rerun finds the same."""
    if length.seconds is not None:
        return max(epoch, EVERY)
    total = length.steps if length.epochs is None else length.epochs * epoch
    assert total is not None
    return max(epoch, math.ceil(total / EVALUATIONS))


def _fraction(keep: float | str) -> float:
    value = Budget.parse(keep).value
    if isinstance(value, int):
        raise ParameterError(
            "keep", f"got the count {keep}", "Give the fraction of the candidates, such as 0.1"
        )
    return value


def _step_cost(
    cost: StepCost, scoring: Scoring, training: OnlineTraining, trained: OnlineTrained
) -> dict[str, Any]:
    """m as it was measured and expected, f, and how candidates were scored."""
    return {
        "measured": measured_ratio(training, trained),
        "expected": cost.ratio,
        "scoring_share": forward_share(cost),
        **vars(cost),
        "scoring": scoring,
    }


def _words(point: Point) -> str:
    return (
        f"step {point.step:,}, epoch {point.epoch:.1f}, {point.seconds:.1f} s: test accuracy "
        f"{point.accuracy:.2%}, worst class {point.worst_class_accuracy:.2%}; of what was trained "
        f"on, {point.correct:.0%} was right before its step"
    )
