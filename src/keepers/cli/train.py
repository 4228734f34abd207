"""`keepers train`."""

from __future__ import annotations

from keepers.cli.commands import Request, command
from keepers.workflows.options.training import TrainOptions


@command(TrainOptions)
def train(request: Request[TrainOptions]) -> None:
    """Train a model with online selection: each step trains on the best of its candidates.

    rho-loss first makes irreducible losses with a second model, trained on --holdout data, on a
    fraction of DATA, or on --folds of it. --il uses those of an earlier run.
    """
    from keepers.cli.training import run_train

    run_train(request)
