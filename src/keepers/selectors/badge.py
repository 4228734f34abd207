"""BADGE: diverse batches of large gradients.

Shape suffixes: N examples, C classes, D features, P pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.selectors._distances import BLOCK_ELEMENTS, squared_norms
from keepers.selectors.checks import Features, check_count, check_rows, check_selected
from keepers.tensors import check_log_probs


def badge(
    log_probs: Tensor,
    features: Features,
    k: int,
    *,
    generator: torch.Generator,
    selected: Tensor | None = None,
) -> Tensor:
    """Draw far-apart gradients of the last layer, by the seeding of k-means++.

    gᵢ = (pᵢ − onehot(argmax pᵢ)) ⊗ hᵢ is the gradient of the last layer's weights if the likeliest
    class were the label. The first pick is the one of the largest ‖gᵢ‖; each further one is drawn
    with probability ∝ min_{j ∈ picks} ‖gᵢ − gⱼ‖². Large gradients, which are uncertain examples,
    lie far from the others, so that picks are uncertain and diverse.

    The embeddings, n × (classes · d) numbers, are never made: gᵢ·gⱼ is the product of the inner
    products of the two factors. One matrix–vector product of the features per pick, and O(n)
    memory beside them. Picks nest for generators of the same state. Copies of a pick are picked
    only when nothing else is left, and then by position.

    Args:
        log_probs: (n, classes); −∞ is a probability of 0.
        features: (n, d), the input of the last layer.
        k: number of new picks.
        generator: draws.
        selected: positions (s,) already selected or labelled; they take no part.

    Returns:
        Positions (k,) in pick order, int64.

    Raises:
        ParameterError: NaN, another shape, or no log-probabilities; features that are not (n, d)
            or not finite; k over what is left; `selected` out of range or with repetitions.

    Example:
        >>> log_probs = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]).log()
        >>> features = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
        >>> badge(log_probs, features, 2, generator=torch.Generator().manual_seed(0))
        tensor([0, 2])

    Paper:
        Ash, Zhang, Krishnamurthy, Langford and Agarwal, Deep Batch Active Learning by Diverse,
        Uncertain Gradient Lower Bounds, ICLR 2020.
    """
    log_probs_NC = check_log_probs(log_probs, 2)
    points_ND = check_rows(features, len(log_probs_NC), "predictions")
    n = len(points_ND)
    taken = check_selected(selected, n, points_ND.device)
    check_count(k, n - len(taken))
    embeddings = _GradientEmbeddings(log_probs_NC.to(points_ND), points_ND)
    free_N = torch.ones(n, dtype=torch.bool, device=points_ND.device)
    free_N[taken] = False
    nearest_N = torch.full_like(embeddings.norms_N, torch.inf).masked_fill_(~free_N, 0)
    picks = torch.empty(k, dtype=torch.int64, device=points_ND.device)
    for pick in range(k):
        if pick == 0:
            position = int(embeddings.norms_N.masked_fill(~free_N, -1).argmax())
        else:
            position = _draw(nearest_N, free_N, generator)
        picks[pick] = position
        free_N[position] = False
        torch.minimum(nearest_N, embeddings.to_point(position), out=nearest_N)
    return picks


class _GradientEmbeddings:
    """Squared distances among aᵢ ⊗ hᵢ, from the two factors.

    ‖gᵢ‖² = ‖aᵢ‖² ‖hᵢ‖² and gᵢ·gⱼ = (aᵢ·aⱼ)(hᵢ·hⱼ). Where ‖gᵢ‖² + ‖gⱼ‖² − 2 gᵢ·gⱼ is little but
    rounding, it is computed again from gᵢ − gⱼ = aᵢ ⊗ (hᵢ − hⱼ) + (aᵢ − aⱼ) ⊗ hⱼ.
    """

    def __init__(self, log_probs_NC: Tensor, points_ND: Tensor) -> None:
        self.points_ND = points_ND
        self.errors_NC = log_probs_NC.exp()
        top_N1 = log_probs_NC.argmax(1, keepdim=True)
        # p − 1 from log p: nothing is lost where p is nearly 1.
        self.errors_NC.scatter_(1, top_N1, log_probs_NC.gather(1, top_N1).expm1())
        self.norms_N = squared_norms(points_ND) * self.errors_NC.square().sum(1)
        self._rounding = 512 * torch.finfo(points_ND.dtype).eps

    def to_point(self, position: int) -> Tensor:
        """Squared distances (n,) of all embeddings to one."""
        inner_N = self.points_ND @ self.points_ND[position]
        inner_N *= self.errors_NC @ self.errors_NC[position]
        sums_N = self.norms_N + self.norms_N[position]
        out_N = inner_N.mul_(-2).add_(sums_N)
        near_P = (out_N <= sums_N.mul_(self._rounding)).nonzero().squeeze(1)
        out_N[near_P] = self._exact(near_P, position)
        return out_N

    def _exact(self, rows_P: Tensor, position: int) -> Tensor:
        out_P = self.norms_N.new_empty(len(rows_P))
        point_D, error_C = self.points_ND[position], self.errors_NC[position]
        step = max(1, BLOCK_ELEMENTS // len(point_D))
        for start in range(0, len(rows_P), step):
            rows = rows_P[start : start + step]
            apart_PD = self.points_ND[rows] - point_D
            errors_PC = self.errors_NC[rows]
            error_apart_PC = errors_PC - error_C
            own = errors_PC.square().sum(1) * apart_PD.square().sum(1)
            other = error_apart_PC.square().sum(1) * point_D.square().sum()
            both = (errors_PC * error_apart_PC).sum(1) * (apart_PD @ point_D)
            out_P[start : start + step] = own + other + 2 * both
        return out_P.clamp_(min=0)


def _draw(weights_N: Tensor, free_N: Tensor, generator: torch.Generator) -> int:
    """A position with probability ∝ its weight; the lowest free one where all weights are 0."""
    ends_N = weights_N.cpu().double().cumsum(0)
    drawn = torch.rand((), dtype=torch.float64, generator=generator, device=generator.device)
    total = float(ends_N[-1])
    if not total:
        return int(free_N.byte().argmax())
    return int(torch.searchsorted(ends_N, drawn.cpu() * total, right=True))
