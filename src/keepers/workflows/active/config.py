"""The configuration of a campaign."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, get_args

from keepers import methods
from keepers.baselines import RANDOM
from keepers.choices import Balance, Cold, TaskName
from keepers.configuration import SAMPLES, model_named
from keepers.errors import ParameterError, unknown_name
from keepers.models import default_proxy
from keepers.roles import Role
from keepers.tasks import CLASSES, kind_of, question_of
from keepers.tasks.question import Question
from keepers.training import HardwareConfig
from keepers.types import DataInfo
from keepers.workflows.options.shared import AUTO
from keepers.workflows.scoring import active_signals, check_supplies, needs_steps

BUILT_IN = "built-in"

OPTIONS = {"classes": "class", "labels": "labels", "numbers": "number"}
"""The options that name what is labelled, and the task of each."""


@dataclass(frozen=True, kw_only=True)
class ActiveConfig(HardwareConfig):
    """How the next examples are chosen; the CLI has the same names.

    `task`: `class`, `labels` or `number`: what is labelled. `method`: `auto` is `random` while the
    proxy knows little, and `margin` after that; for several labels and for numbers it stays
    `random`. `cold` is the method while fewer than two classes, or labels or numbers that differ,
    are there. `features`: where the features
    come from that need no labels (`built-in` for the kind of data, a column of vectors, or a
    model such as `hf:PATH` or `probe:ENCODER`). `distinct`: cosine similarity of those features
    over which an example is a near-duplicate of an earlier one of the batch, or of one that waits
    for its label, and left out (1 or None keeps them).
    `neighbours`: score only the so many nearest neighbours of each labelled example (SEALS; None
    scores the whole pool). `samples`: posterior samples of methods that need them, from dropout
    or, with `ensemble`, one from each model.

    Raises:
        ParameterError: a value out of range, or an unknown method.
    """

    task: TaskName = "class"
    method: str = AUTO
    method_options: Mapping[str, Any] | None = None
    proxy: str | Role | Mapping[str, Any] | None = None
    epochs: int | None = None
    resolution: int | None = None
    ensemble: int | None = None
    samples: int = SAMPLES
    balance: Balance | None = None
    cold: Cold = "typiclust"
    features: str = BUILT_IN
    distinct: float | None = 0.98
    neighbours: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method == AUTO and self.method_options:
            raise ParameterError(
                "method_options", f"got options for '{AUTO}'", "Name the method they are for"
            )
        if self.task != AUTO:
            kind_of(self.task)
        row = methods.get(self.asking, active_signals(self.task))
        methods.settings(row, self.method_options)
        if self.cold not in get_args(Cold):
            raise unknown_name("cold", str(self.cold), get_args(Cold))
        if self.balance is not None and self.balance not in get_args(Balance):
            raise ParameterError(
                "balance", f"got {self.balance!r}", "Give 'class', or leave it out"
            )
        for name, least in (("epochs", 1), ("ensemble", 1), ("neighbours", 1), ("samples", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ParameterError(name, f"got {value}", f"Give {least} or more")
        if self.distinct is not None and not 0 < self.distinct <= 1:
            raise ParameterError(
                "distinct", f"got {self.distinct}", "Give a cosine similarity in (0, 1]"
            )
        Role.check("proxy", self.proxy)
        if self.num_models == 1:  # the members of an ensemble stand in for dropout
            check_supplies("proxy", model_named(self.proxy), self.asking)

    @property
    def asking(self) -> str:
        """The method that asks the proxy."""
        if self.method != AUTO:
            return self.method
        return (CLASSES if self.task == AUTO else kind_of(self.task)).unsure or RANDOM

    @property
    def num_models(self) -> int:
        """How many proxies are asked."""
        return self.ensemble or methods.get(self.asking).default_ensemble

    def role(self, info: DataInfo) -> Role:
        """The proxy's role, with `epochs` and `resolution` over what it says itself."""
        in_steps = self.epochs is not None or (needs_steps(self.asking) and self.num_models == 1)
        role = Role.parse(self.proxy, default_proxy(info, in_steps=in_steps))
        return role.having(epochs=self.epochs, resolution=self.resolution)


