"""Training: one loop, with a batch policy and observers as its only seams."""

from keepers.training.candidates import Arguments, AtRows, Candidates, Feed
from keepers.training.checkpoint import optimizer_state, restore_optimizer
from keepers.training.classifiers import (
    GIVES,
    converged,
    fit_classifier,
    last_input,
    predict,
    settled_by,
)
from keepers.training.dynamics import Dynamics
from keepers.training.evaluation import Evaluation, Point
from keepers.training.fit import Checkpoint, epochs_of, estimate_seconds, fit, steps_in_epoch
from keepers.training.fitted import Fitted
from keepers.training.hardware import Hardware, Runtime, has_bf16
from keepers.training.length import Length
from keepers.training.observer import Observer, Step
from keepers.training.policy import (
    BatchPolicy,
    Choice,
    FreshSubset,
    InOrder,
    Shuffle,
    Weighted,
    WeightedSampling,
)
from keepers.training.tuning import (
    Tuned,
    TuningRecipe,
    forward_flops,
    token_steps,
    tune,
    tuning_flops,
)

__all__ = [
    "GIVES",
    "Arguments",
    "AtRows",
    "BatchPolicy",
    "Candidates",
    "Checkpoint",
    "Choice",
    "Dynamics",
    "Evaluation",
    "Feed",
    "Fitted",
    "FreshSubset",
    "Hardware",
    "InOrder",
    "Length",
    "Observer",
    "Point",
    "Runtime",
    "Shuffle",
    "Step",
    "Tuned",
    "TuningRecipe",
    "Weighted",
    "WeightedSampling",
    "converged",
    "epochs_of",
    "estimate_seconds",
    "fit",
    "fit_classifier",
    "forward_flops",
    "has_bf16",
    "last_input",
    "optimizer_state",
    "predict",
    "restore_optimizer",
    "settled_by",
    "steps_in_epoch",
    "token_steps",
    "tune",
    "tuning_flops",
]
