"""The formulas of the scores, unchecked: no value is read back from the device.

The public functions beside this module check what they are given and then call these; so do
`methods.choose` and `methods.score`, once for all. Log-probabilities are in float32 or float64 and
at most 0, and all tensors of a call are on one device.

Shape suffixes: N examples, K runs or posterior samples, C classes, D features.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from keepers.tensors import by_rows

Formula = Callable[..., Tensor]


def _by_rows(formula: Formula) -> Formula:
    """The formula, block by block where an array is large."""

    @functools.wraps(formula)
    def blocked(*arrays: Tensor) -> Tensor:
        return by_rows(formula, *arrays)

    return blocked


@_by_rows
def least_confidence(log_probs_NC: Tensor) -> Tensor:
    """1 − p₁."""
    return -log_probs_NC.amax(-1).expm1()


@_by_rows
def margin(log_probs_NC: Tensor) -> Tensor:
    """1 − (p₁ − p₂)."""
    top_N2 = log_probs_NC.topk(2, dim=-1).values
    return top_N2[:, 1].exp() - top_N2[:, 0].expm1()


@_by_rows
def entropy(log_probs: Tensor) -> Tensor:
    """−Σ p log p over the last dimension, with 0 log 0 = 0."""
    terms = log_probs.exp().mul_(log_probs)
    # Where p is 0, p log p is 0 · −∞.
    return 0 - terms.masked_fill_(log_probs.isneginf(), 0).sum(-1)


def cross_entropy(log_probs_NC: Tensor, labels_N: Tensor) -> Tensor:
    """−log p(y)."""
    return 0 - log_probs_NC.gather(1, labels_N[:, None]).squeeze(1)


def reducible_loss(losses_N: Tensor, irreducible_losses_N: Tensor) -> Tensor:
    """The loss less the irreducible loss."""
    return losses_N - irreducible_losses_N


@_by_rows
def error_norm(log_probs_NC: Tensor, labels_N: Tensor) -> Tensor:
    """‖p − onehot(y)‖₂."""
    return _error_norms(log_probs_NC.unsqueeze(1), labels_N).squeeze(1)


@_by_rows
def el2n(early_log_probs_NKC: Tensor, labels_N: Tensor) -> Tensor:
    """‖p − onehot(y)‖₂, averaged over runs."""
    return _error_norms(early_log_probs_NKC, labels_N).mean(1)


def last_layer_gradient_norm(log_probs_NC: Tensor, labels_N: Tensor, features_ND: Tensor) -> Tensor:
    """‖p − onehot(y)‖₂ ‖h‖₂."""
    return error_norm(log_probs_NC, labels_N) * features_ND.norm(dim=1)


@_by_rows
def predictive_entropy(log_probs_NKC: Tensor) -> Tensor:
    """H[mean_k p_k]."""
    return entropy(_log_mean(log_probs_NKC))


@_by_rows
def conditional_entropy(log_probs_NKC: Tensor) -> Tensor:
    """mean_k H[p_k]."""
    return entropy(log_probs_NKC).mean(1)


@_by_rows
def bald(log_probs_NKC: Tensor) -> Tensor:
    """H[mean_k p_k] − mean_k H[p_k], as mean_k KL(p_k ‖ mean p)."""
    # The difference of two entropies would lose what the samples agree on to rounding.
    ratios_NKC = log_probs_NKC - _log_mean(log_probs_NKC)[:, None]
    terms_NKC = ratios_NKC.mul_(log_probs_NKC.exp())
    return terms_NKC.masked_fill_(log_probs_NKC.isneginf(), 0).sum(-1).mean(1).clamp_(min=0)


@_by_rows
def loss_minus_conditional_entropy(log_probs_NKC: Tensor, labels_N: Tensor) -> Tensor:
    """−log mean_k p_k(y) − mean_k H[p_k]."""
    return cross_entropy(_log_mean(log_probs_NKC), labels_N) - conditional_entropy(log_probs_NKC)


def forgetting(counts_N: Tensor) -> Tensor:
    """The counts."""
    return counts_N


def area_under_margin(aum_N: Tensor) -> Tensor:
    """−AUM."""
    return -aum_N


def _log_mean(log_probs_NKC: Tensor) -> Tensor:
    """log mean_k p_k, (n, classes)."""
    return log_probs_NKC.logsumexp(1) - math.log(log_probs_NKC.shape[1])


def _error_norms(log_probs_NKC: Tensor, labels_N: Tensor) -> Tensor:
    classes_C = torch.arange(log_probs_NKC.shape[-1], device=log_probs_NKC.device)
    onehot_NC = (labels_N[:, None] == classes_C).to(log_probs_NKC.dtype)
    return (log_probs_NKC.exp() - onehot_NC[:, None]).norm(dim=-1)


def uncontradicted(log_probs_NC: Tensor, labels_N: Tensor) -> Tensor:
    """p(y), plus 1 where the label stands by confident learning.

    With tⱼ the mean of p(j) over the examples of label j, a label is contradicted where of the
    classes with p(j) ≥ tⱼ the likeliest is another one.
    """
    probs_NC = log_probs_NC.exp()
    own_N = probs_NC.gather(1, labels_N[:, None]).squeeze(1)
    sums_C = probs_NC.new_zeros(probs_NC.shape[1]).index_add_(0, labels_N, own_N)
    counts_C = torch.bincount(labels_N, minlength=probs_NC.shape[1])
    mean_C = torch.where(counts_C > 0, sums_C / counts_C.clamp(min=1), torch.inf)
    sure_NC = probs_NC.masked_fill(probs_NC < mean_C, 0)
    likeliest_N = sure_NC.max(1)
    stands_N = (likeliest_N.values == 0) | (likeliest_N.indices == labels_N)
    return own_N + stands_N
