"""`fit`: train a module on a training view."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from keepers import processes
from keepers.errors import KeepersError, ParameterError, RunError
from keepers.files import fingerprint, hash_bytes
from keepers.ledger import Cost
from keepers.models import Recipe, count_flops
from keepers.random import derived_seed, generator, isolated
from keepers.training import checkpoint
from keepers.training.dynamics import Observer, Step
from keepers.training.hardware import to_channels_last
from keepers.training.optim import optimizer as build_optimizer
from keepers.training.optim import schedule, set_learning_rate
from keepers.training.policy import BatchPolicy, Shuffle, batches, num_batches
from keepers.types import Progress, Silent, TrainView

FORWARD_AND_BACKWARD = 3  # FLOPs of a training step over those of its forward pass
FLOPS_SAMPLE = 32  # examples on which the FLOPs of one are measured
SCORING_SHARE = 0.4  # seconds of inference over those of a training step, per example


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where to keep a checkpoint, and how often in seconds. It is removed by its owner."""

    path: Path
    every: float = 30.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A trained module, the mean training loss of each epoch, and what it cost."""

    module: nn.Module
    losses: tuple[float, ...]
    cost: Cost


def fit(
    module: nn.Module,
    view: TrainView,
    recipe: Recipe,
    *,
    fabric: Fabric,
    seed: int,
    phase: str = "proxy training",
    policy: BatchPolicy | None = None,
    observers: Sequence[Observer] = (),
    stop_after: int | None = None,
    keep: Checkpoint | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train `module` in place on the members of `view`, by `recipe`.

    The learning-rate schedule is fitted to the steps of `recipe.epochs`; `stop_after` ends the
    training after so many epochs of that schedule (early scores). With `keep`, an interrupted
    call that is made again continues at the last checkpoint and, on a CPU with the same number
    of threads, ends with the same bits.

    Raises:
        ParameterError: no members, no epochs, or a batch size too small for the processes.
        KeepersError: the loss stopped being finite.
        RunError: the checkpoint is of another training.
    """
    _check(view, recipe)
    policy, progress = policy or Shuffle(), progress or Silent()
    epochs = recipe.epochs if stop_after is None else min(stop_after, recipe.epochs)
    at_least = 2 * processes.count()
    steps_in_epoch = num_batches(
        policy.epoch_length(len(view)), recipe.batch_size, at_least=at_least
    )
    loop = _Loop(module, view, recipe, fabric, seed, observers, steps_in_epoch * recipe.epochs)
    loop.at.identity = fingerprint(
        asdict(recipe),
        seed,
        repr(policy),
        repr(view.augment),
        stop_after,
        hash_bytes(view.positions.numpy()),
        hash_bytes(view.labels.cpu().numpy()),
        repr(module),
    )
    with isolated(seed, "training"):
        if keep is not None and checkpoint.readable(keep.path):
            loop.resume(keep.path)
        at, clock = loop.at, time.perf_counter()
        saved = clock - at.seconds
        progress.start(phase, steps_in_epoch * epochs)
        while at.epoch < epochs:
            order = policy.order(view.positions, seed=seed, epoch=at.epoch)
            parts = batches(order, recipe.batch_size, at_least=at_least)
            for positions in parts[at.batch :]:
                loop.step(positions)
                at.batch += 1
                progress.advance(at.step)
                at.seconds += (now := time.perf_counter()) - clock
                clock = now
                if keep is not None and clock - saved > keep.every:
                    loop.save(keep.path)
                    saved = clock
            loop.end_epoch(len(parts))
        progress.finish()
    processes.wait()
    cost = Cost(
        phase=phase,
        seconds=at.seconds,
        examples=at.examples,
        steps=at.step,
        flops=at.flops_per_example * FORWARD_AND_BACKWARD * at.examples,
    )
    return Fitted(module=module, losses=tuple(at.losses), cost=cost)


def estimate_seconds(
    module: nn.Module,
    view: TrainView,
    recipe: Recipe,
    *,
    fabric: Fabric,
    num_scored: int = 0,
    budget: float = 1.0,
) -> float:
    """Expected seconds of training by `recipe` and then scoring `num_scored` examples.

    A copy of the module takes a few steps, for about `budget` seconds; the module and the random
    state are left as they are.
    """
    loop = _Loop(copy.deepcopy(module), view, recipe, fabric, 0, (), total_steps=1_000_000)
    part = view.positions[: recipe.batch_size]
    times: list[float] = []
    with isolated(0, "estimate"):
        # Several processes take every step together, so one of them decides.
        while processes.agree(len(times) < 2 or (sum(times) < budget and len(times) < 10)):
            start = time.perf_counter()
            loop.step(part)
            float(loop.loss_sum)
            times.append(time.perf_counter() - start)
    seconds = statistics.median(times[1:])
    steps = num_batches(len(view), recipe.batch_size) * recipe.epochs
    return steps * seconds + SCORING_SHARE * seconds * num_scored / len(part)


