"""What `coreset` and `score` do with --shards: run, print, say what was written."""

from __future__ import annotations

from typing import Any

import keepers
from keepers.cli.commands import Request
from keepers.cli.outputs import console, print_json, say_written, work
from keepers.ledger import peak_memory_mib
from keepers.words import counted
from keepers.workflows.options.shards import CoresetShardsOptions, ScoreShardsOptions


def run_coreset_shards(request: Request[CoresetShardsOptions]) -> None:
    """Select from shards, and say where the kept examples are."""
    with work(request) as options:
        kept = keepers.coreset_shards(request.data, **vars(options))
    if request.as_json:
        _print(kept.metadata, {"out": str(kept.path)})
        return
    about = kept.metadata
    console().print(
        f"Kept {len(kept):,} of {counted(about['n'], 'example')} by {about['method']}, of "
        f"{counted(about['shards'], 'shard')}"
    )
    say_written({"out": kept.path})


def run_score_shards(request: Request[ScoreShardsOptions]) -> None:
    """Score shards, and say where the scores are."""
    with work(request) as options:
        scores = keepers.score_shards(request.data, **vars(options))
    if request.as_json:
        _print(scores.metadata, {"scores": [str(path) for path in scores.paths]})
        return
    about = scores.metadata
    console().print(
        f"Scored {counted(about['rows'] - about['skipped'], 'row')} of "
        f"{counted(len(scores.paths), 'shard')} by {about['method']}"
    )
    say_written({"scores": scores.paths[0].parent})


def _print(facts: dict[str, Any], files: dict[str, Any]) -> None:
    print_json({**facts, "peak_memory_mib": round(peak_memory_mib(), 1), "files": files})
