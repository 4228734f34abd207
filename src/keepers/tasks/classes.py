"""Classes: each example is of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from keepers.errors import ParameterError
from keepers.statistics import wilson
from keepers.tasks.plain import Plain
from keepers.tasks.question import Answer
from keepers.tasks.question_class import ClassQuestion
from keepers.tasks.task import Measured, Targets

BINS = 15
"""Of the calibration error."""
TINY = 1e-12
"""The probability of a class that a classifier has not seen."""
LANES = 16
"""Under 16 classes a CPU takes losses faster with the examples innermost; rounding may differ."""
PROBABILITY = 0.01
"""How far from 1 probabilities may sum: those of bfloat16 are that far."""
NONE = torch.iinfo(torch.int64).min
"""The label to ignore: none that anybody has, so that -100 is out of range like any other."""


@dataclass(frozen=True)
class Classes(Plain):
    """Targets (n,) are class numbers, -1 where unknown; outputs (n, classes) are logits."""

    names: tuple[str, ...] = ()

    name: ClassVar[str] = "class"
    likely: ClassVar[bool] = True
    stratum: ClassVar[tuple[str, str]] = ("class", "classes")
    plural: ClassVar[str] = "classes"
    said: ClassVar[str] = "log_probs"
    signals: ClassVar[frozenset[str]] = frozenset(
        {
            *("log_probs", "posterior_log_probs", "out_of_fold_log_probs", "losses", "features"),
            *("gradients", "gradient_norms", "early_gradient_norms", "forgetting", "aum"),
        }
    )
    score_words: ClassVar[str] = "accuracy"
    is_share: ClassVar[bool] = True
    right_words: ClassVar[str] = "classified correctly"
    unsure: ClassVar[str | None] = "margin"
    enough: ClassVar[str] = "two classes are labelled"
    too_few: ClassVar[str] = "fewer than two classes are labelled"

    @staticmethod
    def question(names: tuple[str, ...], tolerance: tuple[float, ...] = ()) -> ClassQuestion:
        """Which class it is."""
        return ClassQuestion(names, tolerance)

    def check(self, output: Any, targets: Tensor, version: int = 0) -> Tensor:
        """As `check_logits`."""
        return check_logits(output, targets, version)

    def check_width(self, said: Tensor, targets: Targets) -> None:
        """Refuse fewer outputs than there are classes."""
        assert isinstance(targets, Tensor)
        if int(targets.max()) >= said.shape[1]:
            raise ParameterError(
                "model",
                f"gives {said.shape[1]} classes, but a label is number {int(targets.max())}",
                "Give a model with an output for each class",
            )

    def say(self, output: Tensor) -> Tensor:
        """Log-probabilities (n, classes) in float32."""
        return F.log_softmax(output.float(), dim=1)

    def loss(self, output: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """The mean cross-entropy."""
        if weights is None:
            return F.cross_entropy(output.float(), targets)
        return (F.cross_entropy(output.float(), targets, reduction="none") * weights).mean()

    def losses(self, output: Tensor, targets: Tensor) -> Tensor:
        """As `cross_entropy`."""
        return cross_entropy(output, targets)

    def losses_of(self, said: Tensor, targets: Targets) -> Tensor:
        """-log p of the label; a label that is no class number is an error."""
        assert isinstance(targets, Tensor)
        return -said.gather(1, targets[:, None])[:, 0]

    def gradients(self, said: Tensor, targets: Tensor) -> Tensor:
        """p - onehot."""
        if targets.is_cpu and len(targets):
            check_range(targets, said.shape[1])
        classes = torch.arange(said.shape[1], device=said.device)
        return said.exp() - (targets[:, None] == classes).to(said.dtype)

    def right(self, output: Tensor, targets: Tensor) -> Tensor:
        """1 where the likeliest class is the label."""
        return output.argmax(1) == targets

    def measure(self, said: Tensor, targets: Targets) -> Measured:
        """Accuracy, and that of the class with the lowest."""
        assert isinstance(targets, Tensor)
        right = (said.argmax(1) == targets).double()
        by_class = [right[targets == each] for each in targets.unique()]
        return Measured(
            loss=float(-said.gather(1, targets[:, None]).double().mean()),
            score=float(right.mean()),
            error=float((1 - right).mean()),
            worst_score=min(float(each.mean()) for each in by_class),
            worst_error=max(float((1 - each).mean()) for each in by_class),
        )

    def to_fit(self, targets: Targets) -> Any:
        """Class numbers (n,)."""
        return targets.numpy()

    def asked(self, fitted: Any, rows: Any, num_outputs: int) -> Tensor:
        """Log-probabilities; a class that it has not seen gets a probability of `TINY`."""
        classes = torch.from_numpy(np.asarray(fitted.classes_, dtype=np.int64))
        probabilities = torch.from_numpy(np.asarray(fitted.predict_proba(rows)))
        found = torch.full((len(probabilities), num_outputs), TINY)
        found[:, classes] = probabilities.float().clamp(min=TINY)
        return found.div_(found.sum(1, keepdim=True)).log_()

    def quality(self, said: Tensor, targets: Targets) -> dict[str, Any]:
        """Accuracy, calibration, and the share of the largest class."""
        assert isinstance(targets, Tensor)
        return {
            "accuracy": float((said.argmax(1) == targets).double().mean()),
            "calibration_error": calibration_error(said, targets),
            "confidence": float(said.amax(1).double().exp().mean()),
            "majority": float(targets.bincount().max() / len(targets)),
        }

    def strata(self, targets: Targets) -> Tensor:
        """The labels."""
        assert isinstance(targets, Tensor)
        return targets

    def show(self, targets: Targets, positions: Sequence[int]) -> list[str | None]:
        """Names of classes."""
        assert isinstance(targets, Tensor)
        numbers = targets[torch.as_tensor(positions, dtype=torch.int64)].tolist()
        return [None if number < 0 else self.names[number] for number in numbers]

    @staticmethod
    def told(
        names: tuple[str, ...], count: int, places: Sequence[int], answers: Sequence[Answer]
    ) -> Any:
        """Class numbers (n,) in an array, -1 where nothing is known."""
        numbers = {name: number for number, name in enumerate(names)}
        found = np.full(count, -1, dtype=np.int64)
        found[np.asarray(places, dtype=np.int64)] = [numbers[str(answer)] for answer in answers]
        return found

    @classmethod
    def fitted(cls, names: tuple[str, ...], targets: Any) -> Classes:
        """Of these names, whatever the targets."""
        return cls(names)

    @staticmethod
    def known(targets: Any) -> Tensor:
        """Those that are not -1."""
        return torch.as_tensor(targets >= 0)

    @staticmethod
    def is_cold(targets: Any) -> bool:
        """Fewer than two classes are there."""
        return len(np.unique(targets)) < 2

    def answers(self, targets: Targets, positions: Sequence[int]) -> list[Answer | None]:
        """Names of classes."""
        return [*self.show(targets, positions)]

    def together(self, said: Sequence[Tensor]) -> Tensor:
        """The logarithms of the mean probabilities (n, classes), in double precision."""
        return torch.stack([each.double().exp() for each in said]).mean(0).log()

    def predicted(self, said: Sequence[Tensor]) -> list[tuple[Answer, float | None]]:
        """The likeliest class, and its mean probability."""
        best = torch.stack([each.double().exp() for each in said]).mean(0).max(1)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [(self.names[number], value) for number, value in pairs]

    def doubts(self, said: Sequence[Tensor]) -> Tensor | None:
        """One less the margin of the mean probabilities."""
        mean = torch.stack([each.double().exp() for each in said]).mean(0)
        top = mean.clamp(min=1e-30).log().topk(2, dim=-1).values
        return top[:, 1].exp() - top[:, 0].expm1()

    def interval(self, said: Tensor, targets: Targets) -> tuple[float, float]:
        """Wilson's, of the share that is right."""
        assert isinstance(targets, Tensor)
        right = said.argmax(1) == targets
        return wilson(int(right.sum()), len(right))

    def facts(self) -> dict[str, Any]:
        """Its names."""
        return {"task": self.name, "names": list(self.names)}


