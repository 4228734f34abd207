"""`keepers coreset` and `keepers score`."""

from __future__ import annotations

from keepers.cli.commands import Request, command
from keepers.workflows.options.coreset import CoresetOptions, ScoreOptions


@command(CoresetOptions)
def coreset(request: Request[CoresetOptions]) -> None:
    """Choose the part of the data worth training on, with a small proxy model or your embeddings.

    Writes a selection (--out), a run directory and in it report.html.
    """
    from keepers.cli.running import run_coreset

    run_coreset(request)


@command(ScoreOptions)
def score(request: Request[ScoreOptions]) -> None:
    """Score every example without selecting: higher would be selected first."""
    from keepers.cli.running import run_score

    run_score(request)
