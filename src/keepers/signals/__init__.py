"""Signals: what one inference pass gives for each example, and arrays on disk."""

from keepers.signals import store
from keepers.signals.extract import OF_TARGETS, PASS_SIGNALS, embed, extract, measure, of_targets
from keepers.signals.gradients import ProjectedGradients
from keepers.signals.reading import Read, forget_parts, read_through, tokens_at_once

__all__ = [
    "OF_TARGETS",
    "PASS_SIGNALS",
    "ProjectedGradients",
    "Read",
    "embed",
    "extract",
    "forget_parts",
    "measure",
    "of_targets",
    "read_through",
    "store",
    "tokens_at_once",
]
