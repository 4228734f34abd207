"""`train` of conversations: a language model, tuned on what is worth a gradient step.

The training is that of the `Trainer` of transformers, with its checkpoints; keepers chooses.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from keepers import processes
from keepers.baselines import UNIFORM
from keepers.data import Source
from keepers.errors import KeepersError, MissingExtraError, ParameterError, renamed
from keepers.files import write_json
from keepers.ledger import Cost
from keepers.models import LanguageModel, TokenSequence, language_model, padded, quiet
from keepers.online import BatchSelector, IrreducibleLosses, RhoLoss, TokenSelector
from keepers.options import cut
from keepers.processes import Runtime
from keepers.random import derived_seed
from keepers.roles import Role
from keepers.runs import StageRecord
from keepers.signals import read_through
from keepers.tasks.tokens import IGNORED
from keepers.types import Progress, Silent
from keepers.workflows.conversations import as_tokens
from keepers.workflows.online.selections import AUTO, RHO_LOSS, TOKENS
from keepers.workflows.opening import Say, say_skipped
from keepers.workflows.options.shared import HardwareOptions
from keepers.workflows.options.training import IrreducibleOptions, TrainOptions
from keepers.workflows.reference import reference_losses
from keepers.workflows.workplace import Workplace

TAKEN = (AUTO, UNIFORM, TOKENS, RHO_LOSS)
"""What can be selected by; `auto` is uniform here, as nothing was measured to be better."""
_CHECKPOINTS = "checkpoints"
EPOCHS, BATCH, LR, WARMUP = 3, 8, 2e-5, 0.05
EVALUATIONS = 10  # of a training, and checkpoints
_OF_OTHERS = (
    *("seconds", "until", "stand_in", "max_age", "score_part", "score_resolution", "scorers"),
    *("max_staleness", "shortlist", "ray", "holdout", "il_epochs", "folds", "batch_norm"),
)
FLOPS = 6.0  # for each weight and token: forward twice, backward four times


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuning:
    """A target, what it is tuned on, and what chooses.

    `values` (n,) are the losses of a reference model, for rho-loss; `reference` is that model, for
    tokens. `held_out` are conversations that judge.
    """

    target: LanguageModel
    role: Role
    sequences: Sequence[TokenSequence]
    options: TrainOptions
    select: str
    held_out: Sequence[TokenSequence] = ()
    values: Tensor | None = None
    reference: LanguageModel | None = None

    @property
    def batch(self) -> int:
        """Conversations of a step, before anything is chosen."""
        size = self.role.batch_size or BATCH
        return round(size / self.options.keep) if self.select == RHO_LOSS else size

    @property
    def epochs(self) -> int:
        """Passes over the conversations, or over the candidates."""
        return self.options.epochs or self.role.epochs or EPOCHS

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.options.steps or self.epochs * -(-len(self.sequences) // self.batch)

    @property
    def keep(self) -> float:
        """The share of the tokens that has a say in a step."""
        return float(self.options.select_options.get("keep", TokenSelector().budget.value))

    def inputs(self, hardware: Mapping[str, Any], content: str) -> dict[str, Any]:
        """What the result depends on."""
        return {
            "data": content,
            "model": self.target.fingerprint,
            "role": asdict(self.role),
            "select": self.select,
            "steps": self.steps,
            "epochs": self.epochs,
            "keep": self.keep if self.select == TOKENS else self.options.keep,
            "seed": self.options.seed,
            "values": None if self.values is None else self.values.tolist(),
            "reference": None if self.reference is None else self.reference.fingerprint,
            "held out": [each.ids.tolist() for each in self.held_out],
            "every": self.every,
            "hardware": hardware,
        }

    @property
    def every(self) -> int:
        """Steps between measurements, and between checkpoints."""
        return self.options.evaluate_every or max(1, self.steps // EVALUATIONS)


def tuning_of(
    source: Source, test: Source | None, options: TrainOptions, place: Workplace, say: Say
) -> tuple[Source, Tuning, IrreducibleLosses | None]:
    """Everything opened and checked: the data, the tuning, and losses of a reference, if any.

    Raises:
        ParameterError: no target, a selection or an option that is not for conversations, or no
            reference for a selection that needs one.
        MissingExtraError: transformers or accelerate are not installed.
    """
    select = UNIFORM if options.select == AUTO else options.select
    role = _role(options)
    _check(options, select)
    target = language_model(role.model, "model", length=role.options.get("length"))
    source, sequences = as_tokens(source, target, options.on_bad_row, say, "model")
    say_skipped(source, say)
    found = Tuning(target=target, role=role, sequences=sequences, options=options, select=select)
    if test is not None:
        _, held_out = as_tokens(test, target, options.on_bad_row, say, "model")
        found = replace(found, held_out=held_out)
    losses = None
    if select == RHO_LOSS:
        losses = _losses(source, options, place, say)
        found = replace(found, values=losses.of(source))
    if select == TOKENS:
        name: Any = options.il_model
        given = Role.parse(name, "hf:", "il_model")
        reference = language_model(given.model, "il_model", length=given.options.get("length"))
        found = replace(found, reference=reference)
    return source, found, losses


def _check(options: TrainOptions, select: str) -> None:
    if select not in TAKEN:
        raise ParameterError(
            "select", f"got '{select}', which chooses no conversations", f"Give one of {TAKEN}"
        )
    for name in _OF_OTHERS:
        if getattr(options, name) != getattr(TrainOptions, name):
            raise ParameterError(
                name,
                f"got {getattr(options, name)}, and the data are conversations",
                "Leave it out",
            )
    if processes.started() > 1:
        raise ParameterError(
            "data",
            "got conversations in several processes",
            "keepers train tunes in one; SelectingTrainerMixin works in a Trainer of several",
        )
    if select in (TOKENS, UNIFORM) and options.il is not None:
        raise ParameterError(
            "il", f"got {options.il}, and '{select}' has no use for losses", "Leave it out"
        )
    if select == TOKENS and options.il_model is None:
        raise ParameterError(
            "il_model",
            "got none, and tokens are chosen by their loss over that of a reference model",
            "Name a causal language model that was tuned on good data: --il-model hf:PATH",
        )
    if select == RHO_LOSS and options.il_model is None and options.il is None:
        raise ParameterError(
            "il",
            "got none, and conversations are chosen by their loss over that of a reference model",
            "Give the file of 'keepers il --model hf:PATH', or name the model with --il-model "
            "hf:PATH; --select uniform chooses nothing",
        )
    for name in ("transformers", "accelerate"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError("keepers train of conversations", "hf")


def _role(options: TrainOptions) -> Role:
    if options.model is None:
        raise ParameterError(
            "model",
            "got none, and conversations are what a language model is tuned on",
            "Name one with --model hf:PATH: a folder, a GGUF file or a hub name",
        )
    role = Role.parse(options.model, "hf:", "model")
    for name in sorted(set(role.options) - {"length"}):
        raise ParameterError("model.options", f"got {name!r}", "A language model takes length")
    for name in ("optimizer", "momentum", "schedule", "resolution", "augment", "flip", "min_steps"):
        if getattr(role, name) is not None:
            raise ParameterError(
                f"model.{name}", f"got {getattr(role, name)}", "A language model has none: AdamW"
            )
    return role


def _losses(source: Source, options: TrainOptions, place: Workplace, say: Say) -> IrreducibleLosses:
    if options.il is not None:
        given = options.il
        return given if isinstance(given, IrreducibleLosses) else IrreducibleLosses.load(given)
    shared = vars(cut(options, HardwareOptions))
    reading = IrreducibleOptions(model=options.il_model, on_bad_row=options.on_bad_row, **shared)
    with renamed({"model": "il_model"}):
        return reference_losses(source, reading, place, say)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Where the tuned model lies, its curve, what it took, and the seconds of choosing."""

    folder: Path
    curve: list[dict[str, float]]
    cost: Cost


