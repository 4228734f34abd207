"""The configuration of a campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from keepers import methods
from keepers.choices import Balance, Cold
from keepers.configuration import SAMPLES, model_named
from keepers.errors import ParameterError, unknown_name
from keepers.models import default_proxy
from keepers.roles import Role
from keepers.training import HardwareConfig
from keepers.types import DataInfo
from keepers.workflows.options.shared import AUTO, UNSURE
from keepers.workflows.scoring import ACTIVE_SIGNALS, check_supplies, needs_steps

BUILT_IN = "built-in"


@dataclass(frozen=True, kw_only=True)
class ActiveConfig(HardwareConfig):
    """How the next examples are chosen; the CLI has the same names.

    `method`: `auto` is `random` while the proxy knows little, and `margin` after that.
    `cold` is the method while fewer than two classes are labelled. `features`: where the features
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
        methods.settings(methods.get(self.asking, ACTIVE_SIGNALS), self.method_options)
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
        if (self.ensemble or 1) == 1:  # the members of an ensemble stand in for dropout
            check_supplies("proxy", model_named(self.proxy), self.asking)

    @property
    def asking(self) -> str:
        """The method that asks the proxy."""
        return UNSURE if self.method == AUTO else self.method

    def role(self, info: DataInfo) -> Role:
        """The proxy's role, with `epochs` and `resolution` over what it says itself."""
        in_steps = self.epochs is not None or (
            needs_steps(self.asking) and (self.ensemble or 1) == 1
        )
        role = Role.parse(self.proxy, default_proxy(info, in_steps=in_steps))
        return role.having(epochs=self.epochs, resolution=self.resolution)


@dataclass(frozen=True, kw_only=True)
class CampaignConfig(ActiveConfig):
    """Everything that `Campaign.start` fixes, beside the data.

    `classes` are the names of the classes; None takes those of the labelled or the test data.
    `control`: the share of the pool, and of every batch, that is drawn at random, never trained
    on, and measures the proxy. `votes`: how many annotators have to label an example. `target`:
    the model that the labels are for; with it the proxy's agreement with it is measured.

    Raises:
        ParameterError: a value out of range, or classes that are not two different ones.
    """

    classes: Sequence[str] | None = None
    control: float = 0.1
    votes: int = 1
    target: str | Role | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
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
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(check_classes(self.classes)))


def check_classes(classes: Sequence[str]) -> Sequence[str]:
    """The names of classes, at least two and no two alike.

    Raises:
        ParameterError: fewer, an empty name, or one that stands twice.
    """
    if isinstance(classes, str):
        raise ParameterError("classes", f"got {classes!r}", "Give a list of names")
    for name in classes:
        if not name.strip() or name != name.strip():
            raise ParameterError(
                "classes", f"got the name {name!r}", "Give names without space around them"
            )
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if list(classes).count(name) > 1)
        raise ParameterError("classes", f"'{twice}' stands twice", "Give each name once")
    if len(classes) < 2:
        raise ParameterError("classes", f"got {len(classes)}", "Give at least two names")
    return classes
