"""Online batch selection: which of these examples is worth a gradient step?"""

from keepers.choices import BatchNorm
from keepers.models.mode import scoring_mode
from keepers.online.ahead import AheadBackend, check_scoring
from keepers.online.backend import Backend
from keepers.online.batch import Chosen, Parts, read_batch
from keepers.online.checks import SUPPLIED
from keepers.online.companion import Companion
from keepers.online.cost import StepCost, measure_step
from keepers.online.facts import FEW_PASSES, OnlineFacts, assumed_ratio, doubt, online_facts, shares
from keepers.online.handover import WATCHED, HandOver
from keepers.online.infobatch import InfoBatch
from keepers.online.loader import SelectingLoader
from keepers.online.loop import BatchSelector, RhoLoss
from keepers.online.losses import IrreducibleLosses, Origin, weaknesses
from keepers.online.numbering import Numbering, WithIds, number, with_ids
from keepers.online.policy import Selecting
from keepers.online.replay import Replay
from keepers.online.scorer import (
    AcrossProcesses,
    InProcess,
    Scored,
    Scorer,
    Scoring,
    ScoringPrecision,
)
from keepers.online.scorers import Scorers
from keepers.online.selector import Selector
from keepers.online.tokens import TokenChoice, TokenSelector

__all__ = [
    "FEW_PASSES",
    "SUPPLIED",
    "WATCHED",
    "AcrossProcesses",
    "AheadBackend",
    "Backend",
    "BatchNorm",
    "BatchSelector",
    "Chosen",
    "Companion",
    "HandOver",
    "InProcess",
    "InfoBatch",
    "IrreducibleLosses",
    "Numbering",
    "OnlineFacts",
    "Origin",
    "Parts",
    "Replay",
    "RhoLoss",
    "Scored",
    "Scorer",
    "Scorers",
    "Scoring",
    "ScoringPrecision",
    "Selecting",
    "SelectingLoader",
    "Selector",
    "StepCost",
    "TokenChoice",
    "TokenSelector",
    "WithIds",
    "assumed_ratio",
    "check_scoring",
    "doubt",
    "measure_step",
    "number",
    "online_facts",
    "read_batch",
    "scoring_mode",
    "shares",
    "weaknesses",
    "with_ids",
]
