"""`export`: the kept rows, in the format the data came in."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from keepers.data import objects
from keepers.data.arrow import ArrowTable
from keepers.data.folders import Files, find_files, suffix_of
from keepers.data.opening import read_material
from keepers.data.readers import read_table
from keepers.errors import DataError, RunError

_BATCH = 8192


def export(
    data: Any,
    rows: npt.ArrayLike,
    destination: str | Path,
    *,
    split: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write some rows of `data` into the folder `destination`, in the format of `data`.

    A file becomes a file of the same name, a folder a folder of the same files, pictures lie in
    the same sub-folders, and the schema of Parquet files (classes, features) is kept. What has no
    format of its own, such as a table in memory, becomes Parquet. Rows stay in their order.

    Raises:
        RunError: `destination` is there, and `overwrite` is false.
        DataError: a row number that the data does not have.
    """
    destination = Path(destination)
    if destination.exists() and not overwrite:
        raise RunError(
            f"export: {destination} exists. Name another folder, or pass --overwrite "
            "(overwrite=True) to replace it"
        )
    if destination.exists() and not destination.is_dir():
        raise RunError(f"export: {destination} is a file. Name a folder")
    kept = np.unique(np.asarray(rows, dtype=np.int64))
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name}."))
    try:
        partial.chmod(0o755)
        _write(data, kept, partial, split)
        if destination.exists():
            # The old folder is moved aside, not removed, until the new one is in its place.
            old = partial.with_suffix(".old")
            destination.rename(old)
            partial.rename(destination)
            shutil.rmtree(old)
        else:
            partial.rename(destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return destination


def _write(data: Any, kept: npt.NDArray[np.int64], folder: Path, split: str | None) -> None:
    path = Path(data) if isinstance(data, str | Path) else None
    if path is None or not path.exists() or objects.is_saved(path):
        material = read_material(data, split)
        _check(kept, material.table.num_rows)
        pq.write_table(material.whole().take(pa.array(kept)), folder / "kept.parquet")
        return
    files = find_files(path, split)
    if not files.suffix:
        _copy_pictures(files, kept, folder)
        return
    start = 0
    for name, source in zip(files.names, files.paths, strict=True):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        start += _write_file(source, target, kept, start)
    _check(kept, start)


def _check(kept: npt.NDArray[np.int64], num_rows: int) -> None:
    if len(kept) and (kept[0] < 0 or kept[-1] >= num_rows):
        raise DataError(
            f"export: got the row {kept[-1] if kept[-1] >= num_rows else kept[0]}, and the data "
            f"has {num_rows:,} rows. Export from the data that was selected from"
        )


def _copy_pictures(files: Files, kept: npt.NDArray[np.int64], folder: Path) -> None:
    _check(kept, len(files.names))
    for row in kept.tolist():
        target = folder / files.names[row]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(files.root / files.names[row], target)


def _write_file(source: Path, target: Path, kept: npt.NDArray[np.int64], start: int) -> int:
    """Write the kept rows of one file, whose first row is number `start`; how many it has."""
    suffix = suffix_of(source)
    if suffix == ".parquet":
        return _write_parquet(source, target, kept, start)
    if suffix in (".jsonl", ".ndjson") and source.suffix.lower() == suffix:
        return _write_lines(source, target, kept, start)
    table = read_table(source)
    chosen = table.take(pa.array(_within(kept, start, table.num_rows)))
    if suffix in (".csv", ".tsv"):
        _write_csv(chosen, target, "\t" if suffix == ".tsv" else ",")
    else:
        _write_json(chosen, target, source)
    return table.num_rows


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


def _write_lines(source: Path, target: Path, kept: npt.NDArray[np.int64], start: int) -> int:
    wanted = set(kept.tolist())
    row = start
    with source.open("rb") as lines, target.open("wb") as out:
        for line in lines:
            if not line.strip():
                continue
            if row in wanted:
                out.write(line if line.endswith(b"\n") else line + b"\n")
            row += 1
    return row - start


def _write_csv(table: ArrowTable, target: Path, delimiter: str) -> None:
    headed = table.column_names != [str(n + 1) for n in range(table.num_columns)]
    options = pacsv.WriteOptions(include_header=headed, delimiter=delimiter)
    with pa.output_stream(str(target)) as out:  # compresses as the suffix says
        pacsv.write_csv(table, out, options)


def _write_json(table: ArrowTable, target: Path, source: Path) -> None:
    records = table.to_pylist()
    with pa.input_stream(str(source)) as file:
        is_array = file.read(64).lstrip().startswith(b"[")
    text = (
        json.dumps(records, ensure_ascii=False, default=str)
        if is_array
        else "".join(_lines(records))
    )
    with pa.output_stream(str(target)) as out:
        out.write(text.encode())


def _lines(records: list[dict[str, Any]]) -> Iterator[str]:
    for record in records:
        yield json.dumps(record, ensure_ascii=False, default=str) + "\n"
