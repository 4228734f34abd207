"""Data: anything that holds examples, opened in canonical order and encoded as tensors."""

from keepers.choices import Header
from keepers.data.augment import crop_and_flip
from keepers.data.conversations import answers
from keepers.data.conversations import readable as readable_conversation
from keepers.data.corrupt import (
    corrupt_confused,
    corrupt_labels,
    corrupt_targets,
    duplicate,
    most_confused,
    relevance_subset,
)
from keepers.data.encode import check_quantities, encode, readable
from keepers.data.examples import Examples
from keepers.data.export import export
from keepers.data.features import is_vectors
from keepers.data.joined import joined
from keepers.data.labels import doubtful_classes
from keepers.data.opening import open_source
from keepers.data.outputs import (
    check_apart,
    check_destination,
    check_own,
    check_run,
    is_within,
    mark,
    may_replace,
)
from keepers.data.pool import BagPool, DensePool, TextPool, TokenPool, statistics
from keepers.data.source import Columns, SkippedRow, Source
from keepers.data.targets import check_task
from keepers.data.values import same_item

__all__ = [
    "BagPool",
    "Columns",
    "DensePool",
    "Examples",
    "Header",
    "SkippedRow",
    "Source",
    "TextPool",
    "TokenPool",
    "answers",
    "check_apart",
    "check_destination",
    "check_own",
    "check_quantities",
    "check_run",
    "check_task",
    "corrupt_confused",
    "corrupt_labels",
    "corrupt_targets",
    "crop_and_flip",
    "doubtful_classes",
    "duplicate",
    "encode",
    "export",
    "is_vectors",
    "is_within",
    "joined",
    "mark",
    "may_replace",
    "most_confused",
    "open_source",
    "readable",
    "readable_conversation",
    "relevance_subset",
    "same_item",
    "statistics",
]
