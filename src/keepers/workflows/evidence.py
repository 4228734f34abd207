"""What a core-set run leaves for its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keepers.data import Source
from keepers.ledger import Cost

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Per example arrays are by position in `source`.

    `rank` is -1 where not kept, and `weight` 0; `scores` is None where the method has none, NaN
    for validation rows; `predicted` and `label_probability` are the proxy's (None where no model
    was trained).
    `margin` is the mean margin of the label over training, None where training stopped early:
    under 0, another class was the likelier one on average.
    """

    source: Source
    rank: Integers
    weight: Floats
    scores: Floats | None
    predicted: Integers | None
    label_probability: Floats | None
    margin: Floats | None
    validation: Integers
    costs: tuple[Cost, ...]
    validation_accuracy: float | None
    warnings: tuple[str, ...]
    run: Path
