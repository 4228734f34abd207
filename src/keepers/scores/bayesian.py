"""What several draws of a model's weights agree on, such as passes with dropout on.

With p_k = exp(posterior_log_probs[:, k]), H the entropy in nats and y the label.
"""

from __future__ import annotations

import math

from torch import Tensor

from keepers.scores import loss, uncertainty
from keepers.scores.checks import checked, row_wise, unchecked

_entropy, _cross_entropy = unchecked(uncertainty.entropy), unchecked(loss.cross_entropy)


@checked
@row_wise
def predictive_entropy(posterior_log_probs: Tensor) -> Tensor:
    """H[mean_k p_k]: all uncertainty, of the label and of the model.

    Args:
        posterior_log_probs: (n, samples, classes); −∞ is a probability of 0.

    Returns:
        Scores (n,) in nats, from 0 to log(classes).

    Raises:
        ParameterError: NaN, another shape, or no log-probabilities.

    Example:
        >>> import torch
        >>> predictive_entropy(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log())
        tensor([0.6931])

    Paper:
        Gal, Islam and Ghahramani, Deep Bayesian Active Learning with Image Data, ICML 2017.
    """
    return _entropy(_log_mean(posterior_log_probs))


@checked
@row_wise
def conditional_entropy(posterior_log_probs: Tensor) -> Tensor:
    """mean_k H[p_k]: the uncertainty of the label that no more data would take away.

    Args:
        posterior_log_probs: (n, samples, classes); −∞ is a probability of 0.

    Returns:
        Scores (n,) in nats, from 0 to log(classes).

    Raises:
        ParameterError: NaN, another shape, or no log-probabilities.

    Example:
        >>> import torch
        >>> conditional_entropy(torch.tensor([[[1.0, 0.0], [0.5, 0.5]]]).log())
        tensor([0.3466])

    Paper:
        Mindermann et al., Prioritized Training on Points that are Learnable, Worth Learning, and
        Not Yet Learnt, ICML 2022, compare with it.
    """
    return _entropy(posterior_log_probs).mean(1)


@checked
@row_wise
def bald(posterior_log_probs: Tensor) -> Tensor:
    """H[mean_k p_k] − mean_k H[p_k]: how much the draws disagree.

    It is computed as mean_k KL(p_k ‖ mean p), which is the same and loses less to rounding.

    Args:
        posterior_log_probs: (n, samples, classes); −∞ is a probability of 0.

    Returns:
        Scores (n,) in nats, from 0 to log(min(samples, classes)).

    Raises:
        ParameterError: NaN, another shape, or no log-probabilities.

    Example:
        >>> import torch
        >>> sure_but_split = [[1.0, 0.0], [0.0, 1.0]]
        >>> bald(torch.tensor([sure_but_split, [[0.5, 0.5], [0.5, 0.5]]]).log())
        tensor([0.6931, 0.0000])

    Paper:
        Houlsby, Huszár, Ghahramani and Lengyel, Bayesian Active Learning for Classification and
        Preference Learning, 2011.
    """
    # The difference of two entropies would lose what the samples agree on to rounding.
    ratios = posterior_log_probs - _log_mean(posterior_log_probs)[:, None]
    terms = ratios.mul_(posterior_log_probs.exp())
    return terms.masked_fill_(posterior_log_probs.isneginf(), 0).sum(-1).mean(1).clamp_(min=0)


@checked
@row_wise
def loss_minus_conditional_entropy(posterior_log_probs: Tensor, labels: Tensor) -> Tensor:
    """−log mean_k p_k(y) − mean_k H[p_k]: the loss beyond what the model takes for noise.

    Args:
        posterior_log_probs: (n, samples, classes); −∞ is a probability of 0.
        labels: (n,), integers.

    Returns:
        Scores (n,) in nats, at least −log(classes); ∞ where no draw gives the label a chance.

    Raises:
        ParameterError: NaN, another shape, no log-probabilities, or labels out of range.

    Example:
        >>> import torch
        >>> posterior = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]]).log()
        >>> loss_minus_conditional_entropy(posterior, torch.tensor([1]))
        tensor([1.0397])

    Paper:
        Mindermann et al., Prioritized Training on Points that are Learnable, Worth Learning, and
        Not Yet Learnt, ICML 2022, compare with it.
    """
    losses = _cross_entropy(_log_mean(posterior_log_probs), labels)
    return losses - unchecked(conditional_entropy)(posterior_log_probs)


def _log_mean(log_probs_NKC: Tensor) -> Tensor:
    """log mean_k p_k, (n, classes)."""
    return log_probs_NKC.logsumexp(1) - math.log(log_probs_NKC.shape[1])
