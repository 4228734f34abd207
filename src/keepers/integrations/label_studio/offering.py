"""Disputed items are shown to one more annotator: Label Studio would not by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keepers.campaign import Id
from keepers.integrations.label_studio.answers import LabelStudioError
from keepers.integrations.label_studio.client import Client
from keepers.integrations.label_studio.tasks import Task

_UNCHANGED = "the server still marks its task as done"


@dataclass(frozen=True, kw_only=True)
class Offers:
    """How many are shown from now on, how many in all, and why the others are not."""

    offered: int = 0
    open: int = 0
    unoffered: tuple[str, ...] = ()


def offer_again(client: Client, disputed: Mapping[Id, Sequence[Task]]) -> Offers:
    """Show each disputed item, given with its tasks, to one more annotator.

    One of whose tasks is still to be done is shown already; one whose task was deleted meanwhile
    is not. What the server refuses or leaves as it is, is told of and stops nothing.

    Raises:
        LabelStudioError: the server is away, and may be back in a while.
    """
    offered = already = 0
    unoffered: list[str] = []
    for item, held in disputed.items():
        if not all(task.get("is_labeled") for task in held):
            already += 1
            continue
        try:
            if _taken(client, held[-1]):
                offered += 1
            else:
                unoffered.append(f"item {item}: {_UNCHANGED}")
        except LabelStudioError as error:
            if error.transient:
                raise
            if error.status != 404:
                unoffered.append(f"item {item}: {error}")
    return Offers(offered=offered, open=already + offered, unoffered=tuple(unoffered))


def _taken(client: Client, task: Task) -> bool:
    """Whether the server shows the task again, by its own answer."""
    given = sum(not each.get("was_cancelled") for each in task.get("annotations") or ())
    # It looks at the flag alone when it chooses what to show, and at the number when it sets it.
    changed = {"overlap": given + 1, "is_labeled": False}
    answer = client.patch(f"/api/tasks/{int(task['id'])}/", changed)
    return isinstance(answer, dict) and answer.get("is_labeled") is False
