"""Python values to Arrow columns, with the row of the first one that does not fit."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
from torch import Tensor

from keepers.data.arrow import ArrowArray, ArrowColumn, ArrowTable
from keepers.errors import DataError
from keepers.words import counted

SKIPPING = "pass --on-bad-row skip (on_bad_row='skip') to leave such rows out"
"""What files offer in place of correcting a row."""

_SHOWN = 40
_VECTOR, _LISTS = "list of numbers", "list or object"
_FAILURES = (pa.ArrowException, UnicodeError, ValueError, TypeError, OverflowError)


def column(values: Sequence[Any], what: str, kind: Any = None, *, instead: str = "") -> ArrowArray:
    """A column (n,) of Python values, of the Arrow type `kind` where it is given; NaN is nothing.

    Errors begin with `what`; `instead` is another remedy for values of several types.

    >>> column(["a", None], "label").null_count
    1

    Raises:
        DataError: values of several types, text that UTF-8 cannot hold, or no such type.
    """
    try:
        return pa.array(values, kind, from_pandas=True)
    except _FAILURES as error:
        expected = str if kind is not None and pa.types.is_large_string(kind) else None
        raise DataError(f"{what}: {_reason(values, error, expected, instead)}") from None


def _reason(values: Sequence[Any], error: Exception, expected: type | None, instead: str) -> str:
    first: tuple[int, type] | None = None
    for row, value in enumerate(values):
        if value is None or value != value:
            continue
        kind = type(value)
        lone = lone_surrogate(value)
        if lone:
            return (
                f"the text in row {row} holds {lone!r}, half of a surrogate pair, which UTF-8 "
                "cannot hold. Correct it, for example with text.encode('utf-8', 'replace').decode()"
            )
        if expected is not None and kind is not expected:
            return f"row {row} holds {_shown(value)}, which is not a text. Give only texts"
        if first is None:
            first = (row, kind)
        elif kind is not first[1] and {kind, first[1]} != {int, float}:
            return (
                f"row {row} holds {_shown(value)}, but row {first[0]} holds {first[1].__name__}. "
                f"Give values of one type{', or ' + instead if instead else ''}"
            )
    return f"it cannot be read ({first_line(error)}). Give texts, numbers, or lists of numbers"


def lone_surrogate(value: Any) -> str:
    """The first half of a surrogate pair that stands alone in a text, or nothing."""
    if not isinstance(value, str):
        return ""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return value[error.start]
    return ""


def _shown(value: Any) -> str:
    text = repr(value)
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return f"{type(value).__name__} {cut}"


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def records(rows: Sequence[dict[str, Any]], what: str) -> ArrowTable:
    """A table of records, with every key that one of them has.

    Lists and objects that no Arrow type holds, as they are of several types, become JSON texts, and
    whole numbers that 64 bits do not hold become floating-point numbers, as in JSON lines.

    Raises:
        DataError: as `column`, with the name of the column; or a list or an object is no list of
            numbers, where most are, and of one length.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [_of_records([row.get(n) for row in rows], f"{what}, column '{n}'") for n in names]
    return pa.Table.from_arrays(columns, names)


def of_other_types(rows: Sequence[dict[str, Any]]) -> dict[int, str]:
    """The rows in which a value is of another type than in most rows, and why it does not fit.

    Whole and floating-point numbers are of one type, and so are lists and objects, as to `records`;
    but where most of those are lists of numbers of one length, another one is no vector.

    >>> of_other_types([{"id": 1}, {"id": "x"}, {"id": 2.5}, {}])
    {1: "'id' is str, but number in most rows"}
    """
    found: dict[int, str] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        there = {at: row[name] for at, row in enumerate(rows) if row.get(name) is not None}
        kinds, _ = _kinds(list(there.values()))
        counts = Counter(kinds)
        if len(counts) > 1:
            usual = counts.most_common(1)[0][0]
            why = "'{}' is {}, but {} in most rows"
            of_row = zip(there, kinds, strict=True)
            found |= {at: why.format(name, kind, usual) for at, kind in of_row if kind != usual}
    return found


