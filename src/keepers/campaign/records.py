"""Files of labels to records: one for each line or row, with where it stood."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from keepers.campaign.label_studio import is_task
from keepers.data.arrow import ArrowTable
from keepers.data.arrow import compute as pc
from keepers.data.csv_records import Layout, cells_in, layout_of, records_in
from keepers.data.folders import suffix_of
from keepers.data.readers import read_table
from keepers.data.values import first_line
from keepers.data.where import with_lines
from keepers.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
IMPORTED = ("id", "label", "annotator", "time", "seconds", "skipped")
"""The columns that are read of a file of labels."""

_MINIMAL = "annotation_id"  # a column of Label Studio's CSV and JSON-MIN, which leave skips out

_INERT = re.compile(r"'+[=+\-@\t\r]")

Record = dict[str, Any]


class MalformedError(Exception):
    """One line cannot be read; the text says why."""


Located = Iterator[tuple[str, Record | MalformedError]]


def read_records(path: Path, instead: Sequence[str] = (), key: str | None = None) -> Located:
    """The records of a file of one of `SUFFIXES`, or why one is none, each with where it stood.

    `instead` are columns that, all of them together, may stand in for `label`; `key` is one that
    may stand in for `id`.

    Raises:
        DataError: damaged as a whole, or without the columns `id` and `label`.
        OSError: it cannot be read.
    """
    suffix = suffix_of(path)
    if suffix in (".csv", ".tsv"):
        return _csv(path, instead, key)
    return _parquet(path, instead, key) if suffix == ".parquet" else _json(path, instead, key)


def _tidy(names: Sequence[str], key: str | None) -> list[str]:
    """The names of columns in lower case; the `key` is `id` where there is no other."""
    found = [name.strip().lower() for name in names]
    own = None if key is None or "id" in found else key.strip().lower()
    return ["id" if name == own else name for name in found]


def _stand_in(names: Sequence[str], instead: Sequence[str]) -> bool:
    """Whether the columns, in lower case, hold all that may stand in for `label`."""
    return bool(instead) and {name.strip().lower() for name in instead} <= set(names)


def _check_columns(
    names: list[str], path: Path, instead: Sequence[str], shown: Sequence[str] = ()
) -> None:
    """Refuse a file without the columns, or with two of one name; `shown`: as the file has them."""
    if _MINIMAL in names:
        raise DataError(
            f"data: {path} is Label Studio's short form, which leaves skipped items out. Export "
            "the annotations as JSON (the full form)"
        )
    twice = [name for name in IMPORTED if names.count(name) > 1]
    if twice:
        raise DataError(f"data: {path} has two columns '{twice[0]}'. Keep one of them")
    absent = [name for name in ("id", "label") if name not in names]
    if absent == ["label"] and ("skipped" in names or _stand_in(names, instead)):
        return
    if absent:
        raise DataError(
            f"data: {path} has no column '{absent[0]}'; its columns are: "
            f"{', '.join(filter(None, shown or names)) or 'none'}. Name the columns id and label"
        )


def _bytes(path: Path) -> bytes:
    with pa.input_stream(str(path)) as file:
        return file.read()


def _csv(path: Path, instead: Sequence[str], key: str | None) -> Located:
    """The records of a CSV file, with the lines on which they begin."""
    layout = layout_of(path, "yes")
    text = _bytes(path)
    records = records_in(text[layout.start :], layout.delimiter, layout.quotes)
    header = next(records, b"")
    try:
        shown = [name.strip() for name in _cells(header, layout)]
    except MalformedError as error:
        raise DataError(
            f"data: {path}, line 1: {first_line(error)}. Give a CSV file in UTF-8"
        ) from None
    names = _tidy(shown, key)
    _check_columns(names, path, instead, shown)

    return (
        (f"{path.name}, line {line}", _row(record, layout, names))
        for line, record in with_lines(text, header, records, layout.start)
    )


def _row(record: bytes, layout: Layout, names: list[str]) -> Record | MalformedError:
    try:
        cells = _cells(record, layout)
    except MalformedError as error:
        return error
    if len(cells) != len(names):
        return MalformedError(
            f"{len(cells)} values where {len(names)} were expected; one with a "
            f"{layout.delimiter!r} in it needs quotes"
        )
    return dict(zip(names, map(plain_cell, cells), strict=True))


def _cells(record: bytes, layout: Layout) -> list[str]:
    try:
        return cells_in(record, layout.delimiter, layout.quotes)
    except UnicodeDecodeError as error:
        raise MalformedError(f"byte 0x{error.object[error.start]:02x} is not UTF-8") from None
    except ValueError as error:
        raise MalformedError(f"{error}") from None


def _parquet(path: Path, instead: Sequence[str], key: str | None) -> Located:
    table = read_table(path)
    names = _tidy(table.column_names, key)
    _check_columns(names, path, instead, table.column_names)
    stands_in = [name.strip().lower() for name in instead] if "label" not in names else []
    held = [
        place
        for place, (name, kind) in enumerate(zip(names, table.schema.types, strict=True))
        if name in (*IMPORTED, *stands_in)
        or (
            name not in names[:place]
            and (pa.types.is_string(kind) or pa.types.is_large_string(kind))
        )
    ]
    table = table.select(held).rename_columns([names[place] for place in held])
    if "time" in table.column_names and pa.types.is_timestamp(table["time"].type):
        microseconds = pa.timestamp("us", table["time"].type.tz)
        place = table.column_names.index("time")
        table = table.set_column(place, "time", table["time"].cast(microseconds, safe=False))
    rows = table.to_pylist()
    return ((f"{path.name}, row {number}", row) for number, row in enumerate(rows))


def _json(path: Path, instead: Sequence[str], key: str | None) -> Located:
    try:
        text = _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + error.object.count(b"\n", 0, error.start)
        raise DataError(
            f"data: {path}, line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8. "
            "Convert it to UTF-8"
        ) from None
    if suffix_of(path) == ".json" and text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", 1)
            raise DataError(
                f"data: {path}, line {line}: {first_line(error)}. Correct the line"
            ) from None
        return (
            _object(f"{path.name}, record {n}", lambda row=row: row, path, instead, key)
            for n, row in enumerate(rows, 1)
        )
    return (
        _object(
            f"{path.name}, line {number}", lambda line=line: json.loads(line), path, instead, key
        )
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip()
    )


def _object(
    where: str, read: Callable[[], Any], path: Path, instead: Sequence[str], key: str | None
) -> tuple[str, Record | MalformedError]:
    try:
        record = read()
    except (ValueError, RecursionError) as error:
        return where, MalformedError(f"{first_line(error)}. Correct the line")
    if not isinstance(record, dict):
        return where, MalformedError("not an object. Give one JSON object for each label")
    if is_task(record):
        return where, record
    if _MINIMAL in record:
        _check_columns([*record], path, instead)
    if key is not None and "id" not in record and key in record:
        record["id"] = record[key]
    absent = [name for name in ("id", "label") if name not in record]
    stands_in = "skipped" in record or _stand_in([name.lower() for name in record], instead)
    if absent and not (absent == ["label"] and stands_in):
        return where, MalformedError(f"it has no '{absent[0]}'. Give each an id and a label")
    return where, record


def inert_cells(table: ArrowTable) -> ArrowTable:
    """The table with a ' before texts that a spreadsheet would run as formulas.

    They begin with =, +, -, @, a tab or a carriage return; `plain_cell` takes the ' away again.
    """
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            safe = pc.replace_substring_regex(table[field.name], r"^('*[=+\-@\t\r])", r"'\1")
            table = table.set_column(place, field, safe)
    return table


def plain_cell(cell: str) -> str:
    """What a cell holds, without the ' that `inert_cells` put before it.

    >>> plain_cell("'=1+1"), plain_cell("'tis"), plain_cell("-1")
    ('=1+1', "'tis", '-1')
    """
    return cell[1:] if _INERT.match(cell) else cell
