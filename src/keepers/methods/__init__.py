"""The table of methods: what each needs, how it scores, how it selects, and its paper."""

from keepers.methods.by_class import Floor
from keepers.methods.choose import choose, score, settings
from keepers.methods.composed import Band, compose, let_through, out_of_fold
from keepers.methods.merging import as_posterior
from keepers.methods.method import (
    ACTIVE,
    CORESET,
    EARLY,
    ONLINE,
    Method,
    in_words,
    signals_made_by,
    signals_of,
    workflows,
)
from keepers.methods.rows import METHODS
from keepers.methods.table import ENTRY_POINT_GROUP, get, is_composed, names, offered, table

__all__ = [
    "ACTIVE",
    "CORESET",
    "EARLY",
    "ENTRY_POINT_GROUP",
    "METHODS",
    "ONLINE",
    "Band",
    "Floor",
    "Method",
    "as_posterior",
    "choose",
    "compose",
    "get",
    "in_words",
    "is_composed",
    "let_through",
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
