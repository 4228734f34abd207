"""`keepers il`."""

from __future__ import annotations

from typing import Any

from keepers.cli.commands import command
from keepers.workflows.options.training import IrreducibleOptions


@command(IrreducibleOptions)
def il(data: str, given: dict[str, Any], as_json: bool) -> None:
    """Make irreducible losses: what a model says of examples that it has not seen.

    They tell what can be learnt from what cannot, and serve any target: 'keepers train --il'.
    """
    from keepers.cli.training import run_il

    run_il(data, given, as_json=as_json)
