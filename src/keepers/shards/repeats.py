"""What stands in several shards: ids, which may not, and inputs, whose copies are numbered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.data.ids import id_order, row_keys
from keepers.errors import DataError, first_few
from keepers.files import fingerprint
from keepers.shards.executor import Executor
from keepers.shards.index import Ids, id_arrays
from keepers.shards.places import Shard, local_copy
from keepers.shards.reading import Reading
from keepers.shards.store import Result, Store
from keepers.words import counted

AT_ONCE = 1 << 24
"""Marks that a task compares: 128 MB."""


@dataclass(frozen=True)
class At:
    """Where the index of a shard is."""

    shard: Shard
    folder: Path
    key: str

    def read(self) -> Result:
        """The index."""
        return Store(self.folder).read(self.key)


def refuse_shared_ids(run: Executor, indexes: Sequence[At]) -> None:
    """Refuse ids that stand in several shards.

    Raises:
        DataError: which, and in which shards and rows.
    """
    found: dict[Any, list[str]] = defaultdict(list)
    for at, places in _repeated(run, indexes, "marks"):
        result = at.read()
        rows = result["rows"][places].tolist()
        for name, row in zip(Ids(result).take(places).tolist(), rows, strict=True):
            found[name].append(f"row {row} of {at.shard.name}")
    twice = [f"{n!r} in {' and '.join(found[n])}" for n in sorted(found) if len(found[n]) > 1]
    if twice:
        raise DataError(
            f"id: {counted(len(twice), 'id stands', 'ids stand')} in several shards: "
            f"{first_few(twice)}. Make the keys unique, leave one of the shards out, or leave "
            "--id out to use hashes of the inputs"
        )


@dataclass(frozen=True, kw_only=True)
class Renumbering:
    """Copies that are numbered over all shards, and where indexes with those numbers go."""

    reading: Reading
    folder: Path


def number_copies(
    run: Executor, indexes: Sequence[At], reading: Reading, folder: Path
) -> tuple[At, ...]:
    """The indexes, copies of one input numbered over all shards as within one file.

    The first copy has the plain hash for its id, the others `-1`, `-2`, ... in the order of their
    other columns. Rows that are left out have their numbers, too.
    """
    places = dict(_repeated(run, indexes, "all"))
    affected = [(at, places[at]) for at in indexes if at in places]
    if len(affected) < 2:
        return tuple(indexes)
    work = Renumbering(reading=reading, folder=folder)
    groups: defaultdict[bytes, list[tuple[Any, int, int, int]]] = defaultdict(list)
    for number, copies in run.map(_keys_of, work, affected):
        for digest, key, row, place in copies:
            groups[digest].append((key, number, row, place))
    numbers: list[dict[int, int]] = [{} for _ in affected]
    for copies in groups.values():
        if len({number for _, number, _, _ in copies}) > 1:
            for count, (_, number, _, place) in enumerate(sorted(copies)):
                if place >= 0:
                    numbers[number][place] = count
    changed = [(at, given) for (at, _), given in zip(affected, numbers, strict=True) if given]
    moved = {changed[n][0]: new for n, new in run.map(_renumber, work, changed)}
    return tuple(moved.get(at, at) for at in indexes)


def copies_of_inputs(run: Executor, indexes: Sequence[At]) -> dict[At, npt.NDArray[np.int64]]:
    """The places of all but the first example by id of those that have one input."""
    groups: defaultdict[bytes, list[tuple[Any, At, int]]] = defaultdict(list)
    for at, places in _repeated(run, indexes, "digests"):
        result = at.read()
        ids = Ids(result).take(places).tolist()
        for name, place in zip(ids, places.tolist(), strict=True):
            groups[result["digests"][place].tobytes()].append((name, at, place))
    found: defaultdict[At, list[int]] = defaultdict(list)
    for same in groups.values():
        for _, at, place in sorted(same, key=lambda each: each[0])[1:]:
            found[at].append(place)
    return {at: np.sort(np.array(places, np.int64)) for at, places in found.items()}


def _repeated(
    run: Executor, indexes: Sequence[At], name: str
) -> list[tuple[At, npt.NDArray[np.int64]]]:
    """The places in each shard whose mark (or beginning of the digest) stands elsewhere, too."""
    total = sum(len(at.read()["rows"]) for at in indexes)
    parts = max(1, -(-total // AT_ONCE))
    found = [marks for _, marks in run.map(_twice, (tuple(indexes), name, parts), range(parts))]
    marks = np.sort(np.concatenate(found))
    if not len(marks):
        return []
    hits = run.map(_places_of, (marks, name), indexes)
    return sorted(
        ((indexes[n], places) for n, places in hits if len(places)),
        key=lambda each: indexes.index(each[0]),
    )


def _numbers(at: At, name: str) -> npt.NDArray[np.uint64]:
    index = at.read()
    if name == "marks":
        return np.asarray(index[name])
    values = _with_lost(index, "digests") if name == "all" else index[name]
    return np.ascontiguousarray(values[:, :8]).view(np.uint64)[:, 0]


def _with_lost(index: Result, name: str) -> npt.NDArray[Any]:
    """An array of an index, and behind it that of the rows that are left out."""
    lost = index.arrays.get(f"lost_{name}")
    return index[name] if lost is None else np.concatenate([index[name], lost])


def _twice(work: tuple[Sequence[At], str, int], part: int) -> npt.NDArray[np.uint64]:
    """The marks of one part of their range that stand several times."""
    indexes, name, parts = work
    width = -(-(1 << 64) // parts)
    low, high = np.uint64(part * width), np.uint64(min((part + 1) * width, 1 << 64) - 1)
    found: list[npt.NDArray[np.uint64]] = []
    for at in indexes:
        marks = _numbers(at, name)
        found.append(marks if parts == 1 else marks[(marks >= low) & (marks <= high)])
    marks = np.sort(np.concatenate(found))
    return np.unique(marks[1:][marks[1:] == marks[:-1]])


def _places_of(work: tuple[npt.NDArray[np.uint64], str], at: At) -> npt.NDArray[np.int64]:
    marks, name = work
    own = _numbers(at, name)
    near = np.searchsorted(marks, own).clip(max=len(marks) - 1)
    return np.flatnonzero(marks[near] == own)


def _keys_of(
    work: Renumbering, item: tuple[At, npt.NDArray[np.int64]]
) -> list[tuple[bytes, Any, int, int]]:
    """Of some places: the digest of the input, what orders copies, the row and the place.

    The place of a row that is left out is -1.
    """
    at, places = item
    columns = work.reading.columns
    index = at.read()
    rows = np.asarray(_with_lost(index, "rows")[places])
    with local_copy(at.shard) as path:
        table = work.reading.material(at.shard, path, whole=True).table
    beside = [name for name in table.column_names if name not in columns.input]
    keys = row_keys(table.select(beside), rows, columns.label)
    digests = [each.tobytes() for each in _with_lost(index, "digests")[places]]
    places = np.where(places < len(index["rows"]), places, -1)
    return list(zip(digests, keys, rows.tolist(), places.tolist(), strict=True))


def _renumber(work: Renumbering, item: tuple[At, dict[int, int]]) -> At:
    """Write an index with other numbers behind the hashes at some places."""
    at, numbers = item
    key = fingerprint(at.key, sorted(numbers.items()))[:16]
    store = Store(work.folder)
    found = At(at.shard, work.folder, key)
    if store.is_there(key):
        return found
    index = at.read()
    ids = Ids(index).take(np.arange(len(index["rows"])))
    for place, number in numbers.items():
        ids[place] = ids[place][:32] + (f"-{number}" if number else "")
    order = id_order(ids)
    others = {n: v[order] for n, v in index.arrays.items() if n[:2] != "id" and n[:4] != "lost"}
    store.write(key, {**others, **id_arrays(ids[order])}, index.facts)
    return found
