"""What targets are and mean: classes, several labels, numbers."""

from keepers.tasks.classes import CLASSES, Classes
from keepers.tasks.kinds import (
    AUTO,
    BUILT_IN,
    ENTRY_POINT_GROUP,
    kind_of,
    kinds,
    of_batches,
    question_of,
    task_of,
)
from keepers.tasks.labels import Labels
from keepers.tasks.number import Number
from keepers.tasks.plain import Plain
from keepers.tasks.tags import Tags
from keepers.tasks.task import Measured, Targets, Task, gradients_of, labels_at, pairs_of
from keepers.tasks.tokens import Tokens

__all__ = [
    "AUTO",
    "BUILT_IN",
    "CLASSES",
    "ENTRY_POINT_GROUP",
    "Classes",
    "Labels",
    "Measured",
    "Number",
    "Plain",
    "Tags",
    "Targets",
    "Task",
    "Tokens",
    "gradients_of",
    "kind_of",
    "kinds",
    "labels_at",
    "of_batches",
    "pairs_of",
    "question_of",
    "task_of",
]
