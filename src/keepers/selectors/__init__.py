"""Selectors: from scores or features and a budget to positions in pick order."""

from keepers.selectors.coverage_centric import coverage_centric
from keepers.selectors.facility_location import facility_location
from keepers.selectors.k_center import k_center_greedy
from keepers.selectors.ranking import top_k
from keepers.selectors.sampling import random_subset, share_budget, stratified, take_turns
from keepers.selectors.weighted import importance_sample, percentile_sample

__all__ = [
    "coverage_centric",
    "facility_location",
    "importance_sample",
    "k_center_greedy",
    "percentile_sample",
    "random_subset",
    "share_budget",
    "stratified",
    "take_turns",
    "top_k",
]
