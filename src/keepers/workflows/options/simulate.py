"""The options of `simulate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Self, cast

from keepers.baselines import RANDOM
from keepers.choices import Cold
from keepers.errors import ParameterError, unknown_name
from keepers.options import Option, cut
from keepers.workflows.options.active import ActiveConfig, Choosing
from keepers.workflows.options.compare import TEST, TriedBeforehand
from keepers.workflows.options.shared import AUTO, Shared


class SimulateConfig(Choosing, TriedBeforehand):
    """Everything a simulation depends on, beside the data.

    Raises:
        ParameterError: a value out of range, an unknown method, or one that needs labels.
    """

    methods: Annotated[
        Sequence[str],
        Option(
            "Methods, separated by commas; random always runs",
            "Methods that need no labels of the pool, and `auto`, which chooses in each round",
        ),
    ] = (AUTO,)
    initial: Annotated[
        int | float | str,
        Option("Labels before the first round: a fraction of DATA, or a count"),
    ] = 0.02
    rounds: Annotated[
        Sequence[int | float | str],
        Option("Total labels after each round, separated by commas"),
    ] = (0.1, 0.2, 0.3, 0.4, 0.5)
    measure: Annotated[
        Sequence[int | float | str] | None,
        Option("Rounds after which the target is trained, separated by commas (default: all)"),
    ] = None
    cold: Annotated[
        Cold,
        Option(
            "How the initial labels are chosen",
            "The method `random` always draws its own",
        ),
    ] = "random"

    def __post_init__(self) -> None:
        super().__post_init__()
        from keepers import methods
        from keepers.types import Budget
        from keepers.workflows.offered import active_signals

        object.__setattr__(self, "methods", tuple(dict.fromkeys(self.methods)))
        object.__setattr__(self, "rounds", tuple(self.rounds))
        _ = self.choosing
        if not self.methods:
            raise ParameterError("methods", "got none", "Name at least one, such as auto")
        for name in self.methods:
            if name != AUTO:
                methods.get(name, active_signals(self.task))
        for name in self.method_options:
            if name not in self.methods:
                raise unknown_name("method_options", name, self.methods)
            self.of_method(name)
        if not self.rounds:
            raise ParameterError("rounds", "got none", "Give at least one budget, such as 10%")
        Budget.parse(self.initial, "initial")
        for name in ("rounds", "measure"):
            for budget in getattr(self, name) or ():
                Budget.parse(budget, name)
        if self.measure is not None and not self.measure:
            raise ParameterError("measure", "got none", "Leave it out to measure at every round")

    @property
    def choosing(self) -> ActiveConfig:
        """How a campaign would choose, its method, options and seed aside."""
        return ActiveConfig(**vars(cut(self, Choosing)))

    def of_method(self, name: str) -> ActiveConfig:
        """How a campaign chooses by one method; by random, uniformly and nothing else."""
        changed: dict[str, Any] = {"method": name, "method_options": self.method_options.get(name)}
        if name == RANDOM:
            changed |= {"method_options": None, "cold": "random"}
            changed |= dict.fromkeys(("balance", "distinct", "neighbours"))
        return replace(cast("Any", self.choosing), **changed)

    def of_task(self, task: str) -> Self:
        """The same for a task that the data told; methods that it has not are refused."""
        return replace(cast("Any", self), task=task)


class SimulateOptions(SimulateConfig, Shared):
    """The options of a simulation.

    Raises:
        ParameterError: as `SimulateConfig`.
    """

    test: Annotated[Any, TEST]
