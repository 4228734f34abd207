"""Data that needs no file: the handwritten digits that scikit-learn ships."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from keepers.data.material import Material

NAMES = ("digits",)


def digits() -> Material:
    """1,797 grey pictures of handwritten digits, 8 × 8 pixels, 10 classes.

    >>> digits().table.num_rows
    1797
    """
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    pictures = (np.asarray(bunch.images) * (255 / 16)).round().astype(np.uint8)
    return Material(
        name="digits",
        table=pa.table({"label": np.asarray(bunch.target, dtype=np.int64)}),
        kind="image",
        inputs=pictures[:, None],
        input_name="image",
    )
