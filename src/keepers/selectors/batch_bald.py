"""BatchBALD: batches whose labels together say most about the model.

Shape suffixes: N examples, B candidates, K posterior samples, C classes, M configurations of the
labels of what is picked so far.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.selectors.checks import check_count, check_selected, unselected
from keepers.selectors.ranking import highest
from keepers.tensors import check_log_probs

TIE = 1e-6
"""Gains in nats that differ by less are a tie: sums have rounding errors of this size."""
BLOCK_ELEMENTS = 1 << 20
"""Numbers held at once while gains are taken: 4 MiB of float32."""
WIDEST = 64
"""Candidates whose gain is taken in one go."""


def batch_bald(
    posterior_log_probs: Tensor,
    k: int,
    *,
    generator: torch.Generator,
    selected: Tensor | None = None,
    num_candidates: int = 2000,
    num_samples: int = 1000,
) -> Tensor:
    """Pick what adds most to the information of the batch about the weights, greedily.

    uₜ = argmax_x I(y_S, y_x; w) over the joint labels, S ← S ∪ {uₜ}; ties go to the higher BALD
    score, then to the lower position. With W(k | y_S) ∝ Π_{i ∈ S} p_k(y_i) the posterior of the
    sample k after the labels y_S, a candidate adds

        I(y_x; w | y_S) = E_{y_S} H[Σ_k W(k | y_S) p_k(y_x)] − mean_k H[p_k(y_x)].

    The first pick is that of BALD; a copy of a pick adds little, where BALD would take it too. The
    expectation is exact while the picks have at most `num_samples` configurations of labels, and
    is over as many draws of them after that. What a candidate adds only falls, so that only
    those are looked at whose last value reaches the best (with drawn configurations, but for the
    noise of the draws).

    Only the `num_candidates` of the highest BALD score are candidates; when k is over that, the
    others follow by their score. So do the rest once no candidate adds anything: a batch can say
    no more than log(samples) of the weights, so that large batches ask for many samples. Picks
    nest for generators of the same state. Memory beside the log-probabilities: those of the
    candidates, and `num_samples` × samples.

    Sample k has to be the same draw of the weights for all examples, such as one dropout mask for
    all or one member of an ensemble: `keepers.signals.extract` sees to that.

    Args:
        posterior_log_probs: (n, samples, classes); −∞ is a probability of 0.
        k: number of new picks.
        generator: draws the configurations.
        selected: positions (s,) already selected or labelled; they take no part.
        num_candidates: candidates, 1 or more.
        num_samples: configurations, 1 or more; rounded up to a multiple of the samples.

    Returns:
        Positions (k,) in pick order, int64.

    Raises:
        ParameterError: NaN, another shape, or no log-probabilities; k over what is left;
            `selected` out of range or with repetitions; `num_candidates` or `num_samples` under 1.

    Example:
        >>> one = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
        >>> two = [[0.8, 0.2], [0.2, 0.8], [0.8, 0.2], [0.2, 0.8]]
        >>> posterior = torch.tensor([one, one, two]).log()  # BALD would take both copies first
        >>> batch_bald(posterior, 2, generator=torch.Generator().manual_seed(0))
        tensor([0, 2])

    Paper:
        Kirsch, van Amersfoort and Gal, BatchBALD: Efficient and Diverse Batch Acquisition for
        Deep Bayesian Active Learning, NeurIPS 2019.
    """
    log_probs_NKC = check_log_probs(posterior_log_probs, 3, "posterior_log_probs")
    n = len(log_probs_NKC)
    free = unselected(n, check_selected(selected, n, log_probs_NKC.device))
    check_count(k, len(free))
    for name, value in (("num_candidates", num_candidates), ("num_samples", num_samples)):
        if value < 1:
            raise ParameterError(name, f"got {value}", "Give 1 or more")
    if not k:
        return free[:0]
    scores_N = _bald(log_probs_NKC)[free]
    ranking = highest(scores_N, len(free))
    order = free[ranking]
    candidates = order[:num_candidates]
    batch = _Batch(
        log_probs_NKC[candidates], scores_N[ranking[:num_candidates]], num_samples, generator
    )
    while len(batch.picks) < k and batch.pick():
        pass
    left = torch.ones(len(order), dtype=torch.bool, device=order.device)
    left[batch.picks] = False
    return torch.cat([candidates[batch.picks], order[left]])[:k]


class _Batch:
    """What is picked so far, and what each candidate would add to it at the most."""

    def __init__(
        self,
        log_probs_BKC: Tensor,
        gains_B: Tensor,
        num_samples: int,
        generator: torch.Generator,
    ) -> None:
        self.log_probs_BKC = log_probs_BKC
        self.probs_BKC = log_probs_BKC.exp()
        self.noise_B = _entropy(self.probs_BKC).mean(1)
        self.bound_B = gains_B.clone()
        self.num_samples, self.generator = num_samples, generator
        self.picks: list[int] = []
        self.drawn = False
        num_weights = log_probs_BKC.shape[1]
        # log Π p_k(y_i) of each configuration: there is one of no labels.
        self.joint_MK = log_probs_BKC.new_zeros(1, num_weights)

    def pick(self) -> bool:
        """Add the candidate that adds most to `picks`, if any adds something."""
        best = self._best()
        if best is None:
            return False
        self.bound_B[best] = -torch.inf
        self.picks.append(best)
        if self.drawn:
            self.joint_MK += self._draw_labels(best)
        else:
            num_configurations = len(self.joint_MK) * self.probs_BKC.shape[2]
            if num_configurations <= self.num_samples:
                self._add_labels(best)
            else:
                self._draw_configurations()
        return True

    def _best(self) -> int | None:
        weights_MK, chance_M = self._posterior()
        fresh_B = torch.zeros_like(self.bound_B, dtype=torch.bool)
        best = -torch.inf
        while True:
            top, indices = self.bound_B.masked_fill(fresh_B, -torch.inf).topk(
                min(WIDEST, len(fresh_B))
            )
            indices = indices[(top > -torch.inf) & (top > best - TIE)]
            if not len(indices):
                break
            self.bound_B[indices] = gains = self._gains(indices, weights_MK, chance_M)
            fresh_B[indices] = True
            best = max(best, float(gains.max()))
        if best < TIE:
            return None
        return int((fresh_B & (self.bound_B >= best - TIE)).byte().argmax())

    def _posterior(self) -> tuple[Tensor, Tensor]:
        """W (m, k), and the chance (m,) of each configuration."""
        total_M = self.joint_MK.logsumexp(1)
        weights_MK = (self.joint_MK - total_M[:, None]).exp()
        if self.drawn:
            return weights_MK, torch.full_like(total_M, 1 / len(total_M))
        return weights_MK, (total_M - math.log(self.joint_MK.shape[1])).exp()

    def _gains(self, candidates: Tensor, weights_MK: Tensor, chance_M: Tensor) -> Tensor:
        found: list[Tensor] = []
        step = max(1, BLOCK_ELEMENTS // (len(weights_MK) * self.probs_BKC.shape[2]))
        for part in candidates.split(step):
            mixed = _entropy(weights_MK @ self.probs_BKC[part])
            found.append(mixed @ chance_M - self.noise_B[part])
        return torch.cat(found)

    def _add_labels(self, pick: int) -> None:
        joint = self.joint_MK[:, None] + self.log_probs_BKC[pick].T
        joint_MK = joint.flatten(0, 1)
        self.joint_MK = joint_MK[joint_MK.amax(1) > -torch.inf]  # without the impossible

    def _draw_configurations(self) -> None:
        """Labels of all picks, each configuration from one sample of the weights."""
        self.drawn = True
        num_weights = self.joint_MK.shape[1]
        num_each = -(-self.num_samples // num_weights)
        self.joint_MK = self.joint_MK.new_zeros(num_each * num_weights, num_weights)
        for pick in self.picks:
            self.joint_MK += self._draw_labels(pick)

    def _draw_labels(self, pick: int) -> Tensor:
        """log p_k(y) (m, k) of labels y that are drawn for a pick."""
        num, num_weights = self.joint_MK.shape
        uniform_M = torch.rand(num, generator=self.generator, device=self.generator.device)
        ends_KC = self.probs_BKC[pick].cumsum(1)
        ends_MC = ends_KC.repeat(num // num_weights, 1)  # row m draws from sample m mod k
        limit_M = uniform_M.to(ends_MC) * ends_MC[:, -1]
        labels_M = (limit_M[:, None] >= ends_MC).sum(1)
        return self.log_probs_BKC[pick].T[labels_M]


def _bald(log_probs_NKC: Tensor) -> Tensor:
    """H[mean_k p_k] − mean_k H[p_k], (n,), by blocks."""
    step = max(1, BLOCK_ELEMENTS // log_probs_NKC[0].numel())
    found: list[Tensor] = []
    for block in log_probs_NKC.split(step):
        probs = block.exp()
        found.append(_entropy(probs.mean(1)) - _entropy(probs).mean(1))
    return torch.cat(found)


def _entropy(probs: Tensor) -> Tensor:
    # Three times as fast as torch.special.entr, whose logarithm is not vectorised.
    floor = torch.finfo(probs.dtype).tiny
    return (probs * probs.clamp(min=floor).log()).sum(-1).neg_()
