"""Signals: what one inference pass gives for each example, and arrays on disk."""

from keepers.signals import store
from keepers.signals.extract import OF_TARGETS, PASS_SIGNALS, embed, extract, measure, of_targets

__all__ = [
    "OF_TARGETS",
    "PASS_SIGNALS",
    "embed",
    "extract",
    "measure",
    "of_targets",
    "store",
]
