"""What a person should know before they trust a choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import torch

from keepers.baselines import SAFE
from keepers.scores import LabelNoise, label_noise
from keepers.tasks import CLASSES
from keepers.workflows.offered import CLEAN
from keepers.workflows.scoring import Scored

LOW_FRACTION = 0.5
NEARLY_ALL = 0.9
MANY_LABEL_ERRORS = 0.05
WEAK_PROXY = 0.4
HARDLY_BETTER = 1.2
LEARNT = 0.1
"""Part of the log loss of guessing, each class as often as it occurs, from which on something is
learnt: where nearly all are of one class, even a good model is hardly right more often."""
LITTLE = 0.1
TINY = 1e-12
ENOUGH_FOR_NOISE = 50


def accuracy(scored: Scored, at: torch.Tensor) -> float | None:
    """Share of the examples at these positions whose label the proxies predict.

    Where targets are no classes, the score of the task: average precision, R².
    """
    if scored.predictions is None or not len(at):
        return scored.score(at)
    right = scored.predictions.predicted[at] == scored.labels[at]
    return float(right.double().mean())


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How many labels are wrong, and on what that was estimated."""

    estimate: LabelNoise
    by: Literal["validation", "pilot"]

    def __str__(self) -> str:
        num = self.estimate.num
        unseen = "examples that the pilot did not train on"
        if self.by == "validation":
            unseen = "validation rows that no proxy trained on"
        found = f"{self.estimate}, by {num:,} {unseen}"
        if self.estimate.vague:
            return f"{found}: too few, or too hard for it"
        if not self.estimate.low:
            return found
        return (
            f"{found} ({self.estimate.disagreement:.1%} of its predictions differ from the label)"
        )

    @property
    def sentence(self) -> str:
        """The same as a sentence of its own, without the stop."""
        words = str(self)
        return f"{words[0].upper()}{words[1:]}"

    @property
    def many(self) -> bool:
        """Whether enough labels are wrong to do something about them."""
        return self.estimate.low > MANY_LABEL_ERRORS

    def facts(self) -> dict[str, Any]:
        """The same as plain values."""
        return {**asdict(self.estimate), "by": self.by}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """From plain values; those written before pilots were of validation rows."""
        estimate = {name: value for name, value in facts.items() if name != "by"}
        return cls(estimate=LabelNoise(**estimate), by=facts.get("by", "validation"))


SAFE_OF_CHATS = ("random", "stratified")
UNPROVEN = (
    "tuning on such a selection can be worse than on a random part or on the longest answers: "
    "on pools of millions hardly any method of this kind beat random (Xia et al. 2024, "
    "2410.09335). keepers advise --target and keepers compare --target tune on all three, for "
    "the same number of tokens, and compare the held-out loss"
)
"""What is said of whatever else chooses conversations."""
LONGEST = (
    "tuning on the longest answers can be worse than on a random part of as many tokens: measured, "
    "SmolLM2-135M on GSM8K by 0.11 nats per token, a small model on conversations with tools by "
    "0.22. keepers advise --target and keepers compare --target tune on both"
)


def noise_of(scored: Scored) -> Noise | None:
    """The share of wrong labels, by validation rows that no proxy trained on; None where few."""
    at = scored.validation
    if scored.predictions is None or len(at) < ENOUGH_FOR_NOISE:
        return None
    told = CLASSES.together([each.get("log_probs")[at] for each in scored.members])
    found = label_noise(scored.labels[at], told)
    return Noise(estimate=found, by="validation")


def warn(scored: Scored, k: int, noise: Noise | None, *, tried: str | None = None) -> list[str]:
    """Warnings about keeping `k` of the candidates, in sentences; `noise` of their labels.

    `tried`: what a pilot said of leaving out labels that look wrong, where `auto` took the method.
    """
    warnings: list[str] = []
    name, hard_first = scored.method.name, scored.method.hard_first
    at = scored.candidates
    fraction = k / len(at)
    fitted = scored.prepared is not None and scored.prepared.classifier is not None
    if scored.source.kind == "chat":
        if name in SAFE_OF_CHATS:
            return []
        return [LONGEST if name == "longest" else UNPROVEN]
    if hard_first and fraction < (NEARLY_ALL if fitted else LOW_FRACTION) and tried is None:
        how = "on IMDB by 3 points at 0.3 and by 45 at 0.1"
        if fitted:
            how = "with a linear model, on IMDB by 31 points at 0.1, on SST-2 by 14 at 0.3"
            if scored.method.needs != frozenset({"out_of_fold_log_probs"}):
                how = "by their losses, with a linear model, on SST-2 by 16 to 29 at 0.1 to 0.5"
        warnings.append(
            f"at {fraction:.2g} kept, methods that keep the hardest examples ('{name}') can be "
            f"far worse than a random choice: {how}. '{SAFE}' is safe. Measure it on your data: "
            "keepers advise before, keepers compare after"
        )
    if noise is not None and noise.many and name != CLEAN:
        first = (
            ". The hardest examples are kept first, and wrong labels are hard" if hard_first else ""
        )
        pays = tried or f"keepers advise measures whether leaving them out ({CLEAN}) pays"
        warnings.append(f"{noise}{first}. {pays}")
    if scored.predictions is None:
        reached = scored.score(at)
        if reached is not None and reached < LITTLE:
            warnings.append(
                f"the proxy has hardly learnt anything: its {scored.source.task.score_words} on "
                f"its training data is {reached:.2f}. Its selection is little better than a "
                "random one. Give it more --epochs, or use another --proxy"
            )
        return warnings
    right = accuracy(scored, at) or 0.0
    labels = scored.labels[at]
    shares = torch.bincount(labels).double() / len(labels)
    largest, guessing = float(shares.max()), float(torch.special.entr(shares).sum())
    loss = -float(scored.predictions.label_probability[at].clamp(min=TINY).log().mean())
    few = right < min(HARDLY_BETTER * largest, (1 + largest) / 2)
    if few and loss > (1 - LEARNT) * guessing:
        remedy = (
            "Take another --proxy" if fitted else ("Give it more --epochs, or use another --proxy")
        )
        warnings.append(
            f"the proxy has hardly learnt anything: it is right on {right:.1%} of its training "
            f"data, and always guessing the largest class is right on {largest:.1%}. Its "
            f"selection is little better than a random one. {remedy}"
        )
        return warnings
    if noise is not None:
        return warnings
    if scored.margins is None:
        return warnings
    share = float((scored.margins[at] < 0).double().mean())
    if share > WEAK_PROXY:
        warnings.append(
            "during its training the proxy found another class more likely than the label for "
            f"{share:.0%} of the examples: it learnt little, or many labels are wrong. Give it "
            "more --epochs, or use another --proxy; --val 0.2 estimates how many labels are "
            "wrong"
        )
    elif share > MANY_LABEL_ERRORS:
        first = ", and they are kept first" if hard_first else ""
        warnings.append(
            "during its training the proxy found another class more likely than the label for "
            f"{share:.0%} of the examples{first}. That shows how slowly it learnt, not how many "
            "labels are wrong: --val 0.2 estimates that. The report shows the examples"
        )
    return warnings
