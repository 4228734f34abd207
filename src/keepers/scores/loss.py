"""How wrong a model is, given the labels.

Shape suffixes: N examples, K runs, C classes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from keepers.scores._checks import check_labels, check_log_probs


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
    return _error_norms(check_log_probs(log_probs, 2).unsqueeze(1), labels).squeeze(1)


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
    return _error_norms(check_log_probs(early_log_probs, 3, "early_log_probs"), labels).mean(1)


def _error_norms(log_probs_NKC: Tensor, labels: Tensor) -> Tensor:
    n, _, num_classes = log_probs_NKC.shape
    labels_N = check_labels(labels, n, num_classes).to(log_probs_NKC.device)
    onehot_NC = F.one_hot(labels_N, num_classes).to(log_probs_NKC.dtype)
    return (log_probs_NKC.exp() - onehot_NC[:, None]).norm(dim=-1)
