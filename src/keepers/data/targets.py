"""Targets: columns to classes, several labels or numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from keepers.choices import TaskName
from keepers.data.arrow import ArrowColumn, ArrowTable, floats
from keepers.data.delimited import delimiter_for, lists_in
from keepers.data.guesses import (
    check_clear,
    is_flag,
    is_hot,
    is_list,
    is_number,
    multi_hot,
    task_in,
)
from keepers.data.labels import Missing, read_labels, rows_in_words
from keepers.errors import DataError, ParameterError, unknown_name
from keepers.tasks import AUTO, Labels, Number, Tags, Task, kinds
from keepers.tasks.number import too_even
from keepers.tasks.texts import label_text, split
from keepers.words import counted, listed, remedy

NONE_IN_LISTS = "an empty list, [], where a row has no label"

Read = tuple[Any, tuple[str, ...], Task | None]
"""Labels (n, ...), the names of classes, and the task where it is not that of classes."""


def label_columns(label: str, table: ArrowTable) -> list[str]:
    """The columns that a label names: one, or several that commas separate."""
    if label in table.column_names:
        return [label]
    return [name.strip() for name in label.split(",")]


def read_targets(
    table: ArrowTable,
    label: str,
    *,
    task: TaskName,
    declared: Sequence[str] | None,
    known: Sequence[str] | None,
    like: Task | None,
    missing: Missing,
) -> Read:
    """The targets in the column or columns `label`.

    `declared` are the classes that the file declares for integers. `known` are the classes of the
    training data, `like` their task where it is another than that of classes: a test set keeps to
    it. `missing`: what becomes of rows without a target.

    Raises:
        DataError: targets that are missing, or cannot be read as the task asks; the column, the
            row and the remedy are named.
    """
    names = label_columns(label, table)
    if like is not None:
        task = like.name
    elif known is not None:
        task = "class"
    columns = [table[name] for name in names]
    if task != "class":
        columns = [lists_in(column, least=1 + (task == "auto")) for column in columns]
    for name, column in zip(names, columns, strict=True):
        if is_list(column.type) and pa.types.is_nested(column.type.value_type):
            raise DataError(
                f"label: column '{name}' holds lists of lists or of objects ({column.type}). Give "
                "a list of labels, or of numbers, for each row"
            )
    found = task_in(columns, names) if task == "auto" else task
    if task == "auto" and found == "class" and declared is None and missing.required:
        check_clear(columns[0], names[0])
    if found == "class":
        if len(names) > 1:
            raise ParameterError(
                "label",
                f"got {len(names)} columns for one class",
                "Name one column, or give --task labels or number (task=...)",
            )
        labels, classes = read_labels(
            columns[0], names[0], class_names=declared, known=known, missing=missing
        )
        return labels, classes, None
    if found == "labels":
        read = _labels(columns, names, label, declared, like, missing)
        lengths = read[0].offsets.diff()[Labels.known(read[0])]
        if task == "auto" and bool((lengths == 1).all()) and is_hot(columns):
            raise ParameterError(
                "task",
                f"'{label}' holds 0 and 1 with exactly one 1 in each row, so one class or one "
                "label",
                "Give the number of the class in each row (argmax), or --task labels "
                "(task='labels')",
            )
        return read
    if found == "number":
        return _numbers(columns, names, label, like, missing)
    return _of_package(columns, names, label, found, like, missing)


def check_task(task: str, parameter: str = "task") -> None:
    """Refuse the name of a task that is not there.

    Raises:
        ParameterError: it is not.
    """
    if task != AUTO and task not in kinds():
        raise unknown_name(parameter, task, (AUTO, *kinds()))


def _labels(
    columns: Sequence[ArrowColumn],
    names: Sequence[str],
    label: str,
    declared: Sequence[str] | None,
    like: Task | None,
    missing: Missing,
) -> Read:
    if len(columns) > 1:
        others = [n for n, c in zip(names, columns, strict=True) if not is_number(c.type)]
        if others:
            raise DataError(f"label: {listed(others, 3)} hold no numbers. Name columns of 0 and 1")
        given = [floats(column).to_numpy() for column in columns]
        table = np.column_stack(given)
        empty = np.flatnonzero(np.isnan(table).any(1))
        unlike = "0 where a row does not have a label"
        missing.check(empty, len(table), f"'{label}'", unlike=unlike)
        bad = np.flatnonzero(~np.isin(table, (0.0, 1.0)).all(1))
        bad = np.setdiff1d(bad, empty)
        if len(bad):
            raise DataError(
                f"label: columns {listed(names, 3)} hold values other than 0 and 1 "
                f"({rows_in_words(bad)}). Give 0 or 1, or --task number (task='number')"
            )
        places = [None if np.isnan(row).any() else np.flatnonzero(row).tolist() for row in table]
        hot = [None if at is None else [names[place] for place in at] for at in places]
        return _tagged(hot, names, label, like, given=True)
    column, name = columns[0], names[0]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_list(column.type):
        values: list[Any] = column.to_pylist()
        flags = multi_hot(values)
        if flags is not None and (like is None or like.names == _places(flags[0])):
            empty = np.flatnonzero([row is None for row in values])
            missing.check(empty, len(values), f"'{label}'", unlike=NONE_IN_LISTS)
            width, hot = flags
            rows = [None if row is None else got for row, got in zip(values, hot, strict=True)]
            return _tagged(rows, _places(width), label, like, given=True)
        values = [
            None if row is None else [_name(each, declared) for each in row] for row in values
        ]
    elif pa.types.is_large_string(column.type) or pa.types.is_string(column.type):
        mark = delimiter_for(column, name, like)
        values = [
            None if each is None or (missing.may_stay and not each.strip()) else split(each, mark)
            for each in column.to_pylist()
        ]
    elif like is None and is_flag(column):
        raise ParameterError(
            "label",
            f"'{label}' holds 0 and 1, which is one label",
            "Name several columns of 0 and 1, or give --task class (task='class')",
        )
    else:
        values = [
            None if (text := label_text(each)) is None else [text] for each in column.to_pylist()
        ]
    empty = np.flatnonzero([row is None for row in values])
    missing.check(empty, len(values), f"'{label}'", unlike=NONE_IN_LISTS)
    rows = [None if row is None else [each for each in row if each] for row in values]
    seen = Counter(each for row in rows for each in set(row or ()))
    return _tagged(rows, sorted(seen, key=_order), label, like)


def _places(width: int) -> tuple[str, ...]:
    return tuple(str(each) for each in range(width))


def _order(name: str) -> tuple[int, float, str]:
    """Numbers by their value, then texts."""
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)


def _name(value: Any, declared: Sequence[str] | None) -> str:
    if declared is not None and isinstance(value, int) and 0 <= value < len(declared):
        return declared[value]
    return label_text(value) or ""


def _tagged(
    rows: Sequence[Sequence[str] | None],
    names: Sequence[str],
    label: str,
    like: Task | None,
    *,
    given: bool = False,
) -> Read:
    """The labels of each row by name; `given`: the names are columns, and no values of one."""
    known = tuple(names) if like is None else like.names
    number = {name: at for at, name in enumerate(known)}
    for row in rows:
        for name in row or ():
            if name not in number:
                raise DataError(
                    f"label: '{label}' holds the label '{name}', which the training data does not "
                    f"have. {remedy(name, known, 'Its labels are')}"
                )
    numbers = [None if row is None else [number[name] for name in row] for row in rows]
    tags = Tags.of(numbers, len(known))
    if like is not None:
        return tags, (), like
    counts = tags.counts().tolist()
    if len(known) < 2 or sum(count > 0 for count in counts) < 2:
        raise DataError(
            f"label: '{label}' holds {counted(sum(count > 0 for count in counts), 'label')}. "
            "Selection needs at least 2; name another column with --label (label=...)"
        )
    total = sum(row is not None for row in rows)
    if total > 1 and set(counts) <= {0, total}:
        raise DataError(
            f"label: '{label}' holds the same labels in all rows. Name another column with --label "
            "(label=...)"
        )
    if not given and len(known) > max(20, total / 2):
        raise DataError(
            f"label: '{label}' holds {len(known):,} different labels in {total:,} rows: keys "
            "or texts rather than labels. Name another column with --label (label=...)"
        )
    return tags, (), Labels(names=known, counts=tuple(counts), total=total)


def _numbers(
    columns: Sequence[ArrowColumn],
    names: Sequence[str],
    label: str,
    like: Task | None,
    missing: Missing,
) -> Read:
    parts: list[npt.NDArray[np.float64]] = []
    titles: list[str] = []
    for name, column in zip(names, columns, strict=True):
        if is_list(column.type):
            values = _rows_of_numbers(column, name)
            parts.append(values)
            width = values.shape[1]
            titles += [name] if width == 1 else [f"{name}[{at}]" for at in range(width)]
        else:
            parts.append(_as_numbers(column, name)[:, None])
            titles.append(name)
    table = np.concatenate(parts, axis=1)
    empty = np.flatnonzero(np.isnan(table).any(1))
    missing.check(empty, len(table), f"'{label}'")
    endless = np.flatnonzero((np.abs(table) > np.finfo(np.float32).max).any(1))
    if len(endless):
        raise DataError(
            f"label: '{label}' is infinite, or over 3e38, in {rows_in_words(endless)}. Correct "
            "those, or leave the rows out"
        )
    if like is not None and len(titles) != like.num_outputs:
        raise DataError(
            f"label: '{label}' holds {len(titles)} numbers, but the training data "
            f"{like.num_outputs}. Give as many"
        )
    single = table.astype(np.float32)
    known = ~np.isnan(single).any(1)
    there = single[known]
    for title, exact, rounded in zip(titles, table[known].T, there.T, strict=True):
        if like is None and np.ptp(rounded) == 0 < np.ptp(exact):
            raise too_even(title, float(exact.std()), float(np.abs(exact).mean()))
    task = like or Number.of(tuple(titles), torch.from_numpy(there))
    return single, (), task


def _of_package(
    columns: Sequence[ArrowColumn],
    names: Sequence[str],
    label: str,
    task: TaskName,
    like: Task | None,
    missing: Missing,
) -> Read:
    """The targets as the class of an installed package reads them."""
    given = {name: column.to_pylist() for name, column in zip(names, columns, strict=True)}
    if missing.required:
        empty = [any(value is None for value in row) for row in zip(*given.values(), strict=True)]
        missing.check(np.flatnonzero(empty), len(empty), f"'{label}'", can_skip=False)
    try:
        targets, found = kinds()[task].read(given, like)
    except ValueError as error:
        raise DataError(f"label: '{label}' {error}") from error
    return targets.numpy(), (), found


def _rows_of_numbers(column: ArrowColumn, name: str) -> npt.NDArray[np.float64]:
    rows = column.to_pylist()
    widths = {len(row) for row in rows if row is not None}
    if len(widths) != 1 or widths == {0}:
        raise DataError(
            f"label: column '{name}' holds lists of {listed(sorted(map(str, widths)), 4)} "
            "numbers. Give the same number in each row, or --task labels (task='labels')"
        )
    empty = [float("nan")] * widths.pop()
    try:
        return np.array([empty if row is None else row for row in rows], dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"label: column '{name}' holds lists of values that are not numbers"
        ) from None


def _as_numbers(column: ArrowColumn, name: str) -> npt.NDArray[np.float64]:
    if is_number(column.type):
        return floats(column).to_numpy().astype(np.float64)
    found = np.full(column.length(), np.nan)
    for row, value in enumerate(column.to_pylist()):
        text = label_text(value)
        if text is None:
            continue
        try:
            found[row] = float(text)
        except ValueError:
            raise DataError(
                f"label: '{text}' in row {row} of column '{name}' is not a number. Write it like "
                "3.5, without a unit, or give --task class (task='class')"
            ) from None
    return found
