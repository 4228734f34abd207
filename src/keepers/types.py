"""The vocabulary: what travels between the modules, and the protocols at their seams.

Positions are integers into the examples in sorted-id order; rows are the user's own numbering.
Only what is written or shown carries rows; every draw and every tie is over positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor

from keepers.errors import KeepersError, ParameterError
from keepers.tasks import CLASSES, Tags, Targets, Task, labels_at

Kind = Literal["image", "text", "vector", "chat"]


@dataclass(frozen=True)
class Budget:
    """How much to keep: a count (an integer) or the fraction kept (a float or a percentage).

    >>> Budget.parse(0.5).resolve(9), Budget.parse("50%").resolve(8), Budget.parse(5).resolve(9)
    (5, 4, 5)
    """

    value: int | float

    @classmethod
    def parse(cls, keep: int | float | str | Budget, parameter: str = "keep") -> Self:
        """Read `0.5`, `"50%"`, `"0.5"` (fractions kept) or `5000`, `"5000"` (counts).

        Raises:
            ParameterError: not a number, 0 or less, or a fraction over 1.
        """
        value: int | float
        if isinstance(keep, Budget):
            value = keep.value
        elif isinstance(keep, str):
            value = _read_budget(keep.strip(), parameter)
        else:
            value = keep
        remedy = "Give a fraction kept in (0, 1] such as 0.5 or 50%, or a count such as 5000"
        number: Any = value
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ParameterError(parameter, f"got {keep!r}", remedy)
        if not math.isfinite(number):
            raise ParameterError(parameter, f"got {keep!r}", remedy)
        if value <= 0:
            raise ParameterError(parameter, f"got {keep!r}, which keeps nothing", remedy)
        if isinstance(value, float) and value > 1:
            raise ParameterError(parameter, f"got the fraction {keep!r}, which is over 1", remedy)
        return cls(value)

    def resolve(self, n: int, parameter: str = "keep") -> int:
        """The count out of `n` examples: max(1, ⌊keep·n + ½⌋) for a fraction.

        Raises:
            ParameterError: a count over `n`.
        """
        if isinstance(self.value, float):
            return max(1, math.floor(self.value * n + 0.5))
        if self.value > n:
            raise ParameterError(
                parameter,
                f"got the count {self.value}, but there are only {n} examples to choose from",
                f"Give a count up to {n}, or a fraction kept such as 0.5",
            )
        return self.value

    def __str__(self) -> str:
        if isinstance(self.value, float):
            return f"{self.value * 100:g}%"
        return str(self.value)


def _read_budget(text: str, parameter: str) -> int | float:
    try:
        if text.endswith("%"):
            return float(text[:-1]) / 100
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        remedy = "Give 0.5, 50% or a count such as 5000"
        raise ParameterError(parameter, f"got {text!r}, which is not a number", remedy) from None


@dataclass(frozen=True)
class TokenBudget(Budget):
    """How many tokens to keep: a count ("2M", "500k", 2000000) or the fraction of all.

    >>> TokenBudget.parse("2M").resolve(3_000_000), TokenBudget.parse("10%").resolve(5_000)
    (2000000, 500)
    """

    @classmethod
    def parse(cls, keep: int | float | str | Budget, parameter: str = "keep_tokens") -> Self:
        """Read what `Budget.parse` reads, and counts that end in k, M or G.

        Raises:
            ParameterError: as `Budget.parse`.
        """
        power = _POWERS.get(keep.strip()[-1:].lower()) if isinstance(keep, str) else None
        if isinstance(keep, str) and power is not None:
            try:
                keep = round(float(keep.strip()[:-1]) * power)
            except ValueError:
                raise ParameterError(
                    parameter, f"got {keep!r}, which is not a number", "Give 2M, 500k, 20000 or 10%"
                ) from None
        return super().parse(keep, parameter)

    def resolve(self, n: int, parameter: str = "keep_tokens") -> int:
        """The count out of `n` tokens.

        Raises:
            ParameterError: a count over `n`.
        """
        if isinstance(self.value, int) and self.value > n:
            raise ParameterError(
                parameter,
                f"got {self.value:,}, but there are only {n:,} tokens to choose from",
                f"Give a count up to {n:,}, or a fraction such as 10%",
            )
        return super().resolve(n, parameter)

    def __str__(self) -> str:
        counted = f"{self.value:,}" if isinstance(self.value, int) else super().__str__()
        return f"{counted} tokens" if isinstance(self.value, int) else f"{counted} of the tokens"


_POWERS = {"k": 10**3, "m": 10**6, "g": 10**9}


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """What a model factory is told about the data it will see.

    `shape` is (channels, height, width) for pictures, (features,) for vectors, () for text.
    `num_classes` is the width of the output: a logit for each class, the log-odds of each label, or
    a number for each target, by `task`.
    """

    kind: Kind
    shape: tuple[int, ...]
    num_classes: int
    task: str = "class"


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """How raw inputs become tensors; part of every cache key.

    Pictures: `size` (height, width) and `channels`. Text: `scheme` `hashed` (words and their
    n-grams hashed into `buckets`; with `apart`, each length of n-gram into its own `buckets`),
    `characters` (`length` of them), `tokens` (the tokeniser at `tokenizer`, at most `length`
    tokens), or `raw` (strings, for pipelines of scikit-learn and encoders that split texts
    themselves). `normalise`: `data` (mean and standard deviation of the training inputs),
    `none`, or `fixed` with `mean` and `std` for each channel.
    """

    kind: Kind
    size: tuple[int, int] | None = None
    channels: int | None = None
    scheme: Literal["hashed", "characters", "tokens", "raw"] | None = None
    buckets: int = 0
    ngrams: int = 2
    apart: bool = False
    length: int = 0
    tokenizer: str = ""
    normalise: Literal["data", "none", "fixed"] = "none"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a model factory returns: the module and how its input is encoded.

    `module(*inputs)` gives logits of shape (n, classes). Penultimate features need no naming:
    they are the input of the last leaf module with parameters that runs. `task` is known of a
    model that `keepers.load_model` read: names of its outputs, losses, what is right.
    """

    module: torch.nn.Module
    encoder: EncoderSpec
    task: Task | None = None


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """What a factory returns for a classifier of scikit-learn, and how its input is encoded.

    `make(seed)` gives one that is not fitted: `fit`, `predict_proba`, `classes_`. With `embedder`
    it is fitted on what that module gives, (n, d), its weights as they are. `code` names the
    Python modules whose code it is beside scikit-learn's.
    """

    make: Callable[[int], Any]
    encoder: EncoderSpec
    embedder: torch.nn.Module | None = None
    code: tuple[str, ...] = ()


