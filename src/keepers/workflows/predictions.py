"""What several models predict together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from keepers.tensors import row_blocks
from keepers.types import Signals


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What models predict together, by their mean class probabilities.

    `predicted` (n,) is the likeliest class, `label_probability` (n,) that of the label.
    """

    predicted: Tensor
    label_probability: Tensor


def predictions(members: Sequence[Signals]) -> Predictions:
    """What the members predict together; n × classes is never held beside what they map."""
    labels = members[0].get("labels")
    said = [each.get("log_probs") for each in members]
    predicted, probability = torch.empty_like(labels), torch.empty(len(labels)).double()
    for rows in row_blocks(said[0]):
        total = sum(each[rows].double().exp() for each in said)
        assert isinstance(total, Tensor)
        mean = total / len(members)
        predicted[rows] = mean.argmax(1)
        probability[rows] = mean.gather(1, labels[rows, None])[:, 0]
    return Predictions(predicted=predicted, label_probability=probability)
