"""Signals: what one inference pass gives for each example, and arrays on disk."""

from keepers.signals import store
from keepers.signals.extract import PASS_SIGNALS, embed, extract, measure

__all__ = ["PASS_SIGNALS", "embed", "extract", "measure", "store"]
