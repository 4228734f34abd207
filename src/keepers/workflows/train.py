"""`train`: a target, trained on what is worth a gradient step."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from keepers import processes
from keepers.baselines import UNIFORM
from keepers.data import Source, mark
from keepers.errors import ParameterError
from keepers.files import atomic_folder, atomic_path, check_folder, check_output, plain
from keepers.models import default_target
from keepers.online import Scorers, doubt
from keepers.options import taking
from keepers.roles import Role, encode_like
from keepers.runs import RECORD
from keepers.tasks import Task
from keepers.training import Point, steps_in_epoch
from keepers.words import counted
from keepers.workflows.expected import expected_cost, known_facts, step_facts
from keepers.workflows.online import (
    AUTO,
    ORIGINAL,
    RHO_LOSS,
    TOKENS,
    OnlineTrained,
    OnlineTraining,
    prepare_stand_in,
    train_online,
)
from keepers.workflows.opening import check_outputs, say_skipped, share, workplace
from keepers.workflows.options.training import TrainOptions
from keepers.workflows.sought import EVERY_STEP, Sought, is_plain
from keepers.workflows.tested import with_test
from keepers.workflows.train_language import tuning_of
from keepers.workflows.trainer import CURVE, tune_chosen
from keepers.workflows.workplace import Workplace, say_or_not


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainResult:
    """A trained target.

    `weights` is a safetensors file with the state of the module; for a language model it is a
    folder that transformers opens. `curve` has one entry for each evaluation; `metadata` has the
    settings and the cost. If the training made irreducible losses (`made_losses`), they are in
    `run` as il.parquet.
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


@taking(TrainOptions)
def train(data: Any, options: TrainOptions) -> TrainResult:
    """Train a target with online selection: each step takes the best `keep` of its candidates.

    By default `auto` decides whether to select; otherwise every step is uniform. A selecting step
    has n_B = n_b / keep candidates, and trains on the n_b with the highest scores. n_b
    is the batch size of the model's recipe, and an epoch is one pass over the candidates.

    With conversations the Trainer of transformers tunes a causal language model, with AdamW and a
    learning rate that warms up and decays. `rho-loss` and `tokens` select with a reference model.

    Args:
        data: as in `keepers.coreset`.

    Raises:
        KeepersError: an argument or the data are invalid.

    >>> import keepers, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = keepers.train("digits", steps=20, il_epochs=1, run=folder)
    >>> result.metadata["costs"][-1]["steps"]
    20
    """
    say = say_or_not(options.say)
    if options.scorers is not None:
        Scorers(options.scorers, address=options.ray).check()
        if options.ray is None:
            say("Scorers on this machine take cores from the trainer: measured, threads did better")
    for read in (data, options.test, options.holdout, options.il):
        check_outputs(read, options)
    losses = options.irreducible(options.seed)
    sought = Sought.read(options.selects, options.il, options.holdout, losses, say)
    with workplace(data, options, purpose="train", seed=options.seed) as (source, place):
        _check_out(source, options)
        if source.kind == "chat":
            result = _tuned(source, options, place)
        elif options.selects == TOKENS:
            raise ParameterError(
                "select",
                f"got '{TOKENS}', but {source.name} holds no conversations",
                "Take another",
            )
        else:
            if is_plain(source, options):
                say(EVERY_STEP)
                options, sought = replace(options, select=UNIFORM), None
            elif options.select is None and source.other_task is not None:
                options = replace(options, select=RHO_LOSS)  # an option of it was given
            result = _train(source, sought, options, place)
    if options.out is not None and result.weights.is_dir():
        with atomic_folder(Path(options.out)) as partial:
            extra = shutil.ignore_patterns(RECORD, CURVE)
            shutil.copytree(result.weights, partial, dirs_exist_ok=True, ignore=extra)
            mark(partial)
    elif options.out is not None and processes.rank() == 0:
        with atomic_path(Path(options.out), overwrite=options.overwrite) as partial:
            shutil.copyfile(result.weights, partial)
    return result


