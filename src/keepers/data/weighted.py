"""A column of weights in tables that are there, whatever their format; all else stays as it is."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from keepers.choices import Header
from keepers.data.csv_records import layout_of, split_records
from keepers.data.folders import suffix_of
from keepers.data.json_files import spans_of_items

NAMES = ("weight", "keepers_weight")
"""What the column is called, and where that is taken."""

Floats = npt.NDArray[np.float64]


def add_weights(paths: Sequence[Path], weights: Floats, header: Header = "auto") -> None:
    """Add a column to files that hold rows (n,) together, in their order.

    It stands behind the others: in Parquet, in CSV, in each object of JSON lines and of lists.
    """
    start = 0
    for path in paths:
        here = weights[start:]
        suffix = suffix_of(path)
        if suffix == ".parquet":
            start += _in_parquet(path, here)
        elif suffix in (".csv", ".tsv"):
            start += _in_records(path, here, header)
        else:
            start += _in_objects(path, here)


def named(columns: Collection[str]) -> str:
    """What the column is called beside others.

    >>> named(["text", "label"]), named(["text", "weight"])
    ('weight', 'keepers_weight')
    """
    return next((name for name in NAMES if name not in columns), f"{NAMES[1]}_2")


def _in_parquet(path: Path, weights: Floats) -> int:
    table = pq.read_table(path)
    name = named(table.column_names)
    note = dict(table.schema.metadata or {})
    if b"huggingface" in note:  # `datasets` reads the columns that this names
        told = json.loads(note[b"huggingface"])
        features = told.get("info", {}).get("features")
        if isinstance(features, dict):
            features[name] = {"dtype": "float64", "_type": "Value"}
            note[b"huggingface"] = json.dumps(told).encode()
    count = table.num_rows
    table = table.append_column(name, pa.array(weights[:count]))
    pq.write_table(table.replace_schema_metadata(note), path, compression="zstd")
    return count


def _in_records(path: Path, weights: Floats, header: Header) -> int:
    if not path.stat().st_size:
        return 0
    layout = layout_of(path, header)
    before, records = split_records(path, header)
    mark = layout.delimiter.encode()
    lines = [*records]
    values = weights[: len(lines)].tolist()
    added = [_with_cell(line, repr(w), mark) for line, w in zip(lines, values, strict=True)]
    if layout.header:
        before = _with_cell(before, named(layout.names), mark)
    _write(path, b"".join([before, *added]))
    return len(lines)


def _with_cell(record: bytes, value: str, mark: bytes) -> bytes:
    text = record.rstrip(b"\r\n")
    return text + mark + value.encode() + record[len(text) :]


def _in_objects(path: Path, weights: Floats) -> int:
    with pa.input_stream(str(path)) as file:
        text = file.read().decode()
    spans = spans_of_items(text)
    if spans is None:  # lines of objects
        spans = _lines(text)
    name = named({key for span in spans for key in json.loads(text[slice(*span)])})
    parts, at = list[str](), 0
    for (_, stop), weight in zip(spans, weights.tolist(), strict=False):
        inside = text[at:stop].rstrip()[:-1].rstrip()  # without the brace
        comma = "" if inside.endswith("{") else ", "
        parts.append(f'{inside}{comma}"{name}": {json.dumps(weight)}}}')
        at = stop
    _write(path, "".join([*parts, text[at:]]).encode())
    return len(spans)


def _lines(text: str) -> list[tuple[int, int]]:
    spans, at = list[tuple[int, int]](), 0
    for line in text.split("\n"):
        held = line.rstrip()
        if held:
            spans.append((at, at + len(held)))
        at += len(line) + 1
    return spans


def _write(path: Path, content: bytes | Iterable[bytes]) -> None:
    with pa.output_stream(str(path)) as out:  # compresses as the suffix says
        out.write(content)
