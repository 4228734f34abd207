"""Identity: an example is its key, or a hash of its raw input."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.data.arrow import ArrowColumn, ArrowTable
from keepers.data.arrow import compute as pc
from keepers.errors import DataError, first_few
from keepers.files import fingerprint, hash_bytes
from keepers.words import counted

DIGITS = 32
"""Of the hash of an input; copies have "-1", "-2", ... behind it."""


def content_ids(
    digests: npt.NDArray[np.bytes_], table: ArrowTable, label: str | None
) -> npt.NDArray[np.object_]:
    """Ids from hashes of the raw inputs (n,).

    `table` holds the columns beside the input. The first of several equal inputs has the plain
    hash, the others `-1`, `-2`, ... in the order of their other columns, then of their labels,
    so that shuffling the rows gives every row its old id and relabelling an example keeps it.
    """
    ids = np.array([digest.decode() for digest in digests.tolist()], dtype=object)
    _, inverse, counts = np.unique(digests, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts[inverse] > 1)
    if not len(repeated):
        return ids
    ranks = dict(zip(repeated.tolist(), row_keys(table, repeated, label), strict=True))
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for row in repeated.tolist():
        groups[int(inverse[row])].append(row)
    for rows in groups.values():
        for number, row in enumerate(sorted(rows, key=lambda row: (ranks[row], row))):
            if number:
                ids[row] = f"{ids[row]}-{number}"
    return ids


def row_keys(
    table: ArrowTable, rows: npt.NDArray[np.int64], label: str | None
) -> list[tuple[str, str]]:
    """What orders copies of one input, for some rows: their other columns, then their labels."""
    if not table.num_columns:  # nothing tells copies apart, and such a table has no rows to take
        return [("", "")] * len(rows)
    records = table.take(pa.array(rows)).to_pylist()
    return [
        (repr(sorted((k, v) for k, v in record.items() if k != label)), repr(record.get(label)))
        if label is not None
        else (repr(sorted(record.items())), "")
        for record in records
    ]


def key_ids(
    column: ArrowColumn, name: str, bad: dict[int, str] | None = None
) -> npt.NDArray[np.int64] | npt.NDArray[np.object_]:
    """Ids from the user's key column: integers (n,) where it holds integers, else strings.

    Where `bad` is given, rows without a key are noted there; the id of such a row is 0, or "".

    Raises:
        DataError: keys that are missing or not unique, with their rows.
    """
    gone = np.flatnonzero(column.is_null().to_numpy())
    if len(gone) and bad is None:
        raise DataError(
            f"id: {counted(len(gone), 'row has', 'rows have')} no key in column '{name}' (first: "
            f"row {gone[0]}). Give every row a key, or leave --id out to use hashes of the inputs"
        )
    if pa.types.is_nested(column.type):
        raise DataError(f"id: column '{name}' holds {column.type}. Name one of integers or strings")
    whole = pa.types.is_integer(column.type) and column.type != pa.uint64()
    if whole:
        ids = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    else:
        texts = pc.fill_null(column.cast(pa.large_string()), "")
        ids = np.array(texts.to_pylist(), dtype=object)
    there = np.delete(np.arange(len(ids)), gone)
    _check_unique(ids[there], there, name)
    if bad is not None:
        bad |= dict.fromkeys(gone.tolist(), f"no key in column '{name}'") | bad
    return ids


def hash_of(ids: npt.NDArray[Any], digests: npt.NDArray[np.bytes_]) -> str:
    """32 hexadecimal digits over ids (n,) and the digests of their inputs (n,)."""
    names = hash_bytes("\n".join(map(str, ids.tolist())).encode())
    return fingerprint(names, hash_bytes(np.ascontiguousarray(digests)))


def units(
    digests: npt.NDArray[np.bytes_], groups: npt.NDArray[Any] | None
) -> npt.NDArray[np.int64]:
    """The first position (n,) of the unit that each example belongs to.

    A unit is what a split must not part: examples of one input, and of one group where `groups`
    (n,) are given (an empty name is none), together with all that these bring.

    >>> units(np.array([b"a", b"b", b"a", b"c"]), None).tolist()
    [0, 1, 0, 3]
    >>> groups = np.array(["", "x", "x", ""], dtype=object)
    >>> units(np.array([b"a", b"b", b"a", b"c"]), groups).tolist()
    [0, 0, 0, 3]
    """
    found = _first(digests)
    if groups is None or not (groups != "").any():
        return found
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    named = np.flatnonzero(groups != "")
    ends = np.concatenate([found, named[_first(groups[named])]])
    starts = np.concatenate([np.arange(len(found)), named])
    joins = coo_array((np.ones(len(ends)), (starts, ends)), shape=(len(found), len(found)))
    return _first(connected_components(joins, directed=False)[1])


def _first(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Where the value at each place (n,) stands for the first time."""
    # Arrow numbers values as they come, so a number over all earlier ones is a new value's.
    column = pa.array(values)
    if isinstance(column, pa.ChunkedArray):  # NumPy's bytes come in chunks of 16 MB
        column = column.combine_chunks()
    codes = column.dictionary_encode().indices.to_numpy()
    before = np.maximum.accumulate(np.concatenate([[-1], codes]))[:-1]
    return np.flatnonzero(codes > before)[codes]


def _check_unique(
    ids: npt.NDArray[np.int64] | npt.NDArray[np.object_], at: npt.NDArray[np.int64], name: str
) -> None:
    if ids.dtype == object:
        num_distinct = pc.count_distinct(pa.array(ids)).as_py()
    else:
        ascending = np.sort(ids)
        num_distinct = len(ids[:1]) + np.count_nonzero(ascending[1:] != ascending[:-1])
    if num_distinct == len(ids):
        return
    rows: dict[int | str, int] = {}
    twice: list[str] = []
    for row, key in zip(at.tolist(), ids.tolist(), strict=True):
        if key in rows:
            twice.append(f"{key!r} in rows {rows[key]} and {row}")
        else:
            rows[key] = row
    if twice:
        raise DataError(
            f"id: {counted(len(twice), 'key')} of column '{name}' repeated: {first_few(twice)}. "
            "Make the keys unique, or leave --id out to use hashes of the inputs"
        )


def id_order(ids: npt.NDArray[np.int64] | npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
    """Row numbers in the order of sorted ids: integers by value, strings by code point."""
    if ids.dtype == object:
        order = pc.sort_indices(pa.array(ids, type=pa.large_string()))
        return order.to_numpy().astype(np.int64)
    return np.argsort(ids, kind="stable")