def _kinds(values: Sequence[Any]) -> tuple[list[str], int | None]:
    """What values are, and how many numbers are in most of the lists and objects, if vectors.

    Where they are not, a list of numbers is one as any other.
    """
    kinds = [_kind(value) for value in values]
    lengths = Counter(len(v) for v, kind in zip(values, kinds, strict=True) if kind == _VECTOR)
    size, rows = lengths.most_common(1)[0] if lengths else (0, 0)
    if 2 * rows > sum(kind in (_VECTOR, _LISTS) for kind in kinds):
        return kinds, size
    return [_LISTS if kind == _VECTOR else kind for kind in kinds], None


def _kind(value: Any) -> str:
    if isinstance(value, list):
        parts = {type(each) for each in cast("list[Any]", value)}
        return _VECTOR if parts and parts <= {int, float, type(None)} else _LISTS
    if isinstance(value, dict):
        return _LISTS
    return "number" if type(value) in (int, float) else type(value).__name__


def _of_records(values: Sequence[Any], what: str) -> ArrowArray:
    try:
        return column(values, what, instead=SKIPPING)
    except DataError:
        if all(value is None or type(value) in (int, float) for value in values):
            with contextlib.suppress(OverflowError):
                return column([None if each is None else float(each) for each in values], what)
        if not all(value is None or isinstance(value, list | dict) for value in values):
            raise
        _check_vectors(values, what)
        texts = [None if v is None else json.dumps(v, ensure_ascii=False) for v in values]
        return column(texts, what, pa.large_string())


def _check_vectors(values: Sequence[Any], what: str) -> None:
    """Refuse a list or an object that is no vector, where most are, and of one length."""
    there = [row for row, each in enumerate(values) if each is not None]
    kinds, size = _kinds([values[row] for row in there])
    others = [row for row, kind in zip(there, kinds, strict=True) if kind == _LISTS]
    if size and others:
        raise DataError(
            f"{what}: row {others[0]} holds {_shown(values[others[0]])}, but most rows hold a list "
            f"of {counted(size, 'number')}. Correct it, or {SKIPPING}"
        )


def check_text(table: ArrowTable, what: str) -> None:
    """Refuse columns of text that is not UTF-8, which no format checks on reading.

    Raises:
        DataError: the row and the column.
    """
    for name in table.column_names:
        texts: ArrowColumn = table[name]
        if not pa.types.is_large_string(texts.type):
            continue
        try:
            texts.validate(full=True)
        except pa.ArrowInvalid:
            for row, value in enumerate(texts.cast(pa.large_binary()).to_pylist()):
                try:
                    (value or b"").decode()
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{what}: the text in row {row}, column '{name}', is not UTF-8 (byte "
                        f"0x{error.object[error.start]:02x}). Convert the data to UTF-8"
                    ) from None
            raise


def same_item(one: Any, other: Any) -> bool:
    """Whether two items of a data set are equal, part by part; what cannot be compared is.

    >>> same_item((np.zeros(2), "a"), (np.zeros(2), "a")), same_item({"x": 1}, {"x": 2})
    (True, False)
    """
    if isinstance(one, Mapping):
        same = isinstance(other, Mapping) and one.keys() == other.keys()
        return same and all(same_item(part, other[name]) for name, part in one.items())
    if isinstance(one, tuple | list):
        same = isinstance(other, tuple | list) and len(one) == len(other)
        return same and all(map(same_item, one, other))
    if not isinstance(one, Tensor):
        if type(one).__eq__ is object.__eq__ and not hasattr(one, "__array__"):
            return True
        one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape:
        return False
    try:
        return bool(((one == other) | (one != one)).all())  # NaN is what it was
    except (TypeError, ValueError):
        return True
