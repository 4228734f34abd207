"""The seam of scoring: what makes the scorer of a model, given to every front."""

from __future__ import annotations

import contextlib
from typing import Protocol

from torch import nn

from keepers.online.scorer import Autocast, LossFunction, Scorer, Scoring


class Backend(Protocol):
    """Makes what scores candidates by a model: `InProcess` does it with the model, where it is.

    Another one may ask elsewhere, ahead of the training: candidates carry their positions, their
    ids and the version of the weights, and what is scored says of which examples and by which
    weights. It is called once for a training by `Selecting`, and at each step by a loop.
    """

    def __call__(
        self,
        *,
        module: nn.Module,
        scoring: Scoring,
        seed: int = 0,
        autocast: Autocast = contextlib.nullcontext,
        loss: LossFunction | None = None,
    ) -> Scorer:
        """The scorer of `module`.

        `scoring` says how it scores, `seed` draws its dropout, `autocast` is the precision of the
        training, `loss` takes the place of the cross-entropy.
        """
        ...
