"""The table of methods: what each needs, how it scores, how it selects, and its paper."""

from keepers.methods.by_class import Floor
from keepers.methods.choose import choose, score, settings
from keepers.methods.merging import as_posterior
from keepers.methods.method import (
    ACTIVE,
    CORESET,
    ONLINE,
    Method,
    in_words,
    out_of_fold,
    signals_made_by,
    signals_of,
    workflows,
)
from keepers.methods.rows import METHODS
from keepers.methods.table import ENTRY_POINT_GROUP, get, names, offered, table

__all__ = [
    "ACTIVE",
    "CORESET",
    "ENTRY_POINT_GROUP",
    "METHODS",
    "ONLINE",
    "Floor",
    "Method",
    "as_posterior",
    "choose",
    "get",
    "in_words",
    "names",
    "offered",
    "out_of_fold",
    "score",
    "settings",
    "signals_made_by",
    "signals_of",
    "table",
    "workflows",
]
