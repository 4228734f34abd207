"""Examples that are known by their ids, found again in data of any order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.data.ids import DIGITS, key_ids
from keepers.data.opening import open_source
from keepers.data.reading import read_material
from keepers.data.source import Source
from keepers.errors import DataError, about


def matching_rows(
    data: Any,
    wanted: Sequence[int],
    *,
    ids: Sequence[Any],
    labels: Sequence[str | None],
    columns: Mapping[str, Any],
) -> npt.NDArray[np.int64]:
    """The row of `data` that holds each wanted example (k,), -1 where none does.

    `ids` and `labels` (n,) are those of all examples, `wanted` (k,) are places in them, `columns`
    what the ids were made from: the key column `id`, or the columns `input`. A hash stands for an
    input. Of its copies the one of the same id is taken where there are as many as there were;
    else one that has its label, or any where the data have no labels.

    Raises:
        DataError: data that cannot be read, without the key column, or with a key twice.
    """
    with about("dataset"):
        if columns["id"] is not None:
            there = _keys(data, columns["id"])
            return np.array([there.get(ids[place], -1) for place in wanted], dtype=np.int64)
        source = _opened(data, columns)
    there = dict(zip(source.ids.tolist(), source.rows.tolist(), strict=True))
    if _copies(there) == _copies(ids):
        return np.array([there.get(ids[place], -1) for place in wanted], dtype=np.int64)
    return _among_copies(source, wanted, ids, labels)


def _keys(data: Any, name: str) -> dict[Any, int]:
    table = read_material(data, None).plain().table
    if name not in table.column_names:
        raise DataError(
            f"data: it has no column '{name}' with the keys of the examples. Pass the data of "
            "the selection"
        )
    return {key: row for row, key in enumerate(key_ids(table[name], name).tolist())}


def _opened(data: Any, columns: Mapping[str, Any]) -> Source:
    """The data, read by the same columns where it has them."""
    names: Any = getattr(data, "column_names", None)
    if names is None:
        names = [str(name) for name in getattr(data, "columns", ())]
    if isinstance(data, list) and data and not isinstance(data[0], tuple | list | Mapping):
        data = (data, None)  # inputs alone, no items
    if isinstance(data, tuple) and len(data) != 2:  # pyright: ignore[reportUnknownArgumentType]
        data = data[0]
    there = all(name in names for name in columns["input"])
    return open_source(
        data,
        input=columns["input"] if there else None,
        label=columns["label"] if columns["label"] in names else None,
        task="tokens" if columns.get("chat") else "class",
        require_labels=False,
        on_bad_row="skip",
    )


def _copies(ids: Iterable[str]) -> Counter[str]:
    """How many copies each input has, of those that have several."""
    counts = Counter(name[:DIGITS] for name in ids)
    return Counter({digits: count for digits, count in counts.items() if count > 1})


def _among_copies(
    source: Source, wanted: Sequence[int], ids: Sequence[Any], labels: Sequence[str | None]
) -> npt.NDArray[np.int64]:
    """As `matching_rows`, where some inputs have more copies in the data, or fewer, than before."""
    said: list[str | None] = [None] * len(source)
    if source.labels is not None and set(source.class_names) & set(labels):
        said = [source.class_names[n] if n >= 0 else None for n in source.labels.tolist()]
    free: defaultdict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(source.ids.tolist()):
        free[name[:DIGITS]].append(place)
    before = Counter(name[:DIGITS] for name in ids)
    same = {digits for digits, places in free.items() if len(places) == before[digits]}
    found = np.full(len(wanted), -1, dtype=np.int64)
    for by_id in (True, False):  # first those that are what they were
        for pick in np.flatnonzero(found < 0).tolist():
            name, label = ids[wanted[pick]], labels[wanted[pick]]
            whole, places = name[:DIGITS] in same, free[name[:DIGITS]]
            for place in places if by_id or not whole else ():
                if by_id and source.ids[place] != name:
                    continue
                if whole or said[place] in (None, label):
                    places.remove(place)
                    found[pick] = source.rows[place]
                    break
    return found
