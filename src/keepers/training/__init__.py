"""Training: one loop, with a batch policy and observers as its only seams."""

from keepers.training.dynamics import Dynamics, Observer, Step
from keepers.training.fit import Checkpoint, Fitted, estimate_seconds, fit
from keepers.training.hardware import Hardware, Precision
from keepers.training.policy import BatchPolicy, FreshSubset, Shuffle

__all__ = [
    "BatchPolicy",
    "Checkpoint",
    "Dynamics",
    "Fitted",
    "FreshSubset",
    "Hardware",
    "Observer",
    "Precision",
    "Shuffle",
    "Step",
    "estimate_seconds",
    "fit",
]
