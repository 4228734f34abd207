"""What a fresh random subset every epoch gains over a fixed one, by a linear model in steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from keepers.random import derived_seed
from keepers.training import FreshSubset


def gain_of_fresh(
    features: Tensor, labels: Tensor, num_members: int, k: int, epochs: int, seed: int
) -> float:
    """Error of a linear model after fresh subsets less that after a fixed one, on the rest.

    Both take `epochs` × `k` steps of one example each (Okanovic et al., ICLR 2024): the one sees
    another part of the members in every epoch, the other the same.

    Args:
        features: (n, d), `labels` (n,); the first `num_members` are trained on, the others judge.
    """
    from sklearn.linear_model import SGDClassifier
    from sklearn.preprocessing import StandardScaler

    members = torch.arange(num_members)
    rows, targets = features.double().numpy(), labels.numpy()
    scale = StandardScaler().fit(rows[:num_members])
    rows, classes = scale.transform(rows), np.unique(targets[:num_members])
    draws = FreshSubset(k)

    def error(fresh: bool) -> float:
        # averaged weights: single steps at the end would be noise
        model: Any = SGDClassifier(
            loss="log_loss", average=True, random_state=derived_seed(seed, "order") % 2**32
        )
        for epoch in range(epochs):
            at = draws.order(members, seed=seed, epoch=epoch if fresh else 0).numpy()
            model.partial_fit(rows[at], targets[at], classes=classes)
        return float(np.mean(model.predict(rows[num_members:]) != targets[num_members:]))

    return error(fresh=True) - error(fresh=False)
