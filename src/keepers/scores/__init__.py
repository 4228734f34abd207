"""Scores: pure functions, higher = selected first."""

from keepers.scores.dynamics import area_under_margin, forgetting
from keepers.scores.loss import el2n, error_norm
from keepers.scores.ranks import combine_ranks, ranks
from keepers.scores.uncertainty import entropy, least_confidence, margin

__all__ = [
    "area_under_margin",
    "combine_ranks",
    "el2n",
    "entropy",
    "error_norm",
    "forgetting",
    "least_confidence",
    "margin",
    "ranks",
]
