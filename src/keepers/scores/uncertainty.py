"""How unsure a model is.

With p = exp(log_probs) and p₁ ≥ p₂ the two largest.
"""

from __future__ import annotations

from torch import Tensor

from keepers.scores import formulas
from keepers.tensors import check_log_probs


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
    return formulas.least_confidence(check_log_probs(log_probs, 2))


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
    return formulas.margin(check_log_probs(log_probs, 2))


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
    return formulas.entropy(check_log_probs(log_probs, 2))
