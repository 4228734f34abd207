"""Core-set selection over shards."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from keepers import methods
from keepers.baselines import SAFE
from keepers.files import atomic_path, check_output, plain
from keepers.options import taking
from keepers.shards.indexed import Indexed
from keepers.shards.parts import UNKNOWN
from keepers.shards.places import Named
from keepers.shards.repeats import At
from keepers.workflows.auto import Taken, too_lopsided
from keepers.workflows.options.shards import CoresetShardsOptions
from keepers.workflows.options.shared import AUTO
from keepers.workflows.shards.auto import settled
from keepers.workflows.shards.offered import DRAWN, is_scored
from keepers.workflows.shards.opening import Site, check_apart, site
from keepers.workflows.shards.proxy import Sample, score_all
from keepers.workflows.shards.selecting import (
    Kept,
    choose_covering,
    choose_drawn,
    choose_top,
    write_kept,
)

SELECTION = "selection.parquet"


@taking(CoresetShardsOptions)
def coreset_shards(data: Named, options: CoresetShardsOptions) -> Kept:
    """Select the part of many files worth training on, without holding all of them in memory.

    Each file is a shard: it is read, encoded and scored alone, in this process or on Ray workers,
    and finished shards are not computed again. Given the same scores, the selection is the one that
    `keepers.coreset` would make of all rows in one table: ties go to the lower id.

    Args:
        data: a folder, a glob, a file, or a list of these, of Parquet files, CSV or JSON lines with
            one schema; local, or at any address that fsspec reads (`s3://bucket/pool/*.parquet`).

    Raises:
        KeepersError: an argument or the data are invalid; the message names the remedy.

    >>> import keepers, tempfile, pyarrow as pa, pyarrow.parquet as pq
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for part in range(3):
    ...         rows = {"id": range(4 * part, 4 * part + 4), "surprise": [part, 9, 0, part]}
    ...         pq.write_table(pa.table(rows), f"{folder}/part-{part}.parquet")
    ...     kept = keepers.coreset_shards(
    ...         folder, keep=4, scores="surprise", id="id", run=f"{folder}/run"
    ...     )
    ...     print(kept.ids)
    [1, 5, 9, 8]
    """
    if options.out is not None:
        check_output(Path(options.out), overwrite=options.overwrite)
    with site(data, options, "coreset-shards") as at:
        if options.out is not None:
            check_apart(Path(options.out), data, options.split, at.shards)
        kept = _select(at, options)
        if options.out is None:
            return kept
        out = Path(options.out)
        with atomic_path(out, overwrite=options.overwrite) as partial:
            shutil.copyfile(kept.path, partial)
        return Kept(path=out, metadata=kept.metadata)


def _select(at: Site, config: CoresetShardsOptions) -> Kept:
    auto, sample = None, None
    by_proxy = config.method == AUTO or (
        config.method is not None and is_scored(methods.get(config.method))
    )
    indexed = at.index(
        needs_inputs=by_proxy,
        needs_labels=by_proxy or config.balance is not None or config.method == "stratified",
        scores=config.scores,
        features=config.features,
        distinct=config.distinct,
        unlabelled="take --method random, which needs none"
        if config.balance is None
        else "take --method random without --balance, which needs none",
    )
    if config.method == AUTO:
        config, auto, sample = settled(at, indexed, config)
        by_proxy = is_scored(methods.get(auto.method))
    scores = indexed.indexes
    if by_proxy:
        assert config.method is not None
        scores = score_all(at, indexed, config.method, config, sample)
    kept = _made(at, indexed, scores, config, auto)
    if auto is not None and sample is not None and (why := _lopsided(auto, kept, indexed, sample)):
        auto = auto.set_aside(why)
        at.place.say(f"auto takes {auto.method} after all: {why}")
        config = replace(config, method=auto.method)
        kept = _made(at, indexed, indexed.indexes, config, auto)
    about = kept.metadata
    hard_first = by_proxy and methods.get(config.method or "").hard_first
    if hard_first and auto is None and about["k"] < about["n"] / 2:
        at.place.say(
            f"Warning: at {about['k'] / about['n']:.2g} kept, methods that keep the hardest "
            f"examples ('{config.method}') can be far worse than a random choice. '{SAFE}' is "
            "safe. keepers compare measures it on a part of your data"
        )
    return kept


def _lopsided(auto: Taken, kept: Kept, indexed: Indexed, sample: Sample) -> str:
    if auto.pilot is None:
        return ""
    of_class = kept.of_class
    found = torch.tensor([of_class.get(name, 0) for name in indexed.class_names])
    sizes = torch.from_numpy(sample.sizes[UNKNOWN + 1 :])
    return too_lopsided(auto, found, sizes, indexed.class_names)


def _made(
    at: Site,
    indexed: Indexed,
    scores: Sequence[At],
    config: CoresetShardsOptions,
    auto: Taken | None,
) -> Kept:
    """The selection by a configuration whose method is settled, written."""
    with at.place.ledger.phase("selecting") as tally, at.place.under_way("selecting"):
        if config.features is not None:
            chosen = choose_covering(at, indexed, config)
        elif config.method in DRAWN:
            chosen = choose_drawn(at, indexed, config)
        else:
            chosen = choose_top(at, indexed, scores, config)
        tally.examples = chosen.n
    note: dict[str, Any] = plain(
        {
            "method": config.method or f"scores in '{config.scores}'",
            "keep": str(config.keep),
            "seed": config.seed,
            "balance": config.balance,
            "min_per_class": config.least(),
            "distinct": config.distinct,
            "copies": indexed.num_copies,
            "skipped": indexed.num_skipped,
            "shards": len(indexed.indexes),
            "rows": indexed.num_rows,
            "class_names": indexed.class_names,
            "columns": indexed.reading.columns,
            "content": indexed.content,
            "costs": at.place.ledger.by_phase(),
        }
        | ({} if auto is None else {"auto": auto.facts()})
    )
    path = at.place.run.path / SELECTION
    kept = write_kept(path, indexed, chosen, note, overwrite=True)
    shutil.rmtree(chosen.folder)
    return kept
