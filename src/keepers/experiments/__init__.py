"""Experiments: workflows composed to answer whether selection pays."""

from keepers.experiments.compare import Comparison, compare
from keepers.experiments.config import CompareConfig
from keepers.experiments.online import compare_online
from keepers.experiments.online_config import CompareOnlineConfig
from keepers.experiments.simulate import Simulation, simulate
from keepers.experiments.simulate_config import SimulateConfig

__all__ = [
    "CompareConfig",
    "CompareOnlineConfig",
    "Comparison",
    "SimulateConfig",
    "Simulation",
    "compare",
    "compare_online",
    "simulate",
]
