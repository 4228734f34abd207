"""What a training gives."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from keepers.ledger import Cost


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A trained module, the mean training loss of each epoch, and what it cost.

    `candidates` counts the examples that a policy chose from; choosing took
    `choosing_seconds` of the cost's seconds. `epochs` are passes over the members.
    """

    module: nn.Module
    losses: tuple[float, ...]
    epochs: float
    cost: Cost
    candidates: int
    choosing_seconds: float
