"""Online batch selection: train a target on what is worth a gradient step."""

from keepers.workflows.online.selections import (
    AUTO,
    INFOBATCH,
    ORIGINAL,
    POLICIES,
    RHO_LOSS,
    TOKENS,
    needs_irreducible,
    selections,
)
from keepers.workflows.online.stage import OnlineTrained, train_online
from keepers.workflows.online.training import OnlineTraining, prepare_stand_in

__all__ = [
    "AUTO",
    "INFOBATCH",
    "ORIGINAL",
    "POLICIES",
    "RHO_LOSS",
    "TOKENS",
    "OnlineTrained",
    "OnlineTraining",
    "needs_irreducible",
    "prepare_stand_in",
    "selections",
    "train_online",
]
