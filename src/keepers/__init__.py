"""keepers: which of my data is worth training on, worth labelling, worth a gradient step?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keepers.campaign import Vote
    from keepers.errors import KeepersError
    from keepers.experiments.advise import advise
    from keepers.experiments.compare import Comparison, compare
    from keepers.experiments.labelling import advise_labelling
    from keepers.experiments.online import compare_online
    from keepers.experiments.simulate import Simulation, simulate
    from keepers.online import (
        BatchSelector,
        Companion,
        InfoBatch,
        IrreducibleLosses,
        RhoLoss,
        Scorers,
        Scoring,
        SelectingLoader,
        TokenSelector,
        with_ids,
    )
    from keepers.reports.compare import compare_report
    from keepers.reports.coreset import report
    from keepers.roles import Role
    from keepers.selection import Selection
    from keepers.workflows.active import Campaign
    from keepers.workflows.advise import Advice
    from keepers.workflows.advise_online import advise_online
    from keepers.workflows.coreset import coreset
    from keepers.workflows.irreducible import irreducible_losses
    from keepers.workflows.score import Scores, score
    from keepers.workflows.shards.coreset import coreset_shards
    from keepers.workflows.shards.score import ShardScores, score_shards
    from keepers.workflows.shards.selecting import Kept
    from keepers.workflows.train import TrainResult, train
    from keepers.workflows.weights import load_model

__all__ = [
    "Advice",
    "BatchSelector",
    "Campaign",
    "Companion",
    "Comparison",
    "InfoBatch",
    "IrreducibleLosses",
    "KeepersError",
    "Kept",
    "RhoLoss",
    "Role",
    "Scorers",
    "Scores",
    "Scoring",
    "SelectingLoader",
    "Selection",
    "ShardScores",
    "Simulation",
    "TokenSelector",
    "TrainResult",
    "Vote",
    "advise",
    "advise_labelling",
    "advise_online",
    "compare",
    "compare_online",
    "compare_report",
    "coreset",
    "coreset_shards",
    "irreducible_losses",
    "load_model",
    "report",
    "score",
    "score_shards",
    "simulate",
    "train",
    "with_ids",
]

_HOMES = {
    "Advice": "keepers.workflows.advise",
    "BatchSelector": "keepers.online",
    "Campaign": "keepers.workflows.active",
    "Companion": "keepers.online",
    "Comparison": "keepers.experiments.compare",
    "InfoBatch": "keepers.online",
    "IrreducibleLosses": "keepers.online",
    "KeepersError": "keepers.errors",
    "Kept": "keepers.workflows.shards.selecting",
    "RhoLoss": "keepers.online",
    "Role": "keepers.roles",
    "Scores": "keepers.workflows.score",
    "Scorers": "keepers.online",
    "Scoring": "keepers.online",
    "SelectingLoader": "keepers.online",
    "Selection": "keepers.selection",
    "ShardScores": "keepers.workflows.shards.score",
    "Simulation": "keepers.experiments.simulate",
    "TokenSelector": "keepers.online",
    "TrainResult": "keepers.workflows.train",
    "Vote": "keepers.campaign",
    "advise": "keepers.experiments.advise",
    "advise_labelling": "keepers.experiments.labelling",
    "advise_online": "keepers.workflows.advise_online",
    "compare": "keepers.experiments.compare",
    "compare_online": "keepers.experiments.online",
    "compare_report": "keepers.reports.compare",
    "coreset": "keepers.workflows.coreset",
    "coreset_shards": "keepers.workflows.shards.coreset",
    "irreducible_losses": "keepers.workflows.irreducible",
    "load_model": "keepers.workflows.weights",
    "report": "keepers.reports.coreset",
    "score": "keepers.workflows.score",
    "score_shards": "keepers.workflows.shards.score",
    "simulate": "keepers.experiments.simulate",
    "train": "keepers.workflows.train",
    "with_ids": "keepers.online",
}
_MODULES = (
    "data",
    "methods",
    "models",
    "online",
    "scores",
    "selectors",
    "signals",
    "training",
    "types",
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"keepers.{name}")
    raise AttributeError(f"module 'keepers' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
