"""Examples of shards as a source: those of one shard, or a sample of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.data import Source, extract
from keepers.data.arrow import ArrowTable
from keepers.data.examples import Examples
from keepers.data.ids import id_order
from keepers.data.inputs import take_inputs
from keepers.data.material import Material
from keepers.errors import DataError
from keepers.shards.executor import Executor
from keepers.shards.indexed import Indexed
from keepers.shards.parts import Cuts, Part
from keepers.shards.places import local_copy
from keepers.shards.reading import Reading

Taken = tuple[ArrowTable, Any, npt.NDArray[Any], npt.NDArray[Any]]
"""Rows of one shard, their ids (an Arrow array), digests and slots."""


def rows_of(work: tuple[Reading, Cuts | None], part: Part) -> Taken:
    """The rows of a shard that are let through, or all, by the places of their ids."""
    reading, cuts = work
    places = np.arange(len(part))
    if cuts is not None:
        places = np.concatenate([found for found, _, _ in cuts.kept(part)])
    with local_copy(part.at.shard) as path:
        material = reading.material(part.at.shard, path)
    rows = np.asarray(part.index["rows"][places])
    labels = part.index.arrays.get("labels")
    slots = part.slots[np.zeros(len(rows), int) if labels is None else labels[places] + 1]
    names = [name for name in material.table.column_names if name in reading.columns.input]
    table = material.table.select(names).take(pa.array(rows))
    return table, part.ids.arrow(places), np.asarray(part.index["digests"][places]), slots


def source_of(
    taken: Sequence[Taken],
    reading: Reading,
    class_names: tuple[str, ...],
    name: str,
    shape: tuple[int, ...] | None = None,
) -> Source:
    """The rows of several shards as one source, in the order of their ids.

    Inputs are of the `shape` that others were found to have.

    Raises:
        DataError: vectors of another length.
    """
    assert reading.kind is not None
    tables, ids, digests, slots = zip(*taken, strict=True)
    table = pa.concat_tables(tables, promote_options="permissive")
    material = Material(name=name, table=table).plain()
    inputs = extract.raw_inputs(material, reading.columns.input, reading.kind)
    names = pa.concat_arrays(ids)
    plain = names.to_numpy(zero_copy_only=False)
    order = np.arange(len(plain)) if len(taken) == 1 else id_order(plain)
    inputs = take_inputs(inputs, order)
    raw = np.ascontiguousarray(np.concatenate(digests)[order]).tobytes().hex().encode()
    hashes = np.frombuffer(raw, "S32", len(order))
    own, _ = extract.input_shape(inputs, reading.kind)
    if shape is not None and reading.kind == "vector" and own != shape:
        raise DataError(
            f"data: the shard {name} holds vectors of {own[0]} numbers, but others hold "
            f"{shape[0]}. Give shards of one schema"
        )
    labels = np.concatenate(slots)[order] - 1
    return Source(
        name=name,
        kind=reading.kind,
        examples=Examples(
            rows=np.arange(len(order)),
            names=plain[order],
            read_digests=lambda: hashes,
            read_inputs=lambda: inputs,
        ),
        labels=labels if class_names else None,
        class_names=class_names,
        groups=None,
        shape=shape or own,
        num_rows=len(order),
        columns=replace(reading.columns, features=None),
    )


def sample_of(run: Executor, indexed: Indexed, parts: Sequence[Part], cuts: Cuts) -> Source:
    """The examples of all shards that are let through."""
    found = run.map(rows_of, (indexed.reading, cuts), parts)
    taken = [each for _, each in sorted(found, key=lambda each: each[0]) if each[0].num_rows]
    if not taken:
        raise DataError("data: no example is left to train on. Give more examples")
    return source_of(taken, indexed.reading, indexed.class_names, "a sample of the shards")
