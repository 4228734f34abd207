"""`keepers advise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keepers.cli import online_options as online_
from keepers.cli import options
from keepers.cli.settings import given_names, settings_of
from keepers.errors import ParameterError

CORESET, ONLINE, LABELLING = "core-sets", "--online", "--labelling"
TAKEN_BY: dict[str, tuple[str, ...]] = {
    "keep": (CORESET, ONLINE),
    "methods": (CORESET, LABELLING),
    "proxy": (CORESET, LABELLING),
    "target": (CORESET, ONLINE),
    "group": (CORESET,),
    "budgets": (LABELLING,),
    **dict.fromkeys(("il", "il_model", "il_epochs", "holdout", "folds"), (ONLINE,)),
}
"""The questions that each option is for, where it is not for all of them."""


def advise(
    context: typer.Context,
    data: options.Data,
    online: Annotated[
        bool, typer.Option("--online", help="Does choosing what gets a gradient step pay?")
    ] = False,
    labelling: Annotated[
        bool, typer.Option("--labelling", help="What will labels bring, does choosing them pay?")
    ] = False,
    keep: Annotated[
        str, typer.Option(help="Budgets, separated by commas (online: one fraction, 0.1)")
    ] = "0.1,0.3,0.5",
    methods: Annotated[
        str | None,
        typer.Option(
            help="Methods to try, separated by commas (default: four; labelling: auto,margin)"
        ),
    ] = None,
    budgets: Annotated[
        str, typer.Option(help="Labelling: counts of labels, separated by commas")
    ] = "100,200,500,1000",
    proxy: Annotated[
        str | None,
        typer.Option(help="Model of the pilot: linear, probe:..., sklearn:..."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Model that the choice is for (default: by data)")
    ] = None,
    il: online_.Il = None,
    il_model: online_.IlModel = None,
    il_epochs: online_.IlEpochs = None,
    holdout: online_.Holdout = None,
    folds: online_.Folds = 2,
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

    With --online: is it worth choosing which examples get a gradient step? What a selecting step of
    the target costs, how good irreducible losses are, and what they can save at most.

    With --labelling: how accurate a model will be with so many labels, and whether choosing what to
    label beats chance, by campaigns played on the labels there are.
    """
    values = settings_of(context, config, set_ or ())
    given = given_names(context, config, set_ or ())
    asked = [name for name in ("online", "labelling") if values.pop(name)]
    if len(asked) > 1:
        raise ParameterError("labelling", "got beside --online", "Ask one question at a time")
    question = f"--{asked[0]}" if asked else CORESET
    for name in sorted(given & TAKEN_BY.keys()):
        if question not in TAKEN_BY[name]:
            remedy = "Leave it out" if asked else f"Add {TAKEN_BY[name][0]}"
            told = f"got some, which is for {' and '.join(TAKEN_BY[name])} alone"
            raise ParameterError(name, told, remedy)
    # what nobody gave has a default of its own for each question
    values = {n: value for n, value in values.items() if n not in TAKEN_BY or n in given}
    outputs: dict[str, Any] = {name: values[name] for name in ("out", "overwrite")}
    outputs["config"] = config
    from keepers.cli.running import run_advise

    run_advise(data, values, outputs, as_json=json_, question=asked[0] if asked else None)
