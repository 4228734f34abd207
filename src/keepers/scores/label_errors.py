"""Labels that look wrong to a model."""

from __future__ import annotations

import torch
from torch import Tensor


def suspected_label_errors(log_probs_NC: Tensor, labels: Tensor) -> Tensor:
    """Where another class than the label is predicted with that class's usual confidence.

    The usual confidence t_j of class j is the mean p(j | x) over the examples labelled j; an
    example is suspected when some class j other than its label has p(j | x) ≥ t_j and is the
    likeliest of those (confident joint, Northcutt et al. 2021).

    Args:
        log_probs_NC: log-probabilities (n, classes).
        labels: class numbers (n,).

    Returns:
        A mask (n,).

    >>> p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.9, 0.1]])
    >>> suspected_label_errors(p.log(), torch.tensor([0, 0, 1, 1]))
    tensor([False, False, False,  True])
    """
    probs_NC = log_probs_NC.double().exp()
    num_classes = probs_NC.shape[1]
    own_N = probs_NC.gather(1, labels[:, None])[:, 0]
    counts_C = torch.bincount(labels, minlength=num_classes)
    sums_C = own_N.new_zeros(num_classes).index_add_(0, labels, own_N)
    usual_C = torch.where(counts_C > 0, sums_C / counts_C, torch.inf)
    confident_NC = torch.where(probs_NC >= usual_C, probs_NC, -1.0)
    best = confident_NC.max(dim=1)
    return (best.values >= 0) & (best.indices != labels)
