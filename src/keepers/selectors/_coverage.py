"""How well picks cover the points, and what a candidate would add.

With D_i the squared distance of point i to its nearest pick, the gain of a candidate c is
Σᵢ max(0, D_i − ‖x_i − x_c‖²). It only falls as picks are added (submodularity).

Shape suffixes: N points, D features, C candidates, E list entries.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from keepers.selectors._distances import (
    SquaredDistances,
    below,
    flat_positions,
    multiply,
    row_blocks,
)

UNREACHABLE = -1e30
LIST_BLOCK = 1 << 20
NARROWEST, WIDEST = 16, 256
"""Candidates that are evaluated in one matrix product."""
TIE = 1e-6
"""Gains that differ by less than this fraction are a tie: it is the rounding of products."""


class Coverage:
    """Running squared distances to the nearest pick: O(n) memory beside the points.

    With a `sample` of the points, distances are kept and gains summed over that alone. Distances
    to the nearest of `selected` that are known are not computed again, and not copied.
    """

    def __init__(
        self,
        distances: SquaredDistances,
        selected: Tensor,
        *,
        sample: Tensor | None = None,
        nearest: Tensor | None = None,
    ) -> None:
        self.distances = distances
        self._rows = self.distances.everyone if sample is None else self.distances.rows(sample)
        self.nearest_N = distances.nearest(selected, self._rows) if nearest is None else nearest
        self._column_N = torch.empty_like(self.nearest_N)

    def __len__(self) -> int:
        return len(self.distances)

    def most_central(self) -> int:
        """Σᵢ ‖x_i − x_c‖² = n ‖x_c − m‖² + Σᵢ ‖x_i − m‖² is least where ‖x_c − m‖² is."""
        return int(self.distances.norms_N.argmin())

    def add(self, position: int) -> None:
        """Pick a point."""
        column_N = self.distances.to_point(position, self._column_N, self._rows)
        torch.minimum(self.nearest_N, column_N, out=self.nearest_N)

    def gains(self, candidates: Tensor) -> Tensor:
        """Gains (c,) in float64, by one blocked matrix product."""
        gain_C = torch.zeros(len(candidates), dtype=torch.float64, device=candidates.device)
        for block in self._reductions(candidates):
            gain_C += block.clamp_(min=0).sum(1)
        return gain_C

    def num_entries(self) -> int:
        """About how many pairs have ‖x_i − x_c‖² < D_i, estimated on a part of the candidates."""
        step = max(1, len(self) // 512)
        candidates = torch.arange(0, len(self), step, device=self.nearest_N.device)
        found = sum(int((block > 0).sum()) for block in self._reductions(candidates))
        return found * len(self) // len(candidates)

    def _reductions(self, candidates: Tensor) -> Iterator[Tensor]:
        """Blocks (c, rows) of D_i − ‖x_i − x_c‖², or far below 0 where a pick lies on x_i."""
        centred_CD, term_C = self.distances.column_terms(candidates)
        doubled_CD = 2 * centred_CD
        reach_S = self.nearest_N - self._rows.norms
        reach_S.masked_fill_(self.nearest_N == 0, UNREACHABLE)
        buffer = None  # a new one for each block would be handed back and cleared each time
        for rows in row_blocks(len(reach_S), len(candidates)):
            if buffer is None:
                buffer = reach_S.new_empty(len(candidates), len(reach_S[rows]))
            points_RD = self._rows.points[rows]
            block = multiply(doubled_CD, points_RD.T, buffer[:, : len(points_RD)])
            yield block.add_(reach_S[rows]).sub_(term_C[:, None])


def first_pick(coverage: Coverage, selected: Tensor) -> list[int]:
    """The point of least total squared distance, picked where nothing is selected yet."""
    if len(selected):
        return []
    position = coverage.most_central()
    coverage.add(position)
    return [position]


def best_candidate(
    coverage: Coverage, candidates_C: Tensor, bound_C: Tensor, enough: float = 0.0
) -> int | None:
    """The index of the candidate of greatest gain; None where none gains, or not `enough`.

    Only candidates whose bound reaches the best gain are evaluated; `bound_C` gets what is found.
    """
    seen = candidates_C.new_empty(0)
    gains = bound_C.new_empty(0)
    width = WIDEST if bool((bound_C == torch.inf).any()) else NARROWEST
    while True:
        top, indices = bound_C.topk(min(width, len(bound_C)))
        indices = indices[(top >= enough) & (top > 0)]
        if not len(indices):
            break
        found = coverage.gains(candidates_C[indices])
        seen, gains = torch.cat([seen, indices]), torch.cat([gains, found])
        bound_C[indices] = -torch.inf
        enough = max(enough, float(gains.max()) * (1 - TIE))
        width = min(2 * width, WIDEST)
    bound_C[seen] = gains
    seen = seen[(gains >= enough) & (gains > 0)]
    return int(seen.min()) if len(seen) else None


class CoverageLists:
    """The same, once few pairs matter: for each point, the candidates nearer than its pick.

    Pairs with ‖x_i − x_c‖² ≥ D_i can never matter again, as D_i only falls. The rest are listed
    by point, and by candidate too: a pick walks through the points that it comes nearer to, and
    through the lists of those. All gains are then known at all times.
    """

    def __init__(self, coverage: Coverage) -> None:
        self._nearest_N = coverage.nearest_N
        columns: list[Tensor] = []
        distances: list[Tensor] = []
        counts: list[Tensor] = []
        n = len(coverage)
        step = max(16, LIST_BLOCK // n)
        # One buffer for all blocks: a new one each would lie between the lists and never be reused.
        buffer = coverage.nearest_N.new_empty(min(step, n), n)
        for start in range(0, n, step):
            rows = slice(start, min(n, start + step))
            column_E, distance_E, count_R = _nearer(coverage, rows, buffer)
            columns.append(column_E)
            distances.append(distance_E)
            counts.append(count_R)
        self._set(torch.cat(columns), torch.cat(distances), torch.cat(counts))

    def _set(self, column_E: Tensor, distance_E: Tensor, count_N: Tensor) -> None:
        self._column_E, self._distance_E, self._count_N = column_E, distance_E, count_N
        self._start_N = count_N.cumsum(0) - count_N
        self._owner_E = torch.arange(
            len(count_N), dtype=torch.int32, device=count_N.device
        ).repeat_interleave(count_N)
        self._by_candidate_E = column_E.argsort().int()
        self._end_C = torch.bincount(column_E, minlength=len(count_N)).cumsum(0).tolist()
        self._changed = 0
        nearest_N = self._nearest_N
        self.gain_N = torch.zeros(len(nearest_N), dtype=torch.float64, device=nearest_N.device)
        step = 1 << 20
        for start in range(0, len(column_E), step):
            part = slice(start, start + step)
            gain_E = nearest_N[self._owner_E[part]].double() - distance_E[part]
            self.gain_N.index_add_(0, column_E[part], gain_E.clamp_(min=0))

    def add(self, position: int) -> None:
        """Pick a point and bring all gains up to date."""
        first = self._end_C[position - 1] if position else 0
        own = self._by_candidate_E[first : self._end_C[position]]
        points, distances = self._owner_E[own], self._distance_E[own]
        before = self._nearest_N[points]
        nearer = distances < before
        moved, before, after = points[nearer], before[nearer], distances[nearer]
        self._nearest_N[moved] = after
        count = self._count_N[moved]
        ends = count.cumsum(0)
        entries = torch.arange(int(count.sum()), device=moved.device)
        entries += (self._start_N[moved] - ends + count).repeat_interleave(count)
        # In double precision, so that what is added and taken away cancels.
        distance_E = self._distance_E[entries].double()
        lost_E = (before.repeat_interleave(count) - distance_E).clamp_(min=0)
        kept_E = (after.repeat_interleave(count) - distance_E).clamp_(min=0)
        self.gain_N.index_add_(0, self._column_E[entries], kept_E.sub_(lost_E))
        self._changed += len(entries)
        if self._changed > 2 * len(self._column_E):
            self.refresh()

    def refresh(self) -> None:
        """Drop the pairs that matter no more, and sum the gains afresh."""
        alive_E = self._distance_E < self._nearest_N[self._owner_E]
        counts = torch.bincount(self._owner_E[alive_E], minlength=len(self._count_N))
        self._set(self._column_E[alive_E], self._distance_E[alive_E], counts)


def _nearer(coverage: Coverage, rows: slice, buffer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The candidates nearer to each of some points than its pick, with their distances."""
    distances = coverage.distances
    points_R = torch.arange(rows.start, rows.stop, device=buffer.device)
    nearest_R = coverage.nearest_N[rows]
    centred_RD, term_R = distances.column_terms(points_R)
    block = buffer[: len(points_R)]
    torch.addmm(distances.norms_N, centred_RD, distances.points_ND.T, alpha=-2, out=block)
    limit_R = torch.where(nearest_R == 0, UNREACHABLE, nearest_R - term_R)
    entries = flat_positions(below(block, limit_R[:, None]))
    row_E, column_E = entries // len(coverage), entries % len(coverage)
    distance_E = block.view(-1)[entries] + term_R[row_E]
    near_E = (distance_E <= distances.tolerance(points_R)[row_E]).nonzero().squeeze(1)
    distance_E[near_E] = distances.exact(points_R[row_E[near_E]], column_E[near_E])
    return column_E.int(), distance_E, torch.bincount(row_E, minlength=len(points_R))
