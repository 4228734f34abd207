"""A ranking without near-duplicates.

Shape suffixes: D features, R rows of a block, P earlier picks.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from keepers.errors import ParameterError, unknown_name
from keepers.selectors._distances import BLOCK_ELEMENTS, squared_norms
from keepers.selectors.checks import Features, check_count, check_features, check_selected

Metric = Literal["euclidean", "cosine"]
BLOCK = 256
"""Rows of the ranking that are looked at in one go."""


class Distinct(NamedTuple):
    """Positions (k,) in pick order; the last `num_relaxed` of them are near to an earlier pick."""

    positions: Tensor
    num_relaxed: int


def distinct(
    order: Tensor,
    features: Features,
    k: int,
    *,
    threshold: float,
    metric: Metric = "euclidean",
    selected: Tensor | None = None,
) -> Distinct:
    """Walk through a ranking and leave out what is nearly a copy of an earlier pick.

    A row is left out if an earlier pick, or a selected one, lies within `threshold` of it:
    ‖x − y‖₂ ≤ threshold, or 1 − cos(x, y) ≤ threshold. A threshold of 0 leaves out exact copies.
    Where the whole ranking gives fewer than k, what was left out follows in its order, and the
    result says how many those are. O(k · d) time for each row that is looked at.

    Args:
        order: positions (m,), the best first, such as all picks of a method.
        features: (n, d), a tensor or a NumPy array.
        k: number of picks.
        threshold: 0 or more.
        metric: `euclidean`, or `cosine` (a row of zeros is at distance ½ from the rest).
        selected: positions (s,) already selected or labelled: near them is near an earlier pick.

    Returns:
        `positions` (k,) in pick order, int64, and `num_relaxed`.

    Raises:
        ParameterError: features that are not (n, d) or not finite; `order` or `selected` out of
            range, with repetitions, or with positions in common; k over the length of `order`; a
            negative or infinite threshold; an unknown metric.

    Example:
        >>> line = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
        >>> distinct(torch.arange(4), line, 2, threshold=1)
        Distinct(positions=tensor([0, 2]), num_relaxed=0)
        >>> distinct(torch.arange(4), line, 3, threshold=1)
        Distinct(positions=tensor([0, 2, 1]), num_relaxed=1)
    """
    points_ND = check_features(features)
    order = check_selected(order, len(points_ND), points_ND.device, "order")
    taken = check_selected(selected, len(points_ND), points_ND.device)
    if len(torch.cat([order, taken]).unique()) != len(order) + len(taken):
        raise ParameterError(
            "order", "got positions that are selected", "Rank those that may be picked"
        )
    check_count(k, len(order))
    if not 0 <= threshold < float("inf"):
        raise ParameterError("threshold", f"got {threshold}", "Give a finite distance of 0 or more")
    if metric not in get_args(Metric):
        raise unknown_name("metric", metric, get_args(Metric))
    squared_norms(points_ND)  # refuses what is not finite
    earlier = _Earlier(points_ND, taken, k, threshold, metric)
    picks: list[Tensor] = []
    skipped: list[Tensor] = []
    for rows in order.split(BLOCK):
        if earlier.num == len(taken) + k:
            break
        kept = earlier.add(rows)
        picks.append(rows[kept])
        skipped.append(rows[~kept])
    positions = torch.cat([order[:0], *picks])[:k]
    missing = k - len(positions)
    return Distinct(torch.cat([positions, *skipped])[:k], missing)


class _Earlier:
    """The rows that others are held against."""

    def __init__(
        self, points_ND: Tensor, taken: Tensor, k: int, threshold: float, metric: Metric
    ) -> None:
        self.points_ND, self.metric = points_ND, metric
        # Of rows of length 1, ‖x − y‖² = 2 (1 − cos(x, y)).
        self.limit = 2 * threshold if metric == "cosine" else threshold * threshold
        self.most = len(taken) + k
        self.rows_PD = points_ND.new_empty(self.most, points_ND.shape[1])
        self.norms_P = points_ND.new_empty(self.most)
        self.num = 0
        for rows in taken.split(BLOCK) if len(taken) else ():
            self._append(self._read(rows))

    def add(self, positions: Tensor) -> Tensor:
        """Which of the next rows (r,) are kept, of which the earlier ones count already."""
        rows_RD = self._read(positions)
        norms_R = rows_RD.square().sum(1)
        count = self.num
        near_R = torch.zeros(len(rows_RD), dtype=torch.bool, device=rows_RD.device)
        for start in range(0, count, BLOCK_ELEMENTS // BLOCK):
            part = slice(start, min(count, start + BLOCK_ELEMENTS // BLOCK))
            near_R |= self._near(rows_RD, norms_R, self.rows_PD[part], self.norms_P[part]).any(1)
        among_RR = self._near(rows_RD, norms_R, rows_RD, norms_R).cpu()
        kept: list[int] = []
        for row in (~near_R).nonzero().squeeze(1).tolist():
            if count + len(kept) == self.most:
                break
            if not bool(among_RR[row, kept].any()):
                kept.append(row)
        self._append(rows_RD[kept])
        kept_R = torch.zeros_like(near_R)
        kept_R[kept] = True
        return kept_R

    def _read(self, positions: Tensor) -> Tensor:
        rows_RD = self.points_ND[positions]
        if self.metric == "cosine":
            lengths = rows_RD.norm(dim=1, keepdim=True)
            rows_RD = torch.where(lengths > 0, rows_RD / lengths, rows_RD)
        return rows_RD

    def _append(self, rows_RD: Tensor) -> None:
        end = self.num + len(rows_RD)
        self.rows_PD[self.num : end] = rows_RD
        self.norms_P[self.num : end] = rows_RD.square().sum(1)
        self.num = end

    def _near(self, rows_RD: Tensor, norms_R: Tensor, other_PD: Tensor, norms_P: Tensor) -> Tensor:
        """Which pairs (r, p) are near: by a product, and by differences where rounding shows."""
        sums_RP = norms_R[:, None] + norms_P
        near_RP = sums_RP - 2 * (rows_RD @ other_PD.T)
        unsure = 512 * torch.finfo(rows_RD.dtype).eps * sums_RP
        row_E, column_E = ((near_RP - self.limit).abs() <= unsure).nonzero().unbind(1)
        near_RP = near_RP <= self.limit
        step = max(1, BLOCK_ELEMENTS // rows_RD.shape[1])
        for start in range(0, len(row_E), step):
            rows, columns = row_E[start : start + step], column_E[start : start + step]
            exact = (rows_RD[rows] - other_PD[columns]).square().sum(1)
            near_RP[rows, columns] = exact <= self.limit
        return near_RP
