"""Sparse rows of few texts as coordinates in their span: the same linear model, found sooner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FEW = 3_000
"""Rows up to which all their scalar products are held: 72 MB."""

FEW_OF_TWO, A_CLASS = 600, 100
"""Rows of two classes, and for each class more, up to which decomposing those products pays."""

DENSE = 100
"""Entries in coordinates that take no longer than one entry of sparse rows."""

LEAST = 1e-10
"""The square of what other rows do not tell of a row, up to which they tell it all."""


@dataclass(frozen=True)
class Spanned:
    """Rows to fit on: as they are, or (n, r) in an orthonormal basis of their span."""

    rows: Any
    basis: tuple[npt.NDArray[np.float64], Any] | None = None
    """A lower triangle (r, r) and the sparse rows (r, d) that are its product with the basis."""

    def coefficients(self, found: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Coefficients (k, d) of columns, from those (k, r) of what was fitted on."""
        if self.basis is None:
            return found
        from scipy.linalg import solve_triangular

        triangle, rows = self.basis
        solved = solve_triangular(triangle, found.T, lower=True, trans=1)
        return (rows.T @ solved).T.astype(rows.dtype)


def spanned(rows: Any, classes: int) -> Spanned:
    """Rows (n, d) for a linear model of `classes` classes with an L2 penalty.

    The best coefficients lie in the span of the rows and have the same length in its basis: so
    the model is the same, and the optimiser's vectors have at most n numbers a class, not d. Rows
    that are sparse and few get coordinates where that pays, by `benchmarks/linear_span.py`.

    Source: the representer theorem (Kimeldorf and Wahba 1971; Schölkopf, Herbrich and Smola 2001);
    the basis is that of a pivoted Cholesky decomposition, LAPACK's `dpstrf`.
    """
    n = rows.shape[0]
    few = n <= min(FEW, FEW_OF_TWO + A_CLASS * (classes - 2))
    if not (hasattr(rows, "tocsr") and few and n * n <= DENSE * rows.nnz):
        return Spanned(rows)
    from scipy.linalg import lapack

    exact = rows.astype(np.float64)
    products = (exact @ exact.T).toarray(order="F")
    decompose: Any = lapack.dpstrf  # pyright: ignore[reportAttributeAccessIssue]
    packed, order, rank, _ = decompose(products, tol=LEAST, lower=1, overwrite_a=1)
    factor, pivots = np.tril(packed)[:, :rank], order - 1
    coordinates = np.empty((n, rank), rows.dtype)
    coordinates[pivots] = factor
    return Spanned(coordinates, (factor[:rank], rows[pivots[:rank]]))
