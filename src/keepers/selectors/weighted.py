"""Random selection with probabilities that follow the scores."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.selectors.checks import check_count, check_scores, check_selected, unselected
from keepers.types import Picks


def importance_sample(
    scores: Tensor, k: int, *, generator: torch.Generator, selected: Tensor | None = None
) -> Picks:
    """Draws with replacement, p_i = g_i / Σg, and the weights w_i = 1 / (n p_i) that undo the bias.

    The mean of w_i l_i over the picks is an unbiased estimate of the mean of l over the n
    candidates, as long as l_i is 0 wherever g_i is. A position that is drawn twice is there twice.
    Where all scores are 0, p_i = 1/n.

    The draws are made on the generator's device and looked up where the scores are: with a
    generator on the CPU they are the same for scores on any device, but for the rounding of sums.

    Args:
        scores: (n,) of g, finite and 0 or more.
        k: number of draws, which may be over n.
        generator: draws.
        selected: positions (s,) already selected; they take no part.

    Returns:
        Positions (k,) in the order drawn, with repetitions, and weights (k,).

    Raises:
        ParameterError: NaN, infinite or negative scores; nothing to draw from; `selected` out of
            range or with repetitions.

    Example:
        >>> scores = torch.tensor([0.0, 3.0, 1.0])
        >>> picks = importance_sample(scores, 4, generator=torch.Generator().manual_seed(0))
        >>> picks.positions, picks.weights
        (tensor([2, 1, 1, 2]), tensor([1.3333, 0.4444, 0.4444, 1.3333]))

    Paper:
        Katharopoulos and Fleuret, Not All Samples Are Created Equal: Deep Learning with Importance
        Sampling, ICML 2018.
    """
    check_scores(scores, finite=True)
    if len(scores) and float(scores.min()) < 0:
        raise ParameterError("scores", f"got {float(scores.min()):g}", "Give scores of 0 or more")
    free = unselected(len(scores), check_selected(selected, len(scores), scores.device))
    check_count(k, max(k, len(free)) if len(free) else 0)
    importance = scores.detach() if scores.dtype == torch.float64 else scores.detach().float()
    picks = draw_by_importance(importance[free], k, generator=generator)
    return Picks(positions=free[picks.positions], weights=picks.weights)


def draw_by_importance(scores: Tensor, k: int, *, generator: torch.Generator) -> Picks:
    """`importance_sample` without its checks: no value is read back from the device."""
    n = len(scores)
    if not k:
        return Picks(positions=scores.new_empty(0, dtype=torch.int64), weights=scores[:0])
    exact = torch.float32 if scores.device.type == "mps" else torch.float64
    importance_N = scores.to(exact)
    importance_N = torch.where((importance_N > 0).any(), importance_N, 1.0)
    ends_N = importance_N.cumsum(0)
    total = ends_N[-1]
    uniform_K = torch.rand(k, dtype=exact, generator=generator, device=generator.device)
    # The draws are at most 1 − ε/2, so that the products never round up to the total.
    drawn_K = uniform_K.to(scores.device, non_blocking=True) * total
    positions = torch.searchsorted(ends_N, drawn_K, right=True)
    weights = total / (n * importance_N[positions])
    return Picks(positions=positions, weights=weights.to(scores.dtype))


def percentile_sample(
    scores: Tensor,
    k: int,
    *,
    generator: torch.Generator,
    selected: Tensor | None = None,
    beta: float | str = "auto",
) -> Picks:
    """Distinct positions drawn one after the other with probability ∝ percentile(score)^β.

    The percentile is the share of the candidates whose score is no higher, so that equal scores
    have equal chances; it is taken among the candidates of this call, where the paper keeps a
    history of losses. k is fixed, where the paper keeps each example with its own probability.
    The draws are those of Gumbel top-k, made on the generator's device: with a generator on the
    CPU they are the same for scores on any device.

    Args:
        scores: (n,), usually losses; ±∞ are allowed.
        k: number of new picks.
        generator: draws.
        selected: positions (s,) already selected; they take no part.
        beta: 0 is uniform; higher prefers high scores more. `auto` is n / k − 1 with n candidates,
            at which the paper, which keeps each with probability percentile^β, keeps k of them.

    Returns:
        Positions (k,) in the order drawn. Picks nest for generators of the same state.

    Raises:
        ParameterError: NaN; k over what is left; a negative or infinite `beta`; `selected` out of
            range or with repetitions.

    Example:
        >>> losses = torch.tensor([0.1, 0.2, 5.0, 0.3])
        >>> generator = torch.Generator().manual_seed(0)
        >>> percentile_sample(losses, 2, beta=50, generator=generator).positions
        tensor([2, 3])

    Paper:
        Jiang et al., Accelerating Deep Learning by Focusing on the Biggest Losers, 2019.
    """
    check_scores(scores)
    free = unselected(len(scores), check_selected(selected, len(scores), scores.device))
    check_count(k, len(free))
    drawn = draw_by_percentile(scores.detach()[free], k, generator=generator, beta=beta)
    return Picks(positions=free[drawn.positions])


def draw_by_percentile(
    scores: Tensor, k: int, *, generator: torch.Generator, beta: float | str
) -> Picks:
    """`percentile_sample`, its scores unchecked: no value is read back from the device."""
    n = len(scores)
    power = n / max(1, k) - 1 if beta == "auto" else beta
    if isinstance(power, str) or not 0 <= power < float("inf"):
        raise ParameterError(
            "beta", f"got {beta!r}", "Give a finite number of 0 or more, or auto for 1 / keep − 1"
        )
    draws_N = torch.empty(n, device=generator.device).exponential_(generator=generator)
    no_higher_N = torch.searchsorted(scores.sort().values, scores, right=True)
    log_chance_N = power * (no_higher_N / n).log()
    # −log of an exponential draw is a Gumbel draw.
    keys_N = log_chance_N - draws_N.to(scores.device, non_blocking=True).log()
    return Picks(positions=keys_N.argsort(descending=True, stable=True)[:k])
