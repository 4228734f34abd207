"""`auto` in a campaign: at random until the proxy's margins are shown to tell where it errs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from keepers.baselines import RANDOM
from keepers.campaign import wilson
from keepers.random import derived_seed, generator
from keepers.roles import Prepared
from keepers.scores import margin
from keepers.statistics import roc_auc
from keepers.words import counted
from keepers.workflows.active.asking import Labelled, training_of
from keepers.workflows.options.active import ActiveConfig
from keepers.workflows.options.shared import AUTO
from keepers.workflows.stages import OUT_OF_FOLD, train
from keepers.workflows.workplace import Workplace

FEWEST = 100
"""Labels to train on under which nothing is asked of a proxy."""

DIVERSE, FEW = "badge", 300
"""The method while there are fewer labels: the smallest margins of a proxy that knows little can
all be of one kind."""

AMONG, FOR_EACH = 10_000, 20
"""`auto` chooses among `AMONG` examples of a large pool, drawn at random, or among `FOR_EACH` for
each pick if those are more."""

LARGEST = 2_000
"""Labelled examples that a proxy is judged on, at most."""

NEVER = "for {} no method is known to beat it reliably"
"""Why it stays random where a task names no method."""

TELLS = 0.55
"""Chance that an error has a smaller margin than what is right, from which on margins are trusted:
the lower end of its interval. Half is a coin."""

OF_EACH = 10
"""Errors, and right answers, under which that chance cannot be told."""

KNOWS = 0.25
"""Then, and where another model stands in for the proxy: part of the way from always guessing the
largest class to no error, by the lower end of the interval of the accuracy."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How a proxy does on labelled examples that it did not train on.

    `largest` is the share of the largest class; `tells` the chance that an error has a smaller
    margin than what is right, with its interval. `is_proxy`: no other model stands in for it.
    """

    correct: int
    num: int
    largest: float
    tells: tuple[float, float, float]
    is_proxy: bool = True

    @property
    def has_pairs(self) -> bool:
        """Whether there are errors and right answers enough to see where it errs."""
        return min(self.num - self.correct, self.correct) >= OF_EACH

    @property
    def beats_guessing(self) -> bool:
        """Whether it is clearly right more often than always guessing the largest class."""
        low = wilson(self.correct, self.num)[0]
        return low - self.largest >= KNOWS * (1 - self.largest)

    @property
    def is_trusted(self) -> bool:
        """Whether what it is unsure of is worth a label."""
        if not self.has_pairs:
            return self.beats_guessing
        return self.tells[1] >= TELLS and (self.is_proxy or self.beats_guessing)

    def __str__(self) -> str:
        share, (low, high) = self.correct / self.num, wilson(self.correct, self.num)
        who = "the proxy" if self.is_proxy else "a simple model in the proxy's place"
        said = [
            f"{who} is right on {share:.0%} ({low:.0%} to {high:.0%}) of {self.num:,} labelled "
            "examples that it did not train on"
        ]
        if self.has_pairs:
            tells, least, most = self.tells
            said.append(
                f"in {tells:.0%} ({least:.0%} to {most:.0%}) of pairs of an error and a right "
                "answer it is less sure of the error"
            )
        if not (self.has_pairs and self.is_proxy):
            said.append(f"always guessing the largest class is right on {self.largest:.0%}")
        words = ", ".join(said[:-1]) + f", and {said[-1]}"
        return words if self.is_trusted else f"{words}: too little to go by"


def settled(
    known: Labelled,
    config: ActiveConfig,
    place: Workplace,
    *,
    proxy: Callable[[], Prepared],
    simple: Callable[[], Prepared],
    seed: int,
    k: int,
    against_random: Mapping[str, Any] | None = None,
) -> tuple[ActiveConfig, str | None]:
    """A configuration whose method `auto` is replaced for this round, and why that was taken.

    What a proxy is unsure of is worth a label where it is unsure of what it gets wrong; where it is
    not, such labels can be worse than random ones. How accurate it is says less: of a rare class
    a proxy knows much before it is right more often than always guessing the other one. So it is
    random until the proxy has been shown to know where it errs, and again where selected labels
    were shown to train a worse one than random labels. Random is of the whole pool, whatever
    `neighbours` says.

    Args:
        proxy: the proxy, asked for only where there are labels enough. It is judged if it is
            fitted at once; a network takes too long.
        simple: a model that is judged in place of a network. Of CIFAR-10 it may know where it
            errs, and labels by the network's margins are worse than random ones: so it has to
            be right on many, too.
        k: how many are to be chosen.
        against_random: the latest comparison of selected labels with random ones, where there is.
    """
    if config.method != AUTO:
        return config, None
    unsure = known.task.unsure
    why = _too_few(known) if unsure is not None else NEVER.format(known.task.plural)
    if why is None and against_random and against_random["difference"]["verdict"] == "worse":
        why = "selected labels trained a worse proxy than as many random labels"
    if why is None and unsure is not None:
        model = proxy()
        is_proxy = model.classifier is not None
        found = judged(known, model if is_proxy else simple(), place, seed, is_proxy=is_proxy)
        why = str(found)
        if found.is_trusted and len(known.members) < FEW:
            options = {"among": max(AMONG, FOR_EACH * k)}
            return replace(config, method=DIVERSE, method_options=options), why
        if found.is_trusted:
            return replace(config, method=unsure), why
    return replace(config, method=RANDOM, balance=None, neighbours=None), why


def judged(
    known: Labelled, judge: Prepared, place: Workplace, seed: int, *, is_proxy: bool
) -> Judged:
    """What the model says of labelled examples when it has not trained on them."""
    members = known.members
    if len(members) > LARGEST:
        at = generator(seed, "judged")
        members = members[torch.randperm(len(members), generator=at)[:LARGEST]].sort().values
    training = training_of(
        judge,
        known,
        members=members,
        seed=derived_seed(seed, "judge"),
        wanted=frozenset({OUT_OF_FOLD}),
        scored=members,
        role="judge",
    )
    said = train(place, training).signals.get(OUT_OF_FOLD)
    labels = torch.from_numpy(known.labels)[members]  # of classes alone: others have no such method
    wrong = said.argmax(1) != labels
    return Judged(
        correct=int((~wrong).sum()),
        num=len(members),
        largest=float(labels.bincount().max()) / len(members),
        tells=roc_auc(margin(said).double().numpy(), wrong.numpy()),
        is_proxy=is_proxy,
    )


def _too_few(known: Labelled) -> str | None:
    """Why there are too few labels to ask a proxy, in words."""
    if known.is_cold:
        return "all labels are of one class"
    if len(known.members) < FEWEST:
        return (
            f"there are {counted(len(known.members), 'label')} to train on, and with fewer than "
            f"{FEWEST} a proxy knows too little"
        )
    return None
