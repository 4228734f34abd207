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

import torch
from torch import Tensor

from keepers.selectors.checks import check_finite

BLOCK_ELEMENTS = 1 << 18
"""Elements of a block of distances: 1 MiB of float32, which stays in a core's cache."""


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
        self._error = 512 * torch.finfo(points_ND.dtype).eps * float(largest) ** 0.5

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

    def to_point(self, position: int, out_N: Tensor) -> Tensor:
        """Squared distances of all points to one, into `out_N`: one matrix–vector product."""
        column = torch.tensor([position], device=out_N.device)
        centred_CD, term_C = self.column_terms(column)
        torch.addmv(self.norms_N, self.points_ND, centred_CD[0], alpha=-2, out=out_N)
        out_N.add_(term_C)
        near_P = (out_N <= self.tolerance(column)).nonzero().squeeze(1)
        out_N[near_P] = self.exact(near_P, column.expand(len(near_P)))
        return out_N

    def nearest(self, positions: Tensor) -> Tensor:
        """Squared distance of every point to the nearest of `positions`; ∞ where there are none."""
        out_N = torch.full_like(self.norms_N, torch.inf)
        for columns in positions.split(256) if len(positions) else ():
            centred_CD, term_C = self.column_terms(columns)
            tolerance_C = self.tolerance(columns)
            for rows in row_blocks(len(self), len(columns)):
                block = torch.addmm(term_C, self.points_ND[rows], centred_CD.T, alpha=-2)
                block += self.norms_N[rows, None]
                row_P, column_P = (block <= tolerance_C).nonzero().unbind(1)
                block[row_P, column_P] = self.exact(row_P + rows.start, columns[column_P])
                out_N[rows] = torch.minimum(out_N[rows], block.amin(1))
        return out_N
