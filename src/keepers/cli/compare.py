"""`keepers compare` and `keepers demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keepers.cli import options
from keepers.cli.settings import settings


def compare(
    context: typer.Context,
    data: options.Data,
    test: Annotated[
        str, typer.Option(help="Test data like DATA, or a fraction of DATA to split off (0.2)")
    ],
    methods: Annotated[str, typer.Option(help="Methods, separated by commas")] = "entropy",
    keep: Annotated[str, typer.Option(help="Budgets, separated by commas")] = "0.3,0.5,0.7",
    proxy: options.Proxy = None,
    target: Annotated[str | None, typer.Option(help="Model that is trained on the choice")] = None,
    epochs: options.Epochs = None,
    target_epochs: Annotated[int | None, typer.Option(help="Epochs of the target")] = None,
    resolution: options.Resolution = None,
    ensemble: options.Ensemble = None,
    balance: options.BalanceBy = None,
    seeds: Annotated[int, typer.Option(help="Repetitions; under 5, every verdict is open")] = 3,
    with_target: Annotated[
        bool, typer.Option("--with-target", help="Also select with the target itself")
    ] = False,
    noise: Annotated[float, typer.Option(help="Fraction of training labels to corrupt")] = 0.0,
    device: options.Device = "auto",
    precision: options.PrecisionOf = options.Precision.AUTO,
    input: options.Input = None,
    label: options.Label = None,
    id: options.Id = None,
    split: options.Split = None,
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
    """Does selection beat random on this data? Train a target on each choice and see.

    For every method and budget, over several seeds: against a random subset of the same size,
    a fresh random subset every epoch, and everything. Prints a table and writes report.html.
    """
    values = settings(context, config, set_ or ())
    outputs = {name: values.pop(name) for name in ("out", "overwrite")}
    from keepers.cli.running import run_compare

    run_compare(data, values, outputs, as_json=json_)


def demo(
    run: options.RunDirectory = Path("keepers-runs/demo"),
    json_: options.Json = False,
) -> None:
    """The main job on the handwritten digits of scikit-learn: select half, compare, report."""
    from keepers.cli.running import DEMO, run_compare

    outputs = {"out": None, "overwrite": True}
    run_compare("digits", {**DEMO, "run": run}, outputs, as_json=json_)
