"""The options of irreducible losses, and those of them that other commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from keepers.errors import ParameterError, renamed
from keepers.options import Option, at_least, parquet
from keepers.workflows.options.shared import HardwareOptions, ModelLike, Shared

if TYPE_CHECKING:
    from torch import nn

    from keepers.data import Source
    from keepers.roles import Role
    from keepers.types import Model

    OwnModel = ModelLike | nn.Module | Model
else:
    OwnModel = Any

OF_IRREDUCIBLE = {"model": "il_model", "epochs": "il_epochs"}
"""What `IrreducibleConfig` calls its fields, and a training does."""


class IrreducibleConfig(HardwareOptions):
    """Everything irreducible losses depend on, beside the data.

    Raises:
        ParameterError: a value out of range.
    """

    folds: Annotated[
        int,
        at_least(2),
        Option("Without holdout: parts of DATA, each scored by a model trained on the others"),
    ] = 2
    model: Annotated[
        OwnModel,
        Option(
            "Irreducible-loss model (default: by data)",
            "Your own trained module, which has not seen the data, is only evaluated",
        ),
    ] = None
    epochs: Annotated[int | None, at_least(1), Option("Epochs of the model (default: its own)")] = (
        None
    )
    resolution: Annotated[
        int | None, Option("Side in pixels to which pictures are scaled for the model")
    ] = None
    seed: Annotated[int, Option("Same data, same seed, same losses")] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        from keepers.roles import Role

        Role.check("model", self.model)

    def check_beside(self, *, il: Any = None, holdout: Any = None) -> None:
        """Refuse losses and holdout data at once, and folds where there are none to make.

        Raises:
            ParameterError: more than one way to get the losses.
        """
        if il is not None and holdout is not None:
            raise ParameterError("holdout", "got together with il", "Give one of them")
        for name, given in (("il", il), ("holdout", holdout)):
            if given is not None and self.folds != IrreducibleConfig.folds:
                raise ParameterError(
                    "folds",
                    f"got {self.folds} together with {name}, which needs none",
                    "Leave one out",
                )

    def role(self, source: Source) -> Role:
        """The role of the irreducible-loss model."""
        from keepers.models import default_irreducible
        from keepers.roles import Role
        from keepers.workflows.parts import quick

        default = default_irreducible(source.info(self.resolution))
        given: Any = self.model
        role = Role.parse(given, default, "model")
        role = role.having(epochs=self.epochs, resolution=self.resolution)
        return quick(role, len(source)) if role.model == "mlp" else role


class IrreducibleOptions(IrreducibleConfig, Shared):
    """The options of irreducible losses."""

    reads_conversations = True

    holdout: Annotated[
        Any, Option("Data for the irreducible-loss model, or a fraction of DATA (default: folds)")
    ] = None
    out: Annotated[
        str | Path | None,
        parquet(),
        Option("Parquet file for id, irreducible_loss, label", typed="il.parquet"),
    ] = None


class IlModelConfig(HardwareOptions):
    """The settings of `IrreducibleConfig`, for options that have them among others.

    Raises:
        ParameterError: as `IrreducibleConfig`, by the names that they have here.
    """

    il_model: Annotated[ModelLike, Option("Irreducible-loss model (default: by data)")] = None
    il_epochs: Annotated[int | None, Option("Epochs of the irreducible-loss model")] = None
    folds: Annotated[
        int, Option("Without holdout: parts of DATA, each scored by a model trained on the others")
    ] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.irreducible(0)

    def irreducible(self, seed: int) -> IrreducibleConfig:
        """The part that is about irreducible losses, for one seed."""
        with renamed(OF_IRREDUCIBLE):
            return IrreducibleConfig(
                model=self.il_model,
                folds=self.folds,
                epochs=self.il_epochs,
                seed=seed,
                device=self.device,
                precision=self.precision,
            )
