"""Label Studio's annotations to votes: of an exported file, or as its server gives them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from keepers.campaign.events import LABEL_STUDIO, Id, Vote
from keepers.errors import KeepersError
from keepers.tasks import CLASSES
from keepers.tasks.question import Answer, Question

ITEM = "item_id"
"""The field of a task's data that carries our id."""


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What a file holds: votes with where they stood, and what could not be read, in sentences."""

    votes: tuple[tuple[str, Vote], ...] = ()
    malformed: tuple[str, ...] = ()


def is_task(record: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a task of Label Studio's full export."""
    return "annotations" in record and isinstance(record.get("data"), dict)


ANY_CLASS = CLASSES.question(())


def label_studio_votes(
    tasks: Iterable[Any], *, where: str, annotator: str = "", question: Question = ANY_CLASS
) -> Returned:
    """The votes in Label Studio's tasks, as its JSON export and its server give them.

    Each annotation is a vote of the user who completed it, named `label-studio-` and the user's
    number (`annotator` where there is none), at the time of its last change; one that was
    cancelled is a skip. `data.item_id` is our id. `where` names the file or server in errors,
    `question` says what was asked.

    >>> task = {"id": 3, "data": {"item_id": 12}, "annotations": [{
    ...     "id": 5, "completed_by": 1, "updated_at": "2026-03-01T12:00:00Z", "lead_time": 2.5,
    ...     "result": [{"type": "choices", "value": {"choices": ["pos"]}}]}]}
    >>> [(vote.item, vote.annotator, vote.label)
    ...  for _, vote in label_studio_votes([task], where="export.json").votes]
    [(12, 'label-studio-1', 'pos')]
    """
    votes: list[tuple[str, Vote]] = []
    malformed: list[str] = []
    for number, task in enumerate(tasks, 1):
        name = task.get("id", number) if isinstance(task, dict) else number
        place = f"{where}, task {name}"
        try:
            annotations = list(_annotations(task))
        except _UnreadableError as error:
            malformed.append(f"{place}: {error}")
            continue
        for annotation, item in annotations:
            at = f"{place}, annotation {annotation.get('id')}"
            try:
                votes.append((at, _vote(annotation, item, annotator, question)))
            except (KeepersError, _UnreadableError) as error:
                malformed.append(f"{at}: {error}")
    return Returned(votes=tuple(votes), malformed=tuple(malformed))


class _UnreadableError(Exception):
    """A task or an annotation is not as Label Studio writes it; the text says how."""


def _annotations(task: Any) -> Iterator[tuple[dict[str, Any], Id]]:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise _UnreadableError("no task with data. Export the annotations as JSON (the full form)")
    annotations: Any = task.get("annotations") or []
    if not isinstance(annotations, list) or not all(isinstance(a, dict) for a in annotations):
        raise _UnreadableError("its annotations are no list. Export them as JSON (the full form)")
    if not annotations:
        return
    item: Any = task["data"].get(ITEM)
    if isinstance(item, bool) or not isinstance(item, int | str):
        raise _UnreadableError(
            f"its data has the {ITEM} {item!r}, which is not an id. Give tasks that keepers sent"
        )
    for annotation in annotations:
        yield annotation, item


def _vote(annotation: Mapping[str, Any], item: Id, annotator: str, question: Question) -> Vote:
    user = annotation.get("completed_by")
    if isinstance(user, dict):
        user = user.get("id")
    time = annotation.get("updated_at") or annotation.get("created_at")
    seconds = annotation.get("lead_time")
    if time is not None and not isinstance(time, str):
        raise _UnreadableError(f"the time {time!r} is not a text")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
        raise _UnreadableError(f"the lead_time {seconds!r} is not a number")
    skipped = bool(annotation.get("was_cancelled"))
    return Vote(
        item=item,
        annotator=annotator if user is None else f"{LABEL_STUDIO}-{user}",
        kind="skip" if skipped else "label",
        label=None if skipped else _answer(annotation.get("result"), question),
        time=time,
        seconds=None if seconds is None or not math.isfinite(seconds) else max(0.0, float(seconds)),
        source=LABEL_STUDIO,
    )


def _answer(result: Any, question: Question) -> Answer:
    given = cast("list[Any]", result if isinstance(result, list) else [])
    try:
        return question.annotated([region for region in given if isinstance(region, dict)])
    except ValueError as error:
        raise _UnreadableError(str(error)) from None
