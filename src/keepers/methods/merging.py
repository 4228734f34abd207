"""How the signals of an ensemble become those of one model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from keepers.errors import ParameterError
from keepers.types import Signals

Merge = Callable[[Sequence[Signals]], Signals]


def side_by_side(name: str) -> Merge:
    """Join a signal of the members along its second dimension."""

    def merge(members: Sequence[Signals]) -> Signals:
        joined = torch.cat([signals.get(name) for signals in members], 1)
        return replace(members[0], **{name: joined})

    return merge


def mean_margin(members: Sequence[Signals]) -> Signals:
    """The mean margin over training."""
    margins = torch.stack([signals.get("aum") for signals in members])
    return replace(members[0], aum=margins.mean(0))


def mean_out_of_fold(members: Sequence[Signals]) -> Signals:
    """The mean of the predictions out of fold."""
    log_probs = torch.stack([signals.get("out_of_fold_log_probs") for signals in members])
    mean = log_probs.logsumexp(0) - math.log(len(members))
    return replace(members[0], out_of_fold_log_probs=mean)


def as_one_model(members: Sequence[Signals]) -> Signals:
    """The mean prediction, and the features side by side, so that squared distances add up."""
    log_probs = torch.stack([signals.get("log_probs") for signals in members])
    return replace(
        side_by_side("features")(members),
        log_probs=log_probs.logsumexp(0) - math.log(len(members)),
    )


def as_committee(members: Sequence[Signals]) -> list[Signals]:
    """The predicted numbers of the models as those of one committee, where none brings its own."""
    own = any(s.posterior_predictions is not None or s.predictions is None for s in members)
    if own or len(members) < 2:
        return list(members)
    found = torch.stack([signals.get("predictions") for signals in members], 1)
    return [replace(members[0], posterior_predictions=found)]


def as_posterior(members: Sequence[Signals]) -> Signals:
    """The predictions of an ensemble as posterior samples, one for each member.

    An ensemble so stands in for dropout, for `bald` and `batch-bald`.

    Args:
        members: the signals of each model, with `log_probs` (n, classes).

    Returns:
        The signals of the first, with `posterior_log_probs` (n, members, classes).

    Raises:
        ParameterError: fewer than two members, which cannot disagree.

    Example:
        >>> sure = Signals(log_probs=torch.tensor([[0.9, 0.1]]).log())
        >>> other = Signals(log_probs=torch.tensor([[0.2, 0.8]]).log())
        >>> as_posterior([sure, other]).get("posterior_log_probs").exp()
        tensor([[[0.9000, 0.1000],
                 [0.2000, 0.8000]]])

    Paper:
        Lakshminarayanan, Pritzel and Blundell, Simple and Scalable Predictive Uncertainty
        Estimation using Deep Ensembles, NeurIPS 2017.
    """
    if len(members) < 2:
        raise ParameterError(
            "members", f"got {len(members)}", "Give an ensemble of 2 or more models"
        )
    log_probs = torch.stack([signals.get("log_probs") for signals in members], 1)
    return replace(members[0], posterior_log_probs=log_probs)
