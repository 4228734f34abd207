"""The models behind irreducible losses: trained on other data, the best checkpoint kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from keepers import processes, selectors
from keepers.files import hash_bytes
from keepers.ledger import Ledger
from keepers.random import derived_seed, generator
from keepers.roles import Prepared
from keepers.runs import StageRecord
from keepers.scores import ranks
from keepers.signals import extract, measure, store
from keepers.tasks import Measured, Tags, Targets, labels_at
from keepers.training import Checkpoint, Evaluation, fit, steps_in_epoch
from keepers.training.policy import Shuffle
from keepers.types import EvalView, Signals
from keepers.workflows.stages import CHECKPOINT
from keepers.workflows.weights import WEIGHTS, save_weights
from keepers.workflows.workplace import Workplace

ROLE = "irreducible"
CHECKED = 2048  # examples on which the checkpoint is chosen
MOST_CHECKS = 50  # of a training: every epoch where there are fewer epochs


@dataclass(frozen=True, kw_only=True, eq=False)
class Teaching:
    """One irreducible-loss model: what it is trained on, and what gets its losses.

    `members` are positions in the data of `prepared`; `scored` and `checked` positions in `view`,
    none of which it is trained on. The checkpoint with the lowest loss on `checked` is kept.
    """

    prepared: Prepared
    data: str
    members: Tensor
    view: EvalView
    view_data: str
    scored: Tensor
    checked: Tensor
    seed: int

    def inputs(self, place: Workplace) -> dict[str, Any]:
        """All that the losses depend on, for the stage's fingerprint."""
        assert self.view.labels is not None
        return {
            "data": self.data,
            "labels": hash_bytes(self.prepared.labels.numpy()),
            "members": hash_bytes(self.members.numpy()),
            "view": self.view_data,
            "view_labels": hash_bytes(self.view.labels.numpy()),
            "scored": hash_bytes(self.scored.numpy()),
            "checked": hash_bytes(self.checked.numpy()),
            "role": self.prepared.role.identity(),
            "model": self.prepared.fingerprint,
            "seed": self.seed,
            "hardware": place.hardware.identity(gains_from_bf16=self.prepared.recipe.bf16),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Taught:
    """Losses of what was scored and of what was checked, facts, and where the weights are."""

    losses: Tensor
    checked_losses: Tensor
    facts: dict[str, Any]
    weights: Path


def teach(place: Workplace, teaching: Teaching) -> Taught:
    """Train an irreducible-loss model and collect its losses, once."""
    inputs = teaching.inputs(place)
    folder, record = place.stage(ROLE, inputs, lambda folder: _teach(place, teaching, folder))
    arrays = store.read(folder)
    return Taught(
        losses=arrays["losses"].clone(),
        checked_losses=arrays["checked_losses"].clone(),
        facts=record.facts,
        weights=folder / WEIGHTS,
    )


def _teach(place: Workplace, teaching: Teaching, folder: Path) -> StageRecord:
    prepared, view = teaching.prepared, teaching.view
    recipe = prepared.recipe
    runtime = place.hardware.runtime(gains_from_bf16=recipe.bf16)
    module = prepared.build(teaching.seed, parameter="il_model")
    ledger, checks = Ledger(), Ledger()
    store.clear(folder)

    def check() -> Measured:
        with checks.phase("irreducible-loss scoring") as tally:
            return measure(module, view, runtime=runtime, positions=teaching.checked, tally=tally)

    epoch = steps_in_epoch(len(teaching.members), recipe.batch_size, Shuffle())
    checking = Evaluation(
        check,
        every=epoch * math.ceil(recipe.epochs_of(epoch) / MOST_CHECKS),
        best_of=module,
        device=runtime.device,
    )
    fitted = fit(
        module,
        prepared.train_view(teaching.members),
        recipe,
        runtime=runtime,
        seed=derived_seed(teaching.seed, "fit"),
        phase="irreducible-loss training",
        observers=[checking],
        keep=Checkpoint(path=folder / CHECKPOINT, every=place.checkpoint_every),
        progress=place.progress,
    )
    ledger.costs.append(fitted.cost)
    checking.at_end(fitted)
    best = checking.restore_best()
    with ledger.phase("irreducible-loss scoring") as tally:
        scored = extract(
            module,
            view,
            runtime=runtime,
            wanted=(view.task.said, "losses"),
            positions=teaching.scored,
            keep=processes.rank() == 0,
            tally=tally,
            progress=place.progress,
        )
    with checks.phase("irreducible-loss scoring") as tally:
        checked = extract(
            module,
            view,
            runtime=runtime,
            wanted=("losses",),
            positions=teaching.checked,
            tally=tally,
        )
    ledger.book(checks.costs)
    facts: dict[str, Any] = {}
    if processes.rank() == 0:  # the others read what it writes
        points = [point.loss for point in checking.points]
        facts = {
            **measured(scored, view, teaching.scored),
            "best_epoch": best.epoch,
            "checked_losses": points,
        }
        found = {"losses": scored.get("losses"), "checked_losses": checked.get("losses")}
        store.write(folder, found)
        save_weights(module, prepared, folder / WEIGHTS)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return StageRecord(facts=facts, costs=tuple(ledger.costs))


def measured(signals: Signals, view: EvalView, positions: Tensor) -> dict[str, Any]:
    """Loss, score and calibration of a model, from what it says of the examples at `positions`."""
    task, targets = view.task, view.labels
    assert targets is not None
    return {
        "loss": float(signals.get("losses").double().mean()),
        **task.quality(signals.get(task.said), labels_at(targets.cpu(), positions)),
    }


def folds_of(
    labels: Targets, folds: int, *, seed: int, units: Tensor | None = None
) -> tuple[list[Tensor], Tensor]:
    """Disjoint folds, balanced by class or label, and a part that no model is trained on.

    That part, a twentieth and at most 2,048 examples, chooses the checkpoints and says how far
    the models agree. Examples with the same number in `units` (n,), such as copies of one input,
    stay together: a model that was trained on one of them has seen the others.

    >>> parts, rest = folds_of(torch.tensor([0, 1] * 50), 2, seed=0)
    >>> [len(part) for part in parts], len(rest)
    ([48, 47], 5)
    """
    n = len(labels)
    units = torch.arange(n) if units is None else units
    draw = generator(seed, "folds")
    shuffled = torch.randperm(n, generator=draw)
    _, first = np.unique(units[shuffled].numpy(), return_index=True)
    inputs = shuffled[torch.from_numpy(first).sort().values]  # one of each, in random order
    rest = inputs[min(CHECKED, max(1, len(inputs) // 20)) :]
    part = torch.full((int(units.max()) + 1,), folds)  # that of the checked is the last
    if isinstance(labels, Tags):
        by_label = selectors.folds(
            labels.take(rest), torch.arange(len(rest)), folds, generator=draw
        )
        part[units[rest]] = by_label
    else:
        by_class = rest[labels[rest].argsort(stable=True)]
        part[units[by_class]] = torch.arange(len(rest)) % folds
    *parts, checked = [(part[units] == each).nonzero().squeeze(1) for each in range(folds + 1)]
    return parts, checked


def agreement(losses: Sequence[Tensor]) -> float | None:
    """Mean rank correlation of the losses of every two models on the same examples."""
    pairs = list(itertools.combinations([ranks(values).double() for values in losses], 2))
    if not pairs or len(losses[0]) < 2:
        return None
    found = [float(torch.corrcoef(torch.stack(pair))[0, 1].nan_to_num()) for pair in pairs]
    return sum(found) / len(found)


def quality(taught: Sequence[Taught]) -> dict[str, Any]:
    """What is known of the losses before anything is trained with them."""
    facts = [each.facts for each in taught]

    def mean(name: str) -> float | None:
        values = [fact[name] for fact in facts]
        return None if None in values else sum(values) / len(values)

    return {
        **({"score": facts[0]["score"]} if "score" in facts[0] else {}),
        "loss": mean("loss"),
        "accuracy": mean("accuracy"),
        "majority": mean("majority"),
        "calibration_error": mean("calibration_error"),
        "confidence": mean("confidence"),
        "fold_losses": [fact["loss"] for fact in facts],
        "agreement": agreement([each.checked_losses for each in taught]),
        "checked": len(taught[0].checked_losses),
        "checked_losses": [fact["checked_losses"] for fact in facts],
    }
