"""`keepers advise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keepers.cli import options
from keepers.cli.settings import settings


def advise(
    context: typer.Context,
    data: options.Data,
    keep: Annotated[str, typer.Option(help="Budgets, separated by commas")] = "0.1,0.3,0.5",
    methods: Annotated[
        str | None, typer.Option(help="Methods to try, separated by commas (default: four)")
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(help="Model of the pilot: linear, probe:..., sklearn:..."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Model that the choice is for (default: by data)")
    ] = None,
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
    out: Annotated[Path | None, typer.Option(help="JSON file for the result")] = None,
    overwrite: options.Overwrite = False,
    run: options.RunDirectory = None,
    resume: options.Resume = True,
    config: options.Config = None,
    set_: options.Assignments = None,
    json_: options.Json = False,
) -> None:
    """Say, before anything is selected, whether selecting pays: for each budget and method.

    A pilot on a part of the data tries every method. Writes a run directory and in it report.html.
    """
    values = settings(context, config, set_ or ())
    outputs: dict[str, Any] = {name: values[name] for name in ("out", "overwrite")}
    outputs["config"] = config
    from keepers.cli.running import run_advise

    run_advise(data, values, outputs, as_json=json_)
