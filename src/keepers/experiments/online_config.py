"""The configuration of `compare_online`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from keepers import methods
from keepers.baselines import BASELINES, EQUAL_TIME, FRESH, SVP, UNIFORM
from keepers.configuration import picked
from keepers.errors import ParameterError, unknown_name
from keepers.experiments.corruption import Corruption
from keepers.options import cut
from keepers.roles import Role
from keepers.training import Length
from keepers.workflows.online import AUTO, needs_irreducible, selections
from keepers.workflows.options.training import (
    CandidatesConfig,
    IlModelConfig,
    LengthConfig,
    SelectionConfig,
)

ONLY_COMPARED: Mapping[str, str] = {
    SVP: "a core-set of the highest entropy under a proxy, trained on uniformly (Coleman et al. "
    "2020)"
}
"""What a comparison offers beside the selections of a training."""
EVALUATIONS = 40  # of a training of known length, unless `evaluate_every` says otherwise
EVALUATE_EVERY = 50  # steps, where the length is in seconds


class CompareOnlineConfig(CandidatesConfig, LengthConfig, IlModelConfig, Corruption):
    """Everything an online comparison depends on, beside the data; the CLI has the same names.

    Raises:
        ParameterError: a value out of range, an unknown method, or nothing to compare.
    """

    methods: Sequence[str] = ("rho-loss",)
    method_options: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )
    target: str | Role | Mapping[str, Any] | None = None
    targets: Sequence[float] = ()
    uses: int = 10
    proxy: str | Role | Mapping[str, Any] | None = None
    seeds: int = 5

    def __post_init__(self) -> None:
        asked = [name for name in dict.fromkeys(self.methods) if name not in BASELINES]
        object.__setattr__(self, "methods", tuple(asked))
        object.__setattr__(self, "targets", tuple(sorted(set(self.targets))))
        if not asked:
            raise ParameterError(
                "methods",
                "got nothing beside what is always compared with",
                "Name at least one, such as rho-loss",
            )
        super().__post_init__()
        for name in asked:
            self._check_method(name)
        for name in self.method_options:
            if name not in asked:
                raise unknown_name("method_options", name, asked)
        for name in asked:
            self.selection(name)
        self._check_length()
        for target in self.targets:
            if not 0 < target <= 1:
                raise ParameterError("targets", f"got {target}", "Give accuracies in (0, 1]")
        for name, least in (("seeds", 1), ("uses", 1)):
            if getattr(self, name) < least:
                raise ParameterError(name, f"got {getattr(self, name)}", f"Give {least} or more")
        Corruption.__post_init__(self)
        Role.check("proxy", self.proxy)
        Role.check("target", self.target)

    def _check_method(self, name: str) -> None:
        if name == SVP:
            if self.method_options.get(SVP):
                raise ParameterError("method_options", f"got some for '{SVP}', which has none")
        elif name == AUTO:
            raise ParameterError(
                "methods", f"got '{AUTO}', which is rho-loss or uniform", "Compare rho-loss"
            )
        elif (
            name not in selections()
            and name not in methods.table()
            and not methods.is_composed(name)
        ):
            raise unknown_name("methods", name, (*selections(), SVP))

    def _check_length(self) -> None:
        every = self.evaluate_every
        if every is not None and self.steps is not None and 2 * every > self.steps:
            raise ParameterError(
                "evaluate_every",
                f"got {every} of {self.steps} steps, which gives fewer than two evaluations",
                "Give fewer steps between evaluations",
            )

    @property
    def with_irreducible(self) -> tuple[str, ...]:
        """The methods that need irreducible losses."""
        return tuple(name for name in self.methods if name != SVP and needs_irreducible(name))

    def selection(self, select: str) -> SelectionConfig:
        """The part that is about selection, for one method; what scores nothing has no savings."""
        if select == FRESH:
            return SelectionConfig(select=FRESH, keep=self.keep)
        if select in (UNIFORM, EQUAL_TIME, SVP):
            return SelectionConfig(select=UNIFORM)
        options = dict(self.method_options.get(select, {}))
        candidates = vars(cut(self, CandidatesConfig))
        return SelectionConfig(select=select, select_options=options, **candidates)

    def corruption(self) -> Corruption:
        """The part that is about what is done to the data."""
        return picked(Corruption, vars(self))

    def steps_of(self, epochs: int, steps_in_epoch: int) -> Length:
        """The length of every training: steps, or seconds where those are given."""
        length = self.length(epochs)
        if length.epochs is None:
            return length
        return Length(steps=length.epochs * steps_in_epoch)

    def every(self, length: Length) -> int:
        """Steps between evaluations."""
        if self.evaluate_every is not None:
            return self.evaluate_every
        return EVALUATE_EVERY if length.steps is None else max(1, length.steps // EVALUATIONS)
