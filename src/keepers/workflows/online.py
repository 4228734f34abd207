"""Online batch selection: train a target on what is worth a gradient step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lightning_fabric import Fabric
from torch import Tensor, nn

from keepers import methods, processes
from keepers.data import Source
from keepers.errors import ParameterError, renamed, unknown_name
from keepers.files import hash_bytes
from keepers.ledger import Cost
from keepers.online import (
    SUPPLIED,
    BatchNorm,
    Companion,
    InfoBatch,
    Scoring,
    Selecting,
    Selector,
)
from keepers.random import derived_seed
from keepers.roles import Prepared, Role, prepare
from keepers.runs import StageRecord
from keepers.signals import extract, store
from keepers.training import (
    BatchPolicy,
    Checkpoint,
    Evaluation,
    FreshSubset,
    Length,
    Point,
    Shuffle,
    fit,
    has_bf16,
)
from keepers.types import EvalView, Pool
from keepers.workflows.irreducible import Irreducible
from keepers.workflows.stages import CHECKPOINT, Workplace
from keepers.workflows.weights import WEIGHTS, load_weights, save_weights

UNIFORM, FRESH, INFOBATCH, ORIGINAL = "uniform", "fresh-random", "infobatch", "rho-loss-original"
POLICIES: Mapping[str, str] = {
    UNIFORM: "every example once an epoch: no selection",
    FRESH: "a fresh random subset every epoch (Okanovic et al. 2024)",
    INFOBATCH: "leaves out a random part of the examples with low loss (Qin et al. 2024)",
    ORIGINAL: "rho-loss with an irreducible-loss model that goes on learning",
}
"""What can be asked for beside the rows of the table of methods."""

ScorePrecision = Literal["same", "fp32", "bf16", "auto"]
AS_GIVEN = {name: f"score_{name}" for name in ("precision", "resolution", "part")}
"""What `Scoring` calls its fields, and what this workflow does."""

IL_SHARE = 0.01  # of its learning rate, for the model that the original function updates


def selections() -> tuple[str, ...]:
    """The names that online selection takes."""
    return (*POLICIES, *methods.offered(SUPPLIED, replacement=True))


def needs_irreducible(select: str) -> bool:
    """Whether a selection needs irreducible losses."""
    if select in POLICIES:
        return select == ORIGINAL
    return "irreducible_losses" in _row(select).needs


def _row(select: str) -> methods.Method:
    if select not in methods.table():
        raise unknown_name("select", select, selections())
    with renamed({"method": "select"}):
        return methods.get(select, SUPPLIED, replacement=True)


def _check_options(select: str, options: Mapping[str, Any]) -> None:
    if select == INFOBATCH:
        for name in options:
            if name not in ("keep", "off"):
                raise unknown_name("select_options of infobatch", name, ("keep", "off"))
        InfoBatch(**options)
    elif select in (UNIFORM, FRESH):
        if options:
            raise ParameterError(
                "select_options", f"got '{next(iter(options))}', but {select} has none"
            )
    else:
        row = _row("rho-loss" if select == ORIGINAL else select)
        with renamed({f"options of {row.name}": f"select_options of {row.name}"}):
            methods.settings(row, options)


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """Which part of the candidates a step trains on, and how they are scored.

    Raises:
        ParameterError: a value out of range, or an unknown selection.
    """

    select: str = "rho-loss"
    keep: float = 0.1
    until: float = 1.0
    batch_norm: BatchNorm = "batch"
    score_precision: ScorePrecision = "same"
    score_resolution: int | None = None
    score_part: float = 1.0
    max_age: int = 0
    stand_in: str | Role | Mapping[str, Any] | None = None
    select_options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        _check_options(self.select, self.select_options)
        if not 0 < self.keep <= 1:
            raise ParameterError("keep", f"got {self.keep}", "Give a fraction in (0, 1]")
        if not 0 < self.until <= 1:
            raise ParameterError("until", f"got {self.until}", "Give a share in (0, 1]")
        self.scoring()

    def scoring(self, *, gains_from_bf16: bool = False) -> Scoring:
        """How candidates are scored, by a model that does or does not gain from bf16 there."""
        precision = self.score_precision
        if precision == "auto":
            precision = "bf16" if gains_from_bf16 else "same"
        with renamed(AS_GIVEN):
            return Scoring(
                batch_norm=self.batch_norm,
                precision=precision,
                resolution=self.score_resolution,
                part=self.score_part,
                max_age=self.max_age,
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class OnlineTraining:
    """What one training of a target depends on.

    `members` are positions in the data of `prepared`; `values` irreducible losses by position,
    where the selection needs them. The target is measured on `test` every `every` steps. `marks`
    are masks over positions, of what is corrupted or of low relevance.
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

    def inputs(self, place: Workplace) -> dict[str, Any]:
        """All of it as JSON values, for the stage's fingerprint."""
        recipe = self.prepared.recipe
        return {
            "data": self.source.fingerprint,
            "labels": hash_bytes(self.prepared.labels.numpy()),
            "members": hash_bytes(self.members.numpy()),
            "role": self.prepared.role.identity(),
            "recipe": asdict(recipe),
            "model": self.prepared.fingerprint,
            "selection": {**asdict(self.selection), "stand_in": None},
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
        if selection.select == UNIFORM:
            return Shuffle()
        if selection.select == FRESH:
            return FreshSubset(max(1, round(selection.keep * len(self.members))))
        if selection.select == INFOBATCH:
            return InfoBatch(**selection.select_options)
        original = selection.select == ORIGINAL
        if original and (self.irreducible is None or len(self.irreducible.taught) != 1):
            raise not_one_model()

        def make(module: nn.Module, fabric: Fabric) -> Selector:
            return Selector(
                "rho-loss" if original else selection.select,
                keep=selection.keep,
                irreducible=None if original else self.values,
                scoring=self.scoring(module, fabric.device.type),
                seed=derived_seed(self.seed, "select"),
                num_examples=len(self.source),
                options=selection.select_options,
                stand_in=self._stand_in(fabric),
                updated=self._updated(fabric) if original else None,
            )

        return Selecting(
            make,
            keep=selection.keep,
            until=selection.until,
            name=repr(selection),
            ids=self.source.ids,
        )

    def scoring(self, module: nn.Module, device: str) -> Scoring:
        """How candidates are scored; by the hardware, so that a resumed training does the same."""
        gains = has_bf16(device) and (self.prepared.recipe.bf16 or is_dense(module))
        return self.selection.scoring(gains_from_bf16=gains)

    def _stand_in(self, fabric: Fabric) -> Companion | None:
        prepared = self.stand_in
        if prepared is None:
            return None
        module = prepared.build(derived_seed(self.seed, "stand-in"), "stand_in").to(fabric.device)
        return _companion(module, prepared, fabric, self.seed)

    def _updated(self, fabric: Fabric) -> Companion:
        assert self.irreducible is not None
        prepared = self.irreducible.prepared
        assert prepared is not None
        module = load_weights(prepared.build(0), self.irreducible.taught[0].weights)
        pool = self.irreducible.pool
        return _companion(module.to(fabric.device), prepared, fabric, self.seed, IL_SHARE, pool)


def _identity(prepared: Prepared | None) -> Any:
    if prepared is None:
        return None
    return [prepared.fingerprint, prepared.role.identity()]


def not_one_model() -> ParameterError:
    """The error for the original function where there is no one model to update."""
    return ParameterError(
        "select",
        f"got '{ORIGINAL}', which updates one irreducible-loss model",
        "Give holdout data or a holdout fraction, not folds or a file of losses",
    )


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
    fabric: Fabric,
    seed: int,
    share: float = 1.0,
    pool: Pool | None = None,
) -> Companion:
    """A model beside the one in training: it sees inputs of its own, never augmented.

    It has the optimiser of its own recipe, at a `share` of its peak learning rate.
    """
    pool, recipe = (pool or prepared.pool).to(fabric.device), prepared.recipe
    return Companion(
        module,
        optimizer=recipe.optimizer,
        lr=share * recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        inputs=pool.gather,
        seed=derived_seed(seed, "companion"),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class OnlineTrained:
    """The curve of a training (points as JSON values), its cost, and where the weights are."""

    curve: list[dict[str, float]]
    facts: dict[str, Any]
    cost: Cost
    weights: Path


def train_online(
    place: Workplace,
    training: OnlineTraining,
    say: Callable[[Point, Mapping[str, float]], None] | None = None,
) -> OnlineTrained:
    """Train a target in its selection, once: a rerun finds it, a kill loses one interval."""
    folder, record = place.run.stage(
        "target", training.inputs(place), lambda folder: _train(place, training, folder, say)
    )
    place.book(folder, record)
    return OnlineTrained(
        curve=record.facts["curve"],
        facts=record.facts,
        cost=record.costs[0],
        weights=folder / WEIGHTS,
    )


def _train(
    place: Workplace,
    training: OnlineTraining,
    folder: Path,
    say: Callable[[Point, Mapping[str, float]], None] | None,
) -> StageRecord:
    prepared = training.prepared
    fabric = place.hardware.fabric(gains_from_bf16=prepared.recipe.bf16)
    module = prepared.build(training.seed, parameter="model")
    observers: list[Evaluation] = []
    if training.test is not None:
        view = training.test
        observers.append(
            Evaluation(
                lambda: extract(module, view, fabric=fabric),
                every=training.every,
                marks=training.marks,
                device=fabric.device,
                say=say,
            )
        )
    fitted = fit(
        module,
        prepared.train_view(training.members),
        prepared.recipe,
        fabric=fabric,
        seed=derived_seed(training.seed, "fit"),
        phase="target training",
        policy=training.policy(),
        observers=observers,
        length=training.length,
        keep=Checkpoint(path=folder / CHECKPOINT, every=place.checkpoint_every),
        progress=place.progress,
    )
    curve: list[dict[str, float]] = []
    for evaluation in observers:
        evaluation.at_end(fitted)
        curve = evaluation.curve()
    if processes.rank() == 0:
        store.clear(folder)
        save_weights(module, prepared, folder / WEIGHTS, training.source.class_names)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    facts: dict[str, Any] = {
        "curve": curve,
        "losses": fitted.losses,
        "epochs": fitted.epochs,
        "candidates": fitted.candidates,
        "choosing_seconds": fitted.choosing_seconds,
    }
    return StageRecord(facts=facts, costs=(fitted.cost,))


def prepare_stand_in(selection: SelectionConfig, source: Source) -> Prepared | None:
    """The stand-in joined with the data, where one is asked for."""
    if selection.stand_in is None:
        return None
    role = Role.parse(selection.stand_in, "mlp", "stand_in")
    return prepare(role, source, parameter="stand_in")[1]
