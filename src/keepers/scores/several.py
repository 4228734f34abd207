"""How uncertain a model is about several labels, or about numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from keepers.scores.checks import checked, row_wise


@checked
@row_wise
def label_entropy(log_odds: Tensor) -> Tensor:
    """−p log p − (1 − p) log(1 − p) of each label, averaged.

    Args:
        log_odds: (n, labels), finite.

    Returns:
        Scores (n,) in nats, from 0 to log 2.

    Raises:
        ParameterError: NaN, infinity or another shape.

    Example:
        >>> label_entropy(torch.tensor([[0.0, 0.0], [9.0, -9.0]])).round(decimals=3)
        tensor([0.6930, 0.0010])

    Paper:
        Esuli and Sebastiani, Active Learning Strategies for Multi-Label Text Classification, ECIR
        2009 (confidence, averaged over the labels).
    """
    size_NL = log_odds.abs()
    return (F.softplus(-size_NL) + size_NL * (-size_NL).sigmoid()).mean(1)


@checked
@row_wise
def label_margin(log_odds: Tensor) -> Tensor:
    """1 − |2p − 1| of the label whose probability is nearest to one half.

    Args:
        log_odds: (n, labels), finite.

    Returns:
        Scores (n,) from 0 to 1.

    Raises:
        ParameterError: NaN, infinity or another shape.

    Example:
        >>> label_margin(torch.tensor([[0.0, 9.0], [9.0, -9.0]])).round(decimals=2)
        tensor([1., 0.])

    Paper:
        Brinker, On Active Learning in Multi-label Classification, GfKl 2006 (binary minimum).
    """
    return 2 * (-log_odds.abs()).sigmoid().amax(1)


@checked
@row_wise
def maximal_confidence_loss(log_odds: Tensor) -> Tensor:
    """The expected number of wrong labels if the m likeliest ones are predicted (MMC).

    m is the expected number of labels, Σ p, rounded, where the paper fits a regression for it.
    The loss of a label is (1 − y (2p − 1)) / 2, with y = 1 for the m likeliest and −1 for others.

    Args:
        log_odds: (n, labels), finite.

    Returns:
        Scores (n,) from 0 to the number of labels.

    Raises:
        ParameterError: NaN, infinity or another shape.

    Example:
        >>> maximal_confidence_loss(torch.tensor([[9.0, -9.0], [0.0, 0.0]])).round(decimals=2)
        tensor([0., 1.])

    Paper:
        Yang, Sun, Wang and Chen, Effective Multi-Label Active Learning for Text Classification,
        KDD 2009.
    """
    likely_NL = log_odds.sigmoid()
    ranked_NL = likely_NL.sort(dim=1, descending=True).values
    count_N1 = likely_NL.sum(1, keepdim=True).round()
    place_L = torch.arange(log_odds.shape[1], device=log_odds.device)
    return torch.where(place_L < count_N1, 1 - ranked_NL, ranked_NL).sum(1)


@checked
def committee_variance(posterior_predictions: Tensor) -> Tensor:
    """The variance of what several models predict, averaged over the numbers.

    Args:
        posterior_predictions: (n, models, numbers), finite, of 2 models or more.

    Returns:
        Scores (n,), 0 or more, in units of the variance of all predictions of each number.

    Raises:
        ParameterError: NaN, infinity or another shape, or one model.

    Example:
        >>> committee_variance(torch.tensor([[[0.0], [0.0]], [[0.0], [2.0]]]))
        tensor([0.0000, 1.3333])

    Paper:
        Burbidge, Rowland and King, Active Learning for Regression Based on Query by Committee,
        IDEAL 2007.
    """
    overall_D = posterior_predictions.var((0, 1), correction=0)
    overall_D = overall_D.clamp(min=torch.finfo(posterior_predictions.dtype).tiny)
    return (posterior_predictions.var(1, correction=0) / overall_D).mean(1)
