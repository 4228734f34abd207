"""Models: the table, the factory, and what reads them (features, FLOPs)."""

from keepers.models.another_kind import another_kind
from keepers.models.causal import (
    ChatTokenizer,
    LanguageModel,
    TokenSequence,
    chat_tokenizer,
    language_model,
)
from keepers.models.classifiers import (
    CLASSIFIERS,
    PROBE,
    ClassifierRow,
    create_classifier,
    is_classifier,
)
from keepers.models.factory import (
    check_name,
    create,
    default_irreducible,
    default_proxy,
    default_recipe,
    default_target,
    outline,
)
from keepers.models.features import FeatureTap
from keepers.models.flops import count_flops
from keepers.models.huggingface import quiet
from keepers.models.identity import classifier_fingerprint, module_fingerprint
from keepers.models.layers import to_channels_last
from keepers.models.normalise import Normalised, Stretched
from keepers.models.recipe import MIN_STEPS, Optimizer, Recipe, Schedule
from keepers.models.row import ModelRow, dense_encoder
from keepers.models.table import MODELS
from keepers.models.token_batches import batched, padded, summed_losses

__all__ = [
    "CLASSIFIERS",
    "MIN_STEPS",
    "MODELS",
    "PROBE",
    "ChatTokenizer",
    "ClassifierRow",
    "FeatureTap",
    "LanguageModel",
    "ModelRow",
    "Normalised",
    "Optimizer",
    "Recipe",
    "Schedule",
    "Stretched",
    "TokenSequence",
    "another_kind",
    "batched",
    "chat_tokenizer",
    "check_name",
    "classifier_fingerprint",
    "count_flops",
    "create",
    "create_classifier",
    "default_irreducible",
    "default_proxy",
    "default_recipe",
    "default_target",
    "dense_encoder",
    "is_classifier",
    "language_model",
    "module_fingerprint",
    "outline",
    "padded",
    "quiet",
    "summed_losses",
    "to_channels_last",
]
