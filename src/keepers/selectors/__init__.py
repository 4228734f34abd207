"""Selectors: from scores or features and a budget to positions in pick order."""

from keepers.selectors.badge import badge, gradient_spread
from keepers.selectors.batch_bald import batch_bald
from keepers.selectors.cluster_margin import cluster_margin
from keepers.selectors.coverage_centric import coverage_centric
from keepers.selectors.distinct import Distinct, distinct, near_duplicates
from keepers.selectors.facility_location import cluster_weights, facility_location
from keepers.selectors.greedy_sampling import greedy_sampling
from keepers.selectors.in_turn import in_turn
from keepers.selectors.iterative import iterative_stratification
from keepers.selectors.k_center import k_center_greedy
from keepers.selectors.probcover import probcover
from keepers.selectors.ranking import top_k
from keepers.selectors.sampling import (
    folds,
    random_subset,
    share_budget,
    stratified,
    stratified_units,
    take_turns,
)
from keepers.selectors.typiclust import typiclust
from keepers.selectors.weighted import importance_sample, percentile_sample

__all__ = [
    "Distinct",
    "badge",
    "batch_bald",
    "cluster_margin",
    "cluster_weights",
    "coverage_centric",
    "distinct",
    "facility_location",
    "folds",
    "gradient_spread",
    "greedy_sampling",
    "importance_sample",
    "in_turn",
    "iterative_stratification",
    "k_center_greedy",
    "near_duplicates",
    "percentile_sample",
    "probcover",
    "random_subset",
    "share_budget",
    "stratified",
    "stratified_units",
    "take_turns",
    "top_k",
    "typiclust",
]
