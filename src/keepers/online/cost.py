"""What a selecting step costs, in plain steps of the same model."""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from keepers.models import Optimizer
from keepers.online.scorer import Autocast, LossFunction, Scorer
from keepers.online.selector import Selector
from keepers.tasks import CLASSES, Task
from keepers.training import Candidates
from keepers.training.optim import optimizer as build_optimizer

REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Seconds of choosing `kept` of `candidates`, and of a plain step on as many as are kept."""

    candidates: int
    kept: int
    choosing: float
    plain: float

    @property
    def ratio(self) -> float:
        """m: a selecting step in plain ones, and the speed-up in steps that breaks even."""
        return 1 + self.choosing / self.plain

    def __str__(self) -> str:
        choosing, plain = self.choosing * 1e3, self.plain * 1e3
        return (
            f"A selecting step costs {self.ratio:.1f} plain steps ({choosing:.1f} ms to choose "
            f"{self.kept} of {self.candidates}, {plain:.1f} ms to train on them): it saves time "
            f"if it needs fewer than 1/{self.ratio:.1f} of the steps"
        )


def measure_step(
    model: nn.Module,
    candidates: Candidates,
    scorer: Scorer,
    selector: Selector,
    *,
    known: Tensor | None = None,
    k: int | None = None,
    loss: LossFunction | None = None,
    autocast: Autocast = contextlib.nullcontext,
    task: Task = CLASSES,
    optimizer_name: Optimizer = "adamw",
) -> StepCost:
    """Time the choice among these candidates, and a training step of a copy of the model.

    The median of a few; everything is left as it was. Where losses are used again, it is the
    choice among candidates that are all too old.
    """
    before = {name: value.clone() for name, value in selector.state_dict().items()}
    under_way = scorer.state_dict()
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    twin = copy.deepcopy(model).train()
    optimizer = build_optimizer(optimizer_name, twin, lr=1e-6, momentum=0.9, weight_decay=0.01)
    optimizer.zero_grad()
    rows = torch.empty(0)

    def restore() -> None:
        selector.load_state_dict(before)

    def choose() -> None:
        nonlocal rows
        rows = selector.choose(candidates, scorer, known, k).rows

    try:
        choosing = _median(choose, restore, candidates.labels.device)
    finally:
        restore()
        scorer.load_state_dict(under_way)
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(buffers[name])
    chosen = candidates.take(rows)

    def step() -> None:
        with autocast():
            output = twin(*chosen.args, **chosen.keywords)
        if loss is not None:
            value = loss(output, chosen.labels).mean()
        else:
            value = task.loss(task.check(output, chosen.labels, chosen.version), chosen.labels)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    with torch.random.fork_rng(), torch.enable_grad():
        plain = _median(step, lambda: None, candidates.labels.device)
    return StepCost(candidates=len(candidates), kept=len(rows), choosing=choosing, plain=plain)


def _median(work: Callable[[], None], prepare: Callable[[], None], device: torch.device) -> float:
    times: list[float] = []
    for _ in range(REPEATS + 1):
        prepare()
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