def tune_chosen(source: Source, tuning: Tuning, place: Workplace, say: Say) -> Tuned:
    """Tune, once: a rerun finds it, and a kill loses what came after the last checkpoint.

    Raises:
        KeepersError: a loss that is no finite number, or what the Trainer refuses.
    """
    hardware = place.hardware.identity(gains_from_bf16=True)

    def compute(folder: Path) -> StageRecord:
        return _tune(tuning, folder, place, say)

    folder, record = place.run.stage("tuned", tuning.inputs(hardware, source.content), compute)
    place.book(folder, record)
    return Tuned(folder=folder, curve=record.facts["curve"], cost=record.costs[0])


def _tune(tuning: Tuning, folder: Path, place: Workplace, say: Say) -> StageRecord:
    runtime = place.hardware.runtime(gains_from_bf16=True)
    checkpoints = folder / _CHECKPOINTS
    watcher = _Watcher(tuning, runtime, folder, place.progress, say)
    last = _last(checkpoints)
    if last is not None:
        watcher.resume(int(last.name.rpartition("-")[2]))
    with quiet():
        trainer = _trainer(tuning, checkpoints, runtime, watcher)
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    seconds, module = watcher.seconds, trainer.model
    watcher.progress.finish()
    if not all(bool(each.isfinite().all()) for each in module.parameters()):
        raise KeepersError(
            "target training: the weights are no numbers any more. Lower the learning rate "
            f"(--set model.lr, now {tuning.role.lr or LR:g}) or use precision fp32"
        )
    watcher.measure(trainer.state.global_step)
    with quiet():
        module.save_pretrained(folder)
        tuning.target.tokenizer.save_pretrained(folder)
    shutil.rmtree(checkpoints, ignore_errors=True)
    watcher.file.unlink(missing_ok=True)
    seen = trainer.state.global_step * tuning.batch
    lengths = [len(each.ids) for each in tuning.sequences]
    weights = sum(each.numel() for each in module.parameters())
    cost = Cost(
        phase="target training",
        seconds=seconds,
        examples=seen,
        steps=trainer.state.global_step,
        flops=FLOPS * weights * seen * sum(lengths) / len(lengths),
    )
    return StageRecord(facts={"curve": watcher.curve}, costs=(cost,))