def _check_out(source: Source, options: TrainOptions) -> None:
    """Refuse a file for a language model and a folder for others, before anything is trained."""
    if options.out is not None and source.kind == "chat":
        check_folder(Path(options.out), "out")
    elif options.out is not None:
        check_output(Path(options.out), overwrite=options.overwrite)


def _train(
    source: Source, sought: Sought | None, config: TrainOptions, place: Workplace
) -> TrainResult:
    tested, say = None, place.say
    if config.test is not None:
        source, tested, _ = with_test(source, config.test, config, say)
        if sought is not None:
            sought.check(tested, say, split_off=share(config.test, "test") is not None)
    training = ready(source, tested, sought, config, place)
    source = training.source
    auto = config.selects == AUTO
    doubted = sought and auto and doubt(sought.origin, few_passes=training.few_passes)
    if doubted:
        say(f"auto: every step is uniform: {doubted}")
        auto, sought = False, None
        training = training.uniform()
    expected = None if config.selects == ORIGINAL else expected_cost(training, place)
    if sought is not None:
        training = training.with_losses(sought.of(source, place, tested))
    if config.selects == ORIGINAL:
        expected = expected_cost(training, place)
    facts = None
    if (auto or config.selects == RHO_LOSS) and expected is not None:
        facts = known_facts(training, expected[0], place)
        for sentence in facts.sentences():
            say(sentence)
        if auto and not facts.pays:
            say("auto: every step is uniform")
            expected, training = None, training.uniform()
    members, recipe = training.members, training.prepared.recipe
    epoch = steps_in_epoch(len(members), recipe.batch_size, training.policy())
    length = config.length(recipe.epochs_of(epoch))
    training = replace(training, length=length, every=config.every(length, epoch))
    say(
        f"Target: {training.prepared.role.model}, {training.selection.selects}, "
        f"{counted(len(members), 'example')}, "
        f"{counted(epoch, 'step')} per epoch"
    )
    task = training.prepared.task
    trained = train_online(place, training, say=lambda point, _: say(_words(point, task)))
    if trained.facts["hand_over"] is not None:
        say(trained.facts["hand_over"]["why"])
    scorers = trained.facts["scorers"]
    if scorers is not None:
        for sentence in _of_scorers(scorers):
            say(sentence)
        if processes.rank() == 0:
            place.run.leave("schedule.json", scorers["schedule"], say)
        scorers = {name: value for name, value in scorers.items() if name != "schedule"}
    metadata = plain(
        {
            **_facts(config, training, trained),
            "selected_by": training.selection.selects,
            "online_facts": None if facts is None else {**vars(facts), "pays": facts.pays},
            "scorers": scorers,
            "step_cost": None if expected is None else step_facts(*expected, training, trained),
            "costs": place.ledger.by_phase(),
            "hardware": place.hardware.identity(gains_from_bf16=recipe.bf16),
        }
    )
    if processes.rank() == 0:
        place.run.leave("train.json", {**metadata, "curve": trained.curve}, say)
    return TrainResult(
        weights=trained.weights,
        curve=trained.curve,
        metadata=metadata,
        run=place.run.path,
        made_losses=sought is not None and sought.il is None,
    )


def _tuned(source: Source, options: TrainOptions, place: Workplace) -> TrainResult:
    """A language model, tuned on conversations."""
    tested = None
    if options.test is not None:
        source, tested, _ = with_test(source, options.test, options, place.say)
    source, tuning, losses = tuning_of(source, tested, options, place)
    place.say(
        f"Target: {tuning.role.model}, {tuning.select}, {counted(len(source), 'conversation')}, "
        f"{counted(tuning.steps, 'step')} of {tuning.step_words}"
    )
    tuned = tune_chosen(source, tuning, place)
    last = tuned.curve[-1] if tuned.curve else {}
    metadata = plain(
        {
            "kind": "train",
            "select": options.select or tuning.select,
            "selected_by": tuning.select,
            "keep": tuning.keep if tuning.select == TOKENS else options.keep,
            "seed": options.seed,
            "data": {"name": source.name, "n": len(source), "fingerprint": source.fingerprint},
            "trained_on": len(source),
            "model": tuning.settings(),
            "irreducible": None
            if losses is None
            else {**losses.metadata, "fingerprint": losses.fingerprint},
            "reference": options.il_model,
            "task": source.task.name,
            "score": "held-out loss",
            "loss": last.get("loss"),
            "epochs": tuned.cost.examples / len(source),
            "candidates": tuned.cost.examples,
            "costs": place.ledger.by_phase(),
            "hardware": place.hardware.identity(gains_from_bf16=True),
        }
    )
    place.run.leave("train.json", {**metadata, "curve": tuned.curve}, place.say)
    return TrainResult(
        weights=tuned.folder, curve=tuned.curve, metadata=metadata, run=place.run.path
    )


