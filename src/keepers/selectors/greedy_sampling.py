"""Greedy sampling for numbers: spread over features and predicted values."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.selectors._distances import SquaredDistances
from keepers.selectors.checks import Features, check_count, check_rows, check_selected
from keepers.selectors.checks import check_features as check_points
from keepers.tensors import check_no_nan

ALIKE = 1e-5
"""Values that differ by less than this share of themselves are taken as the same."""


def greedy_sampling(
    features: Features, values: Tensor, k: int, *, selected: Tensor | None = None
) -> Tensor:
    """Pick the point whose least product of distances to the picks is the largest, k times (iGS).

    uₜ = argmaxᵢ min_{j ∈ S} ‖xᵢ - xⱼ‖ ‖yᵢ - yⱼ‖, S ← S ∪ {uₜ}; ties go to the lower position. So
    picks differ both in what they are and in what is predicted of them. Without `selected` the
    first is the point nearest to the mean of the features. O(n) memory beside the features.

    Args:
        features: (n, d), a tensor or a NumPy array.
        values: (n, numbers), labels where they are known and predictions elsewhere; the spread of
            each number counts as one.
        k: number of new picks.
        selected: positions (s,) already selected or labelled; they are never picked again.

    Returns:
        Positions (k,) in pick order, int64.

    Raises:
        ParameterError: features or values that are not finite or of another shape; k over what is
            left; `selected` out of range or with repetitions.

    Example:
        >>> line = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]])
        >>> greedy_sampling(line, torch.tensor([[0.0], [0.0], [0.0], [1.0], [5.0]]), 2)
        tensor([2, 4])

    Paper:
        Wu, Lin and Huang, Active Learning for Regression Using Greedy Sampling, Information
        Sciences 474, 2019.
    """
    points_ND = check_points(features)
    n = len(points_ND)
    values_ND = check_rows(check_no_nan(values, "values", finite=True), n, "features")
    spread_D = values_ND.std(0, correction=0)
    differing_D = spread_D > ALIKE * values_ND.abs().amax(0)  # else rounding would decide
    values_ND = torch.where(differing_D, values_ND / spread_D, 0.0)
    all_alike = not bool(differing_D.any())
    start = check_selected(selected, n, points_ND.device)
    check_count(k, n - len(start))
    picks = torch.empty(k, dtype=torch.int64, device=points_ND.device)
    apart, differ = SquaredDistances(points_ND), SquaredDistances(values_ND)
    column_N, other_N = torch.empty_like(apart.norms_N), torch.empty_like(differ.norms_N)
    nearest_N = torch.full_like(apart.norms_N, torch.inf)

    def cover(position: int) -> None:
        product_N = apart.to_point(position, column_N)
        product_N = product_N if all_alike else product_N * differ.to_point(position, other_N)
        torch.minimum(nearest_N, product_N, out=nearest_N)
        nearest_N[position] = -1

    for position in start.tolist():
        cover(position)
    for pick in range(k):
        position = int(nearest_N.argmax()) if pick or len(start) else int(apart.norms_N.argmin())
        picks[pick] = position
        cover(position)
    return picks
