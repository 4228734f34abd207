"""The seam of scoring: what makes the scorer of a model, given to every front."""

from __future__ import annotations

import contextlib
from typing import Protocol

from torch import nn

from keepers.errors import ParameterError
from keepers.online.scorer import Autocast, InProcess, LossFunction, Scorer, Scoring
from keepers.tasks import CLASSES, Task


class Backend(Protocol):
    """Makes what scores candidates by a model: `InProcess` does it with the model, where it is.

    Another one may ask elsewhere, ahead of the training: candidates carry their positions, their
    ids and the version of the weights, and what is scored says of which examples and by which
    weights. Other examples are refused, and so are weights older than `Scoring.max_staleness`. A
    backend is called once for a training, and by a loop once for a model.
    """

    def __call__(
        self,
        *,
        module: nn.Module,
        scoring: Scoring,
        seed: int = 0,
        autocast: Autocast = contextlib.nullcontext,
        loss: LossFunction | None = None,
        task: Task = CLASSES,
    ) -> Scorer:
        """The scorer of `module`.

        `scoring` says how it scores, `seed` draws its dropout, `autocast` is the precision of the
        training; `task` says what labels mean, and `loss` takes the place of its own.
        """
        ...


def check_backend(backend: Backend, stand_in: object) -> None:
    """Refuse another backend beside a stand-in, which is scored where it is trained.

    Raises:
        ParameterError: both are given.
    """
    if backend is not InProcess and stand_in is not None:
        raise ParameterError(
            "backend",
            "got together with stand_in, which scores in this process",
            "Give one of them",
        )
