"""File formats to tables."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pajson
import pyarrow.parquet as pq

from keepers.data.arrow import ArrowTable
from keepers.data.csv_files import delimiter, read_csv
from keepers.data.folders import Files, find_files, suffix_of
from keepers.data.inputs import PictureFiles
from keepers.data.material import Material
from keepers.data.values import first_line, lone_surrogate, records
from keepers.data.where import Part
from keepers.errors import DataError


def read_path(path: Path, split: str | None, usual: tuple[str, ...]) -> Material:
    """Read a file, or the files of a folder.

    Raises:
        DataError: missing, unreadable or damaged; the file and, where it is text, the line.
        ParameterError: `split` names no part.
    """
    files = find_files(path, split, usual)
    name = path.name + (f" ({files.split})" if files.split else "")
    if not files.suffix:
        return _picture_folder(files, name, path)
    tables = _alike([read_table(file) for file in files.paths], files)
    try:
        table = (
            tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"data: the files of {path} have different columns ({first_line(error)}). Give files "
            "of the same columns, or name the one that is meant"
        ) from None
    parts = tuple(
        Part(name=file, path=files.root / file, num_rows=part.num_rows)
        for file, part in zip(files.names, tables, strict=True)
    )
    notes = _notes(tables[0], files)
    return Material(name=name, table=table, root=files.root, notes=notes, parts=parts)


def _alike(tables: list[ArrowTable], files: Files) -> list[ArrowTable]:
    """The same tables, a column that is text in one CSV file being text in all of them."""
    if files.suffix not in (".csv", ".tsv"):
        return tables
    text = {f.name for table in tables for f in table.schema if pa.types.is_string(f.type)}
    for place, table in enumerate(tables):
        other = [f.name for f in table.schema if f.name in text and not pa.types.is_string(f.type)]
        if other:
            tables[place] = read_table(files.paths[place], other)
    return tables


def _notes(table: ArrowTable, files: Files) -> tuple[str, ...]:
    notes = [f"{len(files.names)} files"] if len(files.names) > 1 else []
    notes += _left(files)
    if files.suffix in (".csv", ".tsv") and table.column_names[:1] == ["1"]:
        notes.append("the first line holds values, so the columns are named 1, 2, ...")
    if files.suffix == ".csv" and (mark := delimiter(files.paths[0])) != ",":
        notes.append(f"read with {mark!r} between the values, as in the first line")
    return tuple(notes)


def _left(files: Files) -> list[str]:
    if not files.left:
        return []
    shown = ", ".join(files.left[:3]) + (", …" if len(files.left) > 3 else "")
    return [f"not read, as they are not of the part '{files.split}': {shown}"]


def _picture_folder(files: Files, name: str, path: Path) -> Material:
    classes = [file.split("/", 1)[0] if "/" in file else None for file in files.names]
    columns: dict[str, Any] = {"path": list(files.names)}
    if any(value is not None for value in classes):
        columns["label"] = pa.array(classes, pa.string())
    return Material(
        name=name,
        table=pa.table(columns),
        kind="image",
        inputs=PictureFiles(root=files.root, names=np.array(files.names, dtype=object)),
        input_name="picture",
        root=path,
        notes=tuple(_left(files)),
    )


def read_table(path: Path, as_text: Collection[str] = ()) -> ArrowTable:
    """One file as an Arrow table; in CSV, the columns `as_text` are not read as numbers.

    Raises:
        DataError: unreadable or damaged.
    """
    suffix = suffix_of(path)
    try:
        if suffix == ".parquet":
            return pq.read_table(path, partitioning=None)  # pyright: ignore[reportArgumentType]
        if suffix in (".csv", ".tsv"):
            return read_csv(path, as_text)
        return _read_json(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None and suffix != ".parquet":
            raise DataError(f"data: {path} cannot be read ({error.strerror})") from None
        kind = {".parquet": "Parquet", ".csv": "CSV", ".tsv": "TSV"}.get(suffix, "JSON")
        raise DataError(
            f"data: {path} is not a readable {kind} file ({first_line(error)}). "
            "It may be truncated or of another format: copy or write it again"
        ) from None


def _read_json(path: Path) -> ArrowTable:
    if path.name.lower().endswith(".json"):
        with path.open("rb") as file:
            start = file.read(64).lstrip()
        if start.startswith(b"["):
            return _json_array(path)
    try:
        options = pajson.ParseOptions(newlines_in_values=False)
        read = pajson.ReadOptions(use_threads=False, block_size=16 << 20)
        return pajson.read_json(path, read_options=read, parse_options=options)
    except pa.ArrowInvalid:
        _explain_lines(path)
        raise


def _json_array(path: Path) -> ArrowTable:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"data: {path}, line {error.lineno}: {error.msg}. Correct the line"
        ) from None
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"data: {path} holds a list of something else than objects. Give objects")
    return records(rows, f"data: {path}")


def _explain_lines(path: Path) -> None:
    """Find the line that Arrow could not read; its own message counts within a block."""
    if path.suffix.lower() not in (".jsonl", ".ndjson", ".json"):
        return
    kinds: dict[str, type] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise DataError(
                    f"data: {path}, line {number}: {first_line(error)}. Correct the line"
                ) from None
            if not isinstance(record, dict):
                raise DataError(
                    f"data: {path}, line {number}: not an object. Give one JSON object in each line"
                )
            for key, value in record.items():
                if lone := lone_surrogate(value):
                    raise DataError(
                        f"data: {path}, line {number}: '{key}' holds {lone!r}, half of a "
                        "surrogate pair, which UTF-8 cannot hold. Correct the text"
                    )
                known = kinds.setdefault(key, type(value)) if value is not None else None
                if known not in (None, type(value)) and {known, type(value)} != {int, float}:
                    raise DataError(
                        f"data: {path}, line {number}: '{key}' is {type(value).__name__}, and "
                        f"{known.__name__} in the lines before. Give values of one type"
                    )
