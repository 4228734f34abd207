"""Numbers: each example has one, or several."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.tasks.classes import tensor_in
from keepers.tasks.plain import Plain
from keepers.tasks.question import Answer
from keepers.tasks.question_number import NumberQuestion
from keepers.tasks.task import Measured, Targets, check_outputs, resampled

PARTS = 10
"""Strata of a number: parts of its range with about equally many examples."""

NEAR = 0.5
"""A prediction is right if it is within this many standard deviations of the target."""


def too_even(name: str, spread: float, size: float) -> ParameterError:
    """The error of a number whose spread is lost in single precision."""
    return ParameterError(
        "label",
        f"'{name}' varies by only {spread:.3g} around {size:.3g}, too little for single precision",
        "Subtract a constant from it first",
    )


@dataclass(frozen=True)
class Number(Plain):
    """Targets (n, numbers) and outputs (n, numbers) are in the units of the data.

    `mean` and `std` are those of the training targets; the loss of an example is the mean of
    ((output - target) / std)² over its numbers, so that it does not depend on the units. `edges`
    are the ends of the strata of the first number.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    edges: tuple[float, ...] = ()

    name: ClassVar[str] = "number"
    likely: ClassVar[bool] = False
    stratum: ClassVar[tuple[str, str]] = ("part of the range", "parts of the range")
    plural: ClassVar[str] = "numbers"
    said: ClassVar[str] = "predictions"
    signals: ClassVar[frozenset[str]] = frozenset(
        {
            *("predictions", "posterior_predictions", "losses", "features"),
            *("gradients", "gradient_norms", "early_gradient_norms"),
        }
    )
    score_words: ClassVar[str] = "R²"
    is_share: ClassVar[bool] = False
    right_words: ClassVar[str] = "within half a standard deviation of its target"
    unsure: ClassVar[str | None] = None
    enough: ClassVar[str] = "two different numbers are labelled"
    too_few: ClassVar[str] = "fewer than two different numbers are labelled"

    @classmethod
    def of(cls, names: tuple[str, ...], targets: Tensor) -> Number:
        """With the mean, spread and strata of training targets (n, numbers).

        Raises:
            ParameterError: a number that is the same for all examples.
        """
        std, mean = targets.double().std(0, correction=0), targets.double().mean(0)
        for name, spread, size in zip(names, std.tolist(), mean.abs().tolist(), strict=True):
            if not spread:
                raise ParameterError(
                    "label",
                    f"'{name}' is the same number in all rows",
                    "Name a column that varies with --label (label=...)",
                )
            if spread <= 1e3 * torch.finfo(torch.float32).eps * size:
                raise too_even(name, spread, size)
        at = np.linspace(0, 1, PARTS + 1)[1:-1]
        edges = np.unique(np.quantile(targets[:, 0].double().numpy(), at))
        return cls(names, tuple(mean.tolist()), tuple(std.tolist()), tuple(edges.tolist()))

    @staticmethod
    def question(names: tuple[str, ...], tolerance: tuple[float, ...] = ()) -> NumberQuestion:
        """How much it is."""
        return NumberQuestion(names, tolerance)

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the training targets."""
        return self.mean, self.std

    @property
    def strata_names(self) -> tuple[str, ...]:
        """The parts of the range, by their ends."""
        shown = [f"{edge:.4g}" for edge in self.edges]
        ends = [f"{low} to {high}" for low, high in itertools.pairwise(shown)]
        return (f"to {shown[0]}", *ends, f"over {shown[-1]}") if shown else ("all",)

    def batch(self, labels: Tensor) -> Tensor:
        """Numbers (n, numbers); of one number, (n,) will do."""
        return labels[:, None] if labels.ndim == 1 else labels

    def check(self, output: Any, targets: Tensor, version: int = 0) -> Tensor:
        """The numbers (n, numbers) in a model's output; one number may be (n,), both ways."""
        if isinstance(output, Tensor) and output.ndim == 1 and targets.ndim == 2:
            output = output[:, None]
        found = tensor_in(output, targets, "numbers (n, numbers)")
        if targets.ndim != 2 or found.shape != targets.shape:
            raise ParameterError(
                "model",
                f"got an output of shape {tuple(found.shape)} for targets {tuple(targets.shape)}",
                "Return one number for each target",
            )
        if version == 0 and bool(targets.isnan().any()):
            raise ParameterError(
                "labels", "got NaN", "Give a number for each example, or leave those out"
            )
        return found

    def check_width(self, said: Tensor, targets: Targets) -> None:
        """Refuse another number of outputs than of numbers."""
        check_outputs(said, self.num_outputs, "number")

    def losses(self, output: Tensor, targets: Tensor) -> Tensor:
        """The squared error of each example in standard deviations, averaged over its numbers."""
        if output.shape != targets.shape:
            raise ParameterError(
                "model",
                f"got an output of shape {tuple(output.shape)} for targets {tuple(targets.shape)}",
                "Return (n, numbers), one number for each target",
            )
        std = torch.tensor(self.std, dtype=torch.float32, device=output.device)
        return ((output.float() - targets.float()) / std).square().mean(1)

    def losses_of(self, said: Tensor, targets: Targets) -> Tensor:
        """The same of all examples."""
        assert isinstance(targets, Tensor)
        return self.losses(said, targets)

    def gradients(self, said: Tensor, targets: Tensor) -> Tensor:
        """2 (output - target) / std / numbers."""
        std = torch.tensor(self.std, dtype=torch.float32, device=said.device)
        return (said - targets.float()) / std * (2 / said.shape[1])

    def right(self, output: Tensor, targets: Tensor) -> Tensor:
        """1 where all numbers are within half a standard deviation (`NEAR`)."""
        std = torch.tensor(self.std, dtype=torch.float32, device=output.device)
        return (((output.float() - targets.float()).abs() / std) <= NEAR).all(1)

    def measure(self, said: Tensor, targets: Targets) -> Measured:
        """R² (averaged over the numbers), RMSE and MAE; the worst stratum by its share of error.

        `error` is 1 - R²: the squared error over the variance of these targets. That of a stratum
        is its mean squared error over the same variance.
        """
        assert isinstance(targets, Tensor)
        gap = said.double() - targets.double()
        variance = targets.double().var(0, correction=0)
        own = torch.tensor(self.std, dtype=torch.float64).square()
        variance = torch.where(variance > 0, variance, own)  # of targets that are all alike
        by_example = (gap.square() / variance).mean(1)
        strata = self.strata(targets)
        error = float(by_example.mean())
        worst = max(float(by_example[strata == each].mean()) for each in strata.unique())
        return Measured(
            loss=float(self.losses(said, targets).double().mean()),
            score=1 - error,
            error=error,
            worst_score=1 - worst,
            worst_error=worst,
            others={
                "r2": 1 - error,
                "rmse": float(gap.square().mean(0).sqrt().mean()),
                "mae": float(gap.abs().mean()),
            },
        )

    def to_fit(self, targets: Targets) -> Any:
        """Numbers (n, numbers) in double precision."""
        assert isinstance(targets, Tensor)
        return targets.double().numpy()

    def asked(self, fitted: Any, rows: Any, num_outputs: int) -> Tensor:
        """What `predict` gives."""
        found = torch.from_numpy(np.asarray(fitted.predict(rows))).float()
        return found.reshape(len(found), num_outputs)

    def quality(self, said: Tensor, targets: Targets) -> dict[str, Any]:
        """The score; to name nothing, or always the mean, scores 0."""
        found = self.measure(said, targets)
        unknown = {"calibration_error": None, "confidence": None}
        return {"score": self.score_words, "accuracy": found.score, "majority": 0.0, **unknown}

    def strata(self, targets: Targets) -> Tensor:
        """The part of the range of the first number; -1 where it is unknown."""
        assert isinstance(targets, Tensor)
        first = targets[:, 0].double()
        edges = torch.tensor(self.edges, dtype=torch.float64)
        return torch.bucketize(first, edges).masked_fill(first.isnan(), -1)

    def show(self, targets: Targets, positions: Sequence[int]) -> list[str | None]:
        """The numbers, separated by commas."""
        found = self._known_rows(targets, positions)
        return [None if row is None else ", ".join(f"{v:.7g}" for v in row) for row in found]

    def _known_rows(self, targets: Targets, positions: Sequence[int]) -> list[list[float] | None]:
        """The numbers of some examples; None where one of them is unknown."""
        assert isinstance(targets, Tensor)
        rows = targets[torch.as_tensor(positions, dtype=torch.int64)].tolist()
        return [None if any(v != v for v in row) else row for row in rows]

    @staticmethod
    def told(
        names: tuple[str, ...], count: int, places: Sequence[int], answers: Sequence[Answer]
    ) -> Any:
        """Numbers (n, numbers) in an array of float32, NaN where nothing is known."""
        found = np.full((count, len(names)), np.nan, dtype=np.float32)
        if len(places):
            found[np.asarray(places, dtype=np.int64)] = np.asarray(answers, dtype=np.float32)
        return found

    @classmethod
    def fitted(cls, names: tuple[str, ...], targets: Any) -> Number:
        """With their mean, spread and strata; of numbers without spread, 0 and 1."""
        if cls.is_cold(targets):
            return cls(names, (0.0,) * len(names), (1.0,) * len(names))
        return cls.of(names, torch.as_tensor(targets))

    @staticmethod
    def known(targets: Any) -> Tensor:
        """Those that are not NaN."""
        return ~torch.as_tensor(targets).isnan().any(1)

    @staticmethod
    def is_cold(targets: Any) -> bool:
        """One of the numbers is the same in all examples, as far as single precision tells."""
        values = torch.as_tensor(targets).double()
        if len(values) < 2:
            return True
        least = 1e3 * torch.finfo(torch.float32).eps * values.mean(0).abs()
        return not bool((values.std(0, correction=0) > least).all())

    def answers(self, targets: Targets, positions: Sequence[int]) -> list[Answer | None]:
        """The numbers."""
        found = self._known_rows(targets, positions)
        return [None if row is None else tuple(row) for row in found]

    def together(self, said: Sequence[Tensor]) -> Tensor:
        """The mean of what they predict (n, numbers)."""
        return said[0] if len(said) == 1 else torch.stack([*said]).mean(0)

    def predicted(self, said: Sequence[Tensor]) -> list[tuple[Answer, float | None]]:
        """The mean numbers; nobody gives a probability."""
        rows = self.together(said).tolist()
        return [(tuple(float(f"{number:.7g}") for number in row), None) for row in rows]

    def doubts(self, said: Sequence[Tensor]) -> Tensor | None:
        """Nobody says."""
        return None

    def interval(self, said: Tensor, targets: Targets) -> tuple[float, float]:
        """Of R², by the bootstrap."""
        assert isinstance(targets, Tensor)
        truth, predicted = targets.double(), said.double()

        def score(at: Tensor) -> float:
            spread = truth[at].var(0, correction=0).clamp(min=1e-12)
            return 1 - float(((predicted[at] - truth[at]).square().mean(0) / spread).mean())

        return resampled(score, len(said))

    def facts(self) -> dict[str, Any]:
        """Names, mean, spread and strata."""
        spread = {"mean": list(self.mean), "std": list(self.std), "edges": list(self.edges)}
        return {"task": self.name, "names": list(self.names), **spread}
