"""`keepers il`."""

from __future__ import annotations

from keepers.cli.commands import Request, command
from keepers.workflows.options.irreducible import IrreducibleOptions


@command(IrreducibleOptions)
def il(request: Request[IrreducibleOptions]) -> None:
    """Make irreducible losses: the losses of a model on examples that it was not trained on.

    They tell learnable examples from others, for any target: 'keepers train --il'.
    """
    from keepers.cli.training import run_il

    run_il(request)
