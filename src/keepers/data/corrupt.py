"""Label noise for experiments."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.errors import ParameterError


def corrupt_labels(
    labels: Tensor, num_classes: int, fraction: float, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Give exactly round(fraction·n) examples another class, uniformly among the other ones.

    `labels` (n,) are class numbers. Returns the new labels (n,) and which were changed (n,), bool.

    >>> labels = torch.zeros(10, dtype=torch.int64)
    >>> noisy, flipped = corrupt_labels(labels, 3, 0.2, generator=torch.Generator())
    >>> int(flipped.sum()), bool(((noisy != labels) == flipped).all())
    (2, True)

    Raises:
        ParameterError: `fraction` is outside [0, 1], or there are fewer than 2 classes.
    """
    if not 0 <= fraction <= 1:
        raise ParameterError("fraction", f"got {fraction}", "Give a share of labels in [0, 1]")
    if num_classes < 2:
        raise ParameterError("num_classes", f"got {num_classes}", "Noise needs at least 2 classes")
    n = len(labels)
    count = int(fraction * n + 0.5)
    chosen = torch.randperm(n, generator=generator)[:count]
    shift = torch.randint(1, num_classes, (count,), generator=generator)
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + shift) % num_classes
    flipped = torch.zeros(n, dtype=torch.bool)
    flipped[chosen] = True
    return noisy, flipped
