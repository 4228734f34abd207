"""Tokens: what is learnt is a text, an answer or a whole one, token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from keepers.errors import ParameterError
from keepers.tasks.plain import Plain
from keepers.tasks.task import Measured, Targets

IGNORED = -100
"""The label of a token that is not learnt, as transformers and torch have it."""


@dataclass(frozen=True)
class Tokens(Plain):
    """What causal language models are trained on.

    In a batch, targets are token numbers (n, length), `IGNORED` where nothing is learnt, and the
    output are logits (n, length, vocabulary); output j predicts token j + 1. The loss of an
    example is the mean over its tokens. Of a whole data set nothing but the strata (n,) is held:
    `names` are those of the sources, or whatever the label tells apart.
    """

    names: tuple[str, ...] = ()

    name: ClassVar[str] = "tokens"
    likely: ClassVar[bool] = False  # exp(-loss) is of one token, not of the answer
    stratum: ClassVar[tuple[str, str]] = ("source", "sources")
    floor: ClassVar[int] = 0  # what nobody needs an example of is no class
    plural: ClassVar[str] = "conversations"
    said: ClassVar[str] = "answer_losses"
    signals: ClassVar[frozenset[str]] = frozenset(
        {
            "qualities",
            "answer_losses",
            "unconditional_losses",
            "lengths",
            "similarities",
            "gradient_similarities",
            "features",
        }
    )
    score_words: ClassVar[str] = "probability of a token"
    is_share: ClassVar[bool] = False

    @classmethod
    def read(
        cls, columns: Mapping[str, Sequence[Any]], like: Tokens | None
    ) -> tuple[Tensor, Tokens]:
        """Nothing: what is learnt stands in the input."""
        raise ValueError(f"is no target of conversations ({', '.join(columns)})")

    @property
    def num_outputs(self) -> int:
        """One for each example: its loss."""
        return 1

    def check(self, output: Any, targets: Tensor, version: int = 0) -> Tensor:
        """The logits (n, length, vocabulary), or those in what a model of transformers gives."""
        found = getattr(output, "logits", output)
        if not isinstance(found, Tensor) or found.ndim != 3 or found.shape[:2] != targets.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ParameterError(
                "model",
                f"got {shape} for targets {tuple(targets.shape)}",
                "Return logits (n, length, vocabulary) for token numbers (n, length)",
            )
        return found

    def check_width(self, said: Tensor, targets: Targets) -> None:
        """Whatever the vocabulary is."""

    def losses(self, output: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy (n,) over each example's tokens; 0 where none is learnt.

        >>> logits = torch.zeros(1, 3, 5)
        >>> Tokens().losses(logits, torch.tensor([[IGNORED, 2, 4]])).exp()
        tensor([5.])
        """
        losses = token_losses(output, targets)
        learnt = targets[:, 1:] != IGNORED
        return losses.sum(1) / learnt.sum(1).clamp_min(1)

    def losses_of(self, said: Tensor, targets: Any) -> Tensor:
        """What was said is the losses."""
        return said

    def right(self, output: Tensor, targets: Tensor) -> Tensor:
        """The share (n,) of each example's tokens that come first."""
        learnt = targets[:, 1:] != IGNORED
        first = (output[:, :-1].argmax(2) == targets[:, 1:]) & learnt
        return first.sum(1) / learnt.sum(1).clamp_min(1)

    def measure(self, said: Tensor, targets: Any) -> Measured:
        """By the mean of the losses (n,); its score is the mean probability of a token."""
        means = [said[targets == each].double().mean() for each in targets.unique()]
        score, worst = (float((-at).exp()) for at in (said.double().mean(), max(means)))
        return Measured(
            loss=float(said.double().mean()),
            score=score,
            error=1 - score,
            worst_score=worst,
            worst_error=1 - worst,
        )

    def together(self, said: Sequence[Tensor]) -> Tensor:
        """The mean of the losses."""
        return torch.stack([*said]).mean(0)

    def strata(self, targets: Any) -> Tensor:
        """The source (n,) of each example; -1 where unknown."""
        return targets

    def show(self, targets: Any, positions: Sequence[int]) -> list[str | None]:
        """The sources."""
        return [None if (at := int(targets[p])) < 0 else self.names[at] for p in positions]

    def facts(self) -> dict[str, Any]:
        """The task and the sources."""
        return {"task": self.name, "names": list(self.names)}


def token_losses(output: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy (n, length - 1) of each token given those before it, 0 where `IGNORED`.

    Args:
        output: logits (n, length, vocabulary); output j predicts token j + 1.
        targets: token numbers (n, length).
    """
    logits, wanted = output[:, :-1], targets[:, 1:]
    losses = F.cross_entropy(
        logits.reshape(-1, logits.shape[2]).float(),
        wanted.reshape(-1),
        ignore_index=IGNORED,
        reduction="none",
    )
    return losses.view(wanted.shape)
