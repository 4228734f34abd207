"""Scores of shards, without a selection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from keepers.data.outputs import check_replaced, mark
from keepers.errors import RunError
from keepers.files import atomic_folder, check_folder, plain
from keepers.options import taking
from keepers.sealed import write_table
from keepers.shards.parts import Part
from keepers.shards.places import Named
from keepers.workflows.options.shards import ScoreShardsOptions
from keepers.workflows.shards.opening import check_apart, site
from keepers.workflows.shards.proxy import score_all


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardScores:
    """`paths` are Parquet files of id, row, label, score, one for each shard, by id."""

    paths: tuple[Path, ...]
    metadata: dict[str, Any]


@taking(ScoreShardsOptions)
def score_shards(data: Named, options: ScoreShardsOptions) -> ShardScores:
    """Score every example of many files, one file at a time; higher scores are selected first.

    `keepers.coreset_shards` in the same run directory reuses the proxy and the scores.

    The folder `out` is there with the scores of all shards, or as it was before.

    Args:
        data: as in `keepers.coreset_shards`.

    Raises:
        KeepersError: an argument or the data are invalid.
    """
    check = None if options.out is None else Path(options.out)
    if check is not None:
        check_folder(check, "out")
        if not options.overwrite and check.exists() and any(check.iterdir()):
            check_replaced(check, False, "out")
    with site(data, options, "coreset-shards") as at:
        if check is not None:
            written = check / f"{Path(at.shards[0].name).stem}.parquet"
            for each in (check, written):
                check_apart(each, data, options.split, at.shards)
            check_replaced(check, True, "out")
        indexed = at.index(needs_inputs=True, needs_labels=True)
        scored = score_all(at, indexed, options.method, options)
        note = plain(
            {
                "method": options.method,
                "seed": options.seed,
                "rows": indexed.num_rows,
                "skipped": indexed.num_skipped,
                "class_names": indexed.class_names,
                "columns": indexed.reading.columns,
                "costs": at.place.ledger.by_phase(),
            }
        )
        names = [Path(each.at.shard.name).stem for each in indexed.parts(scored)]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            names = [f"{number:05}-{name}" for number, name in enumerate(names)]
        items = list(zip(names, indexed.parts(scored), strict=True))
        folder = (check or at.place.run.path / "scores").resolve()
        with atomic_folder(folder) as made:
            work = (indexed.class_names, made, note)
            found = dict(at.run.map(write_scores, work, items))
            if len(found) < len(items):
                raise RunError("run: not every shard was written. Type the same command again")
            mark(made)
    return ShardScores(paths=tuple(folder / f"{name}.parquet" for name in names), metadata=note)


def write_scores(
    work: tuple[tuple[str, ...], Path, dict[str, Any]], item: tuple[str, Part]
) -> Path:
    """Write the scores of one shard as a table, by id."""
    class_names, folder, note = work
    name, part = item
    n = len(part)
    assert part.values is not None
    slots = part.slots[part.index["labels"][:] + 1]
    classes = pa.array([None, *class_names], pa.string())
    table = pa.table(
        {
            "id": part.ids.arrow(np.arange(n)),
            "row": pa.array(np.asarray(part.index["rows"]), pa.int64()),
            "label": classes.take(pa.array(slots)),
            "score": pa.array(np.asarray(part.values), pa.float64()),
        }
    )
    return write_table(folder / f"{name}.parquet", table, note, overwrite=True)
