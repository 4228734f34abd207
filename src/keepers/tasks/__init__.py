"""What targets are and mean: classes, several labels, numbers."""

from keepers.tasks.classes import CLASSES, Classes
from keepers.tasks.labels import Labels
from keepers.tasks.number import Number
from keepers.tasks.tags import Tags
from keepers.tasks.task import Measured, Targets, Task, labels_at
from keepers.tasks.written import task_of

__all__ = [
    "CLASSES",
    "Classes",
    "Labels",
    "Measured",
    "Number",
    "Tags",
    "Targets",
    "Task",
    "labels_at",
    "task_of",
]