def _last(folder: Path) -> Path | None:
    """The newest checkpoint that is whole: what it says of the training is written last."""
    found = [each.parent for each in folder.glob("checkpoint-*/trainer_state.json")]
    return max(found, key=lambda each: int(each.name.rpartition("-")[2]), default=None)


def _trainer(tuning: Tuning, folder: Path, runtime: Runtime, watcher: Any) -> Any:
    """The Trainer, with what chooses in front of it."""
    import transformers

    from keepers.integrations.huggingface import SelectingTrainerMixin
    from keepers.integrations.tokens import TokenSelectingTrainerMixin

    warmup = round(WARMUP * tuning.steps)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=tuning.batch,
        max_steps=tuning.steps,
        learning_rate=tuning.role.lr or LR,
        weight_decay=tuning.role.weight_decay or 0.0,
        warmup_steps=warmup,
        lr_scheduler_type="cosine",
        save_strategy="steps",
        save_steps=tuning.every,
        save_total_limit=2,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=runtime.device.type == "cpu",
        bf16=runtime.bf16,
        seed=derived_seed(tuning.options.seed, "fit") % 2**31,
        dataloader_num_workers=0,
    )
    given: dict[str, Any] = {
        "model": tuning.target.module,
        "args": arguments,
        "train_dataset": rows_of(tuning.sequences),
        "data_collator": collate,
        "callbacks": [_callback(watcher)],
    }

    class Quiet(transformers.Trainer):
        """What it would print is said here."""

        def __init__(self, *others: Any, **more: Any) -> None:
            super().__init__(*others, **more)
            self.remove_callback(transformers.PrinterCallback)

    base: Any = Quiet
    if tuning.reference is not None:

        class ChoosingTokens(TokenSelectingTrainerMixin, base): ...

        chooser = TokenSelector(tuning.reference.module, keep=tuning.keep)
        return ChoosingTokens(**given, selector=chooser)
    if tuning.values is not None:

        class Choosing(SelectingTrainerMixin, base): ...

        return Choosing(**given, selector=_chooser(tuning, tuning.values))
    return base(**given)


