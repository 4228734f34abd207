"""The stage that trains a target in its selection."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keepers import processes
from keepers.ledger import Cost
from keepers.online import Selecting
from keepers.random import derived_seed
from keepers.runs import StageRecord
from keepers.signals import measure, store
from keepers.training import BatchPolicy, Checkpoint, Evaluation, Point, fit
from keepers.workflows.online.training import OnlineTraining
from keepers.workflows.stages import CHECKPOINT
from keepers.workflows.weights import WEIGHTS, save_weights
from keepers.workflows.workplace import Workplace


@dataclass(frozen=True, kw_only=True, eq=False)
class OnlineTrained:
    """The curve of a training (points as JSON values), its cost, and where the weights are."""

    curve: list[dict[str, float]]
    facts: dict[str, Any]
    cost: Cost
    weights: Path


def train_online(
    place: Workplace,
    training: OnlineTraining,
    say: Callable[[Point, Mapping[str, float]], None] | None = None,
) -> OnlineTrained:
    """Train a target in its selection, once: a rerun finds it, a kill loses one interval."""
    inputs = training.inputs(place)
    folder, record = place.stage("target", inputs, lambda at: _train(place, training, at, say))
    return OnlineTrained(
        curve=record.facts["curve"],
        facts=record.facts,
        cost=record.costs[0],
        weights=folder / WEIGHTS,
    )


def hand_over_facts(policy: BatchPolicy) -> dict[str, Any] | None:
    """When and why a selection ended by itself, and in words; None where it did not."""
    ended = policy.ended if isinstance(policy, Selecting) else None
    return None if ended is None else {**asdict(ended), "why": str(ended)}


def _train(
    place: Workplace,
    training: OnlineTraining,
    folder: Path,
    say: Callable[[Point, Mapping[str, float]], None] | None,
) -> StageRecord:
    prepared = training.prepared
    runtime = place.hardware.runtime(gains_from_bf16=prepared.recipe.bf16)
    module = prepared.build(training.seed, parameter="model")
    observers: list[Evaluation] = []
    if training.test is not None:
        view = training.test
        observers.append(
            Evaluation(
                lambda: measure(module, view, runtime=runtime),
                every=training.every,
                marks=training.marks,
                device=runtime.device,
                say=say,
            )
        )
    policy = training.policy()
    with contextlib.closing(policy):
        fitted = fit(
            module,
            prepared.train_view(training.members),
            prepared.recipe,
            runtime=runtime,
            seed=derived_seed(training.seed, "fit"),
            phase="target training",
            policy=policy,
            observers=observers,
            length=training.length,
            keep=Checkpoint(path=folder / CHECKPOINT, every=place.checkpoint_every),
            progress=place.progress,
        )
    curve: list[dict[str, float]] = []
    for evaluation in observers:
        evaluation.at_end(fitted)
        curve = evaluation.curve()
    if processes.rank() == 0:
        store.clear(folder)
        save_weights(module, prepared, folder / WEIGHTS)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    facts: dict[str, Any] = {
        "curve": curve,
        "losses": fitted.losses,
        "epochs": fitted.epochs,
        "candidates": fitted.candidates,
        "choosing_seconds": fitted.choosing_seconds,
        "hand_over": hand_over_facts(policy),
        "scorers": policy.scorer_facts() if isinstance(policy, Selecting) else None,
    }
    return StageRecord(facts=facts, costs=(fitted.cost,))
