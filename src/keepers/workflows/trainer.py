"""Tuning a language model by the `Trainer` of transformers; keepers chooses."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from keepers.data import Source
from keepers.errors import KeepersError, ParameterError
from keepers.files import write_json
from keepers.ledger import Cost
from keepers.models import TokenSequence, padded, quiet
from keepers.online import BatchSelector, IrreducibleLosses, RhoLoss, TokenSelector
from keepers.processes import Runtime
from keepers.random import derived_seed
from keepers.runs import StageRecord
from keepers.signals import read_through
from keepers.tasks.tokens import IGNORED
from keepers.training import forward_flops, tuning_flops
from keepers.types import Progress, Silent
from keepers.workflows.sequence_scorer import SequenceScorer
from keepers.workflows.train_language import Tuning
from keepers.workflows.workplace import Workplace

WARMUP = 0.05
CURVE = "curve.json"
"""Beside the model: what was measured, and how long it took."""
_CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Where the tuned model lies, its curve, and what it took."""

    folder: Path
    curve: list[dict[str, float]]
    cost: Cost


def tune_chosen(source: Source, tuning: Tuning, place: Workplace) -> Tuned:
    """Tune, once: a rerun finds it, and a kill loses what came after the last checkpoint.

    Raises:
        KeepersError: a loss that is no finite number, or what the Trainer refuses.
    """
    hardware = place.hardware.identity(gains_from_bf16=True)

    inputs = tuning.inputs(hardware, source.content)
    folder, record = place.stage("tuned", inputs, lambda folder: _tune(tuning, folder, place))
    return Tuned(folder=folder, curve=record.facts["curve"], cost=record.costs[0])


def _tune(tuning: Tuning, folder: Path, place: Workplace) -> StageRecord:
    runtime = place.hardware.runtime(gains_from_bf16=True)
    watcher = _Watcher(tuning, runtime, folder, place)
    if not watcher.resume():
        _fit(tuning, folder, runtime, watcher)
    shutil.rmtree(folder / _CHECKPOINTS, ignore_errors=True)
    cost = Cost(
        phase="target training",
        seconds=watcher.before,
        examples=tuning.seen,
        steps=tuning.steps,
        flops=_flops(tuning, tuning.target.module),
    )
    return StageRecord(facts={"curve": watcher.curve}, costs=(cost,))


def _fit(tuning: Tuning, folder: Path, runtime: Runtime, watcher: _Watcher) -> None:
    """Take the steps that are left, and write the model into the folder."""
    checkpoints = folder / _CHECKPOINTS
    last = _last(checkpoints)
    watcher.begin(0 if last is None else int(last.name.rpartition("-")[2]))
    with quiet():
        trainer = _trainer(tuning, checkpoints, runtime, watcher)
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    module = trainer.model
    watcher.progress.finish()
    if not all(bool(each.isfinite().all()) for each in module.parameters()):
        raise KeepersError(
            "target training: the weights are no numbers any more. Lower the learning rate "
            f"(--set model.lr, now {tuning.lr:g}) or use precision fp32"
        )
    watcher.measure(tuning.steps)
    with quiet():
        module.save_pretrained(folder)
        tuning.target.tokenizer.save_pretrained(folder)
    watcher.keep(whole=True)


def _flops(tuning: Tuning, module: nn.Module) -> float:
    """Operations of the steps, and of the passes that choose."""
    lengths = [len(each.ids) for each in tuning.sequences]
    tokens = tuning.seen * sum(lengths) / len(lengths)
    flops = tuning_flops(module, tokens)
    if tuning.values is not None:
        return flops * tuning.options.keep + forward_flops(module, tokens)
    if tuning.reference is not None:
        return flops + forward_flops(tuning.reference.module, tokens)
    return flops


def _last(folder: Path) -> Path | None:
    """The newest checkpoint that is whole: what it says of the training is written last."""
    found = [each.parent for each in folder.glob("checkpoint-*/trainer_state.json")]
    return max(found, key=lambda each: int(each.name.rpartition("-")[2]), default=None)


def _trainer(tuning: Tuning, folder: Path, runtime: Runtime, watcher: Any) -> Any:
    """The Trainer, with what chooses in front of it."""
    import transformers

    from keepers.integrations.huggingface import SelectingTrainerMixin
    from keepers.integrations.tokens import TokenSelectingTrainerMixin

    if runtime.device.index:
        raise ParameterError(
            "device",
            f"got {runtime.device}, but the Trainer of transformers uses the first device",
            f"Set CUDA_VISIBLE_DEVICES={runtime.device.index}, and leave it out",
        )
    warmup = round(WARMUP * tuning.steps)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=tuning.batch,
        max_steps=tuning.steps,
        learning_rate=tuning.lr,
        weight_decay=tuning.weight_decay,
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
    # On several it would take as many batches a step.
    arguments._n_gpu = min(1, arguments.n_gpu)  # pyright: ignore[reportPrivateUsage]
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

        class Choosing(SelectingTrainerMixin, base):
            """Trains on what was chosen without the padding of the rest."""

            def _cut(self, batch: dict[str, Any]) -> dict[str, Any]:
                return without_padding(super()._cut(batch))

        return Choosing(**given, selector=_chooser(tuning, tuning.values))
    return base(**given)


def _chooser(tuning: Tuning, values: Tensor) -> BatchSelector:
    losses = IrreducibleLosses.given(ids=range(len(values)), values=values)
    return RhoLoss(
        losses,
        keep=tuning.options.keep,
        task="tokens",
        seed=tuning.options.seed,
        backend=SequenceScorer.backend,
    )


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


def without_padding(batch: Mapping[str, Any]) -> dict[str, Any]:
    """A batch up to its longest row.

    >>> masked = torch.tensor([[1, 1, 0], [1, 0, 0]])
    >>> without_padding({"attention_mask": masked, "id": torch.tensor([4, 7])})
    {'attention_mask': tensor([[1, 1],
            [1, 0]]), 'id': tensor([4, 7])}
    """
    longest = int(batch["attention_mask"].sum(1).max())
    return {name: each[:, :longest] if each.ndim == 2 else each for name, each in batch.items()}


class _Watcher:
    """Measures held-out conversations and reports; its curve is kept beside the checkpoints."""

    def __init__(self, tuning: Tuning, runtime: Runtime, folder: Path, place: Workplace) -> None:
        self.tuning, self.runtime, self.say = tuning, runtime, place.say
        self.file = folder / CURVE
        self.progress: Progress = place.progress or Silent()
        self.curve, self.before = list[dict[str, float]](), 0.0
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the training began, interruptions left out."""
        return self.before + time.perf_counter() - self.start

    def resume(self) -> bool:
        """Read what was kept, if anything; whether the whole training is over."""
        if not self.file.exists():
            return False
        found = json.loads(self.file.read_text())
        self.before, self.curve = found["seconds"], found["curve"]
        return bool(found.get("whole"))

    def begin(self, step: int) -> None:
        """Be where the checkpoint of a step was; before the first curve was kept, there is none."""
        self.curve = [each for each in self.curve if each["step"] <= step]
        self.start = time.perf_counter()
        self.progress.start("target training", self.tuning.steps)

    def keep(self, *, whole: bool = False) -> None:
        """Write the curve down; `whole` says that the model is written, too."""
        self.before, self.start = self.seconds, time.perf_counter()
        write_json(self.file, {"seconds": self.before, "curve": self.curve, "whole": whole})

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
            if state.global_step >= state.max_steps:  # to go on from there would take a step more
                control.should_save = False

        def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            watcher.keep()

    return Watching()
