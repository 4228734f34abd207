"""`export`: the kept rows, in the format the data came in."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from keepers.choices import Header
from keepers.data.arrow import ArrowTable
from keepers.data.csv_records import split_records
from keepers.data.extract import paths_beside
from keepers.data.features import is_npy, read_npy
from keepers.data.folders import Files, find_files, metadata_files, suffix_of
from keepers.data.inputs import inside
from keepers.data.json_files import json_rows, spans_of_items
from keepers.data.looks import is_path
from keepers.data.material import Material
from keepers.data.objects import is_saved
from keepers.data.outputs import check_destination, mark
from keepers.data.readers import described_pictures, read_table
from keepers.data.reading import read_material
from keepers.data.weighted import add_weights
from keepers.errors import DataError
from keepers.files import atomic_folder

_BATCH = 8192


def export(
    data: Any,
    rows: npt.ArrayLike,
    destination: str | Path,
    *,
    weights: npt.ArrayLike | None = None,
    split: str | None = None,
    header: Header = "auto",
    overwrite: bool = False,
) -> Path:
    """Write some rows of `data` into the folder `destination`, in the format of `data`.

    A file becomes a file of the same name, a folder a folder of the same files, pictures lie in
    the same sub-folders, and the schema of Parquet files (classes, features) is kept. What has no
    format of its own, such as a table in memory, becomes Parquet. Rows stay in their order.

    Records of CSV and JSON lines are copied as they stand, and so are the pictures that the kept
    rows of a table name. `overwrite` replaces an earlier export, or an empty folder.

    `weights`, one for each of the rows, become a column `weight` behind the others
    (`keepers_weight` where there is one of that name); folders of pictures and `.npy` files have
    no place for it.

    Raises:
        RunError: `destination` cannot be used: see `check_destination`.
        DataError: a row number that the data does not have.
    """
    named = Path(destination)
    check_destination(data, named, overwrite)
    kept, first = np.unique(np.asarray(rows, dtype=np.int64), return_index=True)
    with atomic_folder(named) as partial:
        tables = _write(data, kept, partial, split, header)
        if weights is not None:
            add_weights(tables, np.asarray(weights, dtype=np.float64)[first], header)
        mark(partial)
    return named


def _write(
    data: Any, kept: npt.NDArray[np.int64], folder: Path, split: str | None, header: Header
) -> list[Path]:
    """Write the rows, and name the tables that hold them, in their order."""
    path = Path(data).expanduser() if isinstance(data, str | Path) else None
    if path is None or not path.exists() or is_saved(path):
        material = read_material(data, split)
        _check(kept, material.table.num_rows)
        pq.write_table(material.whole().take(pa.array(kept)), folder / "kept.parquet")
        return [folder / "kept.parquet"]
    if is_npy(path) and path.is_file():
        array = read_npy(path)
        _check(kept, len(array))
        np.save(folder / path.name, array[kept])
        return []
    files = find_files(path, split)
    if not files.suffix:
        _copy_pictures(files, kept, folder, header)
        return []
    start = 0
    named: set[str] = set()
    for name, source in zip(files.names, files.paths, strict=True):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        count = _write_file(source, target, kept, start, header, files.split)
        rows = _within(kept, start, count)
        named |= _named_pictures(source, target, rows, header, files.split)
        start += count
    _check(kept, start)
    _copy_named(files.root, named, folder)
    return [folder / name for name in files.names]


def _check(kept: npt.NDArray[np.int64], num_rows: int) -> None:
    if len(kept) and (kept[0] < 0 or kept[-1] >= num_rows):
        raise DataError(
            f"export: got the row {kept[-1] if kept[-1] >= num_rows else kept[0]}, and the data "
            f"has {num_rows:,} rows. Export from the data that was selected from"
        )


def _copy_pictures(files: Files, kept: npt.NDArray[np.int64], folder: Path, header: Header) -> None:
    _check(kept, len(files.names))
    for row in kept.tolist():
        target = folder / files.names[row]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(files.root / files.names[row], target)
    for name in metadata_files(files):
        rows = np.flatnonzero(np.isin(described_pictures(files, name, header), kept))
        if len(rows):
            _write_file(files.root / name, folder / name, rows, 0, header, None)


def _copy_named(root: Path, names: Iterable[str], folder: Path) -> None:
    """Copy the files that are named and lie in the folder of the data, under the same paths."""
    ordered = sorted(names)
    for name, found in zip(ordered, inside(root, ordered), strict=True):
        if found is not None and found.is_file():
            there = os.path.relpath(os.path.join(root, name), root)
            if there.startswith(os.pardir):  # an absolute path by way of a link
                there = str(found.relative_to(root.resolve()))
            target = folder / there
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, target)


def _named_pictures(
    source: Path, target: Path, rows: npt.NDArray[np.int64], header: Header, part: str | None
) -> set[str]:
    """The paths of pictures in the chosen `rows` of a file, which `target` holds."""
    if not len(rows):
        return set()
    named: set[str] = set()
    parquet = suffix_of(source) == ".parquet"
    whole = None if parquet else read_table(source, header=header, part=part, bad={})
    for table in _batches(target) if whole is None else [whole.take(pa.array(rows))]:
        for column in Material(name="", table=table).plain().table.columns:
            if is_path(column):
                named.update(filter(None, column.to_pylist()))
            elif pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
                named.update(filter(None, paths_beside(column)))
    return named


def _batches(path: Path) -> Iterator[ArrowTable]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            yield pa.Table.from_batches([batch])


def _write_file(
    source: Path,
    target: Path,
    kept: npt.NDArray[np.int64],
    start: int,
    header: Header,
    part: str | None,
) -> int:
    """Write the kept rows of one file, whose first row is number `start`; how many it has."""
    suffix = suffix_of(source)
    if suffix == ".parquet":
        return _write_parquet(source, target, kept, start)
    if suffix in (".csv", ".tsv"):
        before, records = split_records(source, header)
        return _write_records(before, records, target, kept, start)
    objects = json_rows(source, part)
    if objects is not None:
        return _write_array(source, objects, target, kept, start)
    with pa.input_stream(str(source)) as file:
        text: bytes = file.read()
    lines = (line for line in io.BytesIO(text) if line.strip())
    return _write_records(b"", lines, target, kept, start)


def _within(kept: npt.NDArray[np.int64], start: int, count: int) -> npt.NDArray[np.int64]:
    return kept[(kept >= start) & (kept < start + count)] - start


def _write_parquet(source: Path, target: Path, kept: npt.NDArray[np.int64], start: int) -> int:
    done = 0
    with (
        pq.ParquetFile(source) as file,
        pq.ParquetWriter(target, file.schema_arrow, compression="zstd") as writer,
    ):
        for batch in file.iter_batches(_BATCH):
            chosen = _within(kept, start + done, batch.num_rows)
            if len(chosen):
                writer.write_table(pa.Table.from_batches([batch]).take(pa.array(chosen)))
            done += batch.num_rows
    return done


def _write_records(
    header: bytes,
    records: Iterator[bytes],
    target: Path,
    kept: npt.NDArray[np.int64],
    start: int,
) -> int:
    wanted = set(kept.tolist())
    row = start
    with pa.output_stream(str(target)) as out:  # compresses as the suffix says
        out.write(header)
        for record in records:
            if row in wanted:
                out.write(record)
            row += 1
    return row - start


def _write_array(
    source: Path,
    objects: list[dict[str, Any]],
    target: Path,
    kept: npt.NDArray[np.int64],
    start: int,
) -> int:
    """Write the kept objects of a document; the items of a list keep their text and layout."""
    rows = _within(kept, start, len(objects)).tolist()
    with pa.input_stream(str(source)) as file:
        text = file.read().decode()
    spans = spans_of_items(text)
    if spans is None:
        written = json.dumps([objects[row] for row in rows], ensure_ascii=False)
    elif not rows:
        written = "[]"
    else:
        between = text[spans[0][1] : spans[1][0]] if len(spans) > 1 else ", "
        items = between.join(text[slice(*spans[row])] for row in rows)
        written = text[: spans[0][0]] + items + text[spans[-1][1] :]
    with pa.output_stream(str(target)) as out:
        out.write(written.encode())
    return len(objects)