CLASSES = Classes()
"""Of classes whose names nobody needs."""


def check_logits(output: Any, labels: Tensor, version: int = 0) -> Tensor:
    """The logits (n, classes) in a model's output: a tensor, or what carries one as `logits`.

    Raises:
        ParameterError: there are none, they are not of the labels' width, or they are
            probabilities; or the labels (n,) are no class numbers.
    """
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise ParameterError(
            "labels",
            f"got {labels.dtype} of shape {tuple(labels.shape)}",
            "Give one class number for each example, or loss= for labels of another kind",
        )
    logits = tensor_in(output, labels, "logits (n, classes)")
    # Asking an accelerator for its values waits for it, so that is done at the first step alone.
    if version == 0 and len(labels):
        check_range(labels, logits.shape[1])
        if _are_probabilities(logits.detach().float()):
            raise ParameterError(
                "model",
                "got probabilities: none is under 0, and each row sums to 1",
                "Return logits (n, classes), or give your own function as loss=",
            )
    return logits


def tensor_in(output: Any, targets: Tensor, wanted: str) -> Tensor:
    """The tensor (n, outputs) in a model's output: itself, or what it carries as `logits`.

    Raises:
        ParameterError: there is none, or it is not of as many examples.
    """
    found = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if found is None and isinstance(output, Mapping):
        found = output.get("logits")
    remedy = f"Return {wanted}, or give your own function as loss="
    if not isinstance(found, Tensor):
        raise ParameterError("model", f"got {type(output).__name__} from the model", remedy)
    if found.ndim != 2 or found.shape[0] != targets.shape[0]:
        raise ParameterError(
            "model",
            f"got an output of shape {tuple(found.shape)} for {len(targets)} examples",
            remedy,
        )
    return found


