"""Labels: each example has any number of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepers.errors import ParameterError
from keepers.tasks.classes import tensor_in
from keepers.tasks.plain import Plain
from keepers.tasks.question import Answer
from keepers.tasks.question_labels import LabelsQuestion
from keepers.tasks.tags import Tags
from keepers.tasks.task import Measured, Targets, check_outputs, resampled
from keepers.tensors import row_blocks

NO_LABEL = "no label"

COLUMNS = 64
"""Labels whose predictions are ranked out of one copy."""

PAIRS = 20_000_000
"""Pairs of example and label that are ranked together at most."""


@dataclass(frozen=True)
class Labels(Plain):
    """Targets are `Tags`, a batch of them (n, labels) of 0 and 1; outputs are log-odds.

    The loss of an example is the mean binary cross-entropy over the labels. A label is predicted
    where its probability is over one half.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    """How many examples of the data have each label: the rarest of an example is its stratum."""
    total: int
    """How many examples there are."""

    name: ClassVar[str] = "labels"
    likely: ClassVar[bool] = False
    stratum: ClassVar[tuple[str, str]] = ("label", "labels")
    plural: ClassVar[str] = "several labels"
    said: ClassVar[str] = "log_odds"
    signals: ClassVar[frozenset[str]] = frozenset(
        {
            *("log_odds", "losses", "features"),
            *("gradients", "gradient_norms", "early_gradient_norms"),
        }
    )
    score_words: ClassVar[str] = "average precision"
    is_share: ClassVar[bool] = False
    right_words: ClassVar[str] = "right label by label"
    unsure: ClassVar[str | None] = None
    enough: ClassVar[str] = "two examples have different labels"
    too_few: ClassVar[str] = "all labelled examples have the same labels"

    @staticmethod
    def question(names: tuple[str, ...], tolerance: tuple[float, ...] = ()) -> LabelsQuestion:
        """Which labels it has."""
        return LabelsQuestion(names, tolerance)

    @property
    def strata_names(self) -> tuple[str, ...]:
        """The labels, and what has none."""
        return (*self.names, NO_LABEL)

    def begin(self, module: nn.Module) -> nn.Module:
        """With biases that are the log-odds of how many examples have each label.

        Otherwise most of a training goes into finding out that labels are rare (Lin et al., Focal
        Loss for Dense Object Detection, ICCV 2017).
        """
        linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
        bias: Any = linear[-1].bias if linear else None
        if bias is not None and len(bias) == self.num_outputs:
            there = torch.tensor(self.counts, dtype=torch.float64)
            odds = ((there + 0.5) / (self.total - there + 0.5)).log()
            with torch.no_grad():
                bias.copy_(odds)
        return module

    def check(self, output: Any, targets: Tensor, version: int = 0) -> Tensor:
        """The log-odds (n, labels) in a model's output, of targets (n, labels) of 0 and 1."""
        if targets.ndim != 2:
            raise ParameterError(
                "labels",
                f"got shape {tuple(targets.shape)}",
                "Give 0 or 1 for each label, (n, labels)",
            )
        found = tensor_in(output, targets, "log-odds (n, labels)")
        if found.shape != targets.shape:
            raise ParameterError(
                "model",
                f"got an output of shape {tuple(found.shape)} for labels {tuple(targets.shape)}",
                "Return one log-odds for each label",
            )
        if version == 0 and targets.numel() and not bool(((targets == 0) | (targets == 1)).all()):
            raise ParameterError("labels", "got others than 0 and 1", "Give 0 or 1 for each label")
        return found

    def check_width(self, said: Tensor, targets: Targets) -> None:
        """Refuse another number of outputs than of labels."""
        check_outputs(said, self.num_outputs, "label")

    def losses(self, output: Tensor, targets: Tensor) -> Tensor:
        """The binary cross-entropy of each example, averaged over the labels."""
        one = F.binary_cross_entropy_with_logits(
            output.float(), targets.to(torch.float32), reduction="none"
        )
        return one.mean(1)

    def losses_of(self, said: Tensor, targets: Targets) -> Tensor:
        """The same of all examples, in blocks of rows."""
        losses = torch.empty(len(said))
        for rows in row_blocks(said):
            losses[rows] = self.losses(said[rows], targets[torch.arange(rows.start, rows.stop)])
        return losses

    def gradients(self, said: Tensor, targets: Tensor) -> Tensor:
        """(p - y) / labels."""
        return (said.sigmoid() - targets) / said.shape[1]

    def right(self, output: Tensor, targets: Tensor) -> Tensor:
        """The share of the labels that are predicted as they are."""
        return ((output > 0) == (targets > 0)).float().mean(1)

    def measure(self, said: Tensor, targets: Targets) -> Measured:
        """Average precision over all pairs of example and label leads: it needs no threshold.

        Beside it micro- and macro-F1 at one half, and the mean over the labels of their average
        precision; macro and mean are over the labels that some example has, and so is the worst.
        """
        assert isinstance(targets, Tags)
        found, both = torch.zeros(self.num_outputs), torch.zeros(self.num_outputs)
        for rows in row_blocks(said):
            predicted = said[rows] > 0
            truth = targets[torch.arange(rows.start, rows.stop)] > 0
            found += predicted.sum(0)
            both += (predicted & truth).sum(0)
        there = targets.counts().to(both)
        known = (there > 0).nonzero()[:, 0]
        by_label = [
            average_precision(values, targets.having(label))
            for some in known.split(COLUMNS)
            for label, values in zip(some.tolist(), said[:, some].t().contiguous(), strict=True)
        ]
        f1 = (2 * both / (found + there).clamp(min=1))[known]
        pairs, hits = _pairs(said, targets)
        leads = average_precision(pairs, hits)
        worst = min(by_label, default=0.0)
        return Measured(
            loss=float(self.losses_of(said, targets).double().mean()),
            score=leads,
            error=1 - leads,
            worst_score=worst,
            worst_error=1 - worst,
            others={
                "average_precision": leads,
                "mean_average_precision": sum(by_label) / max(1, len(by_label)),
                "micro_f1": float(2 * both.sum() / (found.sum() + there.sum()).clamp(min=1)),
                "macro_f1": float(f1.mean()) if len(f1) else 0.0,
            },
        )

    def to_fit(self, targets: Targets) -> Any:
        """0 and 1 (n, labels), a sparse array."""
        assert isinstance(targets, Tags)
        return targets.sparse()

    def asked(self, fitted: Any, rows: Any, num_outputs: int) -> Tensor:
        """Log-odds, or those of `predict_proba` (n, labels)."""
        if hasattr(fitted, "log_odds"):
            return torch.from_numpy(np.asarray(fitted.log_odds(rows))).float()
        found = fitted.predict_proba(rows)
        if isinstance(found, list):  # one array (n, 2) for each label
            seen: list[Any] = list(fitted.classes_)
            found = np.column_stack(
                [
                    each[:, -1] * (classes[-1] == 1)
                    for each, classes in zip(found, seen, strict=True)
                ]
            )
        return torch.from_numpy(np.asarray(found)).float().logit(eps=1e-6)

    def quality(self, said: Tensor, targets: Targets) -> dict[str, Any]:
        """Average precision, and that of one who names the labels by how many have them."""
        assert isinstance(targets, Tags)
        always = torch.tensor(self.counts, dtype=torch.float32).expand(len(targets), -1)
        return {
            "score": self.score_words,
            "accuracy": average_precision(*_pairs(said, targets)),
            "majority": average_precision(*_pairs(always, targets)),
            "calibration_error": None,
            "confidence": None,
        }

    def proportions(self, targets: Targets) -> Targets:
        """All labels of each example."""
        return targets

    def strata(self, targets: Targets) -> Tensor:
        """The rarest label of each example; `NO_LABEL` where it has none."""
        assert isinstance(targets, Tags)
        rank = torch.tensor(self.counts).argsort(stable=True).argsort()
        lowest = torch.full((len(targets),), self.num_outputs, dtype=torch.int64)
        ranks = rank[targets.members]
        lowest.scatter_reduce_(0, targets.rows(), ranks, reduce="amin")
        label_of_rank = torch.cat([rank.argsort(), torch.tensor([self.num_outputs])])
        return label_of_rank[lowest]

    def show(self, targets: Targets, positions: Sequence[int]) -> list[str | None]:
        """Names of labels, separated by commas."""
        found = self._named(targets, positions)
        return [None if names is None else ", ".join(names) for names in found]

    def _named(self, targets: Targets, positions: Sequence[int]) -> list[list[str] | None]:
        """The names of the labels of some examples, in the order of the labels."""
        assert isinstance(targets, Tags)
        part = targets.take(positions)
        starts, members = part.offsets.tolist(), part.members.tolist()
        return [
            [self.names[label] for label in members[start:stop]] if there else None
            for there, (start, stop) in zip(
                self.known(part).tolist(), itertools.pairwise(starts), strict=True
            )
        ]

    @staticmethod
    def told(
        names: tuple[str, ...], count: int, places: Sequence[int], answers: Sequence[Answer]
    ) -> Any:
        """`Tags` that know of these places alone."""
        numbers = {name: number for number, name in enumerate(names)}
        rows: list[list[int] | None] = [None] * count
        for place, answer in zip(places, answers, strict=True):
            rows[place] = [numbers[str(name)] for name in answer]
        return Tags.of(rows, len(names))

    @classmethod
    def fitted(cls, names: tuple[str, ...], targets: Any) -> Labels:
        """With how many of these examples have each label."""
        return cls(names, tuple(targets.counts().tolist()), len(targets))

    @staticmethod
    def known(targets: Any) -> Tensor:
        """As the tags say."""
        known: Tensor | None = targets.known
        return torch.ones(len(targets), dtype=torch.bool) if known is None else known

    @staticmethod
    def is_cold(targets: Any) -> bool:
        """All have the same labels, so that no label tells any two apart."""
        counts = targets.counts()
        return not bool(((counts > 0) & (counts < len(targets))).any())

    def answers(self, targets: Targets, positions: Sequence[int]) -> list[Answer | None]:
        """Names of labels, sorted."""
        found = self._named(targets, positions)
        return [None if names is None else tuple(sorted(names)) for names in found]

    def together(self, said: Sequence[Tensor]) -> Tensor:
        """The log-odds of the mean probabilities (n, labels)."""
        if len(said) == 1:
            return said[0]
        return torch.stack([each.double().sigmoid() for each in said]).mean(0).logit().float()

    def predicted(self, said: Sequence[Tensor]) -> list[tuple[Answer, float | None]]:
        """The labels over one half, and the probability that all of them are right.

        That takes the labels to be independent of each other.
        """
        found: list[tuple[Answer, float | None]] = []
        odds = self.together(said)
        sure = F.logsigmoid(odds.double().abs()).sum(1).exp()
        for row, probability in zip((odds > 0).tolist(), sure.tolist(), strict=True):
            names = [name for name, there in zip(self.names, row, strict=True) if there]
            found.append((tuple(sorted(names)), probability))
        return found

    def doubts(self, said: Sequence[Tensor]) -> Tensor | None:
        """How near the label that is nearest to one half is to it."""
        return -self.together(said).abs().amin(1)

    def interval(self, said: Tensor, targets: Targets) -> tuple[float, float]:
        """Of the average precision, by the bootstrap."""
        assert isinstance(targets, Tags)
        truth = targets[torch.arange(len(targets))] > 0

        def score(at: Tensor) -> float:
            return average_precision(said[at].flatten(), truth[at].flatten())

        return resampled(score, len(said))

    def facts(self) -> dict[str, Any]:
        """Names and counts."""
        known = {"counts": list(self.counts), "total": self.total}
        return {"task": self.name, "names": list(self.names), **known}


def average_precision(values: Tensor, truth: Tensor) -> float:
    """Σ (Rₖ - Rₖ₋₁) Pₖ down the ranking of values (n,), for truth (n,) of bool; 0 if all is False.

    Equal values count together, as in scikit-learn.

    >>> average_precision(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([True, False, True]))
    0.8333333333333333
    """
    total = int(truth.sum())
    if not total:
        return 0.0
    ranked, order = values.sort(descending=True)
    hits = truth[order].double().cumsum(0)
    last = torch.ones(len(ranked), dtype=torch.bool)
    last[:-1] = ranked[1:] != ranked[:-1]
    ends = last.nonzero()[:, 0]
    gained = torch.diff(hits[ends], prepend=hits.new_zeros(1))
    return float((gained * hits[ends] / (ends + 1)).sum() / total)


def _pairs(said: Tensor, targets: Tags) -> tuple[Tensor, Tensor]:
    """Log-odds and truth of all pairs of example and label; of many, of examples evenly spread."""
    n = max(1, min(len(said), PAIRS // max(1, said.shape[1])))
    at = torch.linspace(0, len(said) - 1, n, dtype=torch.float64).long()
    return said[at].flatten(), (targets[at] > 0).flatten()
