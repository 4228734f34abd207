"""The options of campaigns, and what `simulate` shares with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

from keepers.baselines import RANDOM
from keepers.choices import Balance, Cold, TaskName
from keepers.configuration import SAMPLES, model_named
from keepers.errors import ParameterError
from keepers.options import Option, at_least, read, share
from keepers.workflows.options.coreset import ByMethod, similarity
from keepers.workflows.options.shared import (
    AUTO,
    SHOWN_TASKS,
    HardwareOptions,
    Listening,
    ModelLike,
    Proxied,
    Rows,
    known_task,
)

if TYPE_CHECKING:
    from keepers.roles import Role
    from keepers.tasks.question import Question
    from keepers.types import DataInfo

    Place = str | Path | None
    """Where data are: a path or the name of a hub."""
else:
    Place = Any  # data in memory are refused with a reason of their own

BUILT_IN = "built-in"

OPTIONS = {"classes": "class", "labels": "labels", "numbers": "number"}
"""The options that name what is labelled, and the task of each."""


def names_of(given: Sequence[str] | None, option: str) -> tuple[str, ...] | None:
    """Names in a list; YAML reads yes, no, on and off as true and false.

    Raises:
        ParameterError: something else than names.
    """
    if given is None:
        return None
    if isinstance(given, str):
        raise ParameterError(option, f"got {given!r}", "Give a list of names")
    found: Any = given
    names = cast("list[Any]", list(found)) if isinstance(found, Sequence) else [None]
    if any(isinstance(name, bool) or not isinstance(name, str | int) for name in names):
        raise ParameterError(
            option, f"got {given!r}", "Give names, in quotes where YAML reads them otherwise"
        )
    return tuple(map(str, names))


class Choosing(Proxied, HardwareOptions):
    """How the next examples are chosen, whatever the method."""

    task: Annotated[
        TaskName,
        known_task,
        Option(
            "What to label: one class each, several labels, or a number; auto: by values",
            after="label",
            metavar=SHOWN_TASKS,
        ),
    ] = "auto"
    samples: Annotated[
        int,
        at_least(2),
        Option(
            "Passes with dropout, for methods that average over them",
            "With `ensemble`, one from each model",
            after="ensemble",
        ),
    ] = SAMPLES
    balance: Annotated[Balance | None, Option("Share the budget evenly over classes")] = None
    cold: Annotated[Cold, Option("Method while there are too few labels to train on")] = "typiclust"
    features: Annotated[
        str,
        Option(
            "Features that need no labels: built-in, a column, or a model (hf:PATH, probe:ENCODER)"
        ),
    ] = BUILT_IN
    distinct: Annotated[
        float | None,
        similarity,
        Option(
            "Cosine similarity above which an example is a near-duplicate; 1: only exact "
            "duplicates",
            "Near-duplicates of an earlier example of the batch, or of one that waits for its "
            "label, are left out",
        ),
    ] = 0.98
    neighbours: Annotated[
        int | None,
        at_least(1),
        Option(
            "Score only the N nearest neighbours of each labelled example",
            "None scores the whole pool (scoring neighbours is SEALS)",
        ),
    ] = None


class ActiveConfig(ByMethod, Choosing):
    """How the next examples are chosen by one method.

    `method`: `auto` is `random` until the proxy knows where it errs, then `badge`, and `margin`
    from 300 labels on; for several labels and for numbers it stays `random`.

    Raises:
        ParameterError: a value out of range, or an unknown method.
    """

    task: Annotated[
        TaskName,
        known_task,
        Option(
            "What to label: one class each, several labels, or a number; auto: by values",
            metavar=SHOWN_TASKS,
        ),
    ] = "class"
    method: Annotated[
        str,
        Option(
            "How to select; see 'keepers methods'",
            "`auto` is `random` in rounds in which the proxy does not know where it errs, else "
            "`badge`, and `margin` from 300 labels on; for several labels and for numbers it is "
            "always `random`",
        ),
    ] = AUTO
    seed: Annotated[int, Option("Same data, same seed, same selection", after="neighbours")] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        from keepers import methods
        from keepers.workflows.offered import active_signals, check_supplies

        if self.method == AUTO and self.method_options:
            raise ParameterError(
                "method_options", f"got options for '{AUTO}'", "Name the method they are for"
            )
        row = methods.get(self.asking, active_signals(self.task))
        methods.settings(row, self.method_options)
        if self.num_models == 1:  # the members of an ensemble stand in for dropout
            check_supplies("proxy", model_named(self.proxy), self.asking)

    @property
    def asking(self) -> str:
        """The method that asks the proxy."""
        from keepers.tasks import CLASSES, kind_of

        if self.method != AUTO:
            return self.method
        return (CLASSES if self.task == AUTO else kind_of(self.task)).unsure or RANDOM

    @property
    def num_models(self) -> int:
        """How many proxies are asked."""
        from keepers import methods

        return self.ensemble or methods.get(self.asking).default_ensemble

    def role(self, info: DataInfo) -> Role:
        """The proxy's role, with `epochs` and `resolution` over what it says itself."""
        from keepers.models import default_proxy
        from keepers.roles import Role
        from keepers.workflows.offered import needs_steps

        in_steps = self.epochs is not None or (needs_steps(self.asking) and self.num_models == 1)
        role = Role.parse(self.proxy, default_proxy(info, in_steps=in_steps))
        return role.having(epochs=self.epochs, resolution=self.resolution)


