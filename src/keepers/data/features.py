"""Embeddings that somebody brings: a column, a `.npy` file, an array; a vector for each row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.data.arrays import as_array
from keepers.data.extract import vectors
from keepers.data.looks import is_numbers, is_vector
from keepers.data.material import Material
from keepers.data.values import first_line
from keepers.errors import DataError, ParameterError, about
from keepers.words import remedy

NPY = ".npy"
_GIVE = "Give a column of vectors, a .npy file or an array with one row for each of the data"


def is_npy(data: Any) -> bool:
    """Whether this names a file of one array."""
    return isinstance(data, str | Path) and Path(data).suffix.lower() == NPY


def read_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a `.npy` file, mapped: what is not taken is not read.

    Raises:
        DataError: missing, damaged, or an array of Python objects, which would be a pickle.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"data: {path} does not exist") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"data: {path} is not a readable array of numbers ({first_line(error)}). Write it with "
            "numpy.save(path, array.astype('float32'))"
        ) from None


def is_vectors(data: Any) -> bool:
    """Whether data are nothing but vectors (n, d), which are then their own features.

    Raises:
        DataError: a `.npy` file that cannot be read.
    """
    array = read_npy(Path(data).expanduser()) if is_npy(data) else data
    return not isinstance(array, tuple) and getattr(array, "ndim", 0) == 2 and _is_array(array)


def _is_array(data: Any) -> bool:
    return isinstance(data, np.ndarray) or hasattr(data, "is_contiguous")


def read_features(given: Any, material: Material) -> npt.NDArray[Any]:
    """The vectors (num_rows, d) that were given as features, in the order of the rows.

    Raises:
        ParameterError: a name that is no column, a column that holds no vectors, an array of
            another shape or of other values than numbers.
        DataError: a file that cannot be read, or vectors of several lengths.
    """
    if isinstance(given, str) and given in material.table.column_names:
        column = material.table[given]
        if not (is_vector(column.type) or is_numbers(column)):
            raise ParameterError(
                "features", f"column '{given}' holds {column.type}, and no vectors", _GIVE
            )
        return vectors(column, given, "features")
    if isinstance(given, str | Path) and not is_npy(given):
        raise ParameterError(
            "features",
            f"got '{given}', which is neither a column of {material.name} nor a .npy file",
            remedy(str(given), material.table.column_names, "Its columns are"),
        )
    with about("features"):
        array = read_npy(Path(given).expanduser()) if is_npy(given) else as_array(given, "features")
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.shape[1]:
        raise ParameterError(
            "features", f"got an array of shape {array.shape} and type {array.dtype}", _GIVE
        )
    if len(array) != material.table.num_rows:
        raise ParameterError(
            "features",
            f"got {len(array):,} rows, but {material.name} has {material.table.num_rows:,}",
            "Give one vector for each row of the data, in their order",
        )
    return array
