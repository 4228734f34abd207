"""Examples without their labels, and under other names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keepers.data import Source


def with_names(source: Source, names: Sequence[str]) -> Source:
    """The same examples under other names of the classes, labels or numbers."""
    if source.other_task is None:
        return replace(source, class_names=tuple(names))
    nothing = source.task.told(tuple(names), 0, (), ())
    return replace(source, other_task=source.task.fitted(tuple(names), nothing))


def unlabelled(source: Source) -> Source:
    """The same examples, nothing known of their labels but the names."""
    labels = source.task.told(source.task.names, len(source), (), ())
    return replace(with_names(source, source.task.names), labels=labels)
