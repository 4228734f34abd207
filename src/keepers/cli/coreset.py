"""`keepers coreset` and `keepers score`."""

from __future__ import annotations

from typing import Any

from keepers.cli.commands import Request, command
from keepers.workflows.options.coreset import CoresetOptions, ScoreOptions
from keepers.workflows.options.shards import CoresetShardsOptions, ScoreShardsOptions


@command(
    CoresetOptions,
    usual="one table",
    shards=(CoresetShardsOptions, "Take the data file by file, here or on the workers of Ray"),
)
def coreset(request: Request[Any]) -> None:
    """Choose the part of the data worth training on, with a small proxy model or your embeddings.

    Writes a selection (--out), a run directory and in it report.html.

    With --shards the data are a folder, a glob or a list of files, here or at an address, which are
    never held together: writes the kept examples, in pick order.
    """
    from keepers.cli.running import run_coreset
    from keepers.cli.shards import run_coreset_shards

    (run_coreset_shards if request.kind is CoresetShardsOptions else run_coreset)(request)


@command(
    ScoreOptions,
    usual="one table",
    shards=(ScoreShardsOptions, "Take the data file by file, here or on the workers of Ray"),
)
def score(request: Request[Any]) -> None:
    """Score every example without selecting: higher would be selected first."""
    from keepers.cli.running import run_score
    from keepers.cli.shards import run_score_shards

    (run_score_shards if request.kind is ScoreShardsOptions else run_score)(request)
