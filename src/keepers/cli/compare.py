"""`keepers compare` and `keepers demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keepers.cli.commands import Json, Request, command
from keepers.workflows.options.compare import CompareOnlineOptions, CompareOptions


@command(
    CompareOptions,
    usual="core-sets",
    online=(CompareOnlineOptions, "Compare what gets a gradient step, in place of core-sets"),
)
def compare(request: Request[Any]) -> None:
    """Does selection beat random on this data? Train a target on each choice and see.

    For every method and budget, over several seeds: against a random subset of the same size,
    a fresh random subset every epoch, and everything. Prints a table and writes report.html.

    With --online: which examples of each batch are worth a gradient step? Every method and
    uniform training, timed to given accuracies; uniform once more at equal time.
    """
    from keepers.cli.running import run_compare

    run_compare(request)


def demo(
    run: Annotated[Path, typer.Option(help="Run directory")] = Path("keepers-runs/demo"),
    json_: Json = False,
) -> None:
    """The main job on the handwritten digits of scikit-learn: select half, compare, report."""
    from keepers.cli.running import DEMO, run_compare

    run_compare(Request("digits", CompareOptions, {**DEMO, "run": run}, as_json=json_))
