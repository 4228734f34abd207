"""pandas frames to tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.data.arrow import ArrowTable, floats
from keepers.data.values import column
from keepers.errors import DataError


def is_frame(data: Any) -> bool:
    """Whether this is a pandas frame."""
    return hasattr(data, "iloc") and hasattr(data, "columns")


def frame_table(frame: Any) -> ArrowTable:
    """A pandas frame as a table, without its index.

    Raises:
        DataError: columns of one name, or a column that holds values of several types.
    """
    names = [str(name) for name in frame.columns]
    check_names(names, "the frame")
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        for place, name in enumerate(names):
            column(frame.iloc[:, place].tolist(), f"data: column '{name}' of the frame")
        raise
    return table.rename_columns(names)


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse columns of one name.

    Raises:
        DataError: the name.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"data: {where} has several columns named '{twice[0]}'. Give each its own name"
        )


def frame_numbers(frame: Any) -> npt.NDArray[np.float32]:
    """The columns of a pandas frame as vectors (n, columns); nothing is NaN.

    Raises:
        DataError: a column that holds no numbers.
    """
    table = frame_table(frame)
    parts: list[npt.NDArray[np.float64]] = []
    for name in table.column_names:
        try:
            parts.append(floats(table[name]).to_numpy())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise DataError(
                f"input: column '{name}' of the frame holds {table[name].type}, no numbers. "
                "Leave it out, or give the whole frame as data and name its columns"
            ) from None
    if not parts:
        raise DataError("input: the frame has no column. Give columns of numbers")
    return np.stack(parts, 1).astype(np.float32)
