"""Models: the table, the factory, and what reads them (features, FLOPs)."""

from keepers.models.factory import create, default_proxy, default_recipe, default_target
from keepers.models.features import FeatureTap
from keepers.models.flops import count_flops
from keepers.models.identity import module_fingerprint
from keepers.models.normalise import Normalised
from keepers.models.recipe import Optimizer, Recipe, Schedule
from keepers.models.table import MODELS, ModelRow

__all__ = [
    "MODELS",
    "FeatureTap",
    "ModelRow",
    "Normalised",
    "Optimizer",
    "Recipe",
    "Schedule",
    "count_flops",
    "create",
    "default_proxy",
    "default_recipe",
    "default_target",
    "module_fingerprint",
]
