"""`joined`: two sets of examples as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from keepers.data.examples import Examples
from keepers.data.ids import id_order
from keepers.data.inputs import PictureFiles, RawInputs, take_inputs
from keepers.data.source import Source
from keepers.errors import DataError

_SHOWN = 5


def joined(source: Source, other: Source) -> Source:
    """The examples of both, without labels, in canonical order.

    An id that stands in both is one example; the columns, shape and class names are those of
    `source`. What comes from `other` alone has the row number -1, since it is no row of `source`.

    Raises:
        DataError: another kind of input, ids of another type, or an id with two inputs.

    >>> from keepers.data import open_source
    >>> digits = open_source("digits")
    >>> len(joined(digits.take(range(10)), digits.take(range(5, 20))))
    20
    """
    _check_alike(source, other)
    shared, here, there = np.intersect1d(
        _comparable(source.ids), _comparable(other.ids), assume_unique=True, return_indices=True
    )
    differ = source.digests[here] != other.digests[there]
    if differ.any():
        names = ", ".join(map(str, shared[differ][:_SHOWN].tolist()))
        raise DataError(
            f"data: {int(differ.sum()):,} ids of {other.name} belong to another input in "
            f"{source.name} ({names}). Correct the keys, or leave --id out to use hashes of the "
            "inputs"
        )
    new = np.setdiff1d(np.arange(len(other)), there)
    if not len(new):
        return replace(source, labels=None, groups=None)
    features = None
    if source.features is not None and other.features is not None:
        features = np.concatenate([source.features, other.features[new]])
    ids = np.concatenate([source.ids, other.ids[new]])
    order = id_order(ids)
    digests = np.concatenate([source.digests, other.digests[new]])[order]
    examples = Examples(
        rows=np.concatenate([source.rows, np.full(len(new), -1)])[order],
        names=ids[order],
        read_digests=lambda: digests,
        read_inputs=lambda: take_inputs(_concatenated(source, other, new), order),
    )
    return replace(
        source,
        examples=examples,
        labels=None,
        groups=None,
        features=None if features is None else features[order],
    )


def _check_alike(source: Source, other: Source) -> None:
    if source.kind != other.kind or (source.kind == "vector" and source.shape != other.shape):
        raise DataError(
            f"data: {other.name} holds {other.kind} inputs of shape {other.shape}, but "
            f"{source.name} holds {source.kind} inputs of shape {source.shape}. Give inputs of "
            "one kind and shape"
        )
    if source.ids.dtype != other.ids.dtype:
        raise DataError(
            f"data: the keys of {source.name} and {other.name} are of different types. Name a "
            "key column of the same type in both with --id, or none"
        )


def _comparable(ids: Any) -> Any:
    return ids.astype(str) if ids.dtype == object else ids


def _concatenated(source: Source, other: Source, new: Any) -> RawInputs:
    mine, theirs = source.inputs, take_inputs(other.inputs, new)
    if isinstance(mine, PictureFiles) and isinstance(theirs, PictureFiles):
        names = [str(theirs.root.resolve() / name) for name in theirs.names]
        return PictureFiles(
            root=mine.root, names=np.concatenate([mine.names, np.array(names, dtype=object)])
        )
    if isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray):
        return np.concatenate([mine, theirs.astype(mine.dtype)])
    columns: tuple[Any, Any] = mine, theirs
    if all(isinstance(column, pa.ChunkedArray) for column in columns):
        first, second = columns
        return pa.chunked_array([*first.chunks, *second.cast(first.type).chunks], type=first.type)
    raise DataError(
        f"data: {source.name} and {other.name} keep their pictures in different ways. Give both "
        "as files of the same format"
    )
