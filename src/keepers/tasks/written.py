"""Tasks as they are written beside losses and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keepers.errors import DataError
from keepers.tasks.classes import CLASSES, Classes
from keepers.tasks.labels import Labels
from keepers.tasks.number import Number
from keepers.tasks.task import Task

KINDS: Mapping[str, Any] = {kind.name: kind for kind in (Classes, Labels, Number)}


def task_of(facts: Mapping[str, Any] | None) -> Task:
    """The task that `Task.facts` gave; that of classes where nothing was written.

    >>> task_of(Classes(("a", "b")).facts())
    Classes(names=('a', 'b'))

    Raises:
        DataError: it is of no task that is known, or damaged.
    """
    if not facts:
        return CLASSES
    known = {name: tuple(v) if isinstance(v, list) else v for name, v in facts.items()}
    kind = known.pop("task", None)
    try:
        return KINDS[str(kind)](**known)
    except (KeyError, TypeError):
        raise DataError(f"task: '{kind}' is not known here, or is damaged. Make it again") from None
