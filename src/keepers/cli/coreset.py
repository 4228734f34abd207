"""`keepers coreset` and `keepers score`."""

from __future__ import annotations

from typing import Any

from keepers.cli.commands import command
from keepers.workflows.options.coreset import CoresetOptions, ScoreOptions


@command(CoresetOptions)
def coreset(data: str, given: dict[str, Any], as_json: bool) -> None:
    """Choose the part of the data worth training on, with a small proxy model or your embeddings.

    Writes a selection (--out), a run directory and in it report.html.
    """
    from keepers.cli.running import run_coreset

    run_coreset(data, given, as_json=as_json)


@command(ScoreOptions)
def score(data: str, given: dict[str, Any], as_json: bool) -> None:
    """Score every example without selecting: higher would be selected first."""
    from keepers.cli.running import run_score

    run_score(data, given, as_json=as_json)