class CampaignConfig(ActiveConfig):
    """Everything that `Campaign.start` fixes, beside the data.

    Raises:
        ParameterError: a value out of range, classes that are not two different ones, or names of
            another task.
    """

    classes: Annotated[
        Sequence[str] | None,
        Option(
            "Names of the classes, separated by commas",
            "The names of classes, labels or numbers set the task; None takes the names in "
            "`labelled` or `test`",
        ),
    ] = read(default=None, converter=partial(names_of, option="classes"))
    labels: Annotated[
        Sequence[str] | None, Option("Names of the labels, if an example may have several")
    ] = read(default=None, converter=partial(names_of, option="labels"))
    numbers: Annotated[
        Sequence[str] | None, Option("Name of the number to give each example, or several names")
    ] = read(default=None, converter=partial(names_of, option="numbers"))
    tolerance: Annotated[
        float | Sequence[float] | None,
        Option(
            "Largest difference between agreeing votes for a number (default: any)",
            "One value for all numbers, or one for each; None always takes the median",
        ),
    ] = None
    control: Annotated[
        float,
        share,
        Option(
            "Share of every batch drawn at random and never trained on",
            "It measures the proxy",
            after="neighbours",
        ),
    ] = 0.1
    votes: Annotated[int, at_least(1), Option("Annotators that must label an example")] = 1
    target: Annotated[
        ModelLike,
        Option(
            "Model that you will train on the labels; its agreement with the proxy is measured",
            after="proxy",
        ),
    ] = None

    def __post_init__(self) -> None:
        from keepers import methods
        from keepers.tasks import CLASSES

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
        if self.balance is not None and self.task not in (CLASSES.name, AUTO):
            raise ParameterError(
                "balance",
                f"got '{self.balance}', but the task is '{self.task}', which has no classes",
                "Leave it out",
            )
        if self.balance is not None and not methods.get(self.asking).needs:
            raise ParameterError(
                "balance",
                f"got '{self.balance}', but '{self.method}' does not use a proxy",
                "Leave it out, or take another --method",
            )
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
        from keepers.tasks import question_of

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
        return replace(cast("Any", self), **dict.fromkeys(OPTIONS) | own)

    def _check_tolerance(self) -> None:
        if self.tolerance is None:
            return
        if self.question.option != "numbers":
            raise ParameterError("tolerance", "got one, but no number is labelled", "Leave it out")
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
        raise ParameterError(option, f"'{twice}' occurs twice", "Give each name once")
    if len(names) < question.fewest:
        few = ("a name", "at least two names")[question.fewest - 1]
        raise ParameterError(option, f"got {len(names)}", f"Give {few}")
    return names


class StartOptions(CampaignConfig, Rows, Listening):
    """The options of a campaign that begins.

    Raises:
        ParameterError: as `CampaignConfig`.
    """

    campaign: Annotated[str | Path, Option("Folder to create for the campaign")]
    labelled: Annotated[
        Place, Option("Data that already have labels", "Data like the pool", after="tolerance")
    ] = None
    test: Annotated[
        Place,
        Option("Labelled test data", "They are never selected and never trained on"),
    ] = None
    label: Annotated[
        str | None,
        Option("Column of POOL with existing labels", "Without it, no label column is read"),
    ] = None
