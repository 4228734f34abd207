"""A ranking without near-duplicates.

Shape suffixes: D features, R rows of a block, P earlier picks.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from keepers.errors import ParameterError, unknown_name
from keepers.selectors._distances import (
    BLOCK_ELEMENTS,
    flat_positions,
    multiply,
    squared_norms,
)
from keepers.selectors.checks import (
    Features,
    Report,
    check_count,
    check_features,
    check_selected,
    unheard,
)

Metric = Literal["euclidean", "cosine"]
BLOCK = 256
"""Rows of the ranking that are compared at once."""
COLUMNS = BLOCK_ELEMENTS // BLOCK
KEPT, FULL = -1, -2


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
    earlier = _Earlier(points_ND, taken, len(taken) + k, threshold, metric)
    picks: list[Tensor] = []
    skipped: list[Tensor] = []
    for rows in order.split(BLOCK):
        if earlier.num == len(taken) + k:
            break
        kept = earlier.add(rows) == KEPT
        picks.append(rows[kept])
        skipped.append(rows[~kept])
    positions = torch.cat([order[:0], *picks])[:k]
    missing = k - len(positions)
    return Distinct(torch.cat([positions, *skipped])[:k], missing)


def near_duplicates(
    features: Features,
    *,
    threshold: float,
    metric: Metric = "euclidean",
    report: Report = unheard,
) -> Tensor:
    """For each row, the first earlier row that it is nearly a copy of; −1 where it is none.

    Rows are walked through from position 0: one is a copy where a row before it that is none
    itself lies within `threshold`, as in `distinct`. O(n · d) time for each row, and memory for
    the rows that are no copies beside the features.

    Args:
        features: (n, d), a tensor or a NumPy array.
        threshold: 0 or more.
        metric: `euclidean`, or `cosine`, for which a row of zeros is refused: it has no direction.
        report: is called with the name of the work, how many rows are done, and of how many.

    Returns:
        Positions (n,), int64, each below its own place, and −1.

    Raises:
        ParameterError: features that are not (n, d) or not finite, or of zeros where the metric is
            `cosine`; a negative or infinite threshold; an unknown metric.

    Example:
        >>> line = torch.tensor([[0.0], [0.1], [5.0], [5.1], [0.2]])
        >>> near_duplicates(line, threshold=1)
        tensor([-1,  0, -1,  2,  0])

    Paper:
        Abbas et al., SemDeDup: Data-Efficient Learning at Web-Scale through Semantic
        Deduplication, 2023.
    """
    points_ND = check_features(features)
    earlier = _Earlier(points_ND, points_ND.new_empty(0).long(), len(points_ND), threshold, metric)
    if metric == "cosine":
        zeros = (~points_ND.any(1)).nonzero()[:, 0]
        if len(zeros):
            raise ParameterError(
                "features",
                f"got only zeros at {len(zeros)} positions, the first is {int(zeros[0])}",
                "Leave those examples out: they have no direction",
            )
    places = torch.arange(len(points_ND), device=points_ND.device)
    found: list[Tensor] = []
    kept: list[Tensor] = []
    for rows in places.split(BLOCK):
        of = earlier.add(rows)
        kept.append(rows[of == KEPT])
        found.append(of)
        report("near-duplicates", int(rows[-1]) + 1, len(points_ND))
    of_N, kept_P = torch.cat(found), torch.cat(kept)
    return torch.where(of_N == KEPT, KEPT, kept_P[of_N.clamp(min=0)])


class _Earlier:
    """The rows that others are held against: `taken` and those that are added, at most `most`."""

    def __init__(
        self, points_ND: Tensor, taken: Tensor, most: int, threshold: float, metric: Metric
    ) -> None:
        if not 0 <= threshold < float("inf"):
            raise ParameterError(
                "threshold", f"got {threshold}", "Give a finite distance of 0 or more"
            )
        if metric not in get_args(Metric):
            raise unknown_name("metric", metric, get_args(Metric))
        squared_norms(points_ND)  # refuses what is not finite
        self.points_ND, self.metric, self.most = points_ND, metric, most
        # Of rows of length 1, ‖x − y‖² = 2 (1 − cos(x, y)).
        self.limit = 2 * threshold if metric == "cosine" else threshold * threshold
        self.rows_PD = points_ND.new_empty(most, points_ND.shape[1])
        self.norms_P = points_ND.new_empty(most)
        self.num = 0
        for rows in taken.split(BLOCK) if len(taken) else ():
            self._append(self._read(rows))

    def add(self, positions: Tensor) -> Tensor:
        """For each of the next rows (r,) the number of the first earlier one that it is near to.

        `KEPT` where there is none: it is an earlier one itself from then on. `FULL` where there
        are `most` already.
        """
        rows_RD = self._read(positions)
        norms_R = rows_RD.square().sum(1)
        count = self.num
        of_R = torch.full((len(rows_RD),), self.most, device=rows_RD.device)
        for start in range(0, count, COLUMNS):
            part = slice(start, min(count, start + COLUMNS))
            row_E, column_E = self._near(rows_RD, norms_R, self.rows_PD[part], self.norms_P[part])
            of_R.scatter_reduce_(0, row_E, column_E + start, "amin")
        row_E, column_E = self._near(rows_RD, norms_R, rows_RD, norms_R)
        among: list[list[int]] = [[] for _ in rows_RD]
        for row, column in zip(row_E.tolist(), column_E.tolist(), strict=True):
            among[row].append(column)
        kept: dict[int, int] = {}
        for row in (of_R == self.most).nonzero()[:, 0].tolist():
            near = [kept[other] for other in among[row] if other in kept]
            if near:
                of_R[row] = min(near)
            elif count + len(kept) == self.most:
                of_R[row] = FULL
            else:
                of_R[row] = KEPT
                kept[row] = count + len(kept)
        self._append(rows_RD[list(kept)])
        return of_R

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

    def _near(
        self, rows_RD: Tensor, norms_R: Tensor, other_PD: Tensor, norms_P: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Which pairs (r, p) are near: by a product, and by differences where rounding shows.

        ‖x − y‖² ≤ limit where x·y ≥ (‖x‖² + ‖y‖² − limit) / 2.
        """
        rounding = 512 * torch.finfo(rows_RD.dtype).eps
        excess_RP = multiply(rows_RD, other_PD.T).sub_(norms_P * (0.5 - rounding))
        least_R = norms_R * (0.5 - rounding) - 0.5 * self.limit
        entries = flat_positions(excess_RP >= least_R[:, None])
        row_E, column_E = entries // len(norms_P), entries % len(norms_P)
        sums_E = norms_R[row_E] + norms_P[column_E]
        squared_E = sums_E - 2 * (
            excess_RP.view(-1)[entries] + norms_P[column_E] * (0.5 - rounding)
        )
        near_E = squared_E <= self.limit
        unsure = ((squared_E - self.limit).abs() <= rounding * sums_E).nonzero()[:, 0]
        for part in unsure.split(max(1, BLOCK_ELEMENTS // rows_RD.shape[1])):
            exact = (rows_RD[row_E[part]] - other_PD[column_E[part]]).square().sum(1)
            near_E[part] = exact <= self.limit
        return row_E[near_E], column_E[near_E]
