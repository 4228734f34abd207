"""Where a row stands: what leads a person from a row of the data back to a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.choices import Header
from keepers.data.csv_records import split_records
from keepers.data.folders import suffix_of

COLUMNS = ("path", "file", "file_row", "line")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file whose rows are a part of the data: its name as a person is told, and where it is.

    `header` is what was said of CSV files.
    """

    name: str
    path: Path
    num_rows: int
    header: Header = "auto"


@dataclass(frozen=True, kw_only=True, eq=False)
class Where:
    """The pictures that rows name, and the files that rows were read from, in their order.

    `paths` (num_rows,) are relative to the folder of the data, or as their own column has them.
    """

    paths: Sequence[str | None] = ()
    parts: tuple[Part, ...] = ()

    def columns(self, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        """Columns (k,) for some row numbers; nothing where a row is none of the data (-1).

        `path` of the picture; `file` and `file_row` (from 0) where the data are several files;
        `line` (from 1) on which the record begins, in CSV and JSON lines.
        """
        found: dict[str, Any] = {}
        known = rows.tolist()
        if len(self.paths):
            paths = [self.paths[row] or None if row >= 0 else None for row in known]
            found["path"] = pa.array(paths, pa.string())
        if not self.parts:
            return found
        ends = np.cumsum([part.num_rows for part in self.parts])
        place = np.searchsorted(ends, rows, side="right")
        missing = rows < 0
        if len(self.parts) > 1:
            names = np.array([part.name for part in self.parts], dtype=object)[place]
            starts = ends - [part.num_rows for part in self.parts]
            found["file"] = pa.array(names, pa.string(), mask=missing)
            found["file_row"] = pa.array(rows - starts[place], pa.int64(), mask=missing)
        lines = [_lines(part) for part in self.parts]
        if all(len(each) == part.num_rows for each, part in zip(lines, self.parts, strict=True)):
            found["line"] = pa.array(np.concatenate(lines)[rows], pa.int64(), mask=missing)
        return found


def _lines(part: Part) -> npt.NDArray[np.int64]:
    """The lines on which the records of a file begin; none where its format has no lines."""
    suffix = suffix_of(part.path)
    try:
        if suffix in (".csv", ".tsv"):
            found = _of_records(part)
        elif suffix in (".jsonl", ".ndjson", ".json"):
            with pa.input_stream(str(part.path)) as file:
                text: bytes = file.read()
            lines = text.split(b"\n")
            found = [number for number, line in enumerate(lines, 1) if line.strip()]
        else:
            found = []
    except (OSError, ValueError):  # gone or another since it was read
        found = []
    return np.array(found, dtype=np.int64)


def _of_records(part: Part) -> list[int]:
    header, records = split_records(part.path, part.header)
    with pa.input_stream(str(part.path)) as file:
        text: bytes = file.read()
    return [line for line, _ in with_lines(text, header, records)]


def with_lines(
    text: bytes, header: bytes, records: Iterable[bytes], start: int = 0
) -> Iterator[tuple[int, bytes]]:
    """The records of a text after its header, each with the line on which it begins, from 1."""
    end = text.index(header, start) + len(header)
    line = 1 + text.count(b"\n", 0, end)
    for record in records:
        start = text.index(record, end)  # blank lines may stand between
        line += text.count(b"\n", end, start)
        yield line, record
        end = start + len(record)
        line += record.count(b"\n")
