"""`Task`: what targets are, what a model's output means for them, and what counts as right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from keepers.errors import ParameterError
from keepers.tasks.question import Answer, Question
from keepers.tasks.tags import Tags
from keepers.tensors import row_blocks

Targets = Tensor | Tags
"""Class numbers (n,), numbers (n, d) or the labels of n examples; an index gives those of a few."""


RESAMPLES = 400
"""Draws of the examples by which the interval of a score is estimated."""


def labels_at(targets: Any, positions: Any) -> Any:
    """The targets of some examples, of the same kind: `Tags`, a tensor or an array."""
    return targets.take(positions) if isinstance(targets, Tags) else targets[positions]


def pairs_of(shares: Targets, unlabelled: int = -1) -> tuple[Tensor, Tensor]:
    """The class, stratum or label of each example that has one, and the example: two (m,).

    An example with several labels is there for each of them, one that is known to have none under
    the number `unlabelled`; it is left out where that is -1, as is what is not known.

    >>> pairs_of(torch.tensor([1, -1, 0]))
    (tensor([1, 0]), tensor([0, 2]))
    >>> pairs_of(Tags.of([[0, 1], [], None, [1]], 2), 2)
    (tensor([0, 1, 1, 2]), tensor([0, 0, 3, 1]))
    """
    if not isinstance(shares, Tags):
        rows = (shares >= 0).nonzero()[:, 0]
        return shares[rows], rows
    empty = shares.offsets.diff() == 0
    empty &= torch.ones_like(empty) if shares.known is None else shares.known
    rows = empty.nonzero()[:, 0][: len(empty) if unlabelled >= 0 else 0]
    numbers = torch.full_like(rows, unlabelled)
    return torch.cat([shares.members, numbers]), torch.cat([shares.rows(), rows])


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How good predictions are.

    `score` is the metric that leads, 1 where all is right; `error` is 1 less it. `worst_score` and
    `worst_error` are those of the class, label or part of the range that it is worst at. `loss` is
    the mean loss, `others` further metrics by name.
    """

    loss: float
    score: float
    error: float
    worst_score: float
    worst_error: float
    others: Mapping[str, float] = field(default_factory=dict[str, float])


