"""The model of a pilot: it is trained on choices, and what it then gets wrong judges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from keepers import methods
from keepers.data import Source
from keepers.methods import Method
from keepers.random import derived_seed, generator
from keepers.roles import Prepared
from keepers.tasks import labels_at
from keepers.types import Signals
from keepers.workflows.stages import Trained, Training, train
from keepers.workflows.workplace import Workplace


@dataclass(frozen=True, kw_only=True)
class Held:
    """How one model did on the held-out part of a fold."""

    error: float
    loss: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """A model joined with what a pilot looks at, and where it is trained.

    All that a training draws is drawn by `seed` and the number of the fold.
    """

    prepared: Prepared
    source: Source
    place: Workplace
    seed: int

    def trained(
        self,
        members: Tensor,
        fold: int,
        *,
        wanted: frozenset[str],
        scored: Tensor,
        settled: Mapping[str, float] | None = None,
    ) -> Trained:
        """What the model says of `scored`, trained on `members`, and what its training settled."""
        return train(
            self.place,
            Training(
                prepared=self.prepared,
                source=self.source,
                members=members.sort().values,
                seed=derived_seed(self.seed, "pilot", fold),
                wanted=wanted,
                scored=scored,
                role="pilot",
                settled=settled,
            ),
        )

    def chosen(
        self, method: Method, signals: Signals, members: Tensor, k: int, fold: int
    ) -> Tensor:
        """What a method chooses of `members` (m,), by what a model says of them."""
        prepared = self.prepared
        picks, _ = methods.choose(
            method,
            [signals.knowing(prepared.task, labels_at(prepared.labels, members))],
            k,
            generator=generator(self.seed, "pilot", fold, method.name),
            num_classes=len(prepared.task.strata_names),
            floor=methods.Floor(prepared.strata[members], 1),
        )
        return members[picks.positions]

    def judged(
        self,
        members: Tensor,
        held: Tensor,
        fold: int,
        settled: Mapping[str, float] | None = None,
    ) -> tuple[Held, Mapping[str, float] | None]:
        """How the model does on `held`, trained on `members`, and what its training settled."""
        said = self.prepared.task.said
        told = self.trained(members, fold, wanted=frozenset({said}), scored=held, settled=settled)
        return self.measured(told.signals.get(said), held), told.settled

    def measured(self, said: Tensor, held: Tensor) -> Held:
        """How right it is in what it says of `held`."""
        found = self.prepared.task.measure(said, labels_at(self.prepared.labels, held))
        return Held(error=found.error, loss=found.loss)


def mean_error(
    judges: Sequence[Judge], choices: Sequence[Tensor], held: Tensor, fold: int
) -> float:
    """The mean error on `held` of all judges after all choices."""
    errors = [each.judged(chosen, held, fold)[0].error for each in judges for chosen in choices]
    return float(np.mean(errors))
