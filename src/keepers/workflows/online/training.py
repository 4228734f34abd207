"""One training with online selection: what it depends on, its policy, and the models beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from keepers.baselines import FRESH, UNIFORM
from keepers.data import Source
from keepers.files import hash_bytes
from keepers.online import (
    FEW_PASSES,
    Backend,
    Companion,
    InfoBatch,
    InProcess,
    Scorers,
    Scoring,
    Selecting,
    Selector,
)
from keepers.random import derived_seed
from keepers.roles import Prepared, Role, prepare
from keepers.training import BatchPolicy, FreshSubset, Length, Runtime, Shuffle, has_bf16
from keepers.types import EvalView, Pool
from keepers.workflows.irreducible import Irreducible
from keepers.workflows.online.selections import (
    INFOBATCH,
    ORIGINAL,
    method_identity,
    not_one_model,
)
from keepers.workflows.options.training import SelectionConfig
from keepers.workflows.weights import load_weights
from keepers.workflows.workplace import Workplace

IL_SHARE = 0.01  # of its learning rate, for the model that the original function updates


@dataclass(frozen=True, kw_only=True, eq=False)
class OnlineTraining:
    """What one training of a target depends on.

    `members` are positions in the data of `prepared`; `values` irreducible losses by position,
    where the selection needs them. The target is measured on `test` every `every` steps. `marks`
    are masks over positions, of what is corrupted or of low relevance. `backend` makes what scores
    the candidates when their cost is measured, and in the training, unless there are `scorers`:
    where that happens does not change what comes of it, as scores are by the weights of the step,
    or by older ones of a set age.
    """

    prepared: Prepared
    source: Source
    members: Tensor
    selection: SelectionConfig
    length: Length
    seed: int
    irreducible: Irreducible | None = None
    values: Tensor | None = None
    stand_in: Prepared | None = None
    test: EvalView | None = None
    test_data: str = ""
    every: int = 0
    marks: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    backend: Backend = InProcess
    scorers: Scorers | None = None

    @property
    def few_passes(self) -> bool:
        """Whether uniform training of as many steps sees each example a few times at most.

        It is not known of a training in epochs of candidates, or in seconds.
        """
        steps, batch = self.length.steps, self.prepared.recipe.batch_size
        return steps is not None and steps * batch <= FEW_PASSES * len(self.members)

    def with_losses(self, irreducible: Irreducible) -> OnlineTraining:
        """The same on the examples that have irreducible losses, with those."""
        return replace(
            self,
            members=irreducible.members,
            irreducible=irreducible,
            values=irreducible.by_position(self.source),
        )

    def uniform(self) -> OnlineTraining:
        """The same with uniform steps, on all of the data: no part is held out for losses then."""
        return replace(
            self,
            members=torch.arange(len(self.source)),
            selection=SelectionConfig(select=UNIFORM),
            values=None,
        )

    def inputs(self, place: Workplace) -> dict[str, Any]:
        """All of it but the backend as JSON values, for the stage's fingerprint."""
        recipe = self.prepared.recipe
        return {
            "data": self.source.fingerprint,
            "labels": hash_bytes(self.prepared.labels.numpy()),
            "members": hash_bytes(self.members.numpy()),
            "role": self.prepared.role.identity(),
            "recipe": asdict(recipe),
            "model": self.prepared.fingerprint,
            "selection": {**asdict(self.selection), "stand_in": None},
            "method": method_identity(self.selection.selects),
            "stand_in": _identity(self.stand_in),
            "length": asdict(self.length),
            "seed": self.seed,
            "irreducible": None if self.values is None else hash_bytes(self.values.numpy()),
            "updated": None if self.irreducible is None else _identity(self.irreducible.prepared),
            "test": self.test_data,
            "every": self.every,
            "marks": {name: hash_bytes(mask.numpy()) for name, mask in self.marks.items()},
            "hardware": place.hardware.identity(gains_from_bf16=recipe.bf16),
            "auto_bf16": self.selection.score_precision == "auto" and has_bf16(place.hardware.kind),
        }

    def policy(self) -> BatchPolicy:
        """The batch policy of its selection.

        Raises:
            ParameterError: the original function without a single irreducible-loss model.
        """
        selection = self.selection
        if selection.selects == UNIFORM:
            return Shuffle()
        if selection.selects == FRESH:
            return FreshSubset(max(1, round(selection.keep * len(self.members))))
        if selection.selects == INFOBATCH:
            return InfoBatch(**selection.select_options)
        original = selection.selects == ORIGINAL
        if original and (self.irreducible is None or len(self.irreducible.taught) != 1):
            raise not_one_model()

        def make(module: nn.Module, runtime: Runtime) -> Selector:
            return Selector(
                "rho-loss" if original else selection.selects,
                keep=selection.keep,
                irreducible=None if original else self.values,
                scoring=self.scoring(module, runtime.device.type),
                seed=derived_seed(self.seed, "select"),
                num_examples=len(self.source),
                num_classes=len(self.source.strata_names),
                options=selection.select_options,
                stand_in=self._stand_in(runtime),
                updated=self._updated(runtime) if original else None,
                hand_over=selection.hand_over,
                task=self.prepared.task,
            )

        return Selecting(
            make,
            keep=selection.keep,
            until=selection.until,
            name=repr(selection),
            ids=self.source.ids,
            backend=self.backend if self.scorers is None else self.scorers,
        )

    def scoring(self, module: nn.Module, device: str) -> Scoring:
        """How candidates are scored; by the hardware, so that a resumed training does the same."""
        gains = has_bf16(device) and (self.prepared.recipe.bf16 or is_dense(module))
        return self.selection.scoring(gains_from_bf16=gains)

    def _stand_in(self, runtime: Runtime) -> Companion | None:
        prepared = self.stand_in
        if prepared is None:
            return None
        module = prepared.build(derived_seed(self.seed, "stand-in"), "stand_in").to(runtime.device)
        return _companion(module, prepared, runtime, self.seed)

    def _updated(self, runtime: Runtime) -> Companion:
        assert self.irreducible is not None
        prepared = self.irreducible.prepared
        assert prepared is not None
        module = load_weights(prepared.build(0), self.irreducible.taught[0].weights)
        pool = self.irreducible.pool
        return _companion(module.to(runtime.device), prepared, runtime, self.seed, IL_SHARE, pool)