class Pool(Protocol):
    """Encoded inputs, addressed by position."""

    def __len__(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        ...

    @property
    def device(self) -> torch.device:
        """Where `gather` gives its tensors."""
        ...

    def gather(self, positions: Tensor) -> tuple[Tensor, ...]:
        """The inputs at `positions` (int64), as the arguments of a module's `forward`."""
        ...

    def to(self, device: torch.device | str) -> Pool:
        """The same pool on another device."""
        ...


class Augment(Protocol):
    """A batched augmentation of a pool's inputs."""

    def __call__(
        self, inputs: tuple[Tensor, ...], generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Inputs of the same shapes and dtypes, drawn with `generator`."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainView:
    """The training view: augmented. `fit` takes only this.

    `positions` (m,) are the members that are trained on, as positions into the pool. `task` says
    what the labels (n, ...) mean.
    """

    pool: Pool
    labels: Targets
    positions: Tensor
    augment: Augment | None = None
    task: Task = CLASSES

    def __len__(self) -> int:
        return len(self.positions)

    def restrict(self, positions: Tensor) -> TrainView:
        """The view of other members of the same pool."""
        return replace(self, positions=positions)


@dataclass(frozen=True, kw_only=True, eq=False)
class EvalView:
    """The evaluation view: never augmented. `extract` takes only this."""

    pool: Pool
    labels: Targets | None = None
    task: Task = CLASSES

    def __len__(self) -> int:
        return len(self.pool)


@dataclass(frozen=True, kw_only=True, eq=False)
class Signals:
    """What one model said of each example: the only thing scores and selectors are given.

    Shapes: `log_probs` (n, classes); `log_odds` (n, labels) of several labels; `predictions`
    (n, numbers) in the units of the data, `posterior_predictions` (n, models, numbers) those of an
    ensemble; `posterior_log_probs` (n, samples, classes), of draws of the weights: one
    model with dropout on, or the members of an ensemble; `out_of_fold_log_probs` (n, classes), each
    row of a model that was trained on the other folds; `labels` (n,), the classes, or the strata of
    other targets, and `proportions` what a stratified choice keeps in proportion instead, which is
    all labels of examples that have several; `losses` (n,); `gradients` (n, outputs) of the
    losses by the model's output, `gradient_norms` (n,) their lengths, and `early_gradient_norms`
    (n, runs) those of models that were stopped early in training; `irreducible_losses` (n,), of a
    model trained on other data; of answers of language models, `qualities` (n,), scores that
    somebody brings, or ifd, `answer_losses` (n,), the mean of each over its tokens,
    `unconditional_losses` (n,), the same without its prompt, `lengths` (n,) in characters, and
    `similarities` (n, queries) to target examples, and `gradient_similarities` (n, tasks), cosines
    of gradients, means over the target examples of each task; `features` (n, d); `forgetting`
    (n,), the number of forgetting events, ∞ where never learnt; `aum` (n,), mean margin over
    training.
    """

    log_probs: Tensor | None = None
    log_odds: Tensor | None = None
    predictions: Tensor | None = None
    posterior_log_probs: Tensor | None = None
    posterior_predictions: Tensor | None = None
    out_of_fold_log_probs: Tensor | None = None
    labels: Tensor | None = None
    losses: Tensor | None = None
    gradients: Tensor | None = None
    gradient_norms: Tensor | None = None
    early_gradient_norms: Tensor | None = None
    irreducible_losses: Tensor | None = None
    qualities: Tensor | None = None
    answer_losses: Tensor | None = None
    unconditional_losses: Tensor | None = None
    lengths: Tensor | None = None
    similarities: Tensor | None = None
    gradient_similarities: Tensor | None = None
    features: Tensor | None = None
    forgetting: Tensor | None = None
    aum: Tensor | None = None
    proportions: Targets | None = None

    def __post_init__(self) -> None:
        if len({len(value) for value in vars(self).values() if value is not None}) > 1:
            lengths = {name: len(value) for name, value in self.items()}
            raise KeepersError(f"signals: lengths differ: {lengths}. Give one value per example")

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """The signals that are there, by name; without `proportions`."""
        for name, value in vars(self).items():
            if value is not None and name != "proportions":
                yield name, value

    def __len__(self) -> int:
        return next((len(value) for _, value in self.items()), 0)

    def get(self, name: str) -> Tensor:
        """One signal.

        Raises:
            KeepersError: it is not there.
        """
        value: Tensor | None = getattr(self, name)
        if value is None:
            here = ", ".join(name for name, _ in self.items()) or "none"
            raise KeepersError(f"signals: '{name}' is missing; there are: {here}")
        return value

    def at(self, positions: Tensor) -> Signals:
        """The signals of some examples."""
        found = Signals(**{name: value[positions] for name, value in self.items()})
        if self.proportions is None:
            return found
        return replace(found, proportions=labels_at(self.proportions, positions))

    def knowing(self, task: Task, targets: Targets) -> Signals:
        """These signals of examples that have these targets."""
        kept = task.proportions(targets)
        other = kept if isinstance(kept, Tags) else None
        return replace(self, labels=task.strata(targets), proportions=other)


@dataclass(frozen=True, kw_only=True, eq=False)
class Picks:
    """What a selector chose: positions (k,) in pick order, and positions it set aside first.

    `weights` (k,), where there are any, multiply the losses of the picks wherever they are
    trained on: give them a mean of about 1, so that learning rates keep their meaning.
    `excluded` are those that could never be picked (the hardest share that CCS cuts), with
    `why_excluded` in words. `floored` are those of the positions that are there for the least of
    their class. `how` says what the method settled by itself, in words.
    """

    positions: Tensor
    weights: Tensor | None = None
    excluded: Tensor | None = None
    floored: Tensor | None = None
    why_excluded: str = ""
    how: str = ""


class Progress(Protocol):
    """Where a long phase reports how far it is."""

    def start(self, what: str, total: int) -> None:
        """A phase begins; a total of 0 where it cannot say how far it is."""
        ...

    def advance(self, done: int) -> None:
        """`done` out of `total` so far."""
        ...

    def finish(self) -> None:
        """The phase is over."""
        ...


class Silent:
    """A `Progress` that says nothing."""

    def start(self, what: str, total: int) -> None:
        """Say nothing."""

    def advance(self, done: int) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""
