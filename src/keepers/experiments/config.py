"""The configuration of `compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keepers import methods
from keepers.choices import Balance
from keepers.configuration import model_named
from keepers.errors import ParameterError, unknown_name
from keepers.roles import Role
from keepers.training import HardwareConfig
from keepers.types import Budget
from keepers.workflows.options.coreset import floor
from keepers.workflows.options.shared import AUTO
from keepers.workflows.scoring import (
    CORESET_SIGNALS,
    check_supplies,
)


@dataclass(frozen=True, kw_only=True)
class CompareConfig(HardwareConfig):
    """Everything a comparison depends on, beside the data; the CLI has the same names.

    Raises:
        ParameterError: a value out of range, or an unknown method.
    """

    methods: Sequence[str] = (AUTO,)
    method_options: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )
    keep: Sequence[int | float | str] = (0.3, 0.5, 0.7)
    proxy: str | Role | Mapping[str, Any] | None = None
    target: str | Role | Mapping[str, Any] | None = None
    epochs: int | None = None
    target_epochs: int | None = None
    target_resolution: int | None = None
    resolution: int | None = None
    ensemble: int | None = None
    balance: Balance | None = None
    min_per_class: int = 1
    seeds: int = 5
    with_target: bool = False
    noise: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("methods", "keep"):
            values: Sequence[Any] = getattr(self, name)
            object.__setattr__(self, name, tuple(dict.fromkeys(values)))
        if not self.methods:
            raise ParameterError("methods", "got none", "Name at least one, such as auto")
        if not self.keep:
            raise ParameterError("keep", "got none", "Give at least one fraction, such as 0.5")
        for name in self.named:
            methods.get(name, CORESET_SIGNALS)
        for name, options in self.method_options.items():
            if name not in self.named:
                raise unknown_name("method_options", name, self.named)
            methods.settings(methods.get(name), options)
        for keep in self.keep:
            Budget.parse(keep)
        if self.seeds < 1:
            raise ParameterError("seeds", f"got {self.seeds}", "Give 1 or more; 5 for a verdict")
        floor("min_per_class", self.min_per_class)
        for name in ("epochs", "target_epochs", "target_resolution"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ParameterError(name, f"got {value}", "Give 1 or more")
        if not 0 <= self.noise < 1:
            raise ParameterError("noise", f"got {self.noise}", "Give a fraction in [0, 1)")
        Role.check("proxy", self.proxy)
        Role.check("target", self.target)
        for name in self.named:
            check_supplies("proxy", model_named(self.proxy), name)
            if self.with_target:
                check_supplies("target", model_named(self.target), name)

    @property
    def named(self) -> list[str]:
        """The methods that are named, `auto` left out."""
        return [name for name in self.methods if name != AUTO]
