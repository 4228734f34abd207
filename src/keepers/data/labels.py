"""Labels: a column to class numbers, and what cannot be one."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.data.arrow import ArrowColumn, ArrowType, floats
from keepers.data.arrow import compute as pc
from keepers.errors import DataError, UnlabelledError
from keepers.tasks.texts import WHOLE, label_text, readings
from keepers.words import counted, remedy

_SHOWN = 5
_MEASURE = re.compile(r"^\W{0,3}\d[\d.,' ]*\W{0,3}[A-Za-z]{0,5}$")  # 12 kg, $3.50, 3,5, 10%
_MAY_BE_NONE = ("none", "null", "na", "n/a", "#n/a")


class NoClassesError(DataError):
    """A column holds values that are no classes; `held` says what it holds."""

    def __init__(self, name: str, held: str, remedy: str) -> None:
        self.held = held
        super().__init__(f"label: column '{name}' holds {held}{remedy}")


def doubtful_classes(
    class_names: Sequence[str], one: str = "class", several: str = "classes"
) -> Iterator[str]:
    """A warning, in a sentence, for each thing about the names of classes that may be a mistake."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in class_names:
        bare = "".join(name.split()).casefold()
        alike[[*readings(bare)][-1] if WHOLE.fullmatch(bare) else bare].append(name)
    for key, names in alike.items():
        if len(names) > 1:
            shown = " and ".join(map(repr, names))
            how = "how a number is written" if WHOLE.fullmatch(key) else "case or white space"
            yield f"Warning: the {several} {shown} differ only in {how}"
    for name in class_names:
        if name == "-1" or name.strip().lower() in _MAY_BE_NONE:
            yield (
                f"Warning: {name!r} is treated as a {one}. If it means 'no label', empty those "
                "labels or leave the rows out"
            )


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What becomes of rows without a label, where one is `required`.

    They are refused, or left out (`leave_out`) and noted in `rows`, or `kept`, to be labelled.
    """

    required: bool
    leave_out: bool = False
    kept: bool = False
    rows: list[int] = field(default_factory=list[int])

    @property
    def may_stay(self) -> bool:
        """Whether rows without a label are taken as they are."""
        return self.kept or not self.required

    def check(
        self,
        missing: npt.NDArray[np.int64],
        count: int,
        where: str,
        *,
        can_skip: bool = True,
        unlike: str = "",
    ) -> None:
        """Note the rows without a label, of `count` rows in all.

        `can_skip`: these targets can be read without such rows. `unlike`: how it is
        written that an example has no label, which is another thing than that it is not known.

        Raises:
            DataError: there are such rows, and they may not be left out; or all rows are.
        """
        if self.kept and len(missing) == count:
            raise UnlabelledError(
                "label",
                f"not one row has a label in {where}",
                "Name another column with --label (label=...), or first label rows drawn at "
                "random (keepers active start)",
            )
        if not len(missing) or self.may_stay:
            return
        if self.leave_out and can_skip and len(missing) < count:
            self.rows.extend(missing.tolist())
            return
        instead = "or pass --on-bad-row skip (on_bad_row='skip') to leave such rows out"
        if len(missing) == count:
            instead = "or give other data"
        elif not can_skip:
            instead = "or remove those rows from the data"
        if unlike:
            instead = f"write {unlike}, {instead}"
        raise DataError(
            f"label: {len(missing):,} of {count:,} rows have no label in {where} "
            f"({rows_in_words(missing)}). Label them, {instead}"
        )


def read_labels(
    column: ArrowColumn,
    name: str,
    *,
    class_names: Sequence[str] | None = None,
    known: Sequence[str] | None = None,
    missing: Missing | None = None,
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Class numbers (n,) and the classes' names; -1 where a label is missing.

    `missing` says what becomes of such rows; where it is None they are refused.

    `class_names` are those that the file declares for integers; `known` those of the training
    data, which a test set has to keep to. Classes of neither are the distinct values, sorted.

    Raises:
        NoClassesError: fractions, objects, or several values in each row.
        DataError: missing labels, one class only, several labels in a row, a continuous target,
            or a class that the training data does not have.
    """
    try:
        values = _discrete(column, name)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"label: column '{name}' ({column.type}) cannot be read as classes "
            f"({str(error).splitlines()[0][:120]}). Give integers within 64 bits, or "
            "strings; amounts are --task number (task='number')"
        ) from None
    declared = class_names if pa.types.is_integer(values.type) else None
    distinct, codes = _encoded(values)
    texts = [_class_of(value, declared, name) for value in distinct]
    present = [place for place, text in enumerate(texts) if text is not None]
    present.sort(key=lambda place: distinct[place])
    names = [str(texts[place]) for place in present]
    gone = np.array([*(text is None for text in texts), True])[codes]
    missing = missing or Missing(required=True)
    missing.check(np.flatnonzero(gone), len(values), f"column '{name}'")
    if known is not None:
        classes = tuple(known)
        chosen = [_known(text, classes, name) for text in names]
    else:
        classes = tuple(declared or names)
        chosen = names
        if missing.required:
            _check_classes([distinct[p] for p in present], names, int((~gone).sum()), name)
    numbers = np.full(len(texts) + 1, -1, dtype=np.int64)
    numbers[present] = [classes.index(text) for text in chosen]
    return numbers[codes], classes


