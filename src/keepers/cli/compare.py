"""`keepers compare` and `keepers demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keepers.cli.commands import Json, Request, command
from keepers.workflows.options.compare import CompareOptions
from keepers.workflows.options.compare_online import CompareOnlineOptions


@command(
    CompareOptions,
    usual="core-sets",
    online=(CompareOnlineOptions, "Compare online selection instead of core-sets"),
)
def compare(request: Request[Any]) -> None:
    """Does selection beat random on this data? Train a target on each selection and compare.

    For every method and budget, over several seeds, it compares with a random subset of the same
    size, a fresh random subset every epoch, and everything. Prints a table and writes report.html.

    With --online it compares online selection methods with uniform training: steps and time to
    given accuracies, and uniform training for equal time.
    """
    from keepers.cli.running import run_compare

    run_compare(request)


def demo(
    run: Annotated[Path, typer.Option(help="Run directory")] = Path("keepers-runs/demo"),
    json_: Json = False,
) -> None:
    """Try it on the handwritten digits of scikit-learn: select half, compare, report."""
    from keepers.cli.running import DEMO, run_compare

    run_compare(Request("digits", CompareOptions, {**DEMO, "run": run}, as_json=json_))