def _chooser(tuning: Tuning, values: Tensor) -> BatchSelector:
    losses = IrreducibleLosses.given(ids=range(len(values)), values=values)
    return RhoLoss(losses, keep=tuning.options.keep, task="tokens", seed=tuning.options.seed)


def rows_of(sequences: Sequence[TokenSequence]) -> list[dict[str, Any]]:
    """What the Trainer takes: tokens, labels that are -100 where nothing is learnt, and numbers."""
    return [
        {
            "input_ids": each.ids,
            "labels": each.ids.masked_fill(~each.learnt, IGNORED),
            "id": place,
        }
        for place, each in enumerate(sequences)
    ]


def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """A batch, padded on the right.

    >>> ids = torch.tensor([5, 6]), torch.tensor([7, 8, 9])
    >>> batch = collate([{"input_ids": each, "labels": each, "id": 0} for each in ids])
    >>> batch["attention_mask"].tolist(), batch["labels"][0].tolist()
    ([[1, 1, 0], [1, 1, 1]], [5, 6, -100])
    """
    sequences = [
        TokenSequence(ids=row["input_ids"], learnt=row["labels"] != IGNORED) for row in rows
    ]
    ids, learnt, lengths = padded(sequences)
    batch = {
        "input_ids": ids,
        "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
        "labels": ids.masked_fill(~learnt, IGNORED),
    }
    if "id" in rows[0]:
        batch["id"] = torch.tensor([row["id"] for row in rows])
    return batch


class _Watcher:
    """Measures held-out conversations and reports; its curve is kept beside the checkpoints."""

    def __init__(
        self, tuning: Tuning, runtime: Runtime, folder: Path, progress: Progress | None, say: Say
    ) -> None:
        self.tuning, self.runtime, self.say = tuning, runtime, say
        self.file = folder / "curve.json"
        self.progress: Progress = progress or Silent()
        self.curve, self.before = list[dict[str, float]](), 0.0
        self.start = time.perf_counter()
        self.progress.start("target training", tuning.steps)

    @property
    def seconds(self) -> float:
        """Since the training began, interruptions left out."""
        return self.before + time.perf_counter() - self.start

    def resume(self, step: int) -> None:
        """Be where the checkpoint of a step was."""
        found = json.loads(self.file.read_text())
        self.before = found["seconds"]
        self.curve = [each for each in found["curve"] if each["step"] <= step]

    def keep(self) -> None:
        """Write the curve down."""
        write_json(self.file, {"seconds": self.seconds, "curve": self.curve})

    def measure(self, step: int) -> None:
        """One point of the curve, at most one for each step."""
        if not self.tuning.held_out or any(each["step"] == step for each in self.curve):
            return
        module = self.tuning.target.module
        training = module.training
        read = read_through(self.tuning.target, self.tuning.held_out, runtime=self.runtime)
        module.train(training)
        loss = float(read.sums.sum() / read.counts.sum())
        self.curve.append({"step": step, "seconds": self.seconds, "loss": loss})
        self.say(f"step {step:,}, {self.seconds:.1f} s: held-out loss {loss:.4f} nats per token")


def _callback(watcher: _Watcher) -> Any:
    import transformers

    class Watching(transformers.TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            watcher.measure(state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            watcher.progress.advance(state.global_step)
            if state.global_step % watcher.tuning.every == 0:
                watcher.measure(state.global_step)

        def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            watcher.keep()

    return Watching()
