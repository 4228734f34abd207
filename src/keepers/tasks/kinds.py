"""Tasks by their names: the built-in ones and those of installed packages.

A package adds one by naming its class in its entry points of the group `keepers.tasks`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from keepers.errors import DataError, KeepersError, ParameterError, unknown_name
from keepers.plugins import check_free, loaded
from keepers.tasks.classes import CLASSES, Classes
from keepers.tasks.labels import Labels
from keepers.tasks.number import Number
from keepers.tasks.question import Question
from keepers.tasks.task import Task
from keepers.tasks.tokens import Tokens
from keepers.words import listed

ENTRY_POINT_GROUP = "keepers.tasks"

AUTO = "auto"
"""The name of none: what targets are is judged by their values."""

BUILT_IN: Mapping[str, Any] = {kind.name: kind for kind in (Classes, Labels, Number, Tokens)}


@functools.cache
def kinds() -> Mapping[str, Any]:
    """The classes of tasks by name.

    One of a package is a frozen dataclass with all that `Task` has, whose fields are what `facts`
    gives beside `task`. Beside that its `read(columns, like)` makes targets of columns: a mapping
    from their names to lists of what they hold, None where nothing is. It gives the targets, a
    tensor (n,) or (n, width), and the task; `like` is that of the training data where the columns
    are of test data. What cannot be read is a `ValueError` whose text follows the column's name.

    Raises:
        KeepersError: an entry point that does not load, is no such class, or takes a name in use.
    """
    found = dict(BUILT_IN)
    for where, kind in loaded(ENTRY_POINT_GROUP):
        there = {*dir(kind), *getattr(kind, "__dataclass_fields__", ())}
        lacking = [name for name in _MEMBERS if name not in there]
        if lacking or not isinstance(kind, type):
            lacks = f", which lacks {', '.join(lacking)}" if lacking else ""
            raise KeepersError(f"{where}: got {kind!r}{lacks}. Name a class of a task")
        name = str(kind.name)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        check_free(name, {*found, AUTO}, where)
        found[name] = kind
    return MappingProxyType(found)


OF_CAMPAIGNS = (
    *("is_share", "unsure", "enough", "too_few", "question", "told", "fitted", "known", "is_cold"),
    *("answers", "predicted", "doubts", "interval"),
)
"""What labelling campaigns and simulations take of a task, and nothing else does."""

_ALL = (
    *(name for name in vars(Task) if not name.startswith("_")),
    *(name for name in Task.__annotations__ if not name.startswith("_")),
    "read",
)
_MEMBERS = tuple(name for name in _ALL if name not in OF_CAMPAIGNS)


def of_batches(task: str) -> Task:
    """A task of which nothing is known but its name, for batches of somebody's own loop.

    Its losses are those that torch has by that name: cross-entropy, binary cross-entropy over
    labels, squared error in the units of the targets, and the mean cross-entropy of tokens.

    >>> import torch
    >>> of_batches("number").losses(torch.tensor([[3.0]]), torch.tensor([[1.0]]))
    tensor([4.])

    Raises:
        ParameterError: the name of no built-in task.
    """
    if task not in _OF_BATCHES:
        raise unknown_name("task", task, _OF_BATCHES)
    return _OF_BATCHES[task]


_OF_BATCHES: Mapping[str, Task] = {
    "class": CLASSES,
    "labels": Labels(names=(), counts=(), total=0),
    "number": Number(names=(), mean=(0.0,), std=(1.0,)),
    "tokens": cast("Task", Tokens()),  # without what only campaigns and scikit-learn ask
}


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
        return kinds()[str(kind)](**known)
    except (KeyError, TypeError):
        raise DataError(
            f"task: '{kind}' is unknown here, or damaged. Install the package that has it, or "
            "make the file again"
        ) from None


def kind_of(name: str) -> type[Task]:
    """The kind of task of a name, for a campaign.

    Raises:
        ParameterError: it is not known, or its package did not think of labelling.
    """
    if name not in kinds():
        raise unknown_name("task", name, kinds())
    kind = kinds()[name]
    lacking = [each for each in OF_CAMPAIGNS if not hasattr(kind, each)]
    if lacking:
        raise ParameterError(
            "task",
            f"'{name}' has no {', '.join(lacking)}, which people are asked by",
            f"Label {listed(list(BUILT_IN), 5)}",
        )
    return kind


def question_of(name: str, names: Sequence[str], tolerance: Sequence[float] = ()) -> Question:
    """What people are asked for a task of a name, about these names.

    >>> question_of("class", ["a", "b"]).agreed(["a", "a", "b"])
    'a'

    Raises:
        ParameterError: the task is not known.
    """
    return kind_of(name).question(tuple(names), tuple(tolerance))
