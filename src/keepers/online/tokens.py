"""Choosing tokens: the loss is taken where a reference model is furthest ahead (RHO-1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from keepers.errors import ParameterError
from keepers.models.mode import evaluating
from keepers.selectors.ranking import highest
from keepers.tasks.tokens import IGNORED, token_losses
from keepers.types import Budget

LABELS = "labels"
REFERENCE = "reference_losses"
"""The part of a batch that holds losses (n, length - 1) of a reference model, made before."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenChoice:
    """The loss of a step, and the chosen tokens.

    `loss` is the mean over the chosen tokens, with gradient; `total` is the sum and `count` the
    number, for steps of several batches. `chosen` (n, length - 1) is a mask of the predicted
    tokens.
    """

    loss: Tensor
    total: Tensor
    count: int
    chosen: Tensor


class TokenSelector:
    """Takes the loss of a causal language model on the tokens most worth learning.

    It chooses the labelled tokens of a batch whose loss exceeds the reference model's most. A token
    that is already learnt has no excess; neither has noise, which the reference cannot predict
    either. Tokens with the label -100 (prompts, padding) are never chosen. The reference gets the
    same batch, so completion-only losses, packing and padding-free batches work.

    Args:
        reference: a causal language model with the same tokens, trained on good data of the same
            kind. It is called as `reference(**batch)` without labels, and not trained. None
            if batches hold its losses as `reference_losses` (n, length - 1).
        keep: the fraction of the labelled tokens.

    Raises:
        ParameterError: a count instead of a fraction.

    Source:
        Lin et al., Rho-1: Not All Tokens Are What You Need, NeurIPS 2024 (2404.07965).

    >>> logits = torch.zeros(1, 4, 5)
    >>> batch = {
    ...     "input_ids": torch.tensor([[1, 2, 3, 4]]),
    ...     "labels": torch.tensor([[-100, 2, 3, 4]]),
    ...     "reference_losses": torch.tensor([[0.0, 9.0, 1.0]]),
    ... }
    >>> TokenSelector(keep=0.67)(logits, batch).chosen
    tensor([[ True, False,  True]])
    """

    def __init__(
        self, reference: nn.Module | None = None, *, keep: float | str | Budget = 0.6
    ) -> None:
        self.reference, self.budget = reference, Budget.parse(keep)
        if not isinstance(self.budget.value, float):
            raise ParameterError(
                "keep", f"got the count {self.budget.value}", "Give a fraction of the tokens: 0.6"
            )

    def __call__(self, logits: Tensor, batch: Mapping[str, Any]) -> TokenChoice:
        """What a step on this batch is taken on.

        Args:
            logits: (n, length, vocabulary), of the model in training, with its gradient.
            batch: what the model was given, with `labels` (n, length), -100 where nothing is
                learnt.

        Raises:
            ParameterError: a batch without labels, or without losses where there is no reference
                model; logits of another shape; a reference of another vocabulary.
        """
        labels = batch.get(LABELS)
        if not isinstance(labels, Tensor):
            raise ParameterError("batch", f"got no '{LABELS}'", "Give (n, length), -100 elsewhere")
        if logits.ndim != 3 or logits.shape[:2] != labels.shape:
            raise ParameterError(
                "logits",
                f"got shape {tuple(logits.shape)} for labels {tuple(labels.shape)}",
                "Give (n, length, vocabulary), all of the positions",
            )
        expected = self._reference_losses(batch, labels, logits)
        losses, learnt = token_losses(logits, labels), labels[:, 1:] != IGNORED
        excess = losses.detach() - expected
        chosen = top_tokens(excess, learnt, self.budget)
        total, count = (losses * chosen).sum(), self.count(labels)
        return TokenChoice(loss=total / max(1, count), total=total, count=count, chosen=chosen)

    def count(self, labels: Tensor) -> int:
        """The number of chosen tokens for a batch with these labels (n, length)."""
        learnt = int((labels[:, 1:] != IGNORED).sum())
        return self.budget.resolve(learnt) if learnt else 0

    @torch.no_grad()
    def _reference_losses(self, batch: Mapping[str, Any], labels: Tensor, logits: Tensor) -> Tensor:
        if self.reference is None:
            found = batch.get(REFERENCE)
            if not isinstance(found, Tensor) or found.shape != labels[:, 1:].shape:
                got = tuple(found.shape) if isinstance(found, Tensor) else "none"
                raise ParameterError(
                    "reference",
                    f"got none, but the batch holds {got} as '{REFERENCE}'",
                    "Give a reference model, or its losses (n, length - 1) in each batch",
                )
            return found.to(logits.device)
        given = {name: each for name, each in batch.items() if name not in (LABELS, REFERENCE)}
        if hasattr(getattr(self.reference, "config", None), "use_cache"):
            given = {"use_cache": False, **given}  # with a cache, packed texts would see each other
        with evaluating(self.reference):
            said = self.reference(**given)
        said = getattr(said, "logits", said)
        if said.shape != logits.shape:
            raise ParameterError(
                "reference",
                f"gives logits {tuple(said.shape)}, but the model in training "
                f"{tuple(logits.shape)}",
                "Use a reference with the same tokens and the same vocabulary size",
            )
        return token_losses(said, labels)


def top_tokens(excess: Tensor, learnt: Tensor, budget: Budget) -> Tensor:
    """A mask of the `learnt` tokens (n, length) with the highest excess (n, length); ties: first.

    Raises:
        ParameterError: an excess that is NaN.

    >>> excess = torch.tensor([[0.1, 0.9], [0.5, 2.0]])
    >>> top_tokens(excess, torch.tensor([[True, True], [True, False]]), Budget(0.67)).tolist()
    [[False, True], [True, False]]
    """
    places = learnt.flatten().nonzero().squeeze(1)
    chosen = torch.zeros(learnt.numel(), dtype=torch.bool, device=excess.device)
    if len(places):
        values = excess.flatten()[places]
        if bool(values.isnan().any()):
            raise ParameterError(
                "excess", "got a loss that is NaN", "Look at the learning rate and the batch"
            )
        chosen[places[highest(values, budget.resolve(len(places)))]] = True
    return chosen.view_as(learnt)
