"""`Material`: what a reader hands over, whatever the format: a table, and where its inputs are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from keepers.data.arrow import ArrowArray, ArrowColumn, ArrowTable, ArrowType
from keepers.data.inputs import PictureFiles, RawInputs
from keepers.data.pictures import png
from keepers.data.where import Part
from keepers.types import Kind


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """Rows in the user's order.

    `inputs` are given directly where they are no column of `table` (files, arrays), with their
    `kind`. `root` is the folder that picture paths in a column are relative to,
    `parts` are the files that were read, `bad` the rows of them that could not be, and why.
    """

    name: str
    table: ArrowTable
    kind: Kind | None = None
    inputs: RawInputs | None = None
    input_name: str = ""
    root: Path | None = None
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    bad: Mapping[int, str] = field(default_factory=dict[int, str])

    @cached_property
    def features(self) -> dict[str, dict[str, Any]]:
        """The features that the Hugging Face library wrote into the schema, by column."""
        return features_of(self.table)

    def plain(self) -> Material:
        """The same with a `plain_table`."""
        return replace(self, table=plain_table(self.table))

    def whole(self) -> ArrowTable:
        """The table, with the inputs that lie beside it as a column."""
        if self.inputs is None or isinstance(self.inputs, PictureFiles):
            return self.table
        if isinstance(self.inputs, pa.ChunkedArray):
            return self.table.add_column(0, self.input_name, self.inputs)
        return self.table.add_column(0, self.input_name, _column(self.inputs))


def features_of(table: ArrowTable) -> dict[str, dict[str, Any]]:
    """The features that the Hugging Face library wrote into the schema of a table, by column."""
    note = (table.schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(note)["info"]["features"] if note else {}
    except (ValueError, KeyError, TypeError):
        return {}
    return {k: v for k, v in features.items() if isinstance(v, dict)}


def plain_table(table: ArrowTable) -> ArrowTable:
    """The same with dictionary-encoded and view columns, and JSON of one type, as ordinary ones."""
    features = features_of(table)
    for index, entry in enumerate(table.schema):
        column: ArrowColumn = table.column(index)
        if (
            isinstance(entry.type, pa.JsonType)
            or features.get(entry.name, {}).get("_type") == "Json"
        ):
            column = _from_json(column)
        target = _plain_type(column.type)
        if column.type != target:
            column = column.cast(target)
        if target != entry.type:
            table = table.set_column(index, entry.with_type(target), column)
    return table


def _from_json(column: ArrowColumn) -> ArrowColumn:
    """The values of a column of JSON; the column itself, where they are of several types."""
    try:
        values = [None if text is None else json.loads(text) for text in column.to_pylist()]
        return pa.chunked_array([pa.array(values)])
    except (pa.ArrowException, ValueError, TypeError, OverflowError, RecursionError):
        return column.cast(pa.json_(pa.string()))


def _plain_type(kind: ArrowType) -> ArrowType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary(kind) or pa.types.is_binary_view(kind):
        return pa.large_binary()
    return kind


def _column(values: npt.NDArray[Any]) -> ArrowArray:
    if values.ndim > 2:  # pictures: as PNG files, where they are 8-bit
        return pa.array([png(value) for value in values], pa.binary())
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
