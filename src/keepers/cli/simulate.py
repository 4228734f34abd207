"""`keepers active simulate`: the paper's experiment, on data whose labels are known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from keepers.cli import options
from keepers.cli.active import Cold, Distinct, Features, Neighbours, Samples
from keepers.cli.settings import settings_of
from keepers.configuration import SAMPLES

LISTS = ("methods", "rounds", "measure")


def simulate(
    context: typer.Context,
    data: options.Data,
    test: Annotated[
        str, typer.Option(help="Test data like DATA, or a fraction of DATA to split off (0.2)")
    ],
    methods: Annotated[
        str, typer.Option(help="Methods, separated by commas; random always runs")
    ] = "auto",
    initial: Annotated[
        str, typer.Option(help="Labels before the first round: a fraction of DATA or a count")
    ] = "2%",
    rounds: Annotated[
        str, typer.Option(help="Labels after each round, all counted, separated by commas")
    ] = "10%,20%,30%,40%,50%",
    measure: Annotated[
        str | None, typer.Option(help="Those at which the target is trained (default: all)")
    ] = None,
    proxy: options.Proxy = None,
    target: Annotated[
        str | None, typer.Option(help="Model that is trained on what is labelled")
    ] = None,
    epochs: options.Epochs = None,
    target_epochs: Annotated[int | None, typer.Option(help="Epochs of the target")] = None,
    target_resolution: Annotated[
        int | None, typer.Option(help="Side in pixels at which the target looks")
    ] = None,
    resolution: options.Resolution = None,
    ensemble: options.Ensemble = None,
    samples: Samples = SAMPLES,
    balance: options.BalanceBy = None,
    cold: Annotated[Cold, typer.Option(help="How the initial labels are chosen")] = Cold.RANDOM,
    features: Features = "built-in",
    distinct: Distinct = 0.98,
    neighbours: Neighbours = None,
    seeds: Annotated[int, typer.Option(help="Repetitions; 5 or more for a verdict")] = 5,
    with_target: Annotated[
        bool, typer.Option("--with-target", help="Also select with the target itself")
    ] = False,
    device: options.Device = "auto",
    precision: options.PrecisionOf = options.Precision.AUTO,
    input: options.Input = None,
    label: options.Label = None,
    task: options.TaskOf = "auto",
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
    """Would it have beaten random? Play campaigns on data whose labels are known.

    Round by round, a proxy trained on what is labelled chooses, and the labels of its picks are
    revealed; at each budget the target is trained on them and tested, over several seeds, and so
    it is on as many random labels. Prints a table and writes report.html.
    """
    values = settings_of(context, config, set_ or ())
    outputs = {name: values.pop(name) for name in ("out", "overwrite")} | {"config": config}
    for name in LISTS:
        if isinstance(values.get(name), str):
            values[name] = [part.strip() for part in values[name].split(",") if part.strip()]
    _run(data, values, outputs, as_json=json_)


def _run(data: str, values: dict[str, Any], outputs: Mapping[str, Any], *, as_json: bool) -> None:
    from keepers import processes
    from keepers.cli.outputs import console, print_json, reported, say_written, working
    from keepers.experiments.simulate import simulate as run_simulation
    from keepers.ledger import peak_memory_mib
    from keepers.reports.simulate import simulate_report, simulate_table
    from keepers.workflows.opening import check_outputs_of

    with working(values) as arguments:
        for read in (data, values["test"]):
            check_outputs_of(read, {**outputs, "run": values["run"]})
        simulation = run_simulation(data, **arguments)
    if processes.rank() != 0:
        return
    result, written = simulation.result, {"result": simulation.run / "simulate.json"}
    out: Path | None = outputs["out"]
    if out is not None:
        simulation.to_json(out, overwrite=outputs["overwrite"])
        written["out"] = out
    written["report"] = reported(simulation.run, partial(simulate_report, result))
    if as_json:
        files = {name: str(path) for name, path in written.items()}
        print_json({**result, "peak_memory_mib": peak_memory_mib(), "files": files})
        return
    console().print(simulate_table(result))
    say_written(written)
