"""`keepers coreset` and `keepers score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keepers.cli import options
from keepers.cli.settings import settings

OUTPUTS = ("out", "export", "overwrite")


def coreset(
    context: typer.Context,
    data: options.Data,
    keep: Annotated[str, typer.Option(help="Fraction kept (0.5 or 50%) or a count (5000)")] = "0.5",
    method: options.CoresetMethod = None,
    proxy: options.Proxy = None,
    epochs: options.Epochs = None,
    resolution: options.Resolution = None,
    ensemble: options.Ensemble = None,
    balance: options.BalanceBy = None,
    min_per_class: options.MinPerClass = 1,
    val: options.Val = 0.0,
    features: options.Features = None,
    near_duplicates: options.NearDuplicates = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: options.PrecisionOf = options.Precision.AUTO,
    input: options.Input = None,
    label: options.Label = None,
    id: options.Id = None,
    group: options.Group = None,
    split: options.Split = None,
    header: options.HeaderOf = options.Header.AUTO,
    limit: options.Limit = None,
    on_bad_row: options.BadRow = options.OnBadRow.ERROR,
    out: Annotated[
        Path | None, typer.Option(help="Parquet file for one row per example of the input")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Folder for the kept rows, in the input's own format")
    ] = None,
    overwrite: options.Overwrite = False,
    run: options.RunDirectory = None,
    resume: options.Resume = True,
    config: options.Config = None,
    set_: options.Assignments = None,
    json_: options.Json = False,
) -> None:
    """Choose the part of the data worth training on, with a small proxy model or your embeddings.

    Writes a selection (--out), a run directory and in it report.html.
    """
    values = settings(context, config, set_ or ())
    outputs = {name: values.pop(name) for name in OUTPUTS} | {"config": config}
    from keepers.cli.running import run_coreset

    run_coreset(data, values, outputs, as_json=json_)


def score(
    context: typer.Context,
    data: options.Data,
    method: options.Method = "entropy",
    proxy: options.Proxy = None,
    epochs: options.Epochs = None,
    resolution: options.Resolution = None,
    ensemble: options.Ensemble = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: options.PrecisionOf = options.Precision.AUTO,
    input: options.Input = None,
    label: options.Label = None,
    id: options.Id = None,
    split: options.Split = None,
    header: options.HeaderOf = options.Header.AUTO,
    limit: options.Limit = None,
    on_bad_row: options.BadRow = options.OnBadRow.ERROR,
    out: Annotated[Path, typer.Option(help="Parquet file for id, row, label, score")] = Path(
        "scores.parquet"
    ),
    overwrite: options.Overwrite = False,
    run: options.RunDirectory = None,
    resume: options.Resume = True,
    config: options.Config = None,
    set_: options.Assignments = None,
    json_: options.Json = False,
) -> None:
    """Score every example without selecting: higher would be selected first."""
    values = settings(context, config, set_ or ())
    outputs: dict[str, Any] = {name: values.pop(name) for name in ("out", "overwrite")}
    outputs["config"] = config
    from keepers.cli.running import run_score

    run_score(data, values, outputs, as_json=json_)
