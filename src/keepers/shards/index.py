"""The index of a shard: its ids in sorted order, and beside them rows, classes and what is brought.

Everything else is in that order, too, so that a place in a shard stands for an id.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.data import extract
from keepers.data.encode import undecodable
from keepers.data.features import read_features
from keepers.data.hashing import Hashed, hashed
from keepers.data.ids import DIGITS, id_order, key_ids
from keepers.data.labels import Missing, is_whole, read_labels
from keepers.data.looks import turned_down
from keepers.data.material import Material
from keepers.errors import DataError, first_few
from keepers.selectors.cuts import integer_words, text_words
from keepers.shards.places import Shard, local_copy
from keepers.shards.reading import Reading, declared_classes
from keepers.shards.store import Result, Store
from keepers.words import counted

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Odd: multiplying by it spreads integers over 64 bits, and keeps different ones different."""


@dataclass(frozen=True, kw_only=True)
class Indexing:
    """How shards are indexed, and where the indexes are kept. `require`: every row has a label.

    An index is the same whether that is required or not.
    """

    reading: Reading
    folder: Path
    require: bool


class Ids:
    """The ids (n,) of an index, ascending: integers, or texts that stay in their file."""

    def __init__(self, index: Result) -> None:
        self._whole = index.arrays.get("ids")
        self._starts, self._text = index.arrays.get("id_starts"), index.arrays.get("id_text")

    def __len__(self) -> int:
        return len(self._whole) if self._whole is not None else len(self._starts) - 1  # pyright: ignore

    @property
    def are_texts(self) -> bool:
        """Whether they are texts."""
        return self._whole is None

    def take(self, at: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Those at some places: int64, or objects."""
        if self._whole is not None:
            return np.asarray(self._whole[at])
        return self.arrow(at).to_numpy(zero_copy_only=False)

    def arrow(self, at: npt.NDArray[np.int64]) -> Any:
        """The same as an Arrow array."""
        if self._whole is not None:
            return pa.array(np.asarray(self._whole[at]))
        return self._strings().take(pa.array(at))

    def words(self, at: npt.NDArray[np.int64], place: int) -> npt.NDArray[np.uint64]:
        """The `place`-th eight bytes of those at some places, in their order."""
        if self._whole is not None:
            return integer_words(np.asarray(self._whole[at]))
        assert self._starts is not None
        return text_words(self._starts[at], self._starts[at + 1], self._text, place)  # pyright: ignore

    @property
    def num_words(self) -> int:
        """How many words the longest has."""
        if self._starts is None:
            return 1
        return -(-int(np.diff(self._starts).max(initial=0)) // 8)

    @property
    def num_numbered(self) -> int:
        """How many are hashes with the number of a copy behind them, where ids are hashes."""
        return 0 if self._starts is None else int((np.diff(self._starts) > DIGITS).sum())

    def place(self, id: Any, low: int, high: int, at: npt.NDArray[np.int64]) -> int:
        """Where an id would stand among those at `at[low:high]`, which ascend."""
        while low < high:
            middle = (low + high) // 2
            if self.take(at[middle : middle + 1])[0] < id:
                low = middle + 1
            else:
                high = middle
        return low

    def _strings(self) -> Any:
        buffers = pa.py_buffer(self._starts), pa.py_buffer(self._text)
        return pa.LargeStringArray.from_buffers(len(self), *buffers)


def index(work: Indexing, shard: Shard) -> dict[str, Any]:
    """Index a shard, and give its facts.

    Raises:
        DataError: it cannot be read as the first one was, or has rows that cannot be used.
    """
    reading = work.reading
    with local_copy(shard) as path:
        material = reading.material(shard, path, whole=reading.columns.id is None)
        try:
            arrays, facts = _read(reading, material)
        except DataError as error:
            raise type(error)(f"{error} (in the shard {shard.name})") from None
    Store(work.folder).write(shard.key, arrays, facts)
    if work.require:
        refuse_unlabelled(facts, reading, shard)
    return facts


def refuse_unlabelled(facts: dict[str, Any], reading: Reading, shard: Shard) -> None:
    """Refuse an indexed shard that has rows without a label.

    Raises:
        DataError: how many, and which is the first.
    """
    if missing := facts.get("unlabelled"):
        rows, first = missing
        raise DataError(
            f"label: {counted(rows, 'row has', 'rows have')} no label in column "
            f"'{reading.columns.label}' (first: row {first}). Label them, or pass --on-bad-row "
            f"skip (on_bad_row='skip') to leave such rows out (in the shard {shard.name})"
        )


def _read(
    reading: Reading, material: Material
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    columns, table = reading.columns, material.table
    bad = dict(material.bad)
    keyless = bad if reading.on_bad_row == "skip" else None
    alike: dict[str, str] = {}
    if not table.num_rows:
        return {"ids": np.empty(0, np.int64), "rows": np.empty(0, np.int64)}, {"rows": 0}
    if reading.kind is not None:
        inputs = extract.raw_inputs(material, columns.input, reading.kind)
        bad |= extract.bad_rows(inputs, columns.input)
        if reading.kind == "image" and reading.on_bad_row == "skip":
            bad |= undecodable(inputs)
        if reading.kind == "vector":
            alike["input"] = _vectors(extract.input_shape(inputs, reading.kind)[0][0])
        found = hashed(material, inputs, columns, None, keyless)
        bad |= found.unread
    else:
        assert columns.id is not None
        keys = key_ids(table[columns.id], columns.id, keyless)
        order = id_order(keys)
        found = Hashed(rows=order, ids=keys[order], digests=np.empty(0, "S32"), repeats=0)
    bad |= turned_down(table, columns.label)
    alike["id"] = "other keys" if found.ids.dtype == object else "whole numbers"
    more: dict[str, npt.NDArray[Any]] = {}
    if columns.features is not None:
        vectors = read_features(columns.features, material).astype(np.float32, copy=False)
        bad |= extract.unusable_numbers(vectors, lambda place: f"features[{place}]")
        more["features"] = vectors
        alike["features"] = _vectors(vectors.shape[1])
    if reading.scores is not None:
        more["scores"] = _given(table[reading.scores], reading.scores, bad)
    facts: dict[str, Any] = {"rows": table.num_rows, "skipped": len(bad), "alike": alike}
    if columns.label is not None:
        declared = declared_classes(material, columns.label)
        codes, names = read_labels(
            table[columns.label],
            columns.label,
            class_names=declared,
            missing=Missing(required=False),
        )
        missing = [row for row in np.flatnonzero(codes < 0).tolist() if row not in bad]
        if reading.labelled:
            bad |= dict.fromkeys(missing, f"no label in '{columns.label}'")
            facts["skipped"], missing = len(bad), []
        facts |= {"unlabelled": [len(missing), missing[0]] if missing else None}
        more["labels"] = codes.astype(np.int32)
        facts |= {"classes": list(names), "declared": declared is not None}
        kind = table.schema.field(columns.label).type
        facts |= {"whole": pa.types.is_null(kind) or is_whole(kind)}
    if bad and reading.on_bad_row == "error":
        shown = first_few([f"row {row}: {bad[row]}" for row in sorted(bad)])
        raise DataError(
            f"data: {counted(len(bad), 'row')} cannot be used: {shown}. Correct them, or leave "
            "them out with --on-bad-row skip (on_bad_row='skip')"
        )
    places = np.flatnonzero(~np.isin(found.rows, list(bad))) if bad else slice(None)
    rows, ids = found.rows[places], found.ids[places]
    arrays = {name: values[rows] for name, values in more.items()}
    arrays |= {"rows": rows, **id_arrays(ids)}
    if reading.kind is not None:
        arrays["digests"] = _bytes(found.digests[places])
    arrays["marks"] = _marks(ids, arrays.get("digests") if columns.id is None else None)
    if bad and columns.id is None:  # they count where copies are numbered, as in one table
        lost = found.take(np.flatnonzero(np.isin(found.rows, list(bad))))
        arrays |= {"lost_rows": lost.rows, "lost_digests": _bytes(lost.digests)}
    return arrays, facts


def _bytes(digests: npt.NDArray[np.bytes_]) -> npt.NDArray[np.uint8]:
    """Digests (n,) in hexadecimal digits as bytes (n, 16)."""
    raw = bytes.fromhex(np.ascontiguousarray(digests).tobytes().decode())
    return np.frombuffer(raw, np.uint8).reshape(-1, 16)


def _vectors(length: int) -> str:
    return f"vectors of {counted(length, 'number')}"


def _given(column: Any, name: str, bad: dict[int, str]) -> npt.NDArray[Any]:
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise DataError(f"scores: column '{name}' holds {kind}. Name a column of numbers")
    narrow = pa.types.is_float32(kind) or pa.types.is_float16(kind) or pa.types.is_null(kind)
    try:
        values = column.cast(pa.float32() if narrow else pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        raise DataError(
            f"scores: column '{name}' holds whole numbers beyond 2^53, which scores do not tell "
            "apart. Scale them down"
        ) from None
    for row in np.flatnonzero(np.isnan(values)).tolist():
        bad[row] = f"no score in column '{name}'"
    return values


def id_arrays(ids: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Ids as arrays that `Ids` reads."""
    if ids.dtype != object:
        return {"ids": ids}
    strings = pa.array(ids, pa.large_string())
    _, starts, text = strings.buffers()
    return {
        "id_starts": np.frombuffer(starts, np.int64, len(strings) + 1),
        "id_text": np.frombuffer(text, np.uint8) if text is not None else np.empty(0, np.uint8),
    }


def _marks(ids: npt.NDArray[Any], digests: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint64]:
    """Numbers (n,) that are equal where ids are; of ids made from inputs, where those are."""
    if digests is not None:
        return np.ascontiguousarray(digests[:, :8]).view(np.uint64)[:, 0]
    if ids.dtype != object:
        return ids.view(np.uint64) * _SPREAD
    import hashlib

    found = (hashlib.blake2b(each.encode(), digest_size=8).digest() for each in ids.tolist())
    return np.frombuffer(b"".join(found), np.uint64)
