"""One seed of the approximation study: an epoch of batches, scored by every function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from keepers.data import Source, corrupt_labels
from keepers.errors import ParameterError
from keepers.ledger import Ledger
from keepers.random import derived_seed, generator
from keepers.roles import Prepared, Role
from keepers.runs import StageRecord
from keepers.selectors import stratified_units
from keepers.statistics import spearman
from keepers.training import Hardware
from keepers.types import Budget
from keepers.workflows.workplace import Workplace
from recipes.approximations.ensembles import Ensemble, Function, Material

PUBLISHED = {
    "single model": 0.75,
    "one gradient step": 0.76,
    "irreducible losses fixed": 0.63,
    "small irreducible-loss model": 0.51,
}
"""Each approximation has those before it; the correlations of Mindermann et al. 2022, Table 1."""

EXACT = "exact"
SINGLE, ONE_STEP, FIXED, SMALL = PUBLISHED

ROLES = {"target": (512, 512), "il_model": (256, 256)}
LR, WEIGHT_DECAY = 1e-3, 0.01  # of AdamW, in the paper
CHECKED = 1000  # held-out examples that choose the weights of irreducible-loss models
SETTABLE = ("model", "options", "resolution", "lr", "weight_decay")


@dataclass(frozen=True, kw_only=True)
class ApproximationsConfig:
    """Everything the study depends on, beside the data.

    Raises:
        ParameterError: a value out of range.
    """

    target: str | Role | Mapping[str, Any] | None = None
    il_model: str | Role | Mapping[str, Any] | None = None
    holdout: int | float | str = 0.5
    noise: float = 0.1
    batch_size: int = 1000
    keep: int | float | str = 0.1
    members: int = 5
    epochs: int = 5
    copies: int = 5
    seeds: int = 3
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("batch_size", "members", "epochs", "copies", "seeds"):
            if getattr(self, name) < 1:
                raise ParameterError(name, f"got {getattr(self, name)}", "Give 1 or more")
        if not 2 <= self.kept < self.batch_size:
            raise ParameterError(
                "keep",
                f"got {self.keep}, which is {self.kept} of {self.batch_size} candidates",
                "Keep at least 2, and not all",
            )
        for name in ("keep", "holdout"):  # 0.1 and "10%" are one study
            object.__setattr__(self, name, Budget.parse(getattr(self, name), name).value)
        if not 0 <= self.noise < 1:
            raise ParameterError("noise", f"got {self.noise}", "Give a fraction in [0, 1)")
        for name in ROLES:
            self.role(name)
        Hardware(device=self.device)

    @property
    def kept(self) -> int:
        """How many of a batch of candidates are chosen."""
        return Budget.parse(self.keep).resolve(self.batch_size)

    def role(self, parameter: str) -> Role:
        """The role of `target` or `il_model`.

        Raises:
            ParameterError: it sets what the study sets itself.
        """
        given: Any = getattr(self, parameter)
        if given is None:
            given = {"options": {"hidden": ROLES[parameter]}}
        role = Role.parse(given, "mlp", parameter)
        for each in fields(role):
            value = getattr(role, each.name)
            if value is not None and each.name not in SETTABLE:
                raise ParameterError(
                    f"{parameter}.{each.name}",
                    f"got {value!r}, and the study decides on that itself",
                    f"Leave it out. There are {', '.join(SETTABLE)}",
                )
        decay = WEIGHT_DECAY if role.weight_decay is None else role.weight_decay
        return replace(role, lr=role.lr or LR, weight_decay=decay)


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """The study with one seed."""

    config: ApproximationsConfig
    source: Source
    target: Prepared
    small: Prepared
    seed: int

    def inputs(self, place: Workplace) -> dict[str, Any]:
        """All that its result depends on, as JSON values."""
        elsewhere = {*ROLES, "seeds", "device"}
        return {
            **{k: v for k, v in vars(self.config).items() if k not in elsewhere},
            "data": self.source.fingerprint,
            "roles": [self.target.role.identity(), self.small.role.identity()],
            "models": [self.target.fingerprint, self.small.fingerprint],
            "seed": self.seed,
            "hardware": place.hardware.identity(gains_from_bf16=False),
        }

    def run(self, place: Workplace) -> StageRecord:
        """Every function scores each batch of an epoch before any has trained on it."""
        config, ledger = self.config, Ledger()
        device = place.hardware.runtime(gains_from_bf16=False).device
        labels, wrong = corrupt_labels(
            self.target.labels,
            len(self.source.class_names),
            config.noise,
            generator=generator(self.seed, "noise"),
        )
        holdout, checked, batches = (part.to(device) for part in self._parts())
        again = self._copied(batches)
        material = Material(labels=labels.to(device), size=config.kept, epochs=config.epochs)
        with ledger.phase("irreducible-loss training") as material.tally:
            functions = self._functions(material, holdout, checked)
        found: dict[str, dict[str, list[float]]] = {f.name: {} for f in functions}
        if place.progress is not None:
            place.progress.start(f"approximations, seed {self.seed}", len(batches))
        for number, batch in enumerate(batches):
            with ledger.phase("scoring") as material.tally:
                scores = [function.scores(batch).cpu() for function in functions]
            for function, own in zip(functions, scores, strict=True):
                noted = _likeness(own, scores[0], wrong[batch.cpu()], config.kept)
                for name, value in noted.items():
                    found[function.name].setdefault(name, []).append(value)
            for function in functions if number < len(batches) - 1 else ():
                with ledger.phase(function.name) as material.tally:
                    one_pass = function.name in (EXACT, SINGLE)
                    for part in (batch,) if one_pass else again[number]:
                        function.acquire(part, config.kept)
            if place.progress is not None:
                place.progress.advance(number + 1)
        if place.progress is not None:
            place.progress.finish()
        return StageRecord(facts=found, costs=tuple(ledger.by_phase()))

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positions of the holdout data, of its part that is checked, and of the batches (t, n)."""
        n, size = len(self.source), self.config.batch_size
        count = Budget.parse(self.config.holdout, "holdout").resolve(n, "holdout")
        units = torch.from_numpy(self.source.units)
        draw = generator(self.seed, "holdout")
        drawn = stratified_units(self.target.labels, units, count, generator=draw)
        num_checked = max(1, min(CHECKED, len(drawn) // 10))
        left = torch.ones(n, dtype=torch.bool)
        left[drawn] = False
        rest = left.nonzero().squeeze(1)
        shuffled = drawn[torch.randperm(len(drawn), generator=generator(self.seed, "checked"))]
        is_checked = torch.isin(units[shuffled], units[shuffled[:num_checked]])
        if len(rest) < 2 * size or is_checked.all():
            raise ParameterError(
                "batch_size",
                f"got {size}, and {len(rest):,} examples beside {len(drawn):,} of holdout, which "
                "is fewer than two batches",
                "Give a smaller one, or more data",
            )
        rest = rest[torch.randperm(len(rest), generator=generator(self.seed, "order"))]
        whole = len(rest) // size
        held_out, checked = shuffled[~is_checked], shuffled[is_checked]
        return held_out, checked, rest[: whole * size].reshape(whole, size)

    def _copied(self, batches: Tensor) -> Tensor:
        """The same examples so many times, in an order of their own: (t, copies, n)."""
        repeated = batches.flatten().repeat(self.config.copies)
        draw = generator(self.seed, "copies")
        order = torch.randperm(len(repeated), generator=draw).to(batches.device)
        return repeated[order].reshape(len(batches), self.config.copies, batches.shape[1])

    def _functions(self, material: Material, holdout: Tensor, checked: Tensor) -> list[Function]:
        """The exact function and its approximations, irreducible-loss models trained."""

        def of(
            role: str, prepared: Prepared, size: int = 1, states: Sequence[Any] = ()
        ) -> Ensemble:
            seed = derived_seed(self.seed, role)
            return Ensemble(prepared, material, size=size, seed=seed, states=states)

        def function(name: str, learn: Any, irreducible: Ensemble, size: int = 1) -> Function:
            target = of("target", self.target, size)
            none = holdout[:0]
            return Function(
                name=name, target=target, irreducible=irreducible, learn=learn, acquired=none
            )

        def converged(f: Function, chosen: Tensor) -> None:
            f.target.converge(chosen, chosen)
            f.irreducible.converge(torch.cat([holdout, f.acquired]), checked)

        def both_step(f: Function, chosen: Tensor) -> None:
            f.target.step(chosen)
            f.irreducible.step(chosen)

        def target_steps(f: Function, chosen: Tensor) -> None:
            f.target.step(chosen)

        size = self.config.members
        large, small = of("irreducible", self.target, size), of("small", self.small)
        large.converge(holdout, checked)
        small.converge(holdout, checked)
        first = large.states()[:1]

        def alone() -> Ensemble:
            return of("irreducible", self.target, states=first)

        return [
            function(EXACT, converged, large, size),
            function(SINGLE, converged, alone()),
            function(ONE_STEP, both_step, alone()),
            function(FIXED, target_steps, alone()),
            function(SMALL, target_steps, small),
        ]


def _likeness(own: Tensor, exact: Tensor, wrong: Tensor, k: int) -> dict[str, float]:
    """Rank correlation, the share of the choice that is the same, and of wrong labels in it."""
    chosen, theirs = own.topk(k).indices, exact.topk(k).indices
    return {
        "correlation": float(spearman([own.double().numpy(), exact.double().numpy()])[0, 1]),
        "shared": float(torch.isin(chosen, theirs).double().mean()),
        "wrong": float(wrong[chosen].double().mean()),
    }
