"""Experiments: workflows composed to answer whether selection pays."""

from keepers.experiments.compare import Comparison, compare
from keepers.experiments.online import compare_online
from keepers.experiments.simulate import Simulation, simulate
from keepers.workflows.options.compare import CompareConfig
from keepers.workflows.options.compare_online import CompareOnlineConfig
from keepers.workflows.options.simulate import SimulateConfig

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
