"""`keepers approximations`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from keepers.cli import options
from keepers.cli.settings import settings


def approximations(
    context: typer.Context,
    data: options.Data,
    target: Annotated[
        str | None, typer.Option(help="Model of target and irreducible losses (MLP 512-512)")
    ] = None,
    il_model: Annotated[
        str | None, typer.Option(help="Smaller irreducible-loss model (MLP 256-256)")
    ] = None,
    holdout: Annotated[
        str, typer.Option(help="Fraction of DATA for the irreducible-loss model")
    ] = "0.5",
    noise: Annotated[float, typer.Option(help="Fraction of the labels to corrupt")] = 0.1,
    batch_size: Annotated[int, typer.Option(help="Candidates in a batch")] = 1000,
    keep: Annotated[str, typer.Option(help="Fraction of the candidates that is chosen")] = "0.1",
    members: Annotated[int, typer.Option(help="Models in an ensemble")] = 5,
    epochs: Annotated[int, typer.Option(help="Most epochs of a training to convergence")] = 5,
    copies: Annotated[
        int, typer.Option(help="How often the data are there where single steps are taken")
    ] = 5,
    seeds: Annotated[int, typer.Option(help="Repetitions")] = 3,
    device: options.Device = "auto",
    input: options.Input = None,
    label: options.Label = None,
    id: options.Id = None,
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
    """How near do cheap selection functions come to the exact one? Table 1 of RHO-LOSS.

    The exact function has ensembles trained to convergence after every batch. Each approximation
    has those before it; shown is the rank correlation of its scores with the exact ones.
    """
    values = settings(context, config, set_ or ())
    outputs: dict[str, Any] = {name: values.pop(name) for name in ("out", "overwrite")}
    _run(data, values, outputs | {"config": config}, as_json=json_)


def _run(data: str, values: dict[str, Any], outputs: Mapping[str, Any], *, as_json: bool) -> None:
    from keepers import processes
    from keepers.cli.outputs import console, print_json, say_written, working
    from keepers.experiments.approximations import approximations as study
    from keepers.files import write_json
    from keepers.workflows.opening import check_outputs

    with working(values) as arguments:
        check_outputs(data, {**outputs, "run": values["run"]})
        comparison = study(data, **arguments)
    if processes.rank() != 0:
        return
    written = {"result": comparison.run / "approximations.json"}
    if outputs["out"] is not None:
        write_json(outputs["out"], comparison.result, overwrite=outputs["overwrite"])
        written["out"] = outputs["out"]
    if as_json:
        files = {name: str(path) for name, path in written.items()}
        print_json({**comparison.result, "files": files})
        return
    console().print(_table(comparison.result))
    say_written(written)


def _table(result: Mapping[str, Any]) -> Any:
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    shown.add_column("selection function")
    for name in ("correlation", "published", "same choice %", "wrong labels %"):
        shown.add_column(name, justify="right")
    for row in result["rows"]:
        error, published = row["standard_error"], row["published"]
        spread = "" if error is None else f" ± {error:.2f}"
        shown.add_row(
            row["name"] if published is None else f"+ {row['name']}",
            "–" if published is None else f"{row['correlation']:.2f}{spread}",
            "–" if published is None else f"{published:.2f}",
            "–" if published is None else f"{100 * row['shared']:.0f}",
            f"{100 * row['wrong']:.1f}",
        )
    seeds = len(result["seeds"])
    over = f"{seeds} seeds, ± standard error" if seeds > 1 else "1 seed"
    shown.caption = (
        f"Rank correlation with the exact scores: mean of {result['batches']} batches, {over}"
    )
    return shown
