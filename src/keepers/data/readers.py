"""File formats to tables."""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keepers.choices import Header, OnBadRow
from keepers.data.arrow import ArrowTable
from keepers.data.csv_files import read_csv
from keepers.data.csv_records import layout_of
from keepers.data.folders import Files, find_files, metadata_files, suffix_of
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
    path: Path,
    split: str | None,
    usual: tuple[str, ...],
    header: Header = "auto",
    on_bad_row: OnBadRow = "error",
) -> Material:
    """Read a file, or the files of a folder; `header` says whether CSV files have one.

    With `on_bad_row` `skip` lines of JSON that cannot be read are rows with nothing in them.

    Raises:
        DataError: missing, unreadable or damaged; the file and, where it is text, the line.
        ParameterError: `split` names no part.
    """
    files = find_files(path, split, usual)
    name = path.name + (f" ({files.split})" if files.split else "")
    if not files.suffix:
        return _picture_folder(files, name, path, header)
    bad: dict[int, str] = {}
    tables: list[ArrowTable] = []
    for file in files.paths:
        damaged: dict[int, str] | None = {} if on_bad_row == "skip" else None
        table, start = (
            read_table(file, header=header, part=files.split, bad=damaged),
            sum(each.num_rows for each in tables),
        )
        tables.append(table)
        bad |= {start + row: why for row, why in (damaged or {}).items()}
    parts = tuple(
        Part(name=file, path=files.root / file, num_rows=part.num_rows, header=header)
        for file, part in zip(files.names, tables, strict=True)
    )
    table = joined_tables(_alike(tables, files, header), files.names)
    notes = _notes(files, header)
    return Material(name=name, table=table, root=files.root, notes=notes, parts=parts, bad=bad)


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
    notes += not_read(files)
    if files.suffix not in (".csv", ".tsv"):
        return tuple(notes)
    layout = layout_of(files.paths[0], header)
    if not layout.header:
        notes.append(
            "the first line holds values, so the columns are named 1, 2, ... (--header yes if not)"
        )
    elif header == "auto" and any(map(is_number, layout.names)):
        notes.append("the first line is read as column names (--header no if it is not)")
    if layout.delimiter != ("\t" if files.suffix == ".tsv" else ","):
        notes.append(f"{layout.delimiter!r} separates the values, as in the first line")
    return tuple(notes)


def not_read(files: Files) -> list[str]:
    """Which files of a folder belong to other parts, in a sentence."""
    if not files.left:
        return []
    shown = ", ".join(files.left[:3]) + (", …" if len(files.left) > 3 else "")
    return [f"not read, because they are not in the split '{files.split}': {shown}"]


def _picture_folder(files: Files, name: str, path: Path, header: Header) -> Material:
    classes = [file.split("/", 1)[0] if "/" in file else None for file in files.names]
    table = pa.table({"path": list(files.names)})
    described, notes = _described(files, header)
    if any(value is not None for value in classes):
        column = "label" if described is None else "folder"
        table = table.append_column(column, pa.array(classes, pa.string()))
    if described is not None:
        for column in described.column_names:
            if column not in ("path", "folder"):
                table = table.append_column(column, described[column])
    return Material(
        name=name,
        table=table,
        kind="image",
        inputs=PictureFiles(root=files.root, names=np.array(files.names, dtype=object)),
        input_name="picture",
        root=path,
        notes=(*not_read(files), *notes),
    )


def _described(files: Files, header: Header) -> tuple[ArrowTable | None, tuple[str, ...]]:
    """What tables beside the pictures say of each, if there are any, and a sentence on them."""
    names = metadata_files(files)
    if not names:
        return None, ()
    table = joined_tables([read_table(files.root / name, header=header) for name in names], names)
    places = [place for name in names for place in described_pictures(files, name, header)]
    rows = {place: row for row, place in enumerate(places)}
    if len(rows) < len(places):
        twice = next(place for row, place in enumerate(places) if rows[place] != row)
        raise DataError(
            f"data: {' and '.join(names)} describe the picture {files.names[twice]} twice. Keep one"
        )
    found = [rows.get(place) for place in range(len(files.names))]
    without = found.count(None)
    notes = (f"described in {', '.join(names[:3])}",)
    if without:
        notes += (f"{without:,} of {len(found):,} pictures are not in the metadata",)
    return table.drop_columns(["file_name"]).take(pa.array(found, pa.int64())), notes


def described_pictures(files: Files, name: str, header: Header) -> list[int]:
    """Which picture each row of a table beside them describes, by its `file_name`.

    Raises:
        DataError: there is no such column, or no such picture.
    """
    table = read_table(files.root / name, header=header)
    if "file_name" not in table.column_names:
        raise DataError(
            f"data: {files.root / name} has no column 'file_name' with the picture of each row; "
            f"it has {', '.join(table.column_names[:8])}. Rename a column, or move the file"
        )
    place = {file: number for number, file in enumerate(files.names)}
    found: list[int] = []
    for row, file in enumerate(table["file_name"].to_pylist()):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), str(file)))
        if path not in place:
            raise DataError(
                f"data: row {row} of {files.root / name} describes the picture {file!r}, which "
                "does not exist. Correct its file_name, or leave the row out"
            )
        found.append(place[path])
    return found


def read_table(
    path: Path,
    as_text: Collection[str] = (),
    header: Header = "auto",
    part: str | None = None,
    columns: Collection[str] | None = None,
    bad: dict[int, str] | None = None,
) -> ArrowTable:
    """One file as an Arrow table; in CSV, the columns `as_text` are not read as numbers.

    `part` is the one to read of a JSON document that has several. Of Parquet files, no more is read
    than those of `columns` that are there, where these are given. Where `bad` is given, rows of
    JSON lines that cannot be read are noted there.

    Raises:
        DataError: unreadable or damaged.
    """
    suffix = suffix_of(path)
    try:
        if suffix == ".parquet":
            names = pq.read_schema(path).names
            check_names(names, str(path))
            chosen = None if columns is None else [name for name in names if name in columns]
            return pq.read_table(path, columns=chosen, partitioning=None)  # pyright: ignore[reportArgumentType]
        if suffix in (".csv", ".tsv"):
            return read_csv(path, as_text, header)
        return read_json(path, part, bad)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None and suffix != ".parquet":
            raise DataError(f"data: {path} cannot be read ({error.strerror})") from None
        kind = {".parquet": "Parquet", ".csv": "CSV", ".tsv": "TSV"}.get(suffix, "JSON")
        raise DataError(
            f"data: {path} is not a readable {kind} file ({first_line(error)}). "
            "It may be truncated or of another format: copy or write it again"
        ) from None
