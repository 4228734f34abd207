"""Losses of a few steps ago, used again."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from keepers.online.scorer import Scored
from keepers.training import Candidates


class Recent:
    """The last loss of each example, valid for `max_age` steps."""

    def __init__(self, num_examples: int, max_age: int) -> None:
        self.max_age, aged = max_age, num_examples if max_age else 0
        self.recent = torch.zeros(aged)
        self.scored_at = torch.full((aged,), -1, dtype=torch.int64)

    def losses(self, candidates: Candidates, score: Callable[[Candidates], Scored]) -> Tensor:
        """Those (n,) of the candidates; what is too old is scored."""
        positions, version = candidates.positions, candidates.version
        if self.recent.device != positions.device:
            self.recent = self.recent.to(positions.device)
            self.scored_at = self.scored_at.to(positions.device)
        at = self.scored_at[positions]
        stale = ((at < 0) | (version - at > self.max_age)).nonzero().squeeze(1)
        if len(stale):
            scored, fresh = score(candidates.take(stale)), positions[stale]
            self.recent[fresh] = scored.signals.get("losses").to(self.recent.dtype)
            self.scored_at[fresh] = scored.version
        return self.recent[positions]
