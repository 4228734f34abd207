"""A core-set of shards: cut, ranked and written in pick order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from keepers import methods
from keepers.errors import RunError
from keepers.files import fingerprint
from keepers.random import derived_seed, generator
from keepers.sealed import ArrowTable, read_table, write_batches
from keepers.shards.covering import cover, deal
from keepers.shards.cutting import Integers, Plan, cut_balanced, cut_top
from keepers.shards.index import id_arrays
from keepers.shards.indexed import Indexed, sizes
from keepers.shards.parts import UNKNOWN
from keepers.shards.places import below_all
from keepers.shards.ranking import everything, identity_of, in_order, ranked, reranked
from keepers.shards.repeats import At
from keepers.shards.store import Store
from keepers.types import Signals
from keepers.words import counted
from keepers.workflows.options.shards import CoresetShardsOptions
from keepers.workflows.shards.opening import Site

_AGAIN = "Make it again with the same command"


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """The kept examples of many shards, in a Parquet file in pick order.

    Its columns are `id`, `file` and `row` (of the shard, from 0), `label`, `rank` (from 0) and
    `score`, null if the method has none. `metadata` says how the selection was made.
    """

    path: Path
    metadata: dict[str, Any]

    def __len__(self) -> int:
        return int(self.metadata["k"])

    def __repr__(self) -> str:
        about = self.metadata
        return f"Kept({len(self):,} of {about['n']:,}, method={about['method']!r}, {self.path})"

    @property
    def table(self) -> ArrowTable:
        """All kept examples; if they are too many for memory, read the file by row groups."""
        return read_table(self.path, "selection", _AGAIN)[0]

    @property
    def ids(self) -> list[Any]:
        """Ids in pick order."""
        return read_table(self.path, "selection", _AGAIN, ("id",))[0]["id"].to_pylist()

    @property
    def of_class(self) -> dict[str, int]:
        """How many examples of each class are kept, without the classes that have none."""
        labels = read_table(self.path, "selection", _AGAIN, ("label",))[0]["label"]
        return {each["values"]: each["counts"] for each in labels.value_counts().to_pylist()}

    @classmethod
    def read_parquet(cls, path: str | Path) -> Kept:
        """Read the file of an earlier selection.

        Raises:
            DamagedError: the file is not as keepers wrote it.
            RunError: the file is missing or of another kind.
        """
        try:
            _, note = read_table(Path(path), "selection", _AGAIN, ())
        except FileNotFoundError:
            raise RunError(f"selection: {path} does not exist") from None
        if note is None or "shards" not in note:
            raise RunError(f"selection: {path} was not written by keepers coreset --shards")
        return cls(path=Path(path), metadata=note)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """Ranges of picks in a folder, in pick order, and how many picks there are of how many."""

    folder: Path
    keys: list[str]
    k: int
    n: int
    how: str = ""


def choose_top(
    site: Site, indexed: Indexed, scores: Sequence[At], config: CoresetShardsOptions
) -> Chosen:
    """The highest scores, with what each class is to have."""
    parts = indexed.parts(scores)
    of_slots = sizes(site.run, parts, indexed.num_slots)
    n = int(of_slots.sum())
    k = config.keep.resolve(n)
    if config.balance is not None:
        plan = cut_balanced(site.run, parts, of_slots, k)
    else:
        _tell_floors(site, of_slots, k, config.least())
        plan = cut_top(site.run, parts, of_slots, k, config.least())
    folder = _place(site, plan, indexed, scores)
    return Chosen(folder=folder, keys=ranked(site.run, parts, plan, k, folder), k=k, n=n)


def choose_drawn(site: Site, indexed: Indexed, config: CoresetShardsOptions) -> Chosen:
    """A draw by labels alone, from those of all shards in the order of their ids."""
    parts, slots = indexed.parts(None), indexed.num_slots
    of_slots = sizes(site.run, parts, slots)
    n = int(of_slots.sum())
    k = config.keep.resolve(n)
    if config.balance is None:
        _tell_floors(site, of_slots, k, config.least())
    plan = everything(slots)
    folder = _place(site, plan, indexed, None)
    keys = ranked(site.run, parts, plan, n, folder)
    labels = torch.empty(n, dtype=torch.int64)
    for arrays, _ in in_order(folder, keys, n):
        labels[torch.from_numpy(arrays["rank"])] = torch.from_numpy(arrays["slot"]).long() - 1
    assert config.method is not None
    row = methods.get(config.method)
    picks, _ = methods.choose(
        row,
        [Signals(labels=labels)],
        k,
        balance=labels if config.balance == "class" else None,
        floor=methods.Floor(labels, config.least()),
        generator=generator(config.seed, "select", row.name),
        options=config.method_options or {},
    )
    rank_of = np.full(n, -1, np.int64)
    rank_of[picks.positions.numpy()] = np.arange(k)
    return Chosen(folder=folder, keys=reranked(site.run, folder, keys, rank_of, "picked"), k=k, n=n)


def choose_covering(site: Site, indexed: Indexed, config: CoresetShardsOptions) -> Chosen:
    """What covers the features, in rounds over parts; how well, is said."""
    assert config.method is not None
    parts = indexed.parts(None)
    n = int(sizes(site.run, parts, indexed.num_slots).sum())
    k = config.keep.resolve(n)
    folder = site.folder / f"cover-{fingerprint(indexed.content, config.seed)[:16]}"
    seed = derived_seed(config.seed, "select", config.method)
    with site.place.under_way("covering") as report:
        dealt = deal(site.run, parts, n, seed, folder)
        covered = cover(site.run, dealt, k, config.method, report)
    picks = covered.picks
    order = np.argsort(picks.shard, kind="stable")
    ids: list[Any] = []
    found: dict[str, list[Any]] = {"row": [], "slot": []}
    for shard in np.unique(picks.shard).tolist():
        part, at = parts[shard], picks.at[order][picks.shard[order] == shard]
        labels = part.index.arrays.get("labels")
        found["row"].append(np.asarray(part.index["rows"][at]))
        slots = part.slots[np.zeros(k, int)[: len(at)] if labels is None else labels[at] + 1]
        found["slot"].append(slots.astype(np.int32))
        ids.append(part.ids.arrow(at))
    arrays = {name: np.concatenate(values) for name, values in found.items()}
    arrays |= {"shard": picks.shard[order].astype(np.int32)}
    by_rank = np.argsort(order, kind="stable")
    names = pa.concat_arrays(ids).take(pa.array(by_rank))
    arrays = {name: values[by_rank] for name, values in arrays.items()}
    plain = names.to_numpy(zero_copy_only=False)
    Store(folder).write("range-0", {"rank": np.arange(k), **arrays, **id_arrays(plain)})
    how = (
        f"{config.method} over {counted(dealt.count, 'part')}: squared distance to the nearest "
        f"pick {covered.mean:.6g} on average, {covered.farthest:.6g} at most"
    )
    how += f", after {counted(covered.moves, 'move')} of the picks" if covered.moves else ""
    site.place.say(f"Selected by {how}")
    return Chosen(folder=folder, keys=["range-0"], k=k, n=n, how=how)


def _tell_floors(site: Site, of_slots: Integers, k: int, least: int) -> None:
    """Say where the budget does not reach the floor of every class."""
    known = of_slots.copy()
    known[UNKNOWN] = 0
    wanted = int(np.minimum(known, least).sum())
    if k < wanted:
        each = "one of each class" if least == 1 else f"{least:,} of each class, or all that it has"
        site.place.say(
            f"Warning: {counted(k, 'example is', 'examples are')} too few for {each}: the budget "
            f"is shared evenly. It takes {wanted:,}"
        )


def write_kept(
    path: Path, indexed: Indexed, chosen: Chosen, note: dict[str, Any], *, overwrite: bool
) -> Kept:
    """Write the picks, a row group at a time."""
    note = note | {"k": chosen.k, "n": chosen.n, "how": chosen.how}
    tables = _tables(indexed, chosen)
    first = next(tables)
    write_batches(path, first.schema, _again(first, tables), note, overwrite=overwrite)
    return Kept(path=path, metadata=note)


def _place(site: Site, plan: Plan, indexed: Indexed, scores: Sequence[At] | None) -> Path:
    return site.folder / f"picks-{identity_of(plan, indexed.parts(scores))}"


def _again(first: ArrowTable, rest: Iterator[ArrowTable]) -> Iterator[ArrowTable]:
    yield first
    yield from rest


def _tables(indexed: Indexed, chosen: Chosen) -> Iterator[ArrowTable]:
    names = file_names(indexed)
    classes = pa.array([None, *indexed.class_names], pa.string())
    for arrays, ids in in_order(chosen.folder, chosen.keys, chosen.k):
        n = len(arrays["rank"])
        scores = arrays.get("score", np.full(n, np.nan))
        yield pa.table(
            {
                "id": ids,
                "file": names.take(pa.array(arrays["shard"])),
                "row": pa.array(arrays["row"], pa.int64()),
                "label": classes.take(pa.array(arrays["slot"])),
                "rank": pa.array(arrays["rank"], pa.int64()),
                "score": pa.array(scores, pa.float64(), mask=np.isnan(scores)),
            }
        )


def file_names(indexed: Indexed) -> Any:
    """The shards as a person is told of them: their addresses below the folder of all."""
    return pa.array(below_all([at.shard.address for at in indexed.indexes]), pa.string())
