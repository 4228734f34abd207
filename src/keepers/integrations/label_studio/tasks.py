"""Tasks: what is sent for an item, and which items the server has already."""

from __future__ import annotations

import base64
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from keepers.campaign import Desk, Id, State
from keepers.errors import ParameterError
from keepers.integrations.label_studio.answers import LabelStudioError
from keepers.integrations.label_studio.client import Client
from keepers.tasks.question import Answer, Question

Task = dict[str, Any]

Prediction = tuple[Answer, float | None]
"""What the proxy takes an item for, and its probability, where it gives one."""

_PAGE = 100
_LONGEST_QUERY = 3_000


def name_of(item: Id) -> str:
    """An id as it stands in a task: numbers too, since a browser rounds those over 2^53."""
    return str(item)


def task(desk: Desk, state: State, item: Id, prediction: Prediction | None) -> Task:
    """The task of an item: its text or picture, its rank, and what the proxy takes it for."""
    content = desk.content(item)
    if isinstance(content, bytes):
        content = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    place = state.item(item)
    made: Task = {
        "data": {desk.kind: content, "item_id": name_of(item), "selection_rank": place.rank},
        "meta": {"round": place.round},
    }
    if prediction is not None:
        label, score = prediction
        result = [
            {"from_name": part["from_name"], "to_name": desk.kind, **part}
            for part in state.question.regions(label)
        ]
        given: Task = {"model_version": f"keepers round {place.round}", "result": result}
        made["predictions"] = [given if score is None else {**given, "score": score}]
    return made


def check_predictions(
    predictions: Mapping[Id, Prediction], question: Question
) -> dict[Id, Prediction]:
    """Predictions as plain values; the server would take a wrong one without a word.

    Raises:
        ParameterError: a label that is none, or a score outside [0, 1].
    """
    checked: dict[Id, Prediction] = {}
    for item, (label, score) in predictions.items():
        known = question.problem(label) is None
        if not known or not set(question.names_in(label)) <= set(question.names):
            raise ParameterError(
                "predictions",
                f"item {item!r} is predicted to be {label!r}",
                f"The {question.option} are: {', '.join(question.names)}",
            )
        if score is not None and not (math.isfinite(score) and 0 <= score <= 1):
            raise ParameterError(
                "predictions",
                f"item {item!r} has the score {score}",
                f"Give the probability of its {question.one}, from 0 to 1",
            )
        checked[item] = (label, None if score is None else float(score))
    return checked


def tasks_of(client: Client, project: int, items: Sequence[Id]) -> dict[Id, list[Task]]:
    """The tasks that the project has for each of these items, by their numbers; none is left out.

    The server is asked for the ids in portions that fit into an address.
    """
    by_name = {name_of(item): item for item in items}
    found: defaultdict[Id, list[Task]] = defaultdict(list)
    for names in _portions(by_name):
        filters = {
            "conjunction": "and",
            "items": [
                {
                    "filter": "filter:tasks:data.item_id",
                    "operator": "in_list",
                    "type": "String",
                    "value": names,
                }
            ],
        }
        # The server undoes the encoding of this parameter twice.
        query = json.dumps({"filters": filters}).replace("%", "%25")
        for each in _listed(client, project, query=query):
            name = item_name(each)
            if name in by_name:
                found[by_name[name]].append(each)
    for held in found.values():
        held.sort(key=lambda each: int(each["id"]))
    return dict(found)


def all_tasks(client: Client, project: int) -> Iterator[Task]:
    """Every task of the project with its annotations, page by page.

    Label Studio's export would be one request, but leaves a file on the server each time.
    """
    return _listed(client, project, fields="all")


def item_name(task: Task) -> str | None:
    """The id that a task carries; None where it is none of ours."""
    data: Any = task.get("data")
    name: object = data.get("item_id") if isinstance(data, dict) else None
    if isinstance(name, bool) or not isinstance(name, str | int):
        return None
    return str(name)


def is_untouched(task: Task) -> bool:
    """Whether nobody has annotated, skipped or begun it."""
    counts = ("total_annotations", "cancelled_annotations", "comment_count")
    lists = ("annotations", "drafts")
    return not any(task.get(name) for name in (*counts, *lists))


def _portions(names: Iterable[str]) -> Iterator[list[str]]:
    portion: list[str] = []
    length = 0
    for name in names:
        size = len(quote(quote(json.dumps(name)))) + 6
        if portion and (length + size > _LONGEST_QUERY or len(portion) == _PAGE):
            yield portion
            portion, length = [], 0
        portion.append(name)
        length += size
    if portion:
        yield portion


def _listed(client: Client, project: int, **params: Any) -> Iterator[Task]:
    number, seen = 1, 0
    while True:
        try:
            answer = client.get(
                "/api/tasks/", project=project, page=number, page_size=_PAGE, **params
            )
        except LabelStudioError as error:
            if error.status == 404 and number > 1:  # tasks were deleted while we read
                return
            raise
        tasks: Any = answer.get("tasks") if isinstance(answer, dict) else None
        if not isinstance(tasks, list):
            raise LabelStudioError(
                f"{client.url}: gave no list of tasks. Is it a Label Studio of version 1.23?"
            )
        yield from (each for each in tasks if isinstance(each, dict))
        seen += len(tasks)
        if not tasks or seen >= int(answer.get("total") or 0):
            return
        number += 1