def _identity(prepared: Prepared | None) -> Any:
    if prepared is None:
        return None
    return [prepared.fingerprint, prepared.role.identity()]


def is_dense(module: nn.Module) -> bool:
    """Whether its weights are those of linear layers alone, which gain from bf16 by themselves.

    >>> is_dense(nn.Sequential(nn.Linear(2, 3), nn.ReLU())), is_dense(nn.Conv2d(1, 1, 3))
    (True, False)
    """
    with_weights = [part for part in module.modules() if any(True for _ in part.parameters(False))]
    return bool(with_weights) and all(isinstance(part, nn.Linear) for part in with_weights)


def _companion(
    module: nn.Module,
    prepared: Prepared,
    runtime: Runtime,
    seed: int,
    share: float = 1.0,
    pool: Pool | None = None,
) -> Companion:
    """A model beside the one in training: it sees inputs of its own, never augmented.

    It has the optimiser of its own recipe, at a `share` of its peak learning rate.
    """
    pool, recipe = (pool or prepared.pool).to(runtime.device), prepared.recipe
    return Companion(
        module,
        optimizer=recipe.optimizer,
        lr=share * recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        inputs=pool.gather,
        seed=derived_seed(seed, "companion"),
        task=prepared.task,
    )


def prepare_stand_in(selection: SelectionConfig, source: Source) -> Prepared | None:
    """The stand-in joined with the data, where one is asked for."""
    if selection.stand_in is None:
        return None
    role = Role.parse(selection.stand_in, "mlp", "stand_in")
    return prepare(role, source, parameter="stand_in")[1]
