"""`keepers train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keepers.cli import options
from keepers.cli.settings import settings_of


def train(
    context: typer.Context,
    data: options.Data,
    test: Annotated[
        str | None, typer.Option(help="Test data like DATA, or a fraction of DATA to split off")
    ] = None,
    select: Annotated[
        str,
        typer.Option(
            help="Which candidates a step trains on: auto, uniform, fresh-random, infobatch, "
            "rho-loss-original, or a method offered online (see 'keepers methods')"
        ),
    ] = "rho-loss",
    keep: Annotated[str, typer.Option(help="Fraction of the candidates trained on (or 10%)")] = (
        "0.1"
    ),
    until: Annotated[
        float, typer.Option(help="Share of the training after which steps are uniform")
    ] = 1.0,
    hand_over: Annotated[
        bool, typer.Option(help="rho-loss ends by itself where nothing reducible is left")
    ] = True,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "--target", help="Model to train, compare's target (default: by data)"
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the candidates (default: the model's own)")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps, in place of epochs")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Seconds of training, in place of epochs")
    ] = None,
    evaluate_every: Annotated[
        int | None, typer.Option(help="Steps between measurements on the test data")
    ] = None,
    il: Annotated[
        Path | None, typer.Option(help="Irreducible losses of 'keepers il' (default: make them)")
    ] = None,
    il_model: options.IlModel = None,
    il_epochs: Annotated[
        int | None, typer.Option(help="Epochs of the irreducible-loss model")
    ] = None,
    holdout: options.Holdout = None,
    folds: options.Folds = 2,
    batch_norm: Annotated[
        options.BatchNorm, typer.Option(help="Batch normalisation while candidates are scored")
    ] = options.BatchNorm.BATCH,
    score_precision: Annotated[
        options.ScorePrecision,
        typer.Option(help="Number format of scoring; auto: bf16 where it pays"),
    ] = options.ScorePrecision.SAME,
    score_resolution: Annotated[
        int | None, typer.Option(help="Side in pixels at which candidates are scored")
    ] = None,
    score_part: Annotated[
        float, typer.Option(help="Share of the candidates that is scored at all")
    ] = 1.0,
    max_age: Annotated[
        int, typer.Option(help="Use a loss again for so many steps; 0 scores afresh")
    ] = 0,
    stand_in: Annotated[
        str | None, typer.Option(help="Small model that is scored in place of the target")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same data, same seed, same weights")] = 0,
    device: options.Device = "auto",
    precision: options.PrecisionOf = options.Precision.AUTO,
    input: options.Input = None,
    label: options.Label = None,
    id: options.Id = None,
    split: options.Split = None,
    header: options.HeaderOf = options.Header.AUTO,
    limit: options.Limit = None,
    on_bad_row: options.BadRow = options.OnBadRow.ERROR,
    out: Annotated[Path | None, typer.Option(help="File for the weights (safetensors)")] = None,
    overwrite: options.Overwrite = False,
    run: options.RunDirectory = None,
    resume: options.Resume = True,
    config: options.Config = None,
    set_: options.Assignments = None,
    json_: options.Json = False,
) -> None:
    """Train a model on what is worth a gradient step: each step takes the best of its candidates.

    rho-loss first makes irreducible losses, with a second model: on --holdout data, on a fraction
    of DATA, or on --folds of it; --il uses those of an earlier run.
    """
    values = settings_of(context, config, set_ or ())
    outputs: dict[str, Any] = {name: values.pop(name) for name in ("out", "overwrite")}
    from keepers.cli.training import run_train

    run_train(data, values, outputs | {"config": config}, as_json=json_)