def _are_probabilities(output: Tensor) -> bool:
    """Whether softmax was taken; of one row or one class that is not said."""
    if min(output.shape) < 2:
        return False
    sums = output.sum(1)
    return bool((output >= 0).all() & ((sums - 1).abs() < PROBABILITY).all())


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The losses (n,) of logits (n, classes), in float32.

    They are `torch.nn.functional.cross_entropy` up to float32 rounding: the order of its sums
    depends on the processor. The same logits give the same bits again on one processor.

    Raises:
        ParameterError: a label that is out of range; on an accelerator its loss is NaN.
    """
    logits = logits.float()
    if not logits.is_cpu:
        outside = (labels < 0) | (labels >= logits.shape[1])
        losses = F.cross_entropy(logits, labels.masked_fill(outside, 0), reduction="none")
        return losses.masked_fill(outside, torch.nan)
    try:
        if logits.shape[1] < LANES:
            log_probs = F.log_softmax(logits.t(), 0).t()
        else:
            log_probs = F.log_softmax(logits, 1)
        return F.nll_loss(log_probs, labels, reduction="none", ignore_index=NONE)
    except IndexError:
        check_range(labels, logits.shape[1])
        raise


def calibration_error(log_probs: Tensor, labels: Tensor) -> float:
    """Expected calibration error over 15 bins of confidence (Guo et al., ICML 2017), in [0, 1].

    >>> always = torch.tensor([[0.8, 0.2]]).log().repeat(5, 1)
    >>> calibration_error(always, torch.tensor([0, 0, 0, 0, 1]))
    0.0
    """
    largest, predicted = log_probs.max(1)
    confidence, correct = largest.double().exp(), (predicted == labels).double()
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins, correct - confidence)
    return round(float(gaps.abs().sum() / len(labels)), 6)


def check_range(labels: Tensor, width: int) -> None:
    """Refuse labels (n,) that are no numbers of `width` classes.

    Raises:
        ParameterError: a label under 0, or at or over the width.
    """
    least, most = (int(value) for value in labels.aminmax())
    if most >= width:
        raise ParameterError(
            "model",
            f"got logits of {width} classes, but a label is {most}",
            "Return logits (n, classes) for all classes",
        )
    if least < 0:
        raise ParameterError("labels", f"got {least}", "Give class numbers from 0")
