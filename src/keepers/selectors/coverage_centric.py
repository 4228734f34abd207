"""Coverage-centric selection: cover all difficulties but the hardest."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.selectors.checks import check_count, check_scores, check_selected, unselected
from keepers.selectors.sampling import random_subset, share_budget, split_by, take_turns
from keepers.types import Picks


def coverage_centric(
    difficulty: Tensor,
    k: int,
    *,
    generator: torch.Generator,
    selected: Tensor | None = None,
    beta: float = 0.1,
    num_bins: int = 50,
) -> Picks:
    """Drop the hardest, then draw evenly from bins of difficulty.

    The hardest ⌊β n⌋ are set aside (fewer where k leaves no room for that). The range of the rest
    is cut into bins of equal width; the smallest bin takes min(size, ⌊budget left / bins left⌋),
    then the next, and within a bin the draw is uniform.

    Args:
        difficulty: (n,), finite, higher = harder; of equal ones the lower position is set aside
            first.
        k: number of new picks.
        generator: draws within the bins.
        selected: positions (s,) already selected; they take no part.
        beta: fraction set aside. A default, not to be tuned on test data.
        num_bins: bins of difficulty.

    Returns:
        Positions (k,), the bins taking turns, and the positions set aside.

    Raises:
        ParameterError: NaN or infinite difficulty; k over what is left; `beta` not in [0, 1);
            `num_bins` under 1.

    Example:
        >>> difficulty = torch.tensor([0.0, 0.1, 0.2, 0.3, 5.0, 5.1, 9.0, 9.1, 50.0, 99.0])
        >>> generator = torch.Generator().manual_seed(0)
        >>> picks = coverage_centric(difficulty, 3, generator=generator, beta=0.2, num_bins=3)
        >>> picks.excluded, sorted(picks.positions.div(2, rounding_mode="floor").tolist())[1:]
        (tensor([9, 8]), [2, 3])

    Paper:
        Zheng, Liu, Lai and Prakash, Coverage-centric Coreset Selection for High Pruning Rates,
        ICLR 2023.
    """
    check_scores(difficulty, "difficulty", finite=True)
    if not 0 <= beta < 1:
        raise ParameterError("beta", f"got {beta}", "Give a fraction from 0 to below 1")
    if num_bins < 1:
        raise ParameterError("num_bins", f"got {num_bins}", "Give 1 or more")
    free = unselected(len(difficulty), check_selected(selected, len(difficulty), difficulty.device))
    check_count(k, len(free))
    hardest_first = free[difficulty[free].argsort(descending=True, stable=True)]
    num_excluded = min(int(beta * len(free)), len(free) - k)
    excluded = hardest_first[:num_excluded]
    rest = hardest_first[num_excluded:].sort().values
    bins = split_by(
        _bins(difficulty.detach()[rest], num_bins), torch.arange(len(rest), device=rest.device)
    )
    sizes = [len(members) for members in bins]
    drawn = [
        rest[members[random_subset(len(members), share, generator=generator).to(rest.device)]]
        for members, share in zip(bins, share_budget(sizes, k), strict=True)
    ]
    positions = take_turns(drawn, sizes) if drawn else rest
    why = f"among the hardest {beta:g} of the examples, which ccs drops"
    return Picks(positions=positions, excluded=excluded, why_excluded=why)


def _bins(values: Tensor, num_bins: int) -> Tensor:
    """The bin of equal width that each value lies in, from 0 to num_bins − 1."""
    if not len(values):
        return torch.empty(0, dtype=torch.int64, device=values.device)
    values = values.double()
    width = (values.max() - values.min()) / num_bins
    if float(width) == 0:
        return torch.zeros(len(values), dtype=torch.int64, device=values.device)
    return ((values - values.min()) / width).long().clamp_(max=num_bins - 1)