def unlabelled(
    numbers: npt.NDArray[np.int64] | None, rows: npt.NDArray[np.int64]
) -> tuple[str, ...]:
    """Which rows have no label, in a sentence; none where all are labelled, or not one is."""
    missing = rows[:0] if numbers is None else np.sort(rows[numbers[rows] < 0])
    if not 0 < len(missing) < len(rows):
        return ()
    return (f"{counted(len(missing), 'row has', 'rows have')} no label ({rows_in_words(missing)})",)


def _discrete(column: ArrowColumn, name: str) -> ArrowColumn:
    kind = column.type
    if pa.types.is_nested(kind) and is_single(column):
        column = pc.list_element(column, 0)
        kind = column.type
    if pa.types.is_struct(kind) or pa.types.is_map(kind) or isinstance(kind, pa.JsonType):
        fields = ", ".join(field.name for field in kind) if pa.types.is_struct(kind) else "any"
        raise NoClassesError(
            name,
            f"objects (fields: {fields}), or values of several types",
            ". Give one text or number for each row",
        )
    if pa.types.is_nested(kind):
        raise NoClassesError(
            name,
            f"several values in each row ({kind})",
            ": several labels or numbers, not one class. Give --task labels or number (task=...) "
            "if the command has it, or one class for each row",
        )
    if pa.types.is_decimal(kind):
        column, kind = floats(column), pa.float64()
    if pa.types.is_floating(kind):
        present = column.filter(pc.is_finite(floats(column).fill_null(float("nan"))))
        if pc.any(pc.not_equal(present, pc.round(present))).as_py():
            raise NoClassesError(
                name,
                f"fractions such as {_first_fraction(present)}",
                ": numbers, not classes. Give --task number (task='number') if the command has "
                "it, a column of classes with --label (label=...), or bin the values",
            )
        finite = pc.is_finite(floats(column))
        return pc.if_else(finite, column, None).cast(pa.int64())
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    return column.cast(pa.large_string()) if not pa.types.is_boolean(kind) else column


def is_single(column: ArrowColumn) -> bool:
    """Whether every row holds a list of exactly one value: labels of shape (n, 1)."""
    if pa.types.is_struct(column.type) or pa.types.is_map(column.type):
        return False
    lengths = pc.list_value_length(column)
    return pc.min(lengths).as_py() == 1 == pc.max(lengths).as_py()


def is_whole(kind: ArrowType) -> bool:
    """Whether labels of a type are whole numbers, so that classes are in the order of these."""
    kind = kind.value_type if pa.types.is_nested(kind) and kind.num_fields == 1 else kind
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _first_fraction(present: ArrowColumn) -> str:
    return f"{present.filter(pc.not_equal(present, pc.round(present)))[0].as_py():g}"


def _encoded(values: ArrowColumn) -> tuple[list[Any], npt.NDArray[np.int64]]:
    """The distinct values, and the place of each row's among them; -1 where there is nothing."""
    encoded = values.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return encoded.dictionary.to_pylist(), codes


def _class_of(value: Any, declared: Sequence[str] | None, name: str) -> str | None:
    if declared is None:
        return label_text(value)
    if value == -1:  # the Hub's mark for "no label"
        return None
    if not 0 <= value < len(declared):
        raise DataError(
            f"label: column '{name}' holds {value}, but the file declares {len(declared)} "
            "classes. Correct the label or the declaration"
        )
    return declared[int(value)]


def _known(text: str, classes: tuple[str, ...], column: str) -> str:
    found = next((reading for reading in readings(text) if reading in classes), None)
    if found is None:
        number = WHOLE.fullmatch(text) and not any(map(WHOLE.fullmatch, classes))
        raise DataError(
            f"label: column '{column}' holds the class '{text}', which the training data does "
            f"not have. {remedy(text, classes, 'Its classes are')}"
            + (". Numbers do not identify classes: give the names" if number else "")
        )
    return found


def _check_classes(
    distinct: Sequence[Any], names: Sequence[str], labelled: int, column: str
) -> None:
    if len(names) < 2:
        raise DataError(
            f"label: column '{column}' holds only one class ({', '.join(names) or 'none'}). "
            "Selection needs at least 2; name another column with --label (label=...)"
        )
    if len(names) > labelled / 2 and len(names) > 20:
        numbers = isinstance(distinct[0], int) or all(map(_is_number, names))
        what = "a continuous target or a key" if numbers else "a key or a text"
        raise DataError(
            f"label: column '{column}' holds {len(names):,} different values in {labelled:,} "
            f"rows: {what} rather than a class. Name another column with --label (label=...)"
            + (", or --task number (task='number')" if numbers else _may_be_numbers(names))
        )


def _may_be_numbers(names: Sequence[str]) -> str:
    """What hinders texts from being numbers, as the end of a message; nothing where more does."""
    odd = [name for name in names if not _is_number(name)]
    if len(odd) > 0.1 * len(names) and sum(map(bool, map(_MEASURE.match, odd))) < 0.9 * len(odd):
        return ""
    return f". If it holds numbers, write them like 3.5: {odd[0]!r} is none"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def rows_in_words(rows: npt.NDArray[np.int64]) -> str:
    """The first rows of many, for a message."""
    shown = ", ".join(str(row) for row in rows[:_SHOWN].tolist())
    return (
        f"row {shown}" if len(rows) == 1 else f"rows {shown}{', …' if len(rows) > _SHOWN else ''}"
    )
