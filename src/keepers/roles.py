"""Roles: proxy, irreducible-loss model and target are roles of ordinary models.

A `Role` is the configuration; `prepare` joins it with data, so that models and data need not
know each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from keepers.choices import OnBadRow
from keepers.configuration import validated
from keepers.data import (
    DensePool,
    Source,
    TextPool,
    check_quantities,
    crop_and_flip,
    encode,
    statistics,
)
from keepers.errors import ParameterError, about, unknown_name
from keepers.files import fingerprint, hash_bytes
from keepers.models import (
    CLASSIFIERS,
    MODELS,
    Normalised,
    Optimizer,
    Recipe,
    Schedule,
    Stretched,
    check_name,
    classifier_fingerprint,
    create,
    create_classifier,
    default_recipe,
    is_classifier,
    module_fingerprint,
)
from keepers.tasks import CLASSES, Targets, Task
from keepers.types import (
    Classifier,
    DataInfo,
    EncoderSpec,
    EvalView,
    Model,
    Pool,
    Progress,
    Silent,
    TrainView,
)

SAMPLE = 256  # examples whose encoding is part of the fingerprint
_RECIPE_FIELDS = tuple(f.name for f in fields(Recipe))
_OF_STEPS = tuple(name for name in _RECIPE_FIELDS if name != "bf16")


@dataclass(frozen=True, kw_only=True)
class Role:
    """A model and how it is trained; None means the model's own default.

    `model` is a name of the models table, `hf:PATH`, or `package.module:function`; `options` are
    its keywords (`width`, `hidden`, `dim`, ...). `resolution` is the side in pixels to which
    pictures are scaled. `flip`: mirror augmented pictures at random (None: only colour pictures,
    because mirrored digits and letters are other signs). `bf16`: whether precision `auto` may use
    bf16. If `epochs` is given, the model's own `min_steps` does not apply; if `weight_decay` is,
    its `decay_epochs` do not.

    Raises:
        ParameterError: a resolution under 1.
    """

    model: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    resolution: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    optimizer: Optimizer | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    schedule: Schedule | None = None
    augment: bool | None = None
    flip: bool | None = None
    bf16: bool | None = None
    min_steps: int | None = None
    decay_epochs: float | None = None

    # A mapping with a field that a role does not have is left to `parse`, which says so.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        unused = [name for name in _OF_STEPS if getattr(self, name) is not None]
        if unused and is_classifier(self.model):
            raise ParameterError(
                unused[0],
                f"got {getattr(self, unused[0])}, but '{self.model}' is fitted until it converges",
                "Leave it out, or name a model that is trained in steps, such as fasttext or mlp",
            )
        if self.resolution is not None and self.resolution < 1:
            raise ParameterError(
                "resolution", f"got {self.resolution}", "Give a side in pixels, such as 16"
            )

    @classmethod
    def parse(
        cls, given: Role | Mapping[str, Any] | str | None, default: str, parameter: str = "proxy"
    ) -> Role:
        """A role from itself, its fields as a mapping, the name of its model, or `default`.

        Raises:
            ParameterError: a field that a role does not have, or a value of another type.
        """
        if isinstance(given, Role):
            return given
        if given is None or isinstance(given, str):
            return cls(model=given or default)
        known = [f.name for f in fields(cls)]
        for name in given:
            if name not in known:
                raise unknown_name(f"{parameter}.{name}", name, known)
        return validated(cls, {"model": default, **given}, f"{parameter}.")

    @classmethod
    def check(cls, parameter: str, given: Any) -> None:
        """Refuse an unknown model, or an unknown field of a role, before data are read.

        Raises:
            ParameterError: as `parse`, or the name of no model.
        """
        if isinstance(given, str | Mapping | Role):
            role = cls.parse(given, default=next(iter(MODELS)), parameter=parameter)  # pyright: ignore[reportUnknownArgumentType]
            check_name(role.model, parameter)

    @property
    def in_steps(self) -> bool:
        """Whether the model is trained in steps, rather than fitted by scikit-learn."""
        return not is_classifier(self.model)

    def having(self, **given: Any) -> Role:
        """This role with what is given and not None."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def recipe(self) -> Recipe:
        """The training recipe: what is set here over the model's defaults."""
        given = {name: getattr(self, name) for name in _RECIPE_FIELDS}
        if self.epochs is not None and self.min_steps is None:
            given["min_steps"] = 0
        set_here = {name: value for name, value in given.items() if value is not None}
        recipe = replace(default_recipe(self.model), **set_here)
        if self.weight_decay is not None and self.decay_epochs is None:
            return replace(recipe, decay_epochs=None)
        return recipe

    def identity(self) -> dict[str, Any]:
        """Everything a trained model depends on, defaults filled in, for fingerprints.

        What scikit-learn fits has no recipe.
        """
        return {
            "model": self.model,
            "options": dict(self.options),
            "resolution": self.resolution,
            "flip": self.flip,
            **(asdict(self.recipe()) if self.in_steps else {}),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A role joined with data: it builds modules and gives the two views of the data.

    `fingerprint` is that of the model and of the encoded inputs: layers, first weights, the
    user's own code, the encoder's specification and what it made of a sample of the data.
    """

    role: Role
    recipe: Recipe
    fingerprint: str
    info: DataInfo
    encoder: EncoderSpec
    pool: Pool
    labels: Targets
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    classifier: Classifier | None = None
    task: Task = CLASSES

    @property
    def strata(self) -> Tensor:
        """What floors and balance are over (n,)."""
        return self.task.strata(self.labels)

    @property
    def proportions(self) -> Targets:
        """What splits and folds keep in proportion: the strata (n,), or all labels."""
        return self.task.proportions(self.labels)

    def build(self, seed: int, parameter: str = "proxy") -> nn.Module:
        """A module with weights drawn by `seed`, its input normalised as the encoder says."""
        module = create(
            self.role.model,
            self.info,
            seed=seed,
            options=self.role.options,
            parameter=parameter,
        ).module
        return self.normalised(self.task.begin(module))

    def normalised(self, module: nn.Module) -> nn.Module:
        """The module with its input normalised as the encoder says, and its output in units."""
        module = Normalised(module, self.mean, self.std) if self.mean else module
        return Stretched(module, *self.task.scale) if self.task.scale[0] else module

    def train_view(self, positions: Tensor) -> TrainView:
        """The augmented view of the members at `positions`."""
        augment = None
        if self.info.kind == "image" and self.recipe.augment:
            channels, height, _ = self.info.shape
            flip = channels == 3 if self.role.flip is None else self.role.flip
            augment = crop_and_flip(padding=max(1, round(height / 8)), flip=flip)
        return TrainView(
            pool=self.pool,
            labels=self.labels,
            positions=positions,
            augment=augment,
            task=self.task,
        )

    def eval_view(self) -> EvalView:
        """The view of all examples, never augmented."""
        return EvalView(pool=self.pool, labels=self.labels, task=self.task)


def prepare(
    role: Role,
    source: Source,
    *,
    parameter: str = "proxy",
    on_bad_row: OnBadRow = "error",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Source, Prepared]:
    """Encode the data as the role's model wants it; rows that cannot be read are left out.

    Returns the source without the rows that were skipped, and the role joined with it.

    Raises:
        ParameterError: the model is unknown or does not take this kind of data.
        DataError: a row cannot be read and `on_bad_row` is `error`.
    """
    info = source.info(role.resolution)
    if role.model in MODELS or role.model in CLASSIFIERS:
        check_quantities(source)
    made = made_by(role, info, parameter)
    source, pool = encode(
        source, made.encoder, on_bad_row=on_bad_row, cache=cache, progress=progress or Silent()
    )
    if source.targets is None:
        raise ParameterError("label", "the data have no labels", "Name the column with --label")
    mean, std = made.encoder.mean, made.encoder.std
    if made.encoder.normalise == "data" and isinstance(pool, DensePool):
        mean, std = statistics(pool, torch.arange(len(source)))
    prepared = Prepared(
        role=role,
        recipe=role.recipe(),
        fingerprint=_fingerprint(role, made, info, pool, mean, std),
        info=info,
        encoder=made.encoder,
        pool=pool,
        labels=source.targets,
        mean=mean,
        std=std,
        classifier=made if isinstance(made, Classifier) else None,
        task=source.task,
    )
    return source, prepared


def made_by(role: Role, info: DataInfo, parameter: str) -> Model | Classifier:
    """The role's model for such data, before any training.

    Raises:
        ParameterError: the model is unknown or does not take this kind of data.
    """
    if role.in_steps:
        return create(role.model, info, seed=0, options=role.options, parameter=parameter)
    return create_classifier(role.model, info, role.options, parameter)


def _fingerprint(
    role: Role,
    made: Model | Classifier,
    info: DataInfo,
    pool: Pool,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> str:
    if isinstance(made, Classifier):
        model = classifier_fingerprint(made)
    else:
        own = [] if role.model.startswith("hf:") else [role.model.partition(":")[0]]
        model = module_fingerprint(made.module, *own)
    encoded: list[str] = []
    if not isinstance(pool, TextPool):  # texts as they are: the data's own fingerprint has them
        sample = torch.linspace(0, len(pool) - 1, min(len(pool), SAMPLE)).long()
        encoded = [hash_bytes(part.cpu().contiguous().numpy()) for part in pool.gather(sample)]
    return fingerprint(model, made.encoder, info, mean, std, encoded)


def encode_like(
    prepared: Prepared,
    source: Source,
    *,
    on_bad_row: OnBadRow = "error",
    cache: Path | None = None,
) -> EvalView:
    """The evaluation view of other data (a test set), encoded as `prepared` encodes its own."""
    with about("test"):
        source, pool = encode(source, prepared.encoder, on_bad_row=on_bad_row, cache=cache)
    return EvalView(pool=pool, labels=source.targets, task=prepared.task)
