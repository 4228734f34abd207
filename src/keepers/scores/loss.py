"""How wrong a model is, given the labels. With p = exp(log_probs) and y the label."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.scores.checks import checked, row_wise, unchecked


@checked
def cross_entropy(log_probs: Tensor, labels: Tensor) -> Tensor:
    """−log p(y).

    Args:
        log_probs: (n, classes).
        labels: (n,), integers.

    Returns:
        Losses (n,) in nats, 0 or more; ∞ where the label has probability 0.

    Raises:
        ParameterError: NaN, another shape, no log-probabilities, or labels out of range.

    Example:
        >>> import torch
        >>> cross_entropy(torch.tensor([[0.75, 0.25], [0.5, 0.5]]).log(), torch.tensor([0, 1]))
        tensor([0.2877, 0.6931])
    """
    return 0 - log_probs.gather(1, labels[:, None]).squeeze(1)


@checked
def reducible_loss(losses: Tensor, irreducible_losses: Tensor) -> Tensor:
    """The loss less the irreducible loss: L[y | x; D_t] − L[y | x; D_ho].

    Low for what is learnt already, for labels that are wrong and for outliers, which the model
    trained on other data gets wrong too.

    Args:
        losses: (n,), of the model that is being trained.
        irreducible_losses: (n,), finite, of a model trained on other data (the holdout set).

    Returns:
        Scores (n,), which may be negative.

    Raises:
        ParameterError: NaN, infinite irreducible losses, or another shape.

    Example:
        >>> import torch
        >>> reducible_loss(torch.tensor([2.0, 2.0, 0.5]), torch.tensor([0.5, 3.0, 0.5]))
        tensor([ 1.5000, -1.0000,  0.0000])

    Paper:
        Mindermann et al., Prioritized Training on Points that are Learnable, Worth Learning, and
        Not Yet Learnt, ICML 2022.
    """
    return losses - irreducible_losses


@checked
@row_wise
def error_norm(log_probs: Tensor, labels: Tensor) -> Tensor:
    """‖p − onehot(y)‖₂ of one model.

    Args:
        log_probs: (n, classes).
        labels: (n,), integers.

    Returns:
        Scores (n,) from 0 to √2.

    Raises:
        ParameterError: NaN, another shape, no log-probabilities, or labels out of range.

    Example:
        >>> import torch
        >>> error_norm(torch.tensor([[0.75, 0.25], [1.0, 0.0]]).log(), torch.tensor([0, 1]))
        tensor([0.3536, 1.4142])
    """
    return _error_norms(log_probs.unsqueeze(1), labels).squeeze(1)


@checked
def last_layer_gradient_norm(log_probs: Tensor, labels: Tensor, features: Tensor) -> Tensor:
    """‖p − onehot(y)‖₂ ‖h‖₂, with h the features: the norm of the last layer's gradient.

    It is exact for the weights of a linear last layer under cross-entropy, whose gradient is
    (p − onehot(y)) hᵀ; the bias is left out.

    Args:
        log_probs: (n, classes).
        labels: (n,), integers.
        features: (n, d), finite: the input of the last layer.

    Returns:
        Scores (n,), 0 or more.

    Raises:
        ParameterError: NaN, infinite features, another shape, no log-probabilities, or labels
            out of range.

    Example:
        >>> import torch
        >>> log_probs = torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log()
        >>> features = torch.tensor([[3.0, 4.0], [5.0, 0.0]])
        >>> last_layer_gradient_norm(log_probs, torch.tensor([0, 0]), features)
        tensor([3.5355, 0.0000])

    Paper:
        Katharopoulos and Fleuret, Not All Samples Are Created Equal: Deep Learning with Importance
        Sampling, ICML 2018, bound the gradient norm with that of the last layer.
    """
    return unchecked(error_norm)(log_probs, labels) * features.norm(dim=1)


@checked
@row_wise
def el2n(early_log_probs: Tensor, labels: Tensor) -> Tensor:
    """‖p − onehot(y)‖₂ at an early epoch, averaged over independent runs.

    Args:
        early_log_probs: (n, runs, classes), of models stopped early in training.
        labels: (n,), integers.

    Returns:
        Scores (n,) from 0 to √2.

    Raises:
        ParameterError: NaN, another shape, no log-probabilities, or labels out of range.

    Example:
        >>> import torch
        >>> el2n(torch.tensor([[[0.75, 0.25], [0.25, 0.75]]]).log(), torch.tensor([0]))
        tensor([0.7071])

    Paper:
        Paul, Ganguli and Dziugaite, Deep Learning on a Data Diet, NeurIPS 2021.
    """
    return _error_norms(early_log_probs, labels).mean(1)


@checked
def uncontradicted(log_probs: Tensor, labels: Tensor) -> Tensor:
    """p(y), plus 1 where the label stands by confident learning.

    A label is contradicted where a model that was not trained on it is confident of another class:
    with tⱼ the mean of p(j) over the examples of label j, where of the classes with p(j) ≥ tⱼ the
    likeliest is not y.

    Args:
        log_probs: (n, classes), of models that were not trained on the examples.
        labels: (n,) class numbers.

    Returns:
        Scores (n,): over 1 where the label stands, at most 1 where it is contradicted.

    Raises:
        ParameterError: as `cross_entropy`.

    Paper:
        Northcutt, Jiang and Chuang, Confident Learning, JAIR 2021.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.9, 0.1]])
        >>> (uncontradicted(probs.log(), torch.tensor([0, 0, 1, 1])) > 1).tolist()
        [True, True, True, False]
    """
    probs_NC = log_probs.exp()
    own_N = probs_NC.gather(1, labels[:, None]).squeeze(1)
    sums_C = probs_NC.new_zeros(probs_NC.shape[1]).index_add_(0, labels, own_N)
    counts_C = torch.bincount(labels, minlength=probs_NC.shape[1])
    mean_C = torch.where(counts_C > 0, sums_C / counts_C.clamp(min=1), torch.inf)
    sure_NC = probs_NC.masked_fill(probs_NC < mean_C, 0)
    likeliest_N = sure_NC.max(1)
    stands_N = (likeliest_N.values == 0) | (likeliest_N.indices == labels)
    return own_N + stands_N


def _error_norms(log_probs_NKC: Tensor, labels_N: Tensor) -> Tensor:
    classes_C = torch.arange(log_probs_NKC.shape[-1], device=log_probs_NKC.device)
    onehot_NC = (labels_N[:, None] == classes_C).to(log_probs_NKC.dtype)
    return (log_probs_NKC.exp() - onehot_NC[:, None]).norm(dim=-1)
