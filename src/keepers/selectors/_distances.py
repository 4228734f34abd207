"""Squared Euclidean distances by matrix products, exact where a product would lose them.

Shape suffixes: N points, D features, C columns (other points), P pairs.

With m the mean, y_c = x_c − m and q_i = ‖x_i − m‖²,

    ‖x_i − x_c‖² = q_i + (q_c + 2 m·y_c) − 2 x_i·y_c

needs no centred copy of the points, and an offset common to all features does no harm. What
comes out below `tolerance`, where rounding shows, is computed again from the differences:
copies of a point are at distance exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from keepers.selectors.checks import check_finite

BLOCK_ELEMENTS = 1 << 18
"""Elements of a block of distances: 1 MiB of float32, which stays in a core's cache."""


ROUNDING = 8
"""Squared distances by products are off by less than this many ε of the largest product."""


class Rows(NamedTuple):
    """Some of the points, held together: positions (r,), points (r, d) and ‖x_i − m‖² (r,)."""

    positions: Tensor | None
    points: Tensor
    norms: Tensor


def row_blocks(n: int, width: int) -> Iterator[slice]:
    """Slices of n rows such that a block `width` wide fits a core's cache."""
    step = max(256, BLOCK_ELEMENTS // max(1, width))
    return (slice(start, min(n, start + step)) for start in range(0, n, step))


def squared_norms(points_ND: Tensor) -> Tensor:
    """‖x_i‖² (n,); features that are not finite are refused."""
    out_N = points_ND.new_empty(len(points_ND))
    for rows in row_blocks(len(points_ND), points_ND.shape[1]):
        out_N[rows] = points_ND[rows].square().sum(1)
    check_finite(points_ND, out_N)
    return out_N


class SquaredDistances:
    """Squared distances among (n, d) points, a column or a block at a time."""

    def __init__(self, points_ND: Tensor) -> None:
        self.points_ND = points_ND
        self.mean_D = points_ND.mean(0)
        self.norms_N = points_ND.new_empty(len(points_ND))
        largest = points_ND.new_zeros(())
        for rows in row_blocks(len(self), points_ND.shape[1]):
            block = points_ND[rows]
            self.norms_N[rows] = (block - self.mean_D).square_().sum(1)
            largest = torch.maximum(largest, block.square().sum(1).amax())
        check_finite(points_ND, self.norms_N)
        eps, length = torch.finfo(points_ND.dtype).eps, float(largest) ** 0.5
        self._error = 512 * eps * length
        self._rounding = ROUNDING * eps * length * float(self.norms_N.max()) ** 0.5
        self.everyone = Rows(None, points_ND, self.norms_N)

    def __len__(self) -> int:
        return len(self.points_ND)

    def column_terms(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """y_c of shape (c, d), and q_c + 2 m·y_c of shape (c,)."""
        centred_CD = self.points_ND[columns] - self.mean_D
        return centred_CD, self.norms_N[columns] + 2 * (centred_CD @ self.mean_D)

    def tolerance(self, columns: Tensor) -> Tensor:
        """For each column, the squared distance below which rounding shows."""
        return self._error * self.norms_N[columns].sqrt()

    def exact(self, rows_P: Tensor, columns_P: Tensor) -> Tensor:
        """Squared distances of pairs, from their differences."""
        out_P = self.norms_N.new_empty(len(rows_P))
        step = max(1, BLOCK_ELEMENTS // self.points_ND.shape[1])
        for start in range(0, len(rows_P), step):
            part = slice(start, start + step)
            difference = self.points_ND[rows_P[part]] - self.points_ND[columns_P[part]]
            out_P[part] = difference.square_().sum(1)
        return out_P

    def tie(self, squared: float) -> float:
        """How much squared distances about as large as `squared` may differ by rounding alone.

        Small ones are computed from differences, so the least relative error counts there.
        """
        return min(self._rounding, squared / 64)

    def farthest(self, nearest_N: Tensor) -> int:
        """The lowest position whose squared distance is the largest but for rounding."""
        position = int(nearest_N.argmax())
        best = float(nearest_N[position])
        before = nearest_N[:position] >= best - self.tie(best)
        return int(before.byte().argmax()) if bool(before.any()) else position

    def rows(self, positions: Tensor) -> Rows:
        """Some of the points as `to_point` and `nearest` take them: a copy."""
        return Rows(positions, self.points_ND[positions], self.norms_N[positions])

    def to_point(self, position: int, out_R: Tensor, rows: Rows | None = None) -> Tensor:
        """Squared distances of all points, or of `rows`, to one: one matrix–vector product."""
        rows = rows or self.everyone
        column = torch.tensor([position], device=out_R.device)
        centred_CD, term_C = self.column_terms(column)
        multiply(rows.points, centred_CD[0] * -2, out_R)
        out_R += rows.norms
        out_R += term_C
        near_P = flat_positions(out_R <= self.tolerance(column))
        own_P = near_P if rows.positions is None else rows.positions[near_P]
        out_R[near_P] = self.exact(own_P, column.expand(len(near_P)))
        return out_R

    def nearest(self, positions: Tensor, rows: Rows | None = None) -> Tensor:
        """Squared distance of all points, or of `rows`, to the nearest of `positions`, or ∞."""
        rows = rows or self.everyone
        out_R = torch.full_like(rows.norms, torch.inf)
        for columns in positions.split(256) if len(positions) else ():
            centred_CD, term_C = self.column_terms(columns)
            tolerance_C = self.tolerance(columns)
            for part in row_blocks(len(out_R), len(columns)):
                block = torch.addmm(term_C, rows.points[part], centred_CD.T, alpha=-2)
                block += rows.norms[part, None]
                row_P, column_P = (block <= tolerance_C).nonzero().unbind(1)
                own_P = row_P + part.start
                own_P = own_P if rows.positions is None else rows.positions[own_P]
                block[row_P, column_P] = self.exact(own_P, columns[column_P])
                out_R[part] = torch.minimum(out_R[part], block.amin(1))
        return out_R


def multiply(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """A matrix product, up to a half faster on processors without AVX-512 than torch's own."""
    if left.device.type != "cpu":
        return torch.matmul(left, right, out=out)
    found = np.matmul(left.numpy(), right.numpy(), out=None if out is None else out.numpy())
    return torch.from_numpy(found)


def smallest(block: Tensor) -> Tensor:
    """The column (r,) of the least entry of each row, the first of several."""
    if block.device.type == "cpu":  # NumPy is several times faster at this than torch
        return torch.from_numpy(block.numpy().argmin(1))
    return block.argmin(1)


def below(block: Tensor, limit: Tensor) -> Tensor:
    """Where the entries are less than the limit."""
    if block.device.type == "cpu":  # NumPy is faster at this, too
        return torch.from_numpy(np.less(block.numpy(), limit.numpy()))
    return block < limit


def flat_positions(mask: Tensor) -> Tensor:
    """Indices into the flattened mask of what is true."""
    if mask.device.type == "cpu":  # NumPy is several times faster at this than torch
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.view(-1).nonzero().squeeze(1)
