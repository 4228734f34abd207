"""The configuration of `simulate`, and the labels that its budgets come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any, Self

from keepers import methods
from keepers.baselines import RANDOM
from keepers.configuration import picked
from keepers.errors import ParameterError, unknown_name
from keepers.models import default_target
from keepers.roles import Role
from keepers.types import Budget, DataInfo
from keepers.workflows.active.config import ActiveConfig
from keepers.workflows.options.shared import AUTO
from keepers.workflows.scoring import active_signals

PER_METHOD = frozenset({"method", "method_options", "seed"})
"""What a campaign has one of, and a simulation one for each method or seed."""


def _at_random() -> ActiveConfig:
    return ActiveConfig(cold="random")


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """Everything a simulation depends on, beside the data; the CLI has the same names.

    Fractions are of the pool, and every budget counts all labels so far. `initial`: what is
    labelled before the first round, drawn as `choosing.cold` says. `rounds`: the labels after
    each round. `measure`: those of them at which the target is trained and tested (None: all).
    `with_target`: also select with the target itself. `choosing` is how a campaign would choose,
    its method, options and seed aside.

    Raises:
        ParameterError: a value out of range, an unknown method, or one that needs labels.
    """

    methods: Sequence[str] = (AUTO,)
    method_options: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )
    initial: int | float | str = 0.02
    rounds: Sequence[int | float | str] = (0.1, 0.2, 0.3, 0.4, 0.5)
    measure: Sequence[int | float | str] | None = None
    target: str | Role | Mapping[str, Any] | None = None
    target_epochs: int | None = None
    target_resolution: int | None = None
    seeds: int = 5
    with_target: bool = False
    choosing: ActiveConfig = field(default_factory=_at_random)

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", tuple(dict.fromkeys(self.methods)))
        object.__setattr__(self, "rounds", tuple(self.rounds))
        if not self.methods:
            raise ParameterError("methods", "got none", "Name at least one, such as auto")
        for name in self.methods:
            if name != AUTO:
                methods.get(name, active_signals(self.choosing.task))
        for name, options in self.method_options.items():
            if name not in self.methods:
                raise unknown_name("method_options", name, self.methods)
            replace(self.choosing, method=name, method_options=options)
        if not self.rounds:
            raise ParameterError("rounds", "got none", "Give at least one budget, such as 10%")
        Budget.parse(self.initial, "initial")
        for name in ("rounds", "measure"):
            for budget in getattr(self, name) or ():
                Budget.parse(budget, name)
        if self.measure is not None and not self.measure:
            raise ParameterError("measure", "got none", "Leave it out to measure at every round")
        if self.seeds < 1:
            raise ParameterError("seeds", f"got {self.seeds}", "Give 1 or more; 5 for a verdict")
        for name in ("target_epochs", "target_resolution"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ParameterError(name, f"got {value}", "Give 1 or more")
        Role.check("target", self.target)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From flat names, as a function or a file gives them."""
        flat = {name: value for name, value in given.items() if name not in PER_METHOD}
        choosing = picked(ActiveConfig, {"cold": "random", **flat})
        own = {**given, "method_options": given.get("method_options") or {}}
        return picked(cls, {**own, "choosing": choosing})

    def flat(self) -> dict[str, Any]:
        """All values by their flat names."""
        found = asdict(self)
        choosing = found.pop("choosing")
        return found | {name: value for name, value in choosing.items() if name not in PER_METHOD}

    def of_method(self, name: str) -> ActiveConfig:
        """How a campaign chooses by one method; by random, uniformly and nothing else."""
        if name == RANDOM:
            return replace(
                self.choosing,
                method=RANDOM,
                method_options=None,
                cold="random",
                balance=None,
                distinct=None,
                neighbours=None,
            )
        return replace(self.choosing, method=name, method_options=self.method_options.get(name))

    def of_task(self, task: str) -> Self:
        """The same for a task that the data told; methods that it has not are refused."""
        return replace(self, choosing=replace(self.choosing, task=task))

    def target_role(self, info: DataInfo) -> Role:
        """The target's role, with its epochs and resolution from here over what it says itself."""
        role = Role.parse(
            self.target, default_target(info, in_steps=self.target_epochs is not None), "target"
        )
        return role.having(epochs=self.target_epochs, resolution=self.target_resolution)


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """Labels so far: before the first round, after each, and where the target is measured."""

    initial: int
    rounds: tuple[int, ...]
    measured: frozenset[int]

    @classmethod
    def resolve(cls, config: SimulateConfig, n: int) -> Self:
        """The counts in a pool of `n` examples.

        Raises:
            ParameterError: a budget over the pool, rounds that do not increase from the initial
                labels on, or one to measure at that is no round.
        """
        initial = Budget.parse(config.initial, "initial").resolve(n, "initial")
        rounds = [Budget.parse(each, "rounds").resolve(n, "rounds") for each in config.rounds]
        given = ("initial", *config.rounds)
        for number, (before, after) in enumerate(pairwise((initial, *rounds))):
            if after <= before:
                raise ParameterError(
                    "rounds",
                    f"got {given[number + 1]} ({after:,} labels) after {given[number]} "
                    f"({before:,} labels), and each counts all labels so far",
                    "Give increasing budgets, such as 10%,20%,30%",
                )
        known = (initial, *rounds)
        measured: set[int] = set()
        for each in config.measure if config.measure is not None else rounds:
            k = Budget.parse(each, "measure").resolve(n, "measure")
            if k not in known:
                raise ParameterError(
                    "measure",
                    f"got {each} ({k:,} labels), which is no round",
                    f"Give some of {', '.join(f'{count:,}' for count in known)}",
                )
            measured.add(k)
        return cls(initial=initial, rounds=tuple(rounds), measured=frozenset(measured))