def ready(
    source: Source,
    tested: Source | None,
    sought: Sought | None,
    config: TrainOptions,
    place: Workplace,
) -> OnlineTraining:
    """All but the irreducible losses: the data are encoded for the target and the stand-in."""
    selection = config.selection()
    if config.selects == AUTO:
        selection = replace(selection, select=RHO_LOSS)
    role = Role.parse(config.model, default_target(source.info(), in_steps=True), "model")
    source, prepared = place.encode(role, source, parameter="model")
    say_skipped(source, place.say)
    view, test_data = None, ""
    if tested is not None:
        view = encode_like(prepared, tested, on_bad_row=place.on_bad_row)
        test_data = tested.fingerprint
    return OnlineTraining(
        prepared=prepared,
        source=source,
        members=torch.arange(len(source)),
        selection=selection,
        length=config.length(prepared.recipe.epochs),
        seed=config.seed,
        values=None if sought is None else torch.zeros(len(source)),  # as good for the cost
        stand_in=prepare_stand_in(selection, source),
        test=view,
        test_data=test_data,
        scorers=None if config.scorers is None else Scorers(config.scorers, address=config.ray),
    )


def _facts(
    config: TrainOptions, training: OnlineTraining, trained: OnlineTrained
) -> dict[str, Any]:
    source, irreducible = training.source, training.irreducible
    last = trained.curve[-1] if trained.curve else {}
    losses = None if irreducible is None else irreducible.losses
    return {
        "kind": "train",
        "select": config.selects,
        "keep": config.keep,
        "until": config.until,
        "hand_over": trained.facts["hand_over"],
        "seed": config.seed,
        "data": {"name": source.name, "n": len(source), "fingerprint": source.fingerprint},
        "trained_on": len(training.members),
        "model": training.prepared.role.identity(),
        "irreducible": None
        if losses is None
        else {**losses.metadata, "fingerprint": losses.fingerprint},
        "task": training.prepared.task.name,
        "score": training.prepared.task.score_words,
        "stratum": training.prepared.task.stratum[0],
        "accuracy": last.get("accuracy"),
        "worst_class_accuracy": last.get("worst_class_accuracy"),
        "epochs": trained.facts["epochs"],
        "candidates": trained.facts["candidates"],
        "choosing_seconds": trained.facts["choosing_seconds"],
    }


def _of_scorers(facts: dict[str, Any]) -> list[str]:
    """What scorers elsewhere did, and what happened to them."""
    drifted = [] if facts["drifted"] is None else [facts["drifted"]["why"]]
    ages = [step - min(versions) for step, versions in facts["schedule"]]
    behind = sum(age > 0 for age in ages)
    how = "all steps by the weights of the step"
    if behind:
        how = f"{counted(behind, 'step')} of {len(ages):,} by weights {max(ages)} old or less"
    return [
        f"Scorers: {facts['count']}, {facts['seconds']:.1f} s of their time; {how}",
        *facts["notes"],
        *drifted,
    ]


def _words(point: Point, task: Task) -> str:
    return (
        f"step {point.step:,}, epoch {point.epoch:.1f}, {point.seconds:.1f} s: test "
        f"{task.score_words} {point.accuracy:.2%}, worst {task.stratum[0]} "
        f"{point.worst_class_accuracy:.2%}; of what was trained on, {point.correct:.0%} was "
        f"{task.right_words} before its step"
    )
