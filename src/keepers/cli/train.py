"""`keepers train`."""

from __future__ import annotations

from typing import Any

from keepers.cli.commands import command
from keepers.workflows.options.training import TrainOptions


@command(TrainOptions)
def train(data: str, given: dict[str, Any], as_json: bool) -> None:
    """Train a model on what is worth a gradient step: each step takes the best of its candidates.

    rho-loss first makes irreducible losses, with a second model: on --holdout data, on a fraction
    of DATA, or on --folds of it; --il uses those of an earlier run.
    """
    from keepers.cli.training import run_train

    run_train(data, given, as_json=as_json)
