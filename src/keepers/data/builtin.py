"""Data that needs no file: the handwritten digits that scikit-learn ships."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.data.material import Material

NAMES = ("digits",)


def digits() -> Material:
    """1,797 grey pictures of handwritten digits, 8 × 8 pixels, 10 classes.

    >>> digits().table.num_rows
    1797
    """
    rows = _digits()
    pictures = (rows[:, :-1].reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    return Material(
        name="digits",
        table=pa.table({"label": rows[:, -1].astype(np.int64)}),
        kind="image",
        inputs=pictures[:, None],
        input_name="image",
    )


@cache
def _digits() -> npt.NDArray[np.float64]:
    """The file's rows: 64 pixels from 0 to 16, then the class (1,797, 65)."""
    package = find_spec("sklearn")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():  # to import scikit-learn takes longer than all the rest
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    return np.column_stack([bunch.data, bunch.target])
