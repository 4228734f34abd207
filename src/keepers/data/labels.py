"""Labels: a column to class numbers, and what cannot be one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.data.arrow import ArrowColumn
from keepers.data.arrow import compute as pc
from keepers.errors import DataError

_SHOWN = 5


def read_labels(
    column: ArrowColumn,
    name: str,
    *,
    class_names: Sequence[str] | None = None,
    known: Sequence[str] | None = None,
    require: bool = True,
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Class numbers (n,) and the classes' names; -1 where a label is missing and may be.

    `class_names` are those that the file declares for integers; `known` those of the training
    data, which a test set has to keep to. Classes of neither are the distinct values, sorted.

    Raises:
        DataError: missing labels, one class only, several labels in a row, a continuous target,
            or a class that the training data does not have.
    """
    try:
        values = _discrete(column, name)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"label: column '{name}' ({column.type}) cannot be read as classes "
            f"({str(error).splitlines()[0][:120]}). Give integers within 64 bits, or strings"
        ) from None
    missing = _missing(values, class_names is not None)
    if len(missing) and require:
        raise DataError(
            f"label: {len(missing):,} of {len(values):,} rows have no label in column '{name}' "
            f"({_rows(missing)}). Label them or leave those rows out"
        )
    distinct = _sorted_distinct(values)
    if class_names is not None and distinct and isinstance(distinct[0], int):
        names = [_declared(value, class_names, name) for value in distinct]
    else:
        names = [str(value) for value in distinct]
    if known is not None:
        classes = tuple(known)
        numbers = _among(names, distinct, classes, name, declared=class_names is not None)
    else:
        classes = tuple(class_names) if class_names is not None else tuple(names)
        numbers = {
            value: classes.index(text)
            for value, text in zip(distinct, names, strict=True)
            if text in classes
        }
        if require:
            _check_classes(distinct, names, len(values) - len(missing), name)
    return _numbered(values, numbers), classes


def _discrete(column: ArrowColumn, name: str) -> ArrowColumn:
    kind = column.type
    if pa.types.is_nested(kind) and _is_single(column):
        column = pc.list_element(column, 0)
        kind = column.type
    if pa.types.is_nested(kind):
        raise DataError(
            f"label: column '{name}' holds several values in each row ({kind}): a multi-label "
            "target, which is not supported. Give one class for each row"
        )
    if pa.types.is_decimal(kind):
        column, kind = column.cast(pa.float64()), pa.float64()
    if pa.types.is_floating(kind):
        present = column.filter(pc.is_finite(column.cast(pa.float64()).fill_null(float("nan"))))
        if pc.any(pc.not_equal(present, pc.round(present))).as_py():
            raise DataError(
                f"label: column '{name}' holds fractions such as "
                f"{_first_fraction(present)}: a continuous (regression) target, which is not "
                "supported. Give a column of classes with --label (label=...), or bin the values"
            )
        finite = pc.is_finite(column.cast(pa.float64()))
        return pc.if_else(finite, column, None).cast(pa.int64())
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    return column.cast(pa.large_string()) if not pa.types.is_boolean(kind) else column


def _is_single(column: ArrowColumn) -> bool:
    """Whether every row holds a list of exactly one value: labels of shape (n, 1)."""
    if pa.types.is_struct(column.type) or pa.types.is_map(column.type):
        return False
    lengths = pc.list_value_length(column)
    return pc.min(lengths).as_py() == 1 == pc.max(lengths).as_py()


def _first_fraction(present: ArrowColumn) -> str:
    return f"{present.filter(pc.not_equal(present, pc.round(present)))[0].as_py():g}"


def _missing(values: ArrowColumn, declared: bool) -> npt.NDArray[np.int64]:
    gone = pc.is_null(values)
    if pa.types.is_large_string(values.type):
        gone = pc.or_(gone, pc.equal(values.fill_null(""), ""))
    elif declared and pa.types.is_integer(values.type):  # the Hub's mark for "no label"
        gone = pc.or_(gone, pc.equal(values.fill_null(-1), -1))
    return np.flatnonzero(gone.to_numpy())


def _sorted_distinct(values: ArrowColumn) -> list[Any]:
    distinct = [value for value in pc.unique(values).to_pylist() if value is not None]
    return sorted(value for value in distinct if value != "")


def _declared(value: int, class_names: Sequence[str], name: str) -> str:
    if value == -1:
        return ""
    if not 0 <= value < len(class_names):
        raise DataError(
            f"label: column '{name}' holds {value}, and the file declares {len(class_names)} "
            "classes. Correct the label or the declaration"
        )
    return class_names[value]


def _among(
    names: Sequence[str],
    distinct: Sequence[Any],
    classes: tuple[str, ...],
    column: str,
    *,
    declared: bool,
) -> dict[Any, int]:
    by_number = all(type(value) is int and 0 <= value < len(classes) for value in distinct)
    if by_number and not declared and not set(names) & set(classes):
        return {value: value for value in distinct}  # class numbers without their names
    numbers: dict[Any, int] = {}
    for value, text in zip(distinct, names, strict=True):
        if declared and value == -1:
            continue
        if text not in classes:
            raise DataError(
                f"label: column '{column}' holds the class '{text}', which the training data does "
                f"not have. Its classes are: {_listed(classes)}"
            )
        numbers[value] = classes.index(text)
    return numbers


def _check_classes(
    distinct: Sequence[Any], names: Sequence[str], labelled: int, column: str
) -> None:
    present = [text for text in names if text]
    if len(present) < 2:
        raise DataError(
            f"label: column '{column}' holds one class only ({', '.join(present) or 'none'}). "
            "Selection needs at least 2; name another column with --label (label=...)"
        )
    if len(present) > labelled / 2 and len(present) > 20:
        what = "a continuous target or a key" if isinstance(distinct[0], int) else "a key or a text"
        raise DataError(
            f"label: column '{column}' holds {len(present):,} different values in {labelled:,} "
            f"rows: {what} rather than a class. Name another column with --label (label=...)"
        )


def _numbered(values: ArrowColumn, numbers: dict[Any, int]) -> npt.NDArray[np.int64]:
    encoded = values.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    table = [numbers.get(value, -1) for value in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(table)).to_numpy(zero_copy_only=False)
    return np.array([*table, -1], dtype=np.int64)[codes]


def _rows(rows: npt.NDArray[np.int64]) -> str:
    shown = ", ".join(str(row) for row in rows[:_SHOWN].tolist())
    return (
        f"row {shown}" if len(rows) == 1 else f"rows {shown}{', …' if len(rows) > _SHOWN else ''}"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
