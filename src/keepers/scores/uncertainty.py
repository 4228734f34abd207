"""How unsure a model is.

With p = exp(log_probs) and p₁ ≥ p₂ the two largest.
"""

from __future__ import annotations

from torch import Tensor

from keepers.scores.checks import checked, row_wise


@checked
@row_wise
def least_confidence(log_probs: Tensor) -> Tensor:
    """1 − p₁.

    Args:
        log_probs: (n, classes).

    Returns:
        Scores (n,) from 0 to 1 − 1/classes.

    Raises:
        ParameterError: NaN, another shape, or no log-probabilities.

    Example:
        >>> import torch
        >>> least_confidence(torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log())
        tensor([0.2500, 0.5000])

    Paper:
        Lewis and Gale, A Sequential Algorithm for Training Text Classifiers, SIGIR 1994.
    """
    return -log_probs.amax(-1).expm1()


@checked
@row_wise
def margin(log_probs: Tensor) -> Tensor:
    """1 − (p₁ − p₂).

    Args:
        log_probs: (n, classes).

    Returns:
        Scores (n,) from 0 to 1.

    Raises:
        ParameterError: NaN, another shape, or no log-probabilities.

    Example:
        >>> import torch
        >>> margin(torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log())
        tensor([0.5000, 1.0000])

    Paper:
        Scheffer, Decomain and Wrobel, Active Hidden Markov Models for Information Extraction,
        IDA 2001.
    """
    top_N2 = log_probs.topk(2, dim=-1).values
    return top_N2[:, 1].exp() - top_N2[:, 0].expm1()


@checked
@row_wise
def entropy(log_probs: Tensor) -> Tensor:
    """−Σ p log p, with 0 log 0 = 0.

    Args:
        log_probs: (n, classes); −∞ is a probability of 0.

    Returns:
        Scores (n,) in nats, from 0 to log(classes).

    Raises:
        ParameterError: NaN, another shape, or no log-probabilities.

    Example:
        >>> import torch
        >>> entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]]).log())
        tensor([0.0000, 0.6931])

    Paper:
        Shannon, A Mathematical Theory of Communication, 1948; for selection: Coleman et al.,
        Selection via Proxy, ICLR 2020.
    """
    terms = log_probs.exp().mul_(log_probs)
    # Where p is 0, p log p is 0 · −∞.
    return 0 - terms.masked_fill_(log_probs.isneginf(), 0).sum(-1)
