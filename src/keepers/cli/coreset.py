"""`keepers coreset` and `keepers score`."""

from __future__ import annotations

from typing import Any

from keepers.cli.commands import Request, command
from keepers.workflows.options.coreset import CoresetOptions, ScoreOptions
from keepers.workflows.options.shards import CoresetShardsOptions, ScoreShardsOptions


@command(
    CoresetOptions,
    usual="one table",
    shards=(CoresetShardsOptions, "Read the data file by file, in this process or on Ray workers"),
)
def coreset(request: Request[Any]) -> None:
    """Select the part of the data worth training on, with a small proxy model or your embeddings.

    Writes a selection (--out), and a run directory with report.html.

    With --shards, DATA is a folder, a glob or a list of files, local or remote, that is never held
    in memory as a whole. Writes the kept examples, in pick order.
    """
    from keepers.cli.running import run_coreset
    from keepers.cli.shards import run_coreset_shards

    (run_coreset_shards if request.kind is CoresetShardsOptions else run_coreset)(request)


@command(
    ScoreOptions,
    usual="one table",
    shards=(ScoreShardsOptions, "Read the data file by file, in this process or on Ray workers"),
)
def score(request: Request[Any]) -> None:
    """Score every example without selecting; higher scores would be selected first."""
    from keepers.cli.running import run_score
    from keepers.cli.shards import run_score_shards

    (run_score_shards if request.kind is ScoreShardsOptions else run_score)(request)
