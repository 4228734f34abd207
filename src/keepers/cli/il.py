"""`keepers il`."""

from __future__ import annotations

from keepers.cli.commands import Request, command
from keepers.workflows.options.training import IrreducibleOptions


@command(IrreducibleOptions)
def il(request: Request[IrreducibleOptions]) -> None:
    """Make irreducible losses: what a model says of examples that it has not seen.

    They tell what can be learnt from what cannot, and serve any target: 'keepers train --il'.
    """
    from keepers.cli.training import run_il

    run_il(request)
