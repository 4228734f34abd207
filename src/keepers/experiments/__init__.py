"""Experiments: workflows composed to answer whether selection pays."""

from keepers.experiments.compare import Comparison, compare
from keepers.experiments.online import compare_online
from keepers.experiments.simulate import Simulation, simulate
from keepers.experiments.simulate_config import SimulateConfig
from keepers.workflows.options.compare import CompareConfig, CompareOnlineConfig

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
