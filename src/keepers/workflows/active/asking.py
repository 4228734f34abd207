"""Asking the proxies: models trained from scratch on what is labelled, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from keepers import methods
from keepers.configuration import SAMPLES
from keepers.data import Source
from keepers.methods import Method
from keepers.random import derived_seed
from keepers.roles import Prepared
from keepers.tasks import Targets, Task, labels_at
from keepers.types import Signals
from keepers.workflows.options.active import ActiveConfig
from keepers.workflows.stages import Tested, Trained, Training, train
from keepers.workflows.workplace import Workplace

NOTHING = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """What is known of the pool when a batch is planned.

    `labels` (n,) are the targets as a `Source` holds them, as far as they are known, and `task`
    what those that are trained on say of them. `members` are the positions that are trained on;
    `closed` (n,) marks what is never picked (pending, skipped, control, test); of those `covered`
    are the positions that will be labelled anyway.
    """

    source: Source
    labels: Any
    members: Tensor
    closed: Tensor
    covered: Tensor

    @cached_property
    def trained_on(self) -> Any:
        """The labels of the members."""
        return labels_at(self.labels, self.members.numpy())

    @cached_property
    def task(self) -> Task:
        """The task of the members' labels."""
        return self.source.task.fitted(self.source.task.names, self.trained_on)

    @cached_property
    def labelled(self) -> Source:
        """The examples with the labels that are known; its fingerprint is made once."""
        other = None if self.source.other_task is None else self.task
        return replace(self.source, labels=self.labels, other_task=other)

    @property
    def targets(self) -> Targets:
        """The labels as a training takes them."""
        targets = self.labelled.targets
        assert targets is not None
        return targets

    @property
    def are_known(self) -> Tensor:
        """Which labels (n,) are known."""
        return self.task.known(self.labels)

    @property
    def is_cold(self) -> bool:
        """Whether the members' labels are too few, or too much alike, to train a model on."""
        return self.task.is_cold(self.trained_on)

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

    def of(self, positions: Tensor, task: Task) -> list[Tensor]:
        """What each model predicts at some of the positions that were scored."""
        rows = torch.searchsorted(self.scored, positions)
        return [each.signals.get(task.said)[rows] for each in self.trained]

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
        labels = self.test.view.labels
        assert labels is not None
        return self.test.view.task.measure(self._tested(), labels).score

    @property
    def test_interval(self) -> tuple[float, float] | None:
        """The interval of that; None where it follows from the score."""
        if self.test is None or self.test.view.task.is_share or not self.trained:
            return None
        labels = self.test.view.labels
        assert labels is not None
        return self.test.view.task.interval(self._tested(), labels)

    def _tested(self) -> Tensor:
        assert self.test is not None
        tested = [each.tested for each in self.trained]
        return self.test.view.task.together([said for said in tested if said is not None])


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
    return Training(
        prepared=replace(prepared, labels=known.targets, task=known.task),
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
    wanted = (method.needs | {known.task.said}) - {"posterior_predictions"}
    if ensemble > 1:
        wanted = wanted - {"posterior_log_probs"}  # the members are its samples
    if test is not None:
        kept = ensemble > 1 or not known.task.is_share  # an interval then takes the predictions
        test = replace(test, kept=kept, view=replace(test.view, task=known.task))
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


def preference(method: Method, members: Sequence[Signals], task: Task) -> Tensor | None:
    """Scores (n,) to compare models by: the method's own, or their doubts; None without either."""
    if method.score is not None:
        return methods.score(method, members)
    return task.doubts([each.get(task.said) for each in members])
