"""Sparse rows (CSR) of counts: their columns, TF-IDF, principal axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_BLOCK = 1 << 16
"""Numbers of sparse rows that are worked on at a time."""
_SMALL = 256
"""Rows or columns up to which all singular vectors are computed at once."""
_RANK = 1e-3
"""Singular values under this share of the largest are rounding: float32 finds their squares."""
_BASIS = 3
"""Vectors of the Lanczos basis for each that is sought."""


def frequencies(rows: Any) -> npt.NDArray[np.int64]:
    """The number of rows with each word (d,), from counts (n, d)."""
    holding = np.zeros(rows.shape[1], np.int64)
    block = max(len(holding), _BLOCK)
    for start in range(0, len(rows.indices), block):  # bincount makes int64 of what it is given
        holding += np.bincount(rows.indices[start : start + block], minlength=len(holding))
    return holding


def words_in(rows: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The words (m,) that some row has, in rising order, and how many rows have each (m,)."""
    if _are_few(rows):
        words, holding = np.unique(rows.indices, return_counts=True)
        return words.astype(np.int64), holding
    seen = frequencies(rows)
    words = np.flatnonzero(seen)
    return words, seen[words]


def _are_few(rows: Any) -> bool:
    """Whether rows hold so few counts that an array over all columns costs more than a search."""
    return 16 * len(rows.indices) < rows.shape[1]


def columns(counts: Any, used: npt.NDArray[np.int64]) -> Any:
    """Some columns, in rising order, of CSR rows, which are used up: no second copy is held."""
    indices, data, bounds = counts.indices, counts.data, counts.indptr
    numbered = _by_search if _are_few(counts) else _by_table
    number = numbered(used, counts.shape[1], indices.dtype)
    ends = np.zeros_like(bounds)
    rows_in_block = max(1, _BLOCK * counts.shape[0] // max(1, len(indices)))
    for start in range(0, counts.shape[0], rows_in_block):
        ends_here = bounds[start : start + rows_in_block + 1]
        block, done = slice(ends_here[0], ends_here[-1]), ends[start]
        found = number(indices[block])
        kept = found >= 0
        upto = np.append(0, np.cumsum(kept))
        room = slice(done, done + upto[-1])
        indices[room], data[room] = found[kept], data[block][kept]
        ends[start : start + len(ends_here)] = done + upto[ends_here - ends_here[0]]
    shape = (counts.shape[0], len(used))
    return type(counts)((data[: ends[-1]], indices[: ends[-1]], ends), shape=shape)


Numbered = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
"""Gives columns their numbers among those that are used, -1 to others."""


def _by_table(used: npt.NDArray[np.int64], width: int, kind: Any) -> Numbered:
    number = np.full(width, -1, kind)
    number[used] = np.arange(len(used))
    return number.__getitem__


def _by_search(used: npt.NDArray[np.int64], width: int, kind: Any) -> Numbered:
    def number(found: npt.NDArray[Any]) -> npt.NDArray[Any]:
        at = np.searchsorted(used, found).clip(max=len(used) - 1)
        return np.where(used[at] == found, at, -1)

    return number


def inverse_frequencies(rows: Any) -> npt.NDArray[np.float32]:
    """ln((1 + n) / (1 + texts with the word)) + 1 of each word (d,), from counts (n, d)."""
    return (np.log((1 + rows.shape[0]) / (1 + frequencies(rows))) + 1).astype(np.float32)


def tf_idf(rows: Any, inverse: npt.NDArray[np.float32]) -> Any:
    """Counts (n, d) to (1 + ln count) times the inverse frequency (d,), each row of length 1.

    As scikit-learn's `TfidfTransformer(sublinear_tf=True)`, which takes two CPU seconds to import.
    """
    found = rows.copy()
    found.data = (1 + np.log(found.data)) * inverse[found.indices]
    lengths = np.sqrt(np.asarray(found.multiply(found).sum(1)).ravel())
    each = np.repeat(lengths, np.diff(found.indptr))
    found.data = (found.data / each).astype(np.float32)
    return found


def principal_axes(rows: Any, components: int) -> npt.NDArray[np.float32]:
    """The right singular vectors (d, k) of the largest singular values, largest first.

    `rows` (n, d) is sparse, of floats, and is not centred. k is `components`, or the rank of the
    rows where that is smaller, at least 1. The largest entry of each vector is positive; the same
    rows give the same bits. Lanczos iterations (SciPy's ARPACK) find them exactly, in half the
    time of a randomised decomposition: see `benchmarks/principal.py`.

    >>> from scipy.sparse import csr_array
    >>> principal_axes(csr_array(np.float32([[3, 4, 0], [0, 0, 1]])), 1).round(2).tolist()
    [[0.6000000238418579], [0.800000011920929], [0.0]]
    """
    shortest = min(rows.shape)
    if not rows.count_nonzero():
        return np.zeros((rows.shape[1], 1), np.float32)
    wide = rows.shape[0] <= rows.shape[1]
    short: Any = rows if wide else rows.T.tocsr()
    if shortest <= max(_SMALL, components + 1):
        squares, vectors = np.linalg.eigh((short @ short.T).toarray().astype(np.float64))
    else:
        squares, vectors = _largest(short, components)
    first = np.argsort(-squares, kind="stable")[:components]
    values, vectors = np.sqrt(squares[first].clip(min=0)), vectors[:, first]
    rank = max(1, int((values > _RANK * values[0]).sum()))
    axes = vectors[:, :rank].T
    if wide:
        axes = (short.T @ (vectors[:, :rank] / values[:rank].clip(min=1e-30))).T
    at = np.abs(axes).argmax(1, keepdims=True)
    return (axes * np.where(np.take_along_axis(axes, at, 1) < 0, -1, 1)).T.astype(np.float32)


def _largest(rows: Any, number: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Largest eigenvalues (k,) of rows rowsᵀ, and their vectors (n, k), by Lanczos iterations."""
    from scipy.sparse import linalg

    scipys: Any = linalg  # pyright brings wrong types of it

    def product(vector: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return rows @ (rows.T @ vector)

    n = rows.shape[0]
    operator = scipys.LinearOperator((n, n), matvec=product, dtype=rows.dtype)
    # Where rows share few words, many values are the same. From a vector of ones, or with a basis
    # of twice `number`, ARPACK found too few of their vectors, and stopped or gave smaller ones.
    draw = np.random.default_rng(0)
    start = draw.standard_normal(n).astype(rows.dtype)
    return scipys.eigsh(operator, number, v0=start, ncv=min(n, _BASIS * number), rng=draw)
