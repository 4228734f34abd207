"""Scoring candidate conversations a few at a time, by the model that is being tuned."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from keepers.errors import KeepersError
from keepers.models import batched, summed_losses
from keepers.models.mode import scoring_mode
from keepers.online import Scored, Scorer
from keepers.signals import tokens_at_once
from keepers.tasks.tokens import IGNORED
from keepers.training import Candidates
from keepers.types import Signals


class SequenceScorer(Scorer):
    """Gives the mean losses (n,) of padded sequences, in batches of like length without padding.

    The logits of all candidates of a step at once are often more than the memory holds: 80
    conversations of 2,048 tokens with 49,152 logits each are 32 GB.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @classmethod
    def backend(cls, *, module: nn.Module, **others: Any) -> SequenceScorer:
        """The scorer of a module; the task is always that of tokens."""
        return cls(module)

    @torch.no_grad()
    def score(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        """The losses of the candidates, in their order.

        Raises:
            KeepersError: signals other than losses are asked for.
        """
        if needs - {"losses"}:
            raise KeepersError(f"backend: conversations have losses, and {sorted(needs)} are asked")
        ids, labels = candidates.keywords["input_ids"], candidates.labels
        lengths = candidates.keywords["attention_mask"].sum(1).cpu()
        learnt = (labels != IGNORED).cpu()
        learnt[:, 0] = False  # nothing stands before it
        losses = torch.zeros(len(lengths), dtype=torch.float64)
        with scoring_mode(self.module, batch_norm="batch", dropout=False, seed=None):
            for rows in batched(lengths, most=tokens_at_once(self.module, ids.device)):
                longest, at = int(lengths[rows].max()), rows.to(ids.device)
                cut, told = ids[at, :longest], learnt[rows, :longest]
                losses[rows] = summed_losses(self.module, cut, told, ids.device) / told.sum(1)
        return Scored(
            positions=candidates.positions,
            version=candidates.version,
            signals=Signals(losses=losses.float().to(ids.device)),
        )
