"""CSV and TSV: to tables, and record by record as they were written."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from keepers.data.arrow import ArrowColumn, ArrowTable
from keepers.data.arrow import compute as pc
from keepers.data.folders import suffix_of
from keepers.errors import DataError

_BOM = b"\xef\xbb\xbf"
_BLOCK = 16 << 20
_HEAD = 1 << 16
_LONGEST = 64
_BYTE_ORDER = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = (b";", b"\t")
_QUOTED = re.compile(rb'"[^"]*"')
_DECIMAL_COMMA = re.compile(rb"[;\r\n] *[-+]?\d+,\d+ *[;\r\n]")
_DECIMAL_POINT = re.compile(rb"[;\r\n] *[-+]?\d+\.\d+ *[;\r\n]")
_CONVERT = "Convert it to UTF-8, for example with iconv -f LATIN1 -t UTF-8"
_CODE = re.compile(rb'[,;\t\r\n"] *[-+]?(?:0\d|\d{19})')


def read_csv(path: Path, as_text: Collection[str] = ()) -> ArrowTable:
    """One file as a table; the columns `as_text`, and codes such as 00123, are read as text.

    Raises:
        DataError: bytes that are not UTF-8, or a record with too few or too many values.
    """
    _check_utf8(path)
    table = _parsed(path, {name: pa.string() for name in as_text})
    digits = [
        field.name
        for field in table.schema
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    ]
    if not digits or len(set(table.column_names)) < table.num_columns or not _has_codes(path):
        return table
    written = _parsed(path, dict.fromkeys(digits, pa.string()), digits)
    for name in digits:
        if _is_code(written[name], table[name]):
            table = table.set_column(table.column_names.index(name), name, written[name])
    return table


def _check_utf8(path: Path) -> None:
    """Refuse another encoding: the parser would take its text for bytes, or for no CSV at all."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with pa.input_stream(str(path)) as file:
        block = file.read(_BLOCK)
        if block.startswith(_BYTE_ORDER):
            raise DataError(f"data: {path} is UTF-16. {_CONVERT.replace('LATIN1', 'UTF-16')}")
        while True:
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                if b"\0" in error.object[:_HEAD]:
                    raise DataError(
                        f"data: {path} is not a CSV file: it holds bytes that are no text. It may "
                        "be damaged or of another format: copy or write it again"
                    ) from None
                line += error.object.count(b"\n", 0, error.start)
                near = error.object[max(0, error.start - 12) : error.start + 12]
                raise DataError(
                    f"data: {path}, line {line}: byte 0x{error.object[error.start]:02x} is not "
                    f"UTF-8, in {near!r}. {_CONVERT}"
                ) from None
            if not block:
                return
            line += block.count(b"\n")
            block = file.read(_BLOCK)


def _has_codes(path: Path) -> bool:
    """Whether any value begins like a code; most files have none, and are not parsed again."""
    last = b"\n"
    with pa.input_stream(str(path)) as file:
        while block := file.read(_BLOCK):
            if _CODE.search(last + block):
                return True
            last = block[-_LONGEST:]
    return False


def _is_code(written: ArrowColumn, read: ArrowColumn) -> bool:
    """Whether a number would lose digits: leading zeros, or more than an integer holds."""
    if pa.types.is_integer(read.type):
        return bool(pc.any(pc.match_substring_regex(written, r"^\s*[-+]?0\d")).as_py())
    for part in (written.slice(0, 1000), written):
        if not pc.all(pc.match_substring_regex(part, r"^\d*$")).as_py():
            return False
    return bool(pc.any(pc.match_substring_regex(written, r"^(0\d|\d{19})")).as_py())


def _parsed(path: Path, types: dict[str, Any], only: list[str] | None = None) -> ArrowTable:
    broken: list[Any] = []

    def note(row: Any) -> str:
        broken.append(row)
        return "error"

    mark = delimiter(path)
    parse = pacsv.ParseOptions(delimiter=mark, newlines_in_values=True, invalid_row_handler=note)
    read = pacsv.ReadOptions(use_threads=False, autogenerate_column_names=False)
    convert = pacsv.ConvertOptions(
        column_types=types,
        include_columns=only,
        decimal_point="," if mark == ";" and _has_decimal_commas(path) else ".",
    )
    try:
        header = _first_record(path, parse)
        if not _is_header(header):
            read.column_names = [str(number + 1) for number in range(len(header))]
        return pacsv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
    except pa.ArrowInvalid as error:
        if not broken:
            raise
        row = broken[0]
        line = f"record {row.number}" if row.number else "a record"
        raise DataError(
            f"data: {path}, {line}: {row.actual_columns} values where {row.expected_columns} were "
            f"expected: {row.text[:80]!r}. Correct the line; a value with a delimiter in it "
            f"needs quotes ({str(error).strip().splitlines()[0][:60]})"
        ) from None


def delimiter(path: Path) -> str:
    """What stands between the values: in CSV a comma, unless only another is in the first line."""
    if suffix_of(path) == ".tsv":
        return "\t"
    first = next(filter(None, map(bytes.strip, _QUOTED.sub(b"", _head(path)).split(b"\n"))), b"")
    if b"," in first:
        return ","
    return next((mark.decode() for mark in _DELIMITERS if mark in first), ",")


def _head(path: Path) -> bytes:
    with pa.input_stream(str(path)) as file:
        return file.read(_HEAD)


def _has_decimal_commas(path: Path) -> bool:
    head = _head(path)
    return bool(_DECIMAL_COMMA.search(head)) and not _DECIMAL_POINT.search(head)


def _first_record(path: Path, parse: Any) -> list[str]:
    with pacsv.open_csv(path, parse_options=parse) as reader:
        return reader.schema.names


def _is_header(cells: list[str]) -> bool:
    return not any(_is_value(cell) for cell in cells) or _counts_up(cells)


def _is_value(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+]?(\d+[.,]?\d*|\.\d+)([eE][-+]?\d+)?", cell.strip()))


def _counts_up(header: list[str]) -> bool:
    """Whether the numbers in a header are columns numbered 0, 1, 2, ... or 1, 2, 3, ..."""
    numbers = [cell.strip() for cell in header if _is_value(cell)]
    return any(
        numbers == [str(start + place) for place in range(len(numbers))] and len(numbers) > 2
        for start in (0, 1)
    )


def split_records(path: Path) -> tuple[bytes, Iterator[bytes]]:
    """The header, empty where there is none, and the records, byte for byte as they stand."""
    mark = delimiter(path)
    parse = pacsv.ParseOptions(delimiter=mark, newlines_in_values=True)
    headed = _is_header(_first_record(path, parse))
    with pa.input_stream(str(path)) as file:
        text: bytes = file.read()
    records = records_in(text, mark)
    return (next(records), records) if headed else (b"", records)


def records_in(text: bytes, delimiter: str) -> Iterator[bytes]:
    """The records of a CSV file, byte for byte as they stand; blank lines are left out."""
    bare = rf"[^{delimiter}\r\n]*+"
    field = rf'(?:"[^"]*+(?:""[^"]*+)*+"{bare}|{bare})'
    record = re.compile(rf"{field}(?:{delimiter}{field})*+(?:\r\n|\r|\n|\Z)".encode())
    start = len(_BOM) if text.startswith(_BOM) else 0
    while start < len(text):
        match = record.match(text, start)
        assert match is not None  # a field may be anything, so every text is a list of records
        start = match.end()
        if match.group().strip(b"\r\n"):
            yield match.group()
