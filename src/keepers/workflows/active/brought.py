"""Features of a campaign that a column of the data holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.data import Source, open_source
from keepers.errors import DataError, KeepersError, ParameterError
from keepers.workflows.options.active import BUILT_IN


def feature_column(
    features: str, source: Source, *files: tuple[Source | None, Any]
) -> npt.NDArray[np.float32] | None:
    """The features of a column: None where `features` names a model or the built-in ones."""
    if features == BUILT_IN:
        return None
    found: npt.NDArray[np.float32] | None = None
    place = {name: position for position, name in enumerate(source.ids.tolist())}
    for opened, data in files:
        if opened is None:
            continue
        try:
            column = open_source(
                data,
                input=features,
                id=opened.columns.id,
                split=opened.columns.split,
                header=opened.columns.header,
                task="class",
                require_labels=False,
            )
        except ParameterError as error:
            if error.parameter == "input" and ":" in features and found is None:
                return None  # a model's name
            _, _, problem = str(error).partition(": ")
            raise ParameterError("features", f"in {opened.name} {problem}") from None
        except KeepersError as error:
            raise DataError(f"features: {error}") from None
        if column.kind != "vector" or column.num_rows != opened.num_rows:
            raise ParameterError(
                "features",
                f"column '{features}' of {opened.name} holds {column.num_rows:,} {column.kind}s",
                f"Name one of {opened.num_rows:,} vectors",
            )
        values = np.asarray(column.inputs, dtype=np.float32)
        if found is None:
            found = np.full((len(source), values.shape[1]), np.nan, dtype=np.float32)
        elif found.shape[1] != values.shape[1]:
            raise DataError(
                f"features: column '{features}' holds vectors of {values.shape[1]} numbers in "
                f"{opened.name}, but of {found.shape[1]} in the pool. Give vectors of one length"
            )
        by_row = dict(zip(column.rows.tolist(), range(len(values)), strict=True))
        rows = [by_row[row] for row in opened.rows.tolist()]
        found[[place[name] for name in opened.ids.tolist()]] = values[rows]
    return found
