"""`keepers il`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keepers.cli import options
from keepers.cli.settings import settings_of


def il(
    context: typer.Context,
    data: options.Data,
    holdout: options.Holdout = None,
    folds: options.Folds = 2,
    model: options.IlModel = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of the model (default: its own)")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Side in pixels at which the model looks")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same data, same seed, same losses")] = 0,
    device: options.Device = "auto",
    precision: options.PrecisionOf = options.Precision.AUTO,
    input: options.Input = None,
    label: options.Label = None,
    id: options.Id = None,
    split: options.Split = None,
    header: options.HeaderOf = options.Header.AUTO,
    limit: options.Limit = None,
    on_bad_row: options.BadRow = options.OnBadRow.ERROR,
    out: Annotated[Path, typer.Option(help="Parquet file for id, irreducible_loss, label")] = Path(
        "il.parquet"
    ),
    overwrite: options.Overwrite = False,
    run: options.RunDirectory = None,
    resume: options.Resume = True,
    config: options.Config = None,
    set_: options.Assignments = None,
    json_: options.Json = False,
) -> None:
    """Make irreducible losses: what a model says of examples that it has not seen.

    They tell what can be learnt from what cannot, and serve any target: 'keepers train --il'.
    """
    values = settings_of(context, config, set_ or ())
    outputs: dict[str, Any] = {name: values.pop(name) for name in ("out", "overwrite")}
    from keepers.cli.training import run_il

    run_il(data, values, outputs | {"config": config}, as_json=json_)
