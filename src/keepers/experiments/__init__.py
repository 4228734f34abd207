"""Experiments: workflows composed to answer whether selection pays."""

from keepers.experiments.compare import Comparison, compare
from keepers.experiments.config import CompareConfig
from keepers.experiments.online import compare_online
from keepers.experiments.online_config import CompareOnlineConfig

__all__ = ["CompareConfig", "CompareOnlineConfig", "Comparison", "compare", "compare_online"]