def _check(view: TrainView, recipe: Recipe) -> None:
    if not len(view):
        raise ParameterError("positions", "got no example to train on", "Select at least one")
    if recipe.batch_size < 2 * processes.count():
        raise ParameterError(
            "batch_size", f"got {recipe.batch_size}", f"Give at least {2 * processes.count()}"
        )


@dataclass
class _Position:
    """How far a training is: all that a checkpoint holds beside tensors."""

    identity: str = ""
    epoch: int = 0
    batch: int = 0
    step: int = 0
    examples: int = 0
    seconds: float = 0.0
    flops_per_example: float = 0.0
    loss_sum: float = 0.0
    losses: list[float] = field(default_factory=list[float])


class _Loop:
    def __init__(
        self,
        module: nn.Module,
        view: TrainView,
        recipe: Recipe,
        fabric: Fabric,
        seed: int,
        observers: Sequence[Observer],
        total_steps: int,
    ) -> None:
        device = fabric.device
        self.module = to_channels_last(module).to(device).train()
        self.optimizer = build_optimizer(
            recipe.optimizer,
            module,
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        several = processes.count() > 1
        self.forward = cast("nn.Module", fabric.setup_module(module)) if several else module
        self.pool, self.labels = view.pool.to(device), view.labels.to(device)
        self.augment, self.augmenting = view.augment, generator(seed, "augment", device=device)
        self.recipe, self.fabric, self.seed, self.observers = recipe, fabric, seed, observers
        self.factor, self.total_steps = schedule(recipe.schedule), total_steps
        self.at = _Position()
        self.loss_sum = torch.zeros((), device=device)

    def step(self, positions: Tensor) -> None:
        """One optimiser step on the examples at `positions`."""
        at, fabric, optimizer = self.at, self.fabric, self.optimizer
        inputs, labels = self._load(processes.own_rows(positions).to(fabric.device))
        if not at.flops_per_example:
            few = self.pool.gather(positions[:FLOPS_SAMPLE].to(fabric.device))
            at.flops_per_example = count_flops(self.module, few) / len(positions[:FLOPS_SAMPLE])
        set_learning_rate(optimizer, self.recipe.lr * self.factor(at.step / self.total_steps))
        with fabric.autocast():
            logits = self.forward(*inputs)
        loss = F.cross_entropy(logits.float(), labels)
        # Processes average their gradients: each counts by its share of the batch.
        share = len(labels) * processes.count() / len(positions)
        fabric.backward(loss if share == 1 else loss * share)
        optimizer.step()
        optimizer.zero_grad()
        self.loss_sum += loss.detach()
        if self.observers:
            self._observe(positions, logits.detach())
        at.step += 1
        at.examples += len(positions)

    def _load(self, own: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        inputs = self.pool.gather(own)
        if self.augment is not None:
            # A function of (seed, step, process): a resumed run draws the same.
            self.augmenting.manual_seed(
                derived_seed(self.seed, "augment", self.at.step, processes.rank())
            )
            inputs = self.augment(inputs, self.augmenting)
        return inputs, self.labels[own]

    def _observe(self, positions: Tensor, own_logits: Tensor) -> None:
        logits = processes.gather_rows(own_logits.float(), len(positions))
        here = positions.to(self.fabric.device)
        step = Step(positions=here, labels=self.labels[here], logits=logits)
        for observer in self.observers:
            observer.after_step(step)

    def end_epoch(self, num_batches: int) -> None:
        """Note the epoch's mean loss; stop where it is not finite."""
        at = self.at
        mean = processes.mean(float(self.loss_sum)) / num_batches
        if not math.isfinite(mean):
            raise KeepersError(
                f"training: the loss is not finite in epoch {at.epoch + 1} of "
                f"{self.recipe.epochs}. Lower lr (now {self.recipe.lr:g}) or use precision fp32"
            )
        at.losses.append(mean)
        self.loss_sum.zero_()
        at.epoch, at.batch = at.epoch + 1, 0

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        self.at.loss_sum = float(self.loss_sum)
        if processes.rank() == 0:
            checkpoint.save(
                path,
                module=self.module,
                optimizer=self.optimizer,
                observers=self.observers,
                facts=asdict(self.at),
            )

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint of the same training."""
        facts: dict[str, Any] = checkpoint.load(
            path, module=self.module, optimizer=self.optimizer, observers=self.observers
        )
        if facts["identity"] != self.at.identity:
            raise RunError(f"run: the checkpoint {path} is of another training. Remove it")
        self.at = _Position(**facts)
        self.loss_sum.fill_(self.at.loss_sum)
