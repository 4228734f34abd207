"""JSON: lines of objects, and documents that hold a list, columns, or parts."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pajson

from keepers.data.arrow import ArrowTable, in_blocks
from keepers.data.values import SKIPPING, first_line, lone_surrogate, of_other_types, records
from keepers.errors import DataError

_BOM = b"\xef\xbb\xbf"
_BLANK = re.compile(r"[\ufeff \t\r\n]*")
_LONE = "it holds half of a surrogate pair, which UTF-8 cannot hold"
_DEEPEST = 100
_OPENING = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]')


def read_json(path: Path, part: str | None = None, bad: dict[int, str] | None = None) -> ArrowTable:
    """One file of JSON lines, or the `part` of a document.

    Where `bad` is given, rows whose lines cannot be read, or in which a value is of another type
    than in most rows, are noted there, and hold nothing.

    Raises:
        DataError: damaged, nested too deeply, values of several types, or no list of objects.
    """
    rows = json_rows(path, part)
    if rows is not None:
        if bad is not None:
            bad |= {at: _LONE for at, row in enumerate(rows) if not _is_text(row)}
            rows = _fitting(rows, bad)
        return records(rows, f"data: {path}")
    try:
        _check_lines(path)
        return _table_of_lines(path, bad)
    except DataError:
        if bad is None:
            raise
        return records(_fitting(_readable_lines(path, bad), bad), f"data: {path}")


def _fitting(rows: list[dict[str, Any]], bad: dict[int, str]) -> list[dict[str, Any]]:
    """The rows, nothing in place of the bad ones, to which those of other types are added."""
    rows = [{} if at in bad else row for at, row in enumerate(rows)]
    others = of_other_types(rows)
    bad |= others
    return [{} if at in others else row for at, row in enumerate(rows)]


def _table_of_lines(path: Path, bad: dict[int, str] | None) -> ArrowTable:
    try:
        table = _parsed_lines(path)
        dates = [field.name for field in table.schema if pa.types.is_temporal(field.type)]
        if dates:  # as they are written, not as they are understood
            table = _parsed_lines(path, pa.schema([(name, pa.string()) for name in dates]))
        return table
    except pa.ArrowInvalid:
        _explain_lines(path)  # else values within each other are of several types
        rows = [json.loads(line) for _, line in _lines(path) if line.strip()]
        return records(rows if bad is None else _fitting(rows, bad), f"data: {path}")


def _readable_lines(path: Path, bad: dict[int, str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, line in _lines(path):
        if not line.strip():
            continue
        found, problem = None, "values lie within each other too deep"
        if not _is_deep(line):
            try:
                found, problem = json.loads(line), "not an object"
                if b"\\u" in line and not _is_text(found):
                    found, problem = None, _LONE
            except ValueError as error:
                problem = getattr(error, "msg", first_line(error))
        if not isinstance(found, dict):
            bad[len(rows)] = f"line {number}: {problem}"
        rows.append(found if isinstance(found, dict) else {})
    return rows


def _is_text(value: Any) -> bool:
    """Whether all its texts can be written as UTF-8."""
    return not lone_surrogate(json.dumps(value, ensure_ascii=False))


def json_rows(path: Path, part: str | None = None) -> list[dict[str, Any]] | None:
    """The objects of a document that ends in .json; None where it holds JSON lines.

    A document is a list of objects, columns as pandas writes them, or an object of named lists of
    objects: `part` names one of these.

    Raises:
        DataError: it holds something else.
    """
    found = _document(path)
    if found is None:
        return None
    if isinstance(found, dict):
        parts = _parts(found)
        if part in parts:
            found = found[part]
        elif columns := _columns(found):
            found = [
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ]
        else:
            keys = ", ".join(list(found)[:8]) or "none"
            raise DataError(
                f"data: {path} holds one object with the keys {keys}. Give a list of objects, one "
                'object in each line, or an object of parts such as {"train": [...], "test": '
                "[...]}, and name one with --split"
            )
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise DataError(f"data: {path} holds a list of values that are not objects. Give objects")
    return found


def spans_of_items(text: str) -> list[tuple[int, int]] | None:
    """Where the items of a document that is a list stand in its text; None where it is none.

    >>> spans_of_items('[{"a": 1},  {"a": 2}]')
    [(1, 9), (12, 20)]
    """
    at = _BLANK.match(text).end()  # pyright: ignore[reportOptionalMemberAccess]
    if text[at : at + 1] != "[":
        return None
    decoder, spans = json.JSONDecoder(), list[tuple[int, int]]()
    at = _BLANK.match(text, at + 1).end()  # pyright: ignore[reportOptionalMemberAccess]
    while text[at : at + 1] not in ("]", ""):
        _, end = decoder.raw_decode(text, at)
        spans.append((at, end))
        at = _BLANK.match(text, end).end()  # pyright: ignore[reportOptionalMemberAccess]
        if text[at : at + 1] == ",":
            at = _BLANK.match(text, at + 1).end()  # pyright: ignore[reportOptionalMemberAccess]
    return spans


def json_parts(path: Path) -> tuple[str, ...]:
    """The names of the lists of objects in a document that is one object."""
    try:
        with pa.input_stream(str(path)) as file:
            if not file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
                return ()
        found = _document(path)
    except OSError:
        return ()  # said when it is read
    return _parts(found) if isinstance(found, dict) else ()


def _parts(found: dict[str, Any]) -> tuple[str, ...]:
    return tuple(
        name
        for name, rows in found.items()
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)
    )


def _columns(found: dict[str, Any]) -> dict[str, list[Any]]:
    """The columns of an object of lists, or of objects under the same keys; {} where it is none."""
    columns: dict[str, list[Any]] = {}
    keys: list[Any] = []
    for name, values in found.items():
        here = list(values) if isinstance(values, dict) else range(len(values or ()))
        if not isinstance(values, dict | list) or (columns and list(here) != keys):
            return {}
        keys = list(here)
        columns[name] = list(values.values()) if isinstance(values, dict) else values
    return columns


def _document(path: Path) -> Any:
    """What a file that ends in .json holds; None where it holds JSON lines."""
    if ".json" not in path.name.lower() or ".jsonl" in path.name.lower():
        return None
    with pa.input_stream(str(path)) as file:
        text: bytes = file.read()
    text = text.removeprefix(_BOM).strip()
    if not text.startswith(b"["):
        first, _, more = text.partition(b"\n")
        try:
            if more and isinstance(json.loads(first), dict):
                return None
        except ValueError:
            pass  # an object over several lines
    try:
        return json.loads(text)
    except UnicodeDecodeError as error:
        raise DataError(
            f"data: {path} is not UTF-8 (byte 0x{text[error.start]:02x}). Convert it to UTF-8"
        ) from None
    except RecursionError:
        raise _too_deep(path, "values lie within each other too deep") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"data: {path}, line {error.lineno}: {error.msg}. Correct the line"
        ) from None


def _parsed_lines(path: Path, schema: Any = None) -> ArrowTable:
    parse = pajson.ParseOptions(newlines_in_values=False, explicit_schema=schema)

    def parsed(block: int) -> ArrowTable:
        options = pajson.ReadOptions(use_threads=False, block_size=block)
        return pajson.read_json(path, read_options=options, parse_options=parse)

    return in_blocks(parsed)


def _check_lines(path: Path) -> None:
    """Refuse lines that are no objects, and values deep within each other: parsers recurse."""
    for number, line in _lines(path):
        start = line.removeprefix(_BOM).lstrip()
        if start and not start.startswith(b"{"):
            raise DataError(
                f"data: {path}, line {number}: not an object. Give one JSON object in each line"
            )
        if _is_deep(line):
            raise _too_deep(path, f"line {number}: values are nested more than {_DEEPEST} deep")


def _is_deep(line: bytes) -> bool:
    if line.count(b"{") + line.count(b"[") <= _DEEPEST:
        return False
    depth = 0
    for found in _OPENING.finditer(line):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(found.group(), 0)
        if depth > _DEEPEST:
            return True
    return False


def _too_deep(path: Path, what: str) -> DataError:
    return DataError(f"data: {path}, {what}. Leave such values out, or write them as text")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with pa.input_stream(str(path)) as file:
        yield from enumerate(io.BufferedReader(file), 1)


def _explain_lines(path: Path) -> None:
    """Find the line that Arrow could not read; its own message counts within a block."""
    kinds: dict[str, type] = {}
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"data: {path}, line {number}"
        try:
            record = json.loads(line, object_pairs_hook=_Pairs)
        except ValueError as error:
            raise DataError(f"{where}: {first_line(error)}. Correct the line") from None
        if not isinstance(record, _Pairs):
            raise DataError(f"{where}: not an object. Give one JSON object in each line")
        names = [name for name, _ in record]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"{where}: the key '{twice[0]}' occurs twice. Keep one of them")
        for key, value in record:
            if lone := lone_surrogate(value):
                raise DataError(
                    f"{where}: '{key}' holds {lone!r}, half of a surrogate pair, which UTF-8 "
                    "cannot hold. Correct the text"
                )
            known = kinds.setdefault(key, type(value)) if value is not None else None
            if known not in (None, type(value)) and {known, type(value)} != {int, float}:
                raise DataError(
                    f"{where}: '{key}' is {_named(type(value))}, but {_named(known)} in the "
                    f"lines before. Give values of one type, or {SKIPPING}"
                )


class _Pairs(list[tuple[str, Any]]):
    """The keys and values of a JSON object, unchanged and in order."""


def _named(kind: type | None) -> str:
    return "object" if kind is _Pairs else kind.__name__ if kind else "nothing"
