"""File formats to tables."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keepers.data.arrow import ArrowTable
from keepers.data.csv_files import Header, layout_of, read_csv
from keepers.data.folders import Files, find_files, suffix_of
from keepers.data.frames import check_names
from keepers.data.headers import is_number
from keepers.data.inputs import PictureFiles
from keepers.data.json_files import read_json
from keepers.data.material import Material
from keepers.data.shards import joined_tables
from keepers.data.values import first_line
from keepers.data.where import Part
from keepers.errors import DataError


def read_path(
    path: Path, split: str | None, usual: tuple[str, ...], header: Header = "auto"
) -> Material:
    """Read a file, or the files of a folder; `header` says whether CSV files have one.

    Raises:
        DataError: missing, unreadable or damaged; the file and, where it is text, the line.
        ParameterError: `split` names no part.
    """
    files = find_files(path, split, usual)
    name = path.name + (f" ({files.split})" if files.split else "")
    if not files.suffix:
        return _picture_folder(files, name, path)
    tables = [read_table(file, header=header, part=files.split) for file in files.paths]
    parts = tuple(
        Part(name=file, path=files.root / file, num_rows=part.num_rows, header=header)
        for file, part in zip(files.names, tables, strict=True)
    )
    table = joined_tables(_alike(tables, files, header), files.names)
    notes = _notes(files, header)
    return Material(name=name, table=table, root=files.root, notes=notes, parts=parts)


def _alike(tables: list[ArrowTable], files: Files, header: Header) -> list[ArrowTable]:
    """The same tables, a column that is text in one CSV file being text in all of them."""
    if files.suffix not in (".csv", ".tsv"):
        return tables
    text = {f.name for table in tables for f in table.schema if pa.types.is_string(f.type)}
    for place, table in enumerate(tables):
        other = [f.name for f in table.schema if f.name in text and not pa.types.is_string(f.type)]
        if other:
            tables[place] = read_table(files.paths[place], other, header)
    return tables


def _notes(files: Files, header: Header) -> tuple[str, ...]:
    notes = [f"{len(files.names)} files"] if len(files.names) > 1 else []
    notes += _left(files)
    if files.suffix not in (".csv", ".tsv"):
        return tuple(notes)
    layout = layout_of(files.paths[0], header)
    if not layout.header:
        notes.append(
            "the first line holds values, so the columns are named 1, 2, ... (--header yes if not)"
        )
    elif header == "auto" and any(map(is_number, layout.names)):
        notes.append("the first line is taken for names of columns (--header no if it is not)")
    if layout.delimiter != ("\t" if files.suffix == ".tsv" else ","):
        notes.append(f"read with {layout.delimiter!r} between the values, as in the first line")
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


def read_table(
    path: Path, as_text: Collection[str] = (), header: Header = "auto", part: str | None = None
) -> ArrowTable:
    """One file as an Arrow table; in CSV, the columns `as_text` are not read as numbers.

    `part` is the one to read of a JSON document that has several.

    Raises:
        DataError: unreadable or damaged.
    """
    suffix = suffix_of(path)
    try:
        if suffix == ".parquet":
            check_names(pq.read_schema(path).names, str(path))
            return pq.read_table(path, partitioning=None)  # pyright: ignore[reportArgumentType]
        if suffix in (".csv", ".tsv"):
            return read_csv(path, as_text, header)
        return read_json(path, part)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None and suffix != ".parquet":
            raise DataError(f"data: {path} cannot be read ({error.strerror})") from None
        kind = {".parquet": "Parquet", ".csv": "CSV", ".tsv": "TSV"}.get(suffix, "JSON")
        raise DataError(
            f"data: {path} is not a readable {kind} file ({first_line(error)}). "
            "It may be truncated or of another format: copy or write it again"
        ) from None
