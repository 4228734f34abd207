"""What a training reaches on its way: accuracy, costs, and what it was trained on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from keepers.errors import KeepersError
from keepers.tasks import Measured
from keepers.training.fitted import Fitted
from keepers.training.observer import Step


@dataclass(frozen=True, kw_only=True)
class Point:
    """One evaluation, and what was trained on since the one before.

    `seconds` are those that the training is charged with. `accuracy` is the score of the task that
    leads (accuracy, average precision, R²), `worst_class_accuracy` that of the class, label or part
    of the range that is worst; `correct` the share of what was trained on that was right before its
    step.
    """

    step: int
    epoch: float
    examples: int
    candidates: int
    flops: float
    seconds: float
    loss: float
    accuracy: float
    worst_class_accuracy: float
    correct: float


class Evaluation:
    """An observer that measures the module at regular steps; call `at_end` after the last.

    Args:
        measure: says how good the module is on the data it is measured on.
        every: steps between evaluations; 0 for none before the end.
        marks: for each name a mask (n,) over positions: the fraction of what was trained on that
            it covers is noted with each point.
        best_of: keep this module's weights where the loss was lowest.
        say: told of each point.
    """

    def __init__(
        self,
        measure: Callable[[], Measured],
        *,
        every: int = 0,
        marks: Mapping[str, Tensor] | None = None,
        best_of: nn.Module | None = None,
        device: torch.device | str = "cpu",
        say: Callable[[Point, Mapping[str, float]], None] | None = None,
    ) -> None:
        self.measure, self.every, self.best_of, self.say = measure, every, best_of, say
        self.device = torch.device(device)
        self.marks = {name: mask.to(device) for name, mask in (marks or {}).items()}
        self.points: list[Point] = []
        self.marked: list[dict[str, float]] = []
        self._counts = torch.zeros(2 + len(self.marks), dtype=torch.float32, device=device)
        self._best: dict[str, Tensor] = {}
        self._best_loss = float("inf")

    def after_step(self, step: Step) -> float:
        """Count what was trained on; measure where it is time. None of it is charged."""
        start = time.perf_counter()
        counts = [
            torch.full((), float(len(step.labels)), device=self.device),
            step.task.right(step.logits, step.labels).sum(),
            *(mask[step.positions].sum() for mask in self.marks.values()),
        ]
        self._counts += torch.stack([count.float() for count in counts])
        if self.every and step.number % self.every == 0:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)  # what is under way is the training's
                start = time.perf_counter()
            self._evaluate(
                step=step.number,
                epoch=step.epoch,
                examples=step.examples,
                candidates=step.candidates,
                flops=step.flops,
                seconds=start - step.began,
            )
        return time.perf_counter() - start

    def at_end(self, fitted: Fitted) -> Point:
        """The last point: measured now, unless the last step was measured already."""
        cost = fitted.cost
        if not self.points or self.points[-1].step != cost.steps:
            self._evaluate(
                step=cost.steps,
                epoch=fitted.epochs,
                examples=cost.examples,
                candidates=fitted.candidates,
                flops=cost.flops,
                seconds=cost.seconds,
            )
        return self.points[-1]

    def _evaluate(self, **reached: Any) -> None:
        found = self.measure()
        counts = self._counts.tolist()
        self._counts.zero_()
        point = Point(
            **reached,
            loss=found.loss,
            accuracy=found.score,
            worst_class_accuracy=found.worst_score,
            correct=counts[1] / max(1.0, counts[0]),
        )
        marked = {
            name: count / max(1.0, counts[0])
            for name, count in zip(self.marks, counts[2:], strict=True)
        }
        self.points.append(point)
        self.marked.append(marked)
        if self.best_of is not None and found.loss < self._best_loss:
            self._best_loss = found.loss
            self._best = {k: v.detach().clone() for k, v in self.best_of.state_dict().items()}
        if self.say is not None:
            self.say(point, marked)

    def restore_best(self) -> Point:
        """Give the module the weights of its lowest loss; returns that point."""
        assert self.best_of is not None
        if not self._best:
            raise KeepersError(
                "training: the held-out loss was never finite. Lower lr or use precision fp32"
            )
        self.best_of.load_state_dict(self._best)
        return min(self.points, key=lambda point: point.loss)

    def curve(self) -> list[dict[str, float]]:
        """Every point, with what the marks covered, as JSON values."""
        return [asdict(p) | marked for p, marked in zip(self.points, self.marked, strict=True)]

    def state_dict(self) -> dict[str, Tensor]:
        """The points so far, the counts since the last, and the best weights."""
        rows = [list(entry.values()) for entry in self.curve()]
        state = {
            "points": torch.tensor(rows, dtype=torch.float64),
            "counts": self._counts,
            "best_loss": torch.tensor(self._best_loss, dtype=torch.float64),
        }
        return state | {f"best.{name}": value for name, value in self._best.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from these."""
        names = [field.name for field in fields(Point)]
        for row in state["points"].tolist():
            values = dict(zip([*names, *self.marks], row, strict=True))
            self.points.append(_point({name: values[name] for name in names}))
            self.marked.append({name: values[name] for name in self.marks})
        self._counts.copy_(state["counts"])
        self._best_loss = float(state["best_loss"])
        self._best = {
            name.removeprefix("best."): value
            for name, value in state.items()
            if name.startswith("best.")
        }


def _point(values: Mapping[str, float]) -> Point:
    whole = {name: int(values[name]) for name in ("step", "examples", "candidates")}
    return Point(**{**values, **whole})  # pyright: ignore[reportArgumentType]
