"""`fit`: train a module on a training view."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from keepers import processes
from keepers.errors import ParameterError
from keepers.files import fingerprint, hash_bytes
from keepers.ledger import Cost
from keepers.models import Recipe
from keepers.processes import Runtime
from keepers.random import isolated
from keepers.training.fitted import Fitted
from keepers.training.length import Length
from keepers.training.loop import Loop, Position
from keepers.training.observer import Observer
from keepers.training.policy import BatchPolicy, Shuffle, next_batch, num_batches
from keepers.types import Progress, Silent, TrainView

SCORING_SHARE = 0.4  # seconds of inference over those of a training step, per example


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where to keep a checkpoint, and how often in seconds. It is removed by its owner."""

    path: Path
    every: float = 30.0


def fit(
    module: nn.Module,
    view: TrainView,
    recipe: Recipe,
    *,
    runtime: Runtime,
    seed: int,
    phase: str = "proxy training",
    policy: BatchPolicy | None = None,
    observers: Sequence[Observer] = (),
    length: Length | None = None,
    stop_after: int | None = None,
    keep: Checkpoint | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train `module` in place on the members of `view`, by `recipe`.

    The learning-rate schedule is fitted to `length`, by default that of the recipe; `stop_after`
    ends the training after this many epochs of that schedule (early scores). With `keep`, an
    interrupted call that is made again continues at the last checkpoint and, on a CPU with the
    same number of threads, ends with the same bits (but for a length in seconds).

    Raises:
        ParameterError: no members, no epochs, or a batch size too small for the processes.
        KeepersError: the loss stopped being finite.
        RunError: the checkpoint is of another training.
    """
    _check(view, recipe, length)
    policy, progress = policy or Shuffle(), progress or Silent()
    length = length or Length(epochs=epochs_of(recipe, len(view), policy))
    total = _total_steps(view, recipe, policy, length, stop_after)
    recipe = _fading(view, recipe, policy, length)
    at_least = 2 * processes.count()
    loop = Loop(module, view, recipe, runtime, seed, policy, observers)
    loop.at.identity = fingerprint(
        asdict(recipe),
        asdict(length),
        seed,
        repr(policy),
        repr(view.augment),
        stop_after,
        hash_bytes(view.positions.numpy()),
        hash_bytes(view.labels.cpu().numpy()),
        repr(module),
    )
    with isolated(seed, "training"):
        if keep is not None:
            loop.resume(keep.path)
        at, began = loop.at, time.perf_counter() - loop.at.seconds
        saved, passes = at.seconds, float(at.epoch)

        def done() -> float:
            return length.progress(epochs=passes, steps=at.step, seconds=at.seconds)

        progress.start(phase, total if length.seconds is None else round(length.seconds))
        while done() < 1 and at.epoch != stop_after:
            order = policy.order(view.positions, seed=seed, epoch=at.epoch, progress=done())
            span = _span(order, recipe, policy, at_least)
            passes = _passes(at.epoch, at.offset, span, len(order))
            while at.offset < len(order) and (progressed := done()) < 1:
                size = policy.num_candidates(recipe.batch_size, progressed)
                least = policy.num_candidates(at_least, progressed)
                positions = next_batch(order, at.offset, size, at_least=least)
                passes = _passes(at.epoch, at.offset + len(positions), span, len(order))
                if policy.lookahead:
                    rest = order[at.offset + len(positions) :]
                    _announce(policy, rest, view.positions, at, seed, size, least)
                loop.step(positions, progressed, began, passes)
                began += loop.excluded
                loop.excluded = 0.0
                at.seconds = time.perf_counter() - began
                progress.advance(at.step if length.seconds is None else int(at.seconds))
                if keep is not None and at.seconds - saved > keep.every:
                    loop.save(keep.path)
                    saved = at.seconds
            loop.end_epoch()
        if runtime.device.type == "cuda":
            torch.cuda.synchronize(runtime.device)  # what is under way is charged
            at.seconds = time.perf_counter() - began
        progress.finish()
    processes.wait()
    cost = Cost(
        phase=phase, seconds=at.seconds, examples=at.examples, steps=at.step, flops=at.flops
    )
    return Fitted(
        module=module,
        losses=tuple(at.losses),
        epochs=passes,
        cost=cost,
        candidates=at.candidates,
        choosing_seconds=at.choosing_seconds,
    )


def _announce(
    policy: BatchPolicy,
    rest: Tensor,
    members: Tensor,
    at: Position,
    seed: int,
    size: int,
    at_least: int,
) -> None:
    """Tell the policy the candidates of the next steps, which follow in this epoch and the next."""
    epoch = at.epoch
    for step in range(at.step + 1, at.step + 1 + policy.lookahead):
        if not len(rest):
            epoch += 1
            rest = policy.order(members, seed=seed, epoch=epoch)
        coming = next_batch(rest, 0, size, at_least=at_least)
        policy.announce(coming, step, at.step)
        rest = rest[len(coming) :]


def _fading(view: TrainView, recipe: Recipe, policy: BatchPolicy, length: Length) -> Recipe:
    """The recipe with the weight decay of this training; every policy has that of its steps.

    A training of seconds has that of the recipe's own length.
    """
    epoch = num_batches(len(view), recipe.batch_size)
    steps = recipe.epochs_of(epoch) * epoch
    if length.seconds is None:
        steps = _total_steps(view, recipe, policy, length, None)
    return replace(recipe, weight_decay=recipe.weight_decay_of(epoch, steps))


def epochs_of(recipe: Recipe, num_members: int, policy: BatchPolicy) -> int:
    """The epochs of a recipe on `num_members` examples, with its minimum number of steps."""
    return recipe.epochs_of(steps_in_epoch(num_members, recipe.batch_size, policy))


def steps_in_epoch(num_members: int, batch_size: int, policy: BatchPolicy) -> int:
    """How many steps an epoch has at the beginning of a training."""
    return num_batches(
        policy.epoch_length(num_members),
        policy.num_candidates(batch_size, 0.0),
        at_least=policy.num_candidates(2 * processes.count(), 0.0),
    )


def _passes(epoch: int, offset: int, span: int, whole: int) -> float:
    """Passes over the members: `offset` candidates into an epoch that has `whole`.

    Steps of an epoch are equal parts of `span`, whatever the last one holds.
    """
    return epoch + 1.0 if offset >= whole else epoch + min(offset / span, 1 - 1e-9)


def _span(order: Tensor, recipe: Recipe, policy: BatchPolicy, at_least: int) -> int:
    """Candidates of an epoch in whole batches, so that every step is an equal part of it."""
    size = policy.num_candidates(recipe.batch_size, 0.0)
    least = policy.num_candidates(at_least, 0.0)
    return size * num_batches(len(order), size, at_least=least)


def _total_steps(
    view: TrainView, recipe: Recipe, policy: BatchPolicy, length: Length, stop_after: int | None
) -> int:
    if length.steps is not None:
        return length.steps
    return steps_in_epoch(len(view), recipe.batch_size, policy) * (
        stop_after or length.epochs or recipe.epochs
    )


def estimate_seconds(
    module: nn.Module,
    view: TrainView,
    recipe: Recipe,
    *,
    runtime: Runtime,
    num_members: int | None = None,
    num_scored: int = 0,
    budget: float = 1.0,
) -> float:
    """Expected seconds of training by `recipe` and then scoring `num_scored` examples.

    The training is on `num_members` examples such as those of `view`, by default on these.
    A copy of the module takes a few steps, for about `budget` seconds; the module and the random
    state are left as they are.
    """
    loop = Loop(copy.deepcopy(module), view, recipe, runtime, 0, Shuffle())
    part = view.positions[: recipe.batch_size]
    times: list[float] = []
    with isolated(0, "estimate"):
        # Several processes take every step together, so one of them decides.
        while processes.agree(len(times) < 2 or (sum(times) < budget and len(times) < 10)):
            start = time.perf_counter()
            loop.step(part, 0.0)
            float(loop.loss_sum)
            times.append(time.perf_counter() - start)
    seconds = statistics.median(times[1:])
    in_epoch = num_batches(num_members or len(view), recipe.batch_size)
    steps = in_epoch * recipe.epochs_of(in_epoch)
    return steps * seconds + SCORING_SHARE * seconds * num_scored / len(part)


def _check(view: TrainView, recipe: Recipe, length: Length | None) -> None:
    if not len(view):
        raise ParameterError("positions", "got no example to train on", "Select at least one")
    if recipe.batch_size < 2 * processes.count():
        raise ParameterError(
            "batch_size", f"got {recipe.batch_size}", f"Give at least {2 * processes.count()}"
        )
    if length is not None and length.seconds is not None and processes.count() > 1:
        raise ParameterError(
            "seconds", "got a limit in seconds with several processes", "Give epochs or steps"
        )
