"""`auto` in a campaign: at random while the proxy knows little, by its margins afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from keepers.baselines import RANDOM
from keepers.campaign import wilson
from keepers.random import derived_seed, generator
from keepers.roles import Prepared
from keepers.words import counted
from keepers.workflows.active.asking import Labelled, training_of
from keepers.workflows.options.active import ActiveConfig
from keepers.workflows.options.shared import AUTO
from keepers.workflows.stages import OUT_OF_FOLD, train
from keepers.workflows.workplace import Workplace

FEWEST = 100
"""Labels to train on under which nothing is asked of a proxy."""

OF_A_CLASS = 10
"""The same of the second largest class."""

LARGEST = 2_000
"""Labelled examples that a proxy is judged on, at most."""

NEVER = "for {} no method is known to beat it reliably"
"""Why it stays random where a task names no method."""

KNOWS = 0.25
"""Part of the way from always guessing the largest class to no error from which on a proxy's
margins are trusted, by the lower end of the interval of its accuracy."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How a proxy does on labelled examples that it did not train on.

    `knows` is the part of the way from always guessing the largest class to no error, by the
    lower end of the interval.
    """

    correct: int
    num: int
    largest: float

    @property
    def low(self) -> float:
        """Lower end of the accuracy's interval of 95%."""
        return wilson(self.correct, self.num)[0]

    @property
    def knows(self) -> float:
        """0 is a guess, 1 is no error."""
        return (self.low - self.largest) / (1 - self.largest)

    def __str__(self) -> str:
        low, high = wilson(self.correct, self.num)
        return (
            f"the proxy is right on {self.correct / self.num:.0%} ({low:.0%} to {high:.0%}) of "
            f"{self.num:,} labelled examples that it did not train on, and always guessing the "
            f"largest class is right on {self.largest:.0%}"
        )


def settled(
    known: Labelled,
    config: ActiveConfig,
    place: Workplace,
    *,
    judge: Callable[[], Prepared],
    seed: int,
    against_random: Mapping[str, Any] | None = None,
) -> tuple[ActiveConfig, str | None]:
    """A configuration whose method `auto` is replaced for this round, and why that was taken.

    Uncertainty of a proxy that knows little can be worse than random: from 100 labels of IMDB,
    the next 100 by margin cost 6 points on average of 5 seeds, from 19 lost to 5 gained. So it is
    random until the proxy has been shown to know something, and again where selected labels were
    shown to train a worse one than random labels.

    Args:
        judge: the model that is judged, asked for only where there are labels enough.
        against_random: the latest comparison of selected labels with random ones, where there is.
    """
    if config.method != AUTO:
        return config, None
    name, unsure = RANDOM, known.task.unsure
    why = _too_few(known) if unsure is not None else NEVER.format(known.task.plural)
    if why is None and against_random and against_random["difference"]["verdict"] == "worse":
        why = "selected labels trained a worse proxy than as many random labels"
    if why is None:
        found = judged(known, judge(), place, seed)
        name = unsure if unsure is not None and found.knows >= KNOWS else RANDOM
        why = str(found) if name == unsure else f"{found}: too little to go by"
    return replace(config, method=name, balance=config.balance if name == unsure else None), why


def judged(known: Labelled, judge: Prepared, place: Workplace, seed: int) -> Judged:
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
    return Judged(
        correct=int((said.argmax(1) == labels).sum()),
        num=len(members),
        largest=float(labels.bincount().max()) / len(members),
    )


def _too_few(known: Labelled) -> str | None:
    """Why there are too few labels to ask a proxy, in words."""
    if len(known.members) < FEWEST:
        return (
            f"there are {counted(len(known.members), 'label')} to train on, and with fewer than "
            f"{FEWEST} a proxy knows too little"
        )
    sizes = torch.from_numpy(known.labels)[known.members].bincount().sort(descending=True).values
    if len(sizes) < 2 or int(sizes[1]) < OF_A_CLASS:
        return f"no two classes have {OF_A_CLASS} labels each"
    return None
