"""What a person should know before they trust a choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import torch

from keepers.baselines import SAFE
from keepers.scores import LabelNoise, label_noise
from keepers.tasks import CLASSES
from keepers.words import counted, listed
from keepers.workflows.offered import CLEAN
from keepers.workflows.options.coreset import CoresetOptions
from keepers.workflows.scoring import Scored

LOW_FRACTION = 0.5
NEARLY_ALL = 0.9
MANY_LABEL_ERRORS = 0.05
WEAK_PROXY = 0.4
HARDLY_BETTER = 1.2
LEARNT = 0.1
"""Part of the log loss of guessing, each class as often as it occurs, from which on something is
learnt: where nearly all are of one class, even a good model is hardly right more often."""
EXTREME = 4.0
CHANGED = 0.15
BALANCED = "with equal shares it was wrong more often on 6 of 10 data sets, by up to 31 points"
"""What equal shares did to the error on data with the classes as they come (class_shares.py)."""
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
        """Whether so many are wrong that something should be done."""
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


OF_CLASSES = ("class", "classes")


def tell_floor(
    labels: torch.Tensor,
    names: Sequence[str],
    config: CoresetOptions,
    of: tuple[str, str] = OF_CLASSES,
) -> str:
    """What the floor did, in a sentence: labels (f,) of the examples that it put in."""
    found = [f"'{names[label]}'" for label in labels.unique().tolist()]
    return (
        f"--min-per-class {config.least()} added {counted(len(labels), 'example')} of "
        f"{counted(len(found), *of)} that {config.method} keeps too few of ({listed(found, 3)}), "
        "in place of its last picks of others"
    )


def warn_of_lost(
    labels: torch.Tensor,
    kept: torch.Tensor,
    names: Sequence[str],
    least: int,
    of: tuple[str, str] = OF_CLASSES,
) -> list[str]:
    """Warnings of classes that keep nothing, or fewer than `least`.

    labels (n,), kept (n,) of bool, names of the classes.
    """
    sizes = torch.bincount(labels, minlength=len(names))
    keeps = torch.bincount(labels[kept], minlength=len(names))
    warnings: list[str] = []
    lost = [
        name for name, n, k in zip(names, sizes.tolist(), keeps.tolist(), strict=True) if n > k == 0
    ]
    if lost:
        shown = listed([f"'{name}'" for name in lost], 3)
        told = counted(len(lost), f"{of[0]} loses all its", f"{of[1]} lose all their")
        there, k = int((sizes > 0).sum()), int(kept.sum())
        remedy = f"Keep {there:,} or more" if k < there else "--min-per-class 1 keeps one of each"
        warnings.append(f"{told} examples: {shown}. {remedy}")
    if least > 1 and bool((keeps < sizes.clamp(max=least)).any()):
        warnings.append(
            f"{int(kept.sum()):,} examples are too few for {least:,} of each {of[0]} (or all "
            "that it has): the budget is shared evenly. At least "
            f"{int(sizes.clamp(max=least).sum()):,} are needed"
        )
    return warnings


def warn_of_uneven(
    labels: torch.Tensor,
    kept: torch.Tensor,
    names: Sequence[str],
    of: tuple[str, str] = OF_CLASSES,
) -> list[str]:
    """Warnings of classes that are too small for their equal share, and so are kept whole.

    labels (n,), kept (n,) of bool, names of the classes.
    """
    sizes = torch.bincount(labels, minlength=len(names)).tolist()
    keeps = torch.bincount(labels[kept], minlength=len(names)).tolist()
    share = max(keeps)
    short = {
        name: size
        for name, size, keep in zip(names, sizes, keeps, strict=True)
        if 0 < size == keep < share - 1
    }
    if not short or bool(kept.all()):
        return []
    shown = listed([f"'{name}' ({size:,})" for name, size in short.items()], 3)
    has = "has fewer examples than an equal share and is"
    have = "have fewer examples than an equal share and are"
    few = counted(len(short), f"{of[0]} {has}", f"{of[1]} {have}")
    return [f"--balance class: {few} kept whole: {shown}. The others keep up to {share:,} each"]


def warn_of_changed(
    labels: torch.Tensor,
    kept: torch.Tensor,
    names: Sequence[str],
    option: str = "--balance class",
    remedy: str = "Leave it out",
) -> list[str]:
    """Warnings of an `option` that changes how often classes occur, and the `remedy`.

    It does where over `CHANGED` of what is kept is more than its class has of all. labels (n,),
    kept (n,) of bool, names of the classes.
    """
    before, after = (
        torch.bincount(part, minlength=len(names)).double() / max(1, len(part))
        for part in (labels, labels[kept])
    )
    if float((after - before).clamp(min=0).sum()) <= CHANGED:
        return []
    most = int((after - before).abs().argmax())
    return [
        f"{option} makes '{names[most]}' {float(after[most]):.1%} of what is kept, and it is "
        f"{float(before[most]):.1%} of all: a model trained on it finds more of the rare classes, "
        f"but {BALANCED}. {remedy} if all errors count alike, or measure it: keepers compare"
    ]


def warn_of_shares(
    labels: torch.Tensor,
    kept: torch.Tensor,
    names: Sequence[str],
    of: tuple[str, str] = OF_CLASSES,
    *,
    least: int = 0,
) -> list[str]:
    """Warnings of classes whose kept share is extreme: labels (n,), kept (n,) of bool, names.

    A share is extreme where it is under half of that of all examples, or what is dropped is under
    half, and more than `EXTREME` standard deviations of a random draw of that size away. A class
    of which no more than the floor `least` is kept is not kept too often: the floor keeps it.
    """
    sizes = torch.bincount(labels, minlength=len(names))
    keeps = torch.bincount(labels[kept], minlength=len(names))
    there = sizes > 0
    share, overall = keeps[there] / sizes[there], float(kept.double().mean())
    chance = (overall * (1 - overall) / sizes[there]).sqrt()
    far = (share - overall).abs() > EXTREME * chance
    much = (1 - share < (1 - overall) / 2) & (keeps[there] > least)
    extreme = far & ((share < overall / 2) | much)
    if not bool(extreme.any()):
        return []
    low, high = int(share.argmin()), int(share.argmax())
    known = [name for name, here in zip(names, there.tolist(), strict=True) if here]
    return [
        f"the kept share of '{known[low]}' is {float(share[low]):.1%} and of '{known[high]}' "
        f"{float(share[high]):.1%}, against {overall:.1%} of all: the selection changes the "
        f"frequency of each {of[0]}. --method {SAFE} keeps it"
    ]
