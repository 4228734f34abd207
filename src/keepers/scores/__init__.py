"""Scores: pure functions, higher = selected first."""

from keepers.scores.bayesian import (
    bald,
    conditional_entropy,
    loss_minus_conditional_entropy,
    predictive_entropy,
)
from keepers.scores.dynamics import area_under_margin, forgetting
from keepers.scores.language import (
    gradient_influence,
    instruction_following_difficulty,
    perplexity,
)
from keepers.scores.loss import (
    cross_entropy,
    el2n,
    error_norm,
    last_layer_gradient_norm,
    reducible_loss,
    uncontradicted,
)
from keepers.scores.noise import LabelNoise, label_noise
from keepers.scores.ranks import combine_ranks, ranks
from keepers.scores.several import (
    committee_variance,
    label_entropy,
    label_margin,
    maximal_confidence_loss,
)
from keepers.scores.uncertainty import entropy, least_confidence, margin

__all__ = [
    "LabelNoise",
    "area_under_margin",
    "bald",
    "combine_ranks",
    "committee_variance",
    "conditional_entropy",
    "cross_entropy",
    "el2n",
    "entropy",
    "error_norm",
    "forgetting",
    "gradient_influence",
    "instruction_following_difficulty",
    "label_entropy",
    "label_margin",
    "label_noise",
    "last_layer_gradient_norm",
    "least_confidence",
    "loss_minus_conditional_entropy",
    "margin",
    "maximal_confidence_loss",
    "perplexity",
    "predictive_entropy",
    "ranks",
    "reducible_loss",
    "uncontradicted",
]