def weighted_mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of losses (n,), each multiplied by its weight."""
    return (losses if weights is None else losses * weights).mean()


def resampled(score: Callable[[Tensor], float], count: int) -> tuple[float, float]:
    """The 95% bootstrap interval of a score of `count` examples, given by their positions.

    Source: Efron 1979, Bootstrap Methods: Another Look at the Jackknife (percentiles).
    """
    draw = torch.Generator().manual_seed(0)
    drawn = [score(torch.randint(count, (count,), generator=draw)) for _ in range(RESAMPLES)]
    low, high = torch.tensor(drawn).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def check_outputs(said: Tensor, count: int, what: str) -> None:
    """Refuse predictions (n, outputs) of others than `count` outputs.

    Raises:
        ParameterError: there are more, or fewer.
    """
    if said.shape[1] != count:
        raise ParameterError(
            "model",
            f"gives {said.shape[1]} outputs for {count} {what}s",
            f"Give a model with an output for each {what}",
        )


def gradients_of(task: Task, said: Tensor, targets: Targets, *, norms: bool) -> Tensor:
    """The gradients (n, outputs) of all examples, or their norms (n,), block by block."""

    def some(rows: slice) -> Tensor:
        found = task.gradients(said[rows], targets[torch.arange(rows.start, rows.stop)])
        return found.norm(dim=1) if norms else found

    out = torch.empty(len(said)) if norms else torch.empty_like(said)
    for rows in row_blocks(said):
        out[rows] = some(rows)
    return out


class Task(Protocol):
    """What differs between classes, several labels, and numbers. Nothing above asks which it is.

    A task knows the names of its classes, labels or numbers, and whatever else of the data its
    losses depend on.
    """

    name: ClassVar[str]
    """`class`, `labels`, `number`: as it is named and written."""
    likely: ClassVar[bool]
    """Whether exp(-loss) is the probability of the target, on which a hand-over goes."""
    stratum: ClassVar[tuple[str, str]]
    """What one of the strata is called, and several."""
    floor: ClassVar[int]
    """Fewest examples of each stratum that a core-set keeps unless told otherwise."""
    plural: ClassVar[str]
    """What the targets are called in a sentence."""
    said: ClassVar[str]
    """The field of `Signals` that holds what a model predicts."""
    signals: ClassVar[frozenset[str]]
    """The fields of `Signals` that such a model can give, in a pass or while it trains."""
    score_words: ClassVar[str]
    """What `Measured.score` is called: accuracy, average precision, R²."""
    is_share: ClassVar[bool]
    """Whether the score is the share of the examples that are right."""
    right_words: ClassVar[str]
    """What an example is that `right` counts as right, as the end of a sentence: it is ..."""
    unsure: ClassVar[str | None]
    """The method that `auto` takes in a campaign of many labels; None: random stays."""
    enough: ClassVar[str]
    """From when on a model can be trained, as the end of a sentence."""
    too_few: ClassVar[str]
    """What is said of labels that are too few, or too much alike, to train on."""

    @staticmethod
    def question(names: tuple[str, ...], tolerance: tuple[float, ...] = ()) -> Question:
        """What people are asked, about these names; votes for numbers may lie so far apart."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, labels or numbers."""
        ...

    @property
    def num_outputs(self) -> int:
        """The width of a model's output."""
        ...

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the targets that a network's output is stretched by.

        Empty where its output is taken as it is.
        """
        ...

    def begin(self, module: nn.Module) -> nn.Module:
        """The module, its last layer made to begin with what is known of the targets alone."""
        ...

    def batch(self, labels: Tensor) -> Tensor:
        """The targets of a batch of somebody's own loop, as `losses` takes them."""
        ...

    def check(self, output: Any, targets: Tensor, version: int = 0) -> Tensor:
        """The output (n, outputs) of anyone's model, or what is wrong with it or the targets.

        Raises:
            ParameterError: they do not fit each other, or are something else.
        """
        ...

    def check_width(self, said: Tensor, targets: Targets) -> None:
        """Refuse a model whose output is of another width than the targets need.

        Raises:
            ParameterError: it is.
        """
        ...

    def say(self, output: Tensor) -> Tensor:
        """What an output (n, outputs) predicts, as the signal `said`."""
        ...

    def loss(self, output: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """The mean loss that is trained on, each example multiplied by its weight."""
        ...

    def losses(self, output: Tensor, targets: Tensor) -> Tensor:
        """The loss (n,) of each example."""
        ...

    def losses_of(self, said: Tensor, targets: Targets) -> Tensor:
        """The losses (n,) of predictions that `say` gave, of all examples."""
        ...

    def gradients(self, said: Tensor, targets: Tensor) -> Tensor:
        """The gradients (n, outputs) of the losses by the model's output, from what `say` gave.

        Of classes p - onehot, of labels (p - y) / labels, and of numbers 2 (output - target) /
        std / numbers: those of what a network gives before it is stretched.
        """
        ...

    def right(self, output: Tensor, targets: Tensor) -> Tensor:
        """How much of each example (n,) is right, from 0 to 1."""
        ...

    def measure(self, said: Tensor, targets: Targets) -> Measured:
        """How good the predictions of n examples are."""
        ...

    def to_fit(self, targets: Targets) -> Any:
        """The targets as `fit` of scikit-learn takes them."""
        ...

    def asked(self, fitted: Any, rows: Any, num_outputs: int) -> Tensor:
        """What a model of scikit-learn predicts of rows (r, outputs), float32, as by `say`."""
        ...

    def quality(self, said: Tensor, targets: Targets) -> dict[str, Any]:
        """What tells whether losses of such predictions mean something.

        `accuracy` (the score), `majority` (that of one that looks at no input), `confidence` and
        `calibration_error` (None where there is no such thing).
        """
        ...

    def strata(self, targets: Targets) -> Tensor:
        """The stratum (n,) of each example: its class, its rarest label, its part of the range.

        Floors and balance are over these; -1 where the target is unknown.
        """
        ...

    def proportions(self, targets: Targets) -> Targets:
        """What a stratified choice, splits and folds keep in proportion.

        The strata (n,), or all labels of each example.
        """
        ...

    @property
    def strata_names(self) -> tuple[str, ...]:
        """What the strata are called."""
        ...

    def show(self, targets: Targets, positions: Sequence[int]) -> list[str | None]:
        """The targets of some examples, as a person reads them; None where unknown."""
        ...

    @staticmethod
    def told(
        names: tuple[str, ...], count: int, places: Sequence[int], answers: Sequence[Answer]
    ) -> Any:
        """The targets of `count` examples as a `Source` holds them; known at some places."""
        ...

    @classmethod
    def fitted(cls, names: tuple[str, ...], targets: Any) -> Task:
        """The task of training targets, all known; of none it knows the names alone."""
        ...

    @staticmethod
    def known(targets: Any) -> Tensor:
        """Which targets (n,) are known."""
        ...

    @staticmethod
    def is_cold(targets: Any) -> bool:
        """Whether there are too few targets, all known, or too much alike, to train on."""
        ...

    def answers(self, targets: Targets, positions: Sequence[int]) -> list[Answer | None]:
        """The targets of some examples as a person would give them; None where unknown."""
        ...

    def together(self, said: Sequence[Tensor]) -> Tensor:
        """The mean prediction of several models, as `say` would give it."""
        ...

    def predicted(self, said: Sequence[Tensor]) -> list[tuple[Answer, float | None]]:
        """What several models take each example for, and how probable they think that is.

        None where they give no probability.
        """
        ...

    def doubts(self, said: Sequence[Tensor]) -> Tensor | None:
        """How unsure several models are (n,) of each example, by which models are compared.

        None where they do not say.
        """
        ...

    def interval(self, said: Tensor, targets: Targets) -> tuple[float, float]:
        """The 95% interval of the score of predictions, over draws of the examples."""
        ...

    def facts(self) -> dict[str, Any]:
        """What it takes to make it again, as JSON values."""
        ...
