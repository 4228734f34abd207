"""Experiments: workflows composed to answer whether selection pays."""

from keepers.experiments.compare import Comparison, compare
from keepers.experiments.config import CompareConfig

__all__ = ["CompareConfig", "Comparison", "compare"]
