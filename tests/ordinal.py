"""A task that keepers does not have: grades in an order, by cumulative log-odds.

It stands for one of another package: `test_task_added.py` installs it.

Cao, Mirjalili and Raschka, Rank Consistent Ordinal Regression for Neural Networks, Pattern
Recognition Letters 2020: output j is the log-odds that the grade is over the j-th.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from keepers.errors import ParameterError
from keepers.tasks import Measured, Plain


@dataclass(frozen=True)
class Ordinal(Plain):
    """Targets (n,) are places in the order of the names, -1 where unknown."""

    names: tuple[str, ...]

    name: ClassVar[str] = "ordinal"
    likely: ClassVar[bool] = False
    stratum: ClassVar[tuple[str, str]] = ("grade", "grades")
    plural: ClassVar[str] = "grades"
    said: ClassVar[str] = "log_odds"
    signals: ClassVar[frozenset[str]] = frozenset(
        {"log_odds", "losses", "features", "gradients", "gradient_norms", "early_gradient_norms"}
    )
    score_words: ClassVar[str] = "closeness"

    @classmethod
    def read(
        cls, columns: Mapping[str, Sequence[Any]], like: Ordinal | None
    ) -> tuple[Tensor, Ordinal]:
        if len(columns) != 1:
            raise ValueError("names several columns, and a grade is one")
        (values,) = columns.values()
        names = sorted({str(value) for value in values if value is not None})
        task = like or cls(tuple(names))
        unknown = set(names) - set(task.names)
        if unknown:
            raise ValueError(f"holds '{min(unknown)}', which is no grade of the training data")
        at = {name: place for place, name in enumerate(task.names)}
        return torch.tensor([-1 if value is None else at[str(value)] for value in values]), task

    @property
    def num_outputs(self) -> int:
        return len(self.names) - 1

    def _over(self, targets: Tensor) -> Tensor:
        return (targets[:, None] > torch.arange(self.num_outputs, device=targets.device)).float()

    def check(self, output: Any, targets: Tensor, version: int = 0) -> Tensor:
        if not isinstance(output, Tensor) or output.shape != (len(targets), self.num_outputs):
            raise ParameterError("model", "got another shape than (n, grades - 1)")
        return output

    def check_width(self, said: Tensor, targets: Any) -> None:
        self.check(said, targets)

    def losses(self, output: Tensor, targets: Tensor) -> Tensor:
        over = self._over(targets)
        return F.binary_cross_entropy_with_logits(output.float(), over, reduction="none").mean(1)

    def losses_of(self, said: Tensor, targets: Any) -> Tensor:
        return self.losses(said, targets)

    def gradients(self, said: Tensor, targets: Tensor) -> Tensor:
        return (said.sigmoid() - self._over(targets)) / self.num_outputs

    def right(self, output: Tensor, targets: Tensor) -> Tensor:
        return ((output > 0).sum(1) == targets).float()

    def measure(self, said: Tensor, targets: Any) -> Measured:
        far = ((said > 0).sum(1) - targets).abs().double() / self.num_outputs
        worst = max(float(far[targets == each].mean()) for each in targets.unique())
        error = float(far.mean())
        return Measured(
            loss=float(self.losses(said, targets).mean()),
            score=1 - error,
            error=error,
            worst_score=1 - worst,
            worst_error=worst,
            others={"grades_apart": error * self.num_outputs},
        )

    def together(self, said: Sequence[Tensor]) -> Tensor:
        return torch.stack([each.sigmoid() for each in said]).mean(0).logit(eps=1e-6)

    def to_fit(self, targets: Any) -> Any:
        return targets.numpy()

    def asked(self, fitted: Any, rows: Any, num_outputs: int) -> Tensor:
        over = torch.from_numpy(fitted.predict_proba(rows)).flip(1).cumsum(1).flip(1)[:, 1:]
        return over.float().logit(eps=1e-6)

    def quality(self, said: Tensor, targets: Any) -> dict[str, Any]:
        found = self.measure(said, targets).score
        middle = self.measure(self._over(targets.median().expand(len(targets))) - 0.5, targets)
        unknown = {"calibration_error": None, "confidence": None}
        return {"score": self.score_words, "accuracy": found, "majority": middle.score, **unknown}

    def strata(self, targets: Any) -> Tensor:
        return targets

    def show(self, targets: Any, positions: Sequence[int]) -> list[str | None]:
        return [None if (at := int(targets[p])) < 0 else self.names[at] for p in positions]

    def facts(self) -> dict[str, Any]:
        return {"task": self.name, "names": list(self.names)}
