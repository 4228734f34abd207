"""CSV and TSV files to tables, checked before a parser guesses."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection
from functools import reduce
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from keepers.choices import Header
from keepers.data.arrow import ArrowColumn, ArrowTable, in_blocks
from keepers.data.arrow import compute as pc
from keepers.data.csv_records import HEAD, Layout, head_of, layout_of
from keepers.data.frames import check_names
from keepers.errors import DataError

HEADERS = get_args(Header)

_BLOCK = 16 << 20
_LONGEST = 64
_BYTE_ORDER = (b"\xff\xfe", b"\xfe\xff")
_DECIMAL_COMMA = re.compile(rb"[;\r\n] *[-+]?\d+,\d+ *[;\r\n]")
_DECIMAL_POINT = re.compile(rb"[;\r\n] *[-+]?\d+\.\d+ *[;\r\n]")
_CONVERT = "Convert it to UTF-8, for example with iconv -f LATIN1 -t UTF-8"
_CODE = re.compile(rb'[,;|\t\r\n"] *[-+]?(?:0\d|\d{19})')


def read_csv(path: Path, as_text: Collection[str] = (), header: Header = "auto") -> ArrowTable:
    """One file as a table; the columns `as_text`, codes such as 00123, and dates are texts.

    Raises:
        DataError: bytes that are not UTF-8, quotes that are not closed, columns of one name, or a
            record with too few or too many values.
    """
    _check_utf8(path)
    layout = layout_of(path, header)
    check_names(layout.names, str(path))
    if layout.quotes:
        _check_quotes(path, layout)
    table = _parsed(path, layout, {name: pa.string() for name in as_text})
    table = table.drop_columns(
        [f.name for f in table.schema if f.name.startswith("unnamed ") and pa.types.is_null(f.type)]
    )
    _check_repeated_header(path, layout, table)
    digits = [f.name for f in table.schema if is_numeric(f.type)]
    again = [field.name for field in table.schema if pa.types.is_temporal(field.type)]
    if digits and _has_codes(path):
        again += digits
    if not again:
        return table
    written = _parsed(path, layout, dict.fromkeys(again, pa.string()), again)
    for name in again:
        if name not in digits or _is_code(written[name], table[name]):
            table = table.set_column(table.column_names.index(name), name, written[name])
    return table


def _check_repeated_header(path: Path, layout: Layout, table: ArrowTable) -> None:
    """Refuse the names of the columns among the records, as in files that were put together."""
    names = table.column_names
    if (
        not layout.header
        or len(names) < 2
        or not all(pa.types.is_string(t) for t in table.schema.types)
    ):
        return
    row = pc.index(reduce(pc.and_, (pc.equal(table[name], name) for name in names)), True).as_py()
    if row >= 0:
        raise DataError(
            f"data: {path}, record {row + 2}: this line repeats the column names. Remove it (a "
            "folder can hold several files); if it is an example, rename a column in the first "
            "line and pass --header yes (header='yes')"
        )


def is_numeric(kind: Any) -> bool:
    """Whether values of an Arrow type are integers or floating-point numbers."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


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
                if b"\0" in error.object[:HEAD]:
                    raise DataError(
                        f"data: {path} is not a CSV file: it holds bytes that are not text. It "
                        "may be damaged or of another format: copy or write it again"
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


def _check_quotes(path: Path, layout: Layout) -> None:
    """Refuse a quote in the middle of a quoted value, or one that opens a text that is not quoted.

    The parser would take lines after it for one value.
    """
    if _quotes_are_regular(path, layout):
        return
    with pa.input_stream(str(path)) as file:
        text: bytes = file.read()
    bare = rf"[^{re.escape(layout.delimiter)}\r\n]*+"
    values = re.compile(
        rf'(?:"[^"]*+(?:""[^"]*+)*+"({bare})|"({bare})|{bare})'.encode()
        + rf"(?:{re.escape(layout.delimiter)}|\r\n|\r|\n|\Z)".encode()
    )
    for value in values.finditer(text, layout.start):
        if (value.group(1) or b"").strip() or value.group(2) is not None:
            line = 1 + text.count(b"\n", 0, value.start())
            shown = value.group()[:40].decode(errors="replace")
            raise DataError(
                f"data: {path}, line {line}: the value {shown!r} has a quote in the middle, so "
                "the lines after it may be read as its text. Double the quotes within a value "
                '("")'
            )


def _quotes_are_regular(path: Path, layout: Layout) -> bool:
    """Whether every quote begins or ends a value, or stands doubled within one."""
    beside = np.zeros(256, dtype=bool)
    beside[list(f'{layout.delimiter}"\r\n'.encode())] = True
    num_quotes, last = 0, b"\n"
    with pa.input_stream(str(path)) as file:
        file.read(layout.start)
        block = file.read(_BLOCK)
        while block:
            after = file.read(_BLOCK)
            text = np.frombuffer(last + block + (after[:1] or b"\n"), dtype=np.uint8)
            places = 1 + np.flatnonzero(text[1:-1] == ord('"'))
            opening, closing = places[num_quotes % 2 :: 2], places[1 - num_quotes % 2 :: 2]
            if not (beside[text[opening - 1]].all() and beside[text[closing + 1]].all()):
                return False
            num_quotes += len(places)
            last, block = block[-1:], after
    return num_quotes % 2 == 0


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


def _parsed(
    path: Path, layout: Layout, types: dict[str, Any], only: list[str] | None = None
) -> ArrowTable:
    broken: list[Any] = []

    def note(row: Any) -> str:
        broken.append(row)
        return "error"

    parse = pacsv.ParseOptions(
        delimiter=layout.delimiter,
        quote_char='"' if layout.quotes else False,
        newlines_in_values=layout.quotes,
        invalid_row_handler=note,
    )
    convert = pacsv.ConvertOptions(
        column_types=types,
        include_columns=only,
        decimal_point="," if layout.delimiter == ";" and _has_decimal_commas(path) else ".",
    )

    def parsed(block: int) -> ArrowTable:
        with pa.input_stream(str(path)) as file:
            file.read(layout.start)
            return pacsv.read_csv(
                file,
                read_options=pacsv.ReadOptions(
                    use_threads=False,
                    block_size=block,
                    column_names=layout.names,
                    skip_rows_after_names=int(layout.header),
                ),
                parse_options=parse,
                convert_options=convert,
            )

    try:
        return in_blocks(parsed)
    except pa.ArrowInvalid as error:
        if not broken:
            raise
        row = broken[0]
        line = f"record {row.number}" if row.number else "a record"
        title = ""
        if row.number == 2 and layout.header and row.actual_columns > row.expected_columns:
            title = f", or leave out the line before it ({layout.names[0]!r}) where it is a title"
        raise DataError(
            f"data: {path}, {line}: {row.actual_columns} values where {row.expected_columns} were "
            f"expected: {row.text[:80]!r}. Correct the line{title}; a value with a delimiter or a "
            f"carriage return in it needs quotes ({str(error).strip().splitlines()[0][:60]})"
        ) from None


def _has_decimal_commas(path: Path) -> bool:
    head = head_of(path)
    return bool(_DECIMAL_COMMA.search(head)) and not _DECIMAL_POINT.search(head)