@dataclass(frozen=True, kw_only=True)
class CampaignConfig(ActiveConfig):
    """Everything that `Campaign.start` fixes, beside the data.

    `classes` are the names of the classes, `labels` of several labels, `numbers` of numbers; the
    one that is given says what the task is, and None takes those of the labelled or the test data.
    `tolerance`: how far votes for a number may lie apart, one for all or one for each number; None
    takes the median of any.
    `control`: the share of the pool, and of every batch, that is drawn at random, never trained
    on, and measures the proxy. `votes`: how many annotators have to label an example. `target`:
    the model that the labels are for; with it the proxy's agreement with it is measured.

    Raises:
        ParameterError: a value out of range, classes that are not two different ones, or names of
            another task.
    """

    classes: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    numbers: Sequence[str] | None = None
    tolerance: float | Sequence[float] | None = None
    control: float = 0.1
    votes: int = 1
    target: str | Role | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        given = next((name for name in OPTIONS if getattr(self, name) is not None), None)
        if given is not None:
            more = [name for name in OPTIONS if name != given and getattr(self, name) is not None]
            task: Any = OPTIONS[given]
            if more:
                raise ParameterError(more[0], f"got {given}, too", "Give one of them")
            if self.task not in (CLASSES.name, task):
                raise ParameterError(
                    given,
                    f"the task is '{self.task}'",
                    f"Give --{self.question.option} ({self.question.option}=...) for it",
                )
            object.__setattr__(self, "task", task)
        super().__post_init__()
        self._check_tolerance()
        if not 0 <= self.control < 1:
            raise ParameterError("control", f"got {self.control}", "Give a fraction in [0, 1)")
        if self.votes < 1:
            raise ParameterError("votes", f"got {self.votes}", "Give 1 or more")
        if self.balance is not None and not methods.get(self.asking).needs:
            raise ParameterError(
                "balance",
                f"got '{self.balance}', and '{self.method}' asks no proxy for classes",
                "Leave it out, or take another --method",
            )
        Role.check("target", self.target)
        if self.names is not None:
            names = tuple(check_names(self.names, self.question))
            object.__setattr__(self, self.question.option, names)

    @property
    def names(self) -> Sequence[str] | None:
        """The names that were given, of whatever is labelled; None where the data tell them."""
        return next((n for o in OPTIONS if (n := getattr(self, o)) is not None), None)

    @property
    def question(self) -> Question:
        """What people are asked."""
        return question_of(self.task, self.names or (), ())

    def named(self, names: Sequence[str]) -> Self:
        """The same with the names that the campaign has.

        Raises:
            ParameterError: they are not as many as the tolerances.
        """
        own: dict[str, Any] = {self.question.option: tuple(names)}
        if self.tolerance is not None:
            given = _numbers(self.tolerance)
            given = given * len(names) if len(given) == 1 else given
            if len(given) != len(names):
                raise ParameterError(
                    "tolerance",
                    f"got {len(given)} for {len(names)} numbers",
                    "Give one, or one for each number",
                )
            own["tolerance"] = given
        return replace(self, **dict.fromkeys(OPTIONS) | own)

    def _check_tolerance(self) -> None:
        if self.tolerance is None:
            return
        if self.question.option != "numbers":
            raise ParameterError("tolerance", "got one, and no number is labelled", "Leave it out")
        if not all(math.isfinite(each) and each >= 0 for each in _numbers(self.tolerance)):
            raise ParameterError("tolerance", f"got {self.tolerance}", "Give numbers, 0 or more")


def _numbers(given: float | Sequence[float]) -> tuple[float, ...]:
    return (float(given),) if isinstance(given, int | float) else tuple(map(float, given))


def check_names(names: Sequence[str], question: Question) -> Sequence[str]:
    """The names of classes, labels or numbers: enough, and no two alike.

    Raises:
        ParameterError: fewer, an empty name, or one that stands twice.
    """
    option = question.option
    if isinstance(names, str):
        raise ParameterError(option, f"got {names!r}", "Give a list of names")
    for name in names:
        if not name.strip() or name != name.strip():
            raise ParameterError(
                option, f"got the name {name!r}", "Give names without space around them"
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise ParameterError(option, f"'{twice}' stands twice", "Give each name once")
    if len(names) < question.fewest:
        few = ("a name", "at least two names")[question.fewest - 1]
        raise ParameterError(option, f"got {len(names)}", f"Give {few}")
    return names
