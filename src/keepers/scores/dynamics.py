"""What was seen of an example while a model trained."""

from __future__ import annotations

from torch import Tensor

from keepers.scores.checks import checked


@checked
def forgetting(events: Tensor) -> Tensor:
    """How often an example went from classified correctly to incorrectly.

    Args:
        events: (n,), counts of forgetting events over the training batches; ∞ for an example
            that was never classified correctly, which so ranks above all.

    Returns:
        Scores (n,): the counts.

    Raises:
        ParameterError: NaN, another shape, or negative counts.

    Example:
        >>> import torch
        >>> forgetting(torch.tensor([0, 3])).tolist()
        [0.0, 3.0]

    Paper:
        Toneva et al., An Empirical Study of Example Forgetting during Deep Neural Network
        Learning, ICLR 2019.
    """
    return events


@checked
def area_under_margin(aum: Tensor) -> Tensor:
    """−AUM: low margins over training are hard examples, and often wrong labels.

    Args:
        aum: (n,), mean over training of (logit of the label − largest other logit).

    Returns:
        Difficulty (n,).

    Raises:
        ParameterError: NaN or another shape.

    Example:
        >>> import torch
        >>> area_under_margin(torch.tensor([2.0, -1.0])).tolist()
        [-2.0, 1.0]

    Paper:
        Pleiss et al., Identifying Mislabeled Data using the Area Under the Margin Ranking,
        NeurIPS 2020.
    """
    return -aum
