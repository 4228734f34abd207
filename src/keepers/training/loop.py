"""One training's state, and what a single optimiser step does to it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from keepers import processes
from keepers.data import DensePool
from keepers.errors import KeepersError, RunError
from keepers.models import Recipe, count_flops, to_channels_last
from keepers.processes import Runtime
from keepers.training import checkpoint
from keepers.training.candidates import Feed
from keepers.training.observer import Observer, Step
from keepers.training.optim import optimizer as build_optimizer
from keepers.training.optim import schedule, set_learning_rate
from keepers.training.policy import BatchPolicy
from keepers.types import TrainView

FORWARD_AND_BACKWARD = 3  # FLOPs of a training step over those of its forward pass
FLOPS_SAMPLE = 32  # examples on which the FLOPs of one are measured, where they differ


@dataclass
class Position:
    """How far a training is: all that a checkpoint holds beside tensors.

    `offset` counts the candidates of this epoch that are done, `batches` its steps.
    """

    identity: str = ""
    epoch: int = 0
    offset: int = 0
    batches: int = 0
    step: int = 0
    examples: int = 0
    candidates: int = 0
    seconds: float = 0.0
    choosing_seconds: float = 0.0
    choosing_flops: float = 0.0
    flops_per_example: float = 0.0
    loss_sum: float = 0.0
    losses: list[float] = field(default_factory=list[float])

    @property
    def flops(self) -> float:
        """FLOPs of the steps, and of scoring the candidates."""
        steps = self.flops_per_example * FORWARD_AND_BACKWARD * self.examples
        return steps + self.choosing_flops


class Loop:
    """A module in training, with its optimiser, its data and its place in the training."""

    def __init__(
        self,
        module: nn.Module,
        view: TrainView,
        recipe: Recipe,
        runtime: Runtime,
        seed: int,
        policy: BatchPolicy,
        observers: Sequence[Observer] = (),
    ) -> None:
        device = runtime.device
        self.module = to_channels_last(module).to(device).train()
        self.optimizer = build_optimizer(
            recipe.optimizer,
            module,
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        self.forward = runtime.parallel(module)
        self.feed = Feed(pool=view.pool, labels=view.labels, augment=view.augment, seed=seed).to(
            device
        )
        self.pool, self.labels = self.feed.pool, self.feed.labels
        self.task = view.task
        self.recipe, self.runtime = recipe, runtime
        self.policy, self.stateful = policy, (*observers, policy)
        self.watchers = self.stateful if policy.watches else tuple(observers)
        self.factor = schedule(recipe.schedule)
        self.at = Position()
        self.loss_sum = torch.zeros((), device=device)
        self.excluded = 0.0
        policy.start(
            module,
            runtime=runtime,
            seed=seed,
            num_examples=len(view.pool),
            batch_size=recipe.batch_size,
            feed=self.feed,
        )

    def step(
        self, positions: Tensor, progress: float, began: float = 0.0, passes: float = 0.0
    ) -> None:
        """One optimiser step on the candidates at `positions`; `passes` are done after it."""
        at, runtime, optimizer = self.at, self.runtime, self.optimizer
        plain = self.policy.plain(positions, progress, at.step)
        seen = positions if plain is None else plain
        here, candidates = seen.to(runtime.device), len(seen)
        self._count_flops(here)
        if plain is None:
            inputs, here, weights = self._chosen(here, progress)
        else:
            inputs = self.feed.inputs(processes.own_rows(here), at.step, processes.rank())
            weights = self.policy.weights(here)
        labels = self.labels[processes.own_rows(here)]
        set_learning_rate(optimizer, self.recipe.lr * self.factor(min(progress, 1.0)))
        with runtime.autocast():
            logits = self.forward(*inputs)
        own = None if weights is None else processes.own_rows(weights)
        loss = self.task.loss(logits, labels, own)
        # Processes average their gradients: each counts by its share of the batch.
        share = len(labels) * processes.count() / len(here)
        (loss if share == 1 else loss * share).backward()
        optimizer.step()
        optimizer.zero_grad()
        self.loss_sum += loss.detach()
        at.step += 1
        at.batches += 1
        at.offset += len(positions)
        at.examples += len(here)
        at.candidates += candidates
        if self.watchers:
            self._observe(here, logits.detach(), progress, began, passes)

    def _count_flops(self, positions: Tensor) -> None:
        if not self.at.flops_per_example:
            few = positions[: 1 if isinstance(self.pool, DensePool) else FLOPS_SAMPLE]
            flops = count_flops(self.module, self.pool.gather(few))
            self.at.flops_per_example = flops / len(few)

    def _chosen(
        self, positions: Tensor, progress: float
    ) -> tuple[tuple[Any, ...], Tensor, Tensor | None]:
        """The inputs of this process's rows of the choice, all its positions, its weights."""
        # Every process loads all candidates, so that each sees the same augmented inputs.
        candidates = self.feed.candidates(positions, self.at.step)
        start = time.perf_counter()
        choice = self.policy.choose(candidates, progress)
        if positions.device.type == "cpu":  # elsewhere it waits for the step before, too
            self.at.choosing_seconds += time.perf_counter() - start
        rows = torch.arange(len(positions)).to(positions) if choice is None else choice.rows
        inputs = candidates.cut(processes.own_rows(rows))[0]
        if choice is None:
            return inputs, positions, None
        self.at.choosing_flops += choice.flops
        return inputs, positions[rows], choice.weights

    def _observe(
        self, positions: Tensor, own_logits: Tensor, progress: float, began: float, passes: float
    ) -> None:
        at = self.at
        step = Step(
            positions=positions,
            labels=self.labels[positions],
            logits=processes.gather_rows(own_logits.float(), len(positions)),
            task=self.task,
            number=at.step,
            epoch=passes,
            examples=at.examples,
            candidates=at.candidates,
            flops=at.flops,
            progress=progress,
            began=began,
        )
        for watcher in self.watchers:
            self.excluded += watcher.after_step(step)

    def end_epoch(self) -> None:
        """Note the epoch's mean loss; stop where it is not finite."""
        at = self.at
        mean = processes.mean(float(self.loss_sum)) / max(1, at.batches)
        if not math.isfinite(mean):
            raise KeepersError(
                f"training: the loss is not finite in epoch {at.epoch + 1}. Lower lr (now "
                f"{self.recipe.lr:g}) or use precision fp32"
            )
        at.losses.append(mean)
        self.loss_sum.zero_()
        at.epoch, at.offset, at.batches = at.epoch + 1, 0, 0

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        self.at.loss_sum = float(self.loss_sum)
        if processes.rank() == 0:
            checkpoint.save(
                path,
                module=self.module,
                optimizer=self.optimizer,
                observers=self.stateful,
                facts=asdict(self.at),
            )

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint of the same training, where there is a whole one."""
        found = checkpoint.read(path)
        if found is None:
            return
        tensors, facts = found
        if facts["identity"] != self.at.identity:
            raise RunError(f"run: the checkpoint {path} belongs to another training. Remove it")
        checkpoint.restore(
            tensors, module=self.module, optimizer=self.optimizer, observers=self.stateful
        )
        self.at = Position(**facts)
        self.loss_sum.fill_(self.at.loss_sum)
