"""Asking the proxies: models trained from scratch on what is labelled, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers import methods
from keepers.configuration import SAMPLES
from keepers.data import Source
from keepers.methods import Method
from keepers.random import derived_seed
from keepers.roles import Prepared
from keepers.scores import margin
from keepers.types import Signals
from keepers.workflows.active.config import ActiveConfig
from keepers.workflows.stages import Tested, Trained, Training, train
from keepers.workflows.workplace import Workplace

NOTHING = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """What is known of the pool when a batch is planned.

    `labels` (n,) are class numbers, -1 where unknown. `members` are the positions that are
    trained on; `closed` (n,) marks what is never picked (pending, skipped, control, test); of
    those `covered` are the positions that will be labelled anyway.
    """

    source: Source
    labels: npt.NDArray[np.int64]
    members: Tensor
    closed: Tensor
    covered: Tensor

    @cached_property
    def labelled(self) -> Source:
        """The examples with the labels that are known; its fingerprint is made once."""
        return replace(self.source, labels=self.labels)

    @property
    def num_classes_seen(self) -> int:
        """How many classes the members have."""
        return len(np.unique(self.labels[self.members.numpy()]))

    @property
    def is_cold(self) -> bool:
        """Whether there are too few classes to train a model on."""
        return self.num_classes_seen < 2

    @property
    def open(self) -> Tensor:
        """Positions that may be picked."""
        free = ~self.closed
        free[self.members] = False
        return free.nonzero()[:, 0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Opinion:
    """What the proxies said: the models in the order of the ensemble, and what they scored.

    `scored` are sorted positions. Without models (a cold start) both are empty. `test` is what
    they were measured on, if anything.
    """

    method: Method
    trained: tuple[Trained, ...] = ()
    scored: Tensor = NOTHING
    test: Tested | None = None

    def of(self, positions: Tensor) -> Tensor:
        """Mean class probabilities (p, classes) at some of the positions that were scored."""
        rows = torch.searchsorted(self.scored, positions)
        found = [each.signals.get("log_probs")[rows].double().exp() for each in self.trained]
        return torch.stack(found).mean(0)

    def signals(self, positions: Tensor) -> list[Signals]:
        """What each model said of some of the positions that were scored."""
        said = [replace(each.signals, labels=None) for each in self.trained]
        if torch.equal(positions, self.scored):  # no copy of what may be mapped from disk
            return said
        rows = torch.searchsorted(self.scored, positions)
        return [signals.at(rows) for signals in said]

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy of the mean prediction on the test set, where there is one."""
        if self.test is None or not self.trained:
            return None
        if len(self.trained) == 1:
            return 1 - self.trained[0].facts["test_error"]
        labels, tested = self.test.view.labels, [each.tested for each in self.trained]
        assert labels is not None
        mean = torch.stack([said.double().exp() for said in tested if said is not None]).mean(0)
        return self.test.view.task.measure(mean.log(), labels).score


def training_of(
    prepared: Prepared,
    known: Labelled,
    *,
    seed: int,
    wanted: frozenset[str] = frozenset(),
    scored: Tensor | None = None,
    members: Tensor | None = None,
    test: Tested | None = None,
    role: str = "proxy",
    samples: int = SAMPLES,
    resample: bool = False,
) -> Training:
    """The training of a role on what is labelled, from scratch."""
    members = known.members if members is None else members
    labels = torch.from_numpy(known.labels)
    return Training(
        prepared=replace(prepared, labels=labels),
        source=known.labelled,
        members=members.sort().values,
        seed=seed,
        wanted=wanted,
        scored=scored,
        role=role,
        test=test,
        samples=samples,
        resample=resample,
    )


def ask(
    known: Labelled,
    config: ActiveConfig,
    place: Workplace,
    prepared: Prepared,
    *,
    scored: Tensor,
    seed: int,
    test: Tested | None = None,
) -> Opinion:
    """Train the proxies from scratch on what is labelled, and let them score some positions."""
    method = methods.get(config.asking)
    ensemble = config.ensemble or method.default_ensemble
    wanted = method.needs | {"log_probs"}
    if ensemble > 1:
        wanted = wanted - {"posterior_log_probs"}  # the members are its samples
        test = None if test is None else replace(test, kept=True)
    models = [
        train(
            place,
            training_of(
                prepared,
                known,
                seed=derived_seed(seed, "proxy", member),
                wanted=wanted,
                scored=scored,
                test=test,
                samples=config.samples,
                resample=ensemble > 1,
            ),
        )
        for member in range(ensemble)
    ]
    return Opinion(method=method, trained=tuple(models), scored=scored, test=test)


def preference(method: Method, members: Sequence[Signals]) -> Tensor:
    """Scores (n,) to compare models by: the method's own, or margins where it has none."""
    if method.score is not None:
        return methods.score(method, members)
    mean = torch.stack([each.get("log_probs").double().exp() for each in members]).mean(0)
    return margin(mean.clamp(min=1e-30).log())
