"""How the records of CSV and TSV files are written, and the records as they stand."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from keepers.choices import Header
from keepers.data.folders import suffix_of
from keepers.data.headers import is_header, names_columns
from keepers.errors import DataError

_BOM = b"\xef\xbb\xbf"
HEAD = 1 << 16
"""Bytes at the beginning of a file by which it is judged."""
_LINES = 1000
_DELIMITERS = (b";", b"\t", b"|")
_EXCEL = re.compile(rb'"?sep=([^\r\n])"?(?:\r\n|\r|\n)', re.IGNORECASE)
_QUOTED = re.compile(rb'"[^"]*"')
_WHOLE_QUOTED = re.compile(rb'"(?:[^"]++|"")*+"')
_QUOTED_TEXT = re.compile(r'"((?:[^"]++|"")*+)"')


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the records of a file are written.

    `quotes` says whether a value that begins with a quote is a quoted one; the records begin at
    byte `start`, behind a byte-order mark, Excel's line `sep=;` and blank lines; `names` are those
    of the columns, of the first record or, without a `header`, 1, 2, ...
    """

    delimiter: str
    quotes: bool
    start: int
    names: tuple[str, ...]
    header: bool


def layout_of(path: Path, header: Header = "auto") -> Layout:
    """Find out how a file is written, from its first lines; all of them decide on quotes in TSV."""
    size = HEAD
    head = head_of(path, size)
    start = len(_BOM) if head.startswith(_BOM) else 0
    excel = _EXCEL.match(head, start)
    start = excel.end() if excel else start
    start += len(head[start:]) - len(head[start:].lstrip(b"\r\n"))
    mark = excel.group(1).decode(errors="replace") if excel else _delimiter(path, head[start:])
    quotes = mark != "\t" or _tabs_are_quoted(path)
    while True:
        found = list(islice(records_in(head[start:], mark, quotes), _LINES + 1))
        if len(head) < size or len(found) > 2:
            break
        size *= 16  # a record that is longer than what was read
        head = head_of(path, size)
    if len(head) == size and len(found) <= _LINES:
        found = found[:-1]  # it may be cut
    first, *rows = [_shown(record, mark, quotes) for record in found] or [[]]
    below = [row for row in rows if len(row) == len(first)]
    headed = is_header(first, below) if header == "auto" else header == "yes"
    unnamed = headed and header == "auto" and not all(first)
    if unnamed and below and names_columns(below[0], below[1:]):
        raise DataError(
            f"data: {path}: the first line ({mark.join(first)[:60]!r}) does not name all columns, "
            f"and the second looks like their names ({mark.join(below[0])[:60]!r}). Take the lines "
            "above the names away, or pass --header yes (header='yes') if the first is right"
        )
    names = [
        (first[place] or f"unnamed {place + 1}") if headed else str(place + 1)
        for place in range(len(first))
    ]
    return Layout(delimiter=mark, quotes=quotes, start=start, names=tuple(names), header=headed)


def _shown(record: bytes, mark: str, quotes: bool) -> list[str]:
    try:
        return cells_in(record, mark, quotes)
    except ValueError:  # what is wrong with it is said when the file is read
        return record.decode(errors="replace").rstrip("\r\n").split(mark)


def head_of(path: Path, size: int = HEAD) -> bytes:
    """The first bytes of a file, unpacked."""
    with pa.input_stream(str(path)) as file:
        return file.read(size)


def _delimiter(path: Path, head: bytes) -> str:
    """What stands between the values: in CSV a comma, unless only another is in the first line."""
    if suffix_of(path) == ".tsv":
        return "\t"
    first = next(filter(None, map(bytes.strip, _QUOTED.sub(b"", head).split(b"\n"))), b"")
    if b"," in first:
        return ","
    return next((mark.decode() for mark in _DELIMITERS if mark in first), ",")


def _tabs_are_quoted(path: Path) -> bool:
    """Whether quotes enclose values between tabs: not where one opens and is not closed in its own.

    Most writers of tab-separated text know no quotes, so that a text may begin with one.
    """
    opened = closed = 0
    tabs: set[int] = set()
    with pa.input_stream(str(path)) as file:
        for line in io.BufferedReader(file):
            values = line.removeprefix(_BOM).rstrip(b"\r\n")
            if not values:
                continue
            tabs.add(values.count(b"\t"))
            if values.startswith(b'"') or b'\t"' in values:
                quoted = [value for value in values.split(b"\t") if value.startswith(b'"')]
                opened += len(quoted)
                closed += sum(_WHOLE_QUOTED.fullmatch(value) is not None for value in quoted)
    return opened > 0 and (opened == closed or len(tabs) > 1)


def split_records(path: Path, header: Header = "auto") -> tuple[bytes, Iterator[bytes]]:
    """What stands before the records, and the records, byte for byte as they stand."""
    layout = layout_of(path, header)
    with pa.input_stream(str(path)) as file:
        before: bytes = file.read(layout.start)
        text: bytes = file.read()
    records = records_in(text, layout.delimiter, layout.quotes)
    return before.removeprefix(_BOM) + (next(records) if layout.header else b""), records


def records_in(text: bytes, delimiter: str, quotes: bool = True) -> Iterator[bytes]:
    """The records of a CSV file, byte for byte as they stand; blank lines are left out."""
    mark = re.escape(delimiter)
    bare = rf"[^{mark}\r\n]*+"
    field = rf'(?:"[^"]*+(?:""[^"]*+)*+"{bare}|{bare})' if quotes else bare
    record = re.compile(rf"{field}(?:{mark}{field})*+(?:\r\n|\r|\n|\Z)".encode())
    start = 0
    while start < len(text):
        match = record.match(text, start)
        assert match is not None  # a field may be anything, so every text is a list of records
        start = match.end()
        if match.group().strip(b"\r\n"):
            yield match.group()


def cells_in(record: bytes, delimiter: str, quotes: bool = True) -> list[str]:
    """The values of one record.

    Raises:
        ValueError: bytes that are not UTF-8, or a quote that is not closed.
    """
    text = record.decode().rstrip("\r\n")
    if not quotes or '"' not in text:
        return text.split(delimiter)
    cells: list[str] = []
    start = 0
    while start <= len(text):
        if text.startswith('"', start):
            found = _QUOTED_TEXT.match(text, start)
            if found is None or text[found.end() : found.end() + 1] not in ("", delimiter):
                raise ValueError("a quote is opened but not closed")
            cells.append(found.group(1).replace('""', '"'))
            start = found.end() + 1
        else:
            end = text.find(delimiter, start)
            end = len(text) if end < 0 else end
            cells.append(text[start:end])
            start = end + 1
    return cells
