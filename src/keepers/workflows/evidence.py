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
class Plane:
    """Some examples on the two principal components of the features.

    `positions` (m,), `points` (m, 2); `shares` of the variance of the features that each has.
    """

    positions: Integers
    points: Floats
    shares: tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Per example arrays are by position in `source`.

    `rank` is -1 where not kept, and `weight` 0; `scores` is None where the method has none, NaN
    for validation rows; `predicted` and `label_probability` are the proxy's (None where no model
    was trained).
    `margin` is the mean margin of the label over training, None where training stopped early:
    under 0, another class was the likelier one on average. `copies` are the positions of what each
    is a near-duplicate of, -1 where of nothing, None where nobody asked. `plane` is where some
    examples lie in the space of the features, where there are any.
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
    copies: Integers | None = None
    plane: Plane | None = None

    @property
    def candidates(self) -> npt.NDArray[np.bool_]:
        """Marks (n,) what could be selected: neither held out nor a near-duplicate."""
        marked = np.ones(len(self.source), dtype=bool)
        marked[self.validation] = False
        return marked if self.copies is None else marked & (self.copies < 0)


def spread(positions: Integers, *, count: int) -> Integers:
    """`count` of the positions, evenly spread.

    >>> spread(np.arange(10), count=3)
    array([0, 4, 9])
    """
    if len(positions) <= count:
        return positions
    return positions[np.linspace(0, len(positions) - 1, count).astype(np.int64)]
