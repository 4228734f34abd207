"""What targets are, judged by their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from keepers.choices import TaskName
from keepers.data.arrow import ArrowColumn, floats
from keepers.data.arrow import compute as pc
from keepers.data.delimited import delimiter_of
from keepers.data.labels import is_single
from keepers.errors import DataError, ParameterError
from keepers.tasks.texts import WHOLE
from keepers.words import listed

FEW_VALUES, PER_VALUE, WITH_GAPS = 20, 5, 50
"""Whole numbers are classes if they are few, or if each is in enough rows on average.

More rows are wanted of numbers most of which between the least and the largest are missing: classes
are mostly numbered without gaps, amounts are not.
"""

THIN = 0.2
"""Part of the values that stand in one or two rows each, from which on they look like amounts."""

_OF_NAMES = (
    pa.types.is_integer,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_null,
)
"""What lists of labels hold: their names, or their numbers."""


def task_in(columns: Sequence[ArrowColumn], names: Sequence[str]) -> TaskName:
    """The task that the values of these columns are of.

    Raises:
        DataError: several columns, some of which hold no numbers.
    """
    if len(columns) > 1:
        if all(map(is_flag, columns)):
            return "labels"
        others = [n for n, c in zip(names, columns, strict=True) if not is_number(c.type)]
        if others:
            raise DataError(
                f"label: {listed(others, 3)} hold no numbers. Name columns of 0 and 1 for several "
                "labels, or of numbers"
            )
        if all(values_of(column) == {-1.0, 1.0} for column in columns):
            raise ParameterError(
                "task",
                f"the columns {listed(names, 3)} hold -1 and 1 alone",
                "Write 0 and 1 for labels, or set --task number (task='number')",
            )
        return "number"
    column = columns[0]
    kind = column.type
    if is_list(kind) and is_single(column) and pa.types.is_floating(kind.value_type):
        column = pc.list_flatten(column)
        kind = column.type
    if is_list(kind) and not is_single(column):
        inner = kind.value_type
        if any(test(inner) for test in _OF_NAMES):
            return "labels"
        if not is_number(inner):
            return "class"
        return "number" if multi_hot(column.to_pylist()) is None else "labels"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = floats(column)
        values = values.filter(pc.is_finite(values.fill_null(float("nan"))))
        fractions = pc.any(pc.not_equal(values, pc.round(values))).as_py()
        return "number" if fractions else "class"
    return "labels" if delimiter_of(column) is not None else "class"


def check_clear(column: ArrowColumn, name: str) -> None:
    """Refuse to guess whether whole numbers are classes where they look like amounts.

    Each stands in few rows, or many of them in one or two, as days, ages and prices do.
    """
    if not is_number(column.type):
        return
    seen: Any = column.drop_null().value_counts()
    values, counts = seen.field("values"), seen.field("counts").to_numpy()
    different, rows = len(values), column.length()
    if not FEW_VALUES < different <= rows / 2:
        return
    ends = pc.min_max(floats(values)).as_py()
    thin_out = (counts <= 2).mean() >= THIN
    if thin_out or _are_thin(ends["min"], ends["max"], different, rows):
        raise ParameterError(
            "task",
            f"column '{name}' holds {different:,} different whole numbers in {rows:,} rows: they "
            "may be classes or amounts",
            "Set --task class or --task number (task=...)",
        )


def _are_thin(low: float, high: float, different: int, rows: int) -> bool:
    gaps = high - low + 1 > 2 * different
    return rows < (WITH_GAPS if gaps else PER_VALUE) * different


def other_than_classes(names: Sequence[str], rows: int) -> str:
    """What a column with these class names may hold instead of classes; empty if nothing else fits.

    >>> other_than_classes(["a", "b", "c", "a;b", "b;c", "a;b;c", "a;c"], 90)
    "labels that ';' separates"
    >>> other_than_classes([str(10 * number) for number in range(30)], 90)
    'amounts'
    >>> other_than_classes(["a", "b"], 90)
    ''
    """
    mark = delimiter_of(pa.chunked_array([pa.array(names, pa.large_string())]))
    if mark is not None:
        return f"labels that {mark!r} separates"
    if len(names) <= FEW_VALUES or not all(map(WHOLE.fullmatch, names)):
        return ""
    numbers = [float(name) for name in names]
    return "amounts" if _are_thin(min(numbers), max(numbers), len(names), rows) else ""


def is_hot(columns: Sequence[ArrowColumn]) -> bool:
    """Whether targets are given as 0 and 1 for each label."""
    return len(columns) > 1 or multi_hot(columns[0].to_pylist()) is not None


def is_flag(column: ArrowColumn) -> bool:
    """Whether a column holds 0 and 1 alone, both of them or one."""
    if pa.types.is_boolean(column.type):
        return True
    if not is_number(column.type):
        return False
    values = values_of(column)
    return bool(values) and values <= {0.0, 1.0}


def values_of(column: ArrowColumn) -> set[float]:
    """The different numbers in a column of numbers."""
    return set(pc.unique(floats(column).drop_null()).to_pylist())


def multi_hot(values: Sequence[Any]) -> tuple[int, list[list[str]]] | None:
    """Lists of one length, of 0 and 1 alone: the width, and the places of the ones."""
    lengths = {len(row) for row in values if row is not None}
    if len(lengths) != 1 or not lengths - {0, 1}:
        return None
    whole = {each for row in values for each in row or ()}
    if not whole <= {0, 1}:
        return None
    return lengths.pop(), [
        [] if row is None else [str(at) for at, each in enumerate(row) if each] for row in values
    ]


def is_list(kind: Any) -> bool:
    """Whether a column's type is one of lists."""
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def is_number(kind: Any) -> bool:
    """Whether a column's type is one of numbers, or of true and false."""
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )
