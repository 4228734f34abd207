"""Greedy k-center: cover the feature space."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers import random
from keepers.selectors._distances import SquaredDistances
from keepers.selectors.checks import (
    Features,
    Report,
    check_count,
    check_features,
    check_selected,
    unheard,
)


def k_center_greedy(
    features: Features,
    k: int,
    *,
    selected: Tensor | None = None,
    generator: torch.Generator | None = None,
    report: Report = unheard,
) -> Tensor:
    """Pick the point farthest from what is already selected, k times.

    uₜ = argmaxᵢ min_{j ∈ S} ‖xᵢ − xⱼ‖₂, S ← S ∪ {uₜ}; ties go to the lower position,
    and what differs by rounding alone is a tie. The largest distance left is at most twice the
    smallest that k centres can reach. One matrix–vector product per pick and O(n) memory beside
    the features. Picks nest: the first k of a larger budget are the picks of budget k. A point at
    distance 0 is picked only when all are.

    Args:
        features: (n, d), a tensor or a NumPy array.
        k: number of new picks.
        selected: positions (s,) already selected or labelled; they are never picked again.
        generator: draws the first point where `selected` is empty. None draws it with seed 0.
        report: is called with the name of a part of the work, how much is done, and of how much.

    Returns:
        Positions (k,) in pick order, int64.

    Raises:
        ParameterError: features that are not (n, d) or not finite; k over what is left;
            `selected` out of range or with repetitions.

    Example:
        >>> line = torch.tensor([[0.0], [1.0], [9.0], [10.0], [5.0]])
        >>> k_center_greedy(line, 3, selected=torch.tensor([0]))
        tensor([3, 4, 1])

    Paper:
        Sener and Savarese, Active Learning for Convolutional Neural Networks: A Core-Set
        Approach, ICLR 2018. The bound: Gonzalez, Theoretical Computer Science 38, 1985.
    """
    points_ND = check_features(features)
    n = len(points_ND)
    start = check_selected(selected, n, points_ND.device)
    check_count(k, n - len(start))
    picks = torch.empty(k, dtype=torch.int64, device=points_ND.device)
    if not k:
        return picks
    distances = SquaredDistances(points_ND)
    nearest_N = distances.nearest(start)
    nearest_N[start] = -1
    column_N = torch.empty_like(nearest_N)
    for pick in range(k):
        known = pick > 0 or len(start) > 0
        position = distances.farthest(nearest_N) if known else _draw(n, generator)
        picks[pick] = position
        torch.minimum(nearest_N, distances.to_point(position, column_N), out=nearest_N)
        nearest_N[position] = -1
        report("picks", pick + 1, k)
    return picks


def _draw(n: int, generator: torch.Generator | None) -> int:
    generator = generator or random.generator(0, "k-center")
    return int(torch.randint(n, (1,), generator=generator, device=generator.device))
