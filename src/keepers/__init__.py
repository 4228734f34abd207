"""keepers: which of my data is worth training on, worth labelling, worth a gradient step?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keepers.errors import KeepersError
    from keepers.experiments.compare import Comparison, compare
    from keepers.reports import compare_report, report
    from keepers.roles import Role
    from keepers.selection import Selection
    from keepers.workflows.coreset import coreset
    from keepers.workflows.score import Scores, score

__all__ = [
    "Comparison",
    "KeepersError",
    "Role",
    "Scores",
    "Selection",
    "compare",
    "compare_report",
    "coreset",
    "report",
    "score",
]

_HOMES = {
    "Comparison": "keepers.experiments.compare",
    "KeepersError": "keepers.errors",
    "Role": "keepers.roles",
    "Scores": "keepers.workflows.score",
    "Selection": "keepers.selection",
    "compare": "keepers.experiments.compare",
    "compare_report": "keepers.reports",
    "coreset": "keepers.workflows.coreset",
    "report": "keepers.reports",
    "score": "keepers.workflows.score",
}
_MODULES = ("data", "methods", "models", "scores", "selectors", "signals", "training", "types")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"keepers.{name}")
    raise AttributeError(f"module 'keepers' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
