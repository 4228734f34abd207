"""Push: the batch that waits for labels, as tasks, each item once."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keepers.campaign import LABEL_STUDIO, Desk, Id, State
from keepers.errors import ParameterError
from keepers.integrations.label_studio.answers import LabelStudioError
from keepers.integrations.label_studio.client import Client
from keepers.integrations.label_studio.project import ensure_project
from keepers.integrations.label_studio.tasks import (
    Prediction,
    Task,
    check_predictions,
    is_untouched,
    item_name,
    task,
    tasks_of,
)
from keepers.workflows.workplace import say_or_not

CHUNK = 500
"""How many tasks go in one request."""

_LARGEST_REQUEST = 16_000_000
_IMPORT_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What became of a batch: `sent` tasks are new on the server, `there` were there before.

    `project` and `url` are None where nothing waited for labels. `doubles` counts tasks that were
    removed again since their item had another one, and nobody had touched them.
    """

    project: int | None = None
    url: str | None = None
    made: bool = False
    updated: bool = False
    sent: int = 0
    there: int = 0
    doubles: int = 0


def channel(client: Client, project: int) -> str:
    """What the journal calls a project on a server.

    A project that was deleted and made again is another channel.
    """
    return f"{LABEL_STUDIO} {client.url}/projects/{project}"


def push(
    desk: Desk,
    client: Client,
    *,
    predictions: Mapping[Id, Prediction] | None = None,
    title: str | None = None,
    chunk: int = CHUNK,
    say: Callable[[str], None] | None = None,
) -> Pushed:
    """Let the server hold each item that waits for labels, as one task, in the order to label.

    The server doubles what it is sent twice. So it is asked first which items it has; only the
    others are sent, `chunk` at a time, and noted in the journal once it has answered. Whatever
    breaks off in between, the same call goes on from what has arrived. A request that was still
    under way then may arrive late: of two tasks of one item, one that nobody touched is removed.

    Args:
        desk: the campaign.
        client: the server.
        predictions: for items, the proxy's label and its probability (None: it gives none), shown
            to the annotators.
        title: of the project, should it have to be made.
        chunk: tasks in one request.
        say: is told what is done.

    Raises:
        ParameterError: a prediction that is no label, or whose score is outside [0, 1].
        RunError: another process plans or sends; the campaign has no classes.
        DataError: an example that cannot be shown.
        LabelStudioError: the server cannot be reached, refuses, or breaks off.
    """
    if chunk < 1:
        raise ParameterError("chunk", f"got {chunk}", "Give 1 or more")
    tell = say_or_not(say)
    with desk.journal.lock("sending to Label Studio"):
        state = desk.state
        pending = state.pending()
        checked = check_predictions(predictions or {}, state.question)
        if not pending:
            return Pushed()
        project = ensure_project(client, state, desk.kind, title)
        if project.made:
            tell(f"made {project.url}")
        held = tasks_of(client, project.number, pending)
        place = channel(client, project.number)
        _note(desk, state, place, {item: int(tasks[0]["id"]) for item, tasks in held.items()})
        missing = [item for item in pending if item not in held]
        sent = 0
        for tasks in _chunks(desk, state, missing, checked, chunk):
            numbers = _import(client, project.number, tasks)
            _note(desk, state, place, numbers)
            sent += len(tasks)
            tell(f"sent {sent:,} of {len(missing):,}")
        if sent:
            held = tasks_of(client, project.number, pending)
        return Pushed(
            project=project.number,
            url=project.url,
            made=project.made,
            updated=project.updated,
            sent=sent,
            there=len(pending) - len(missing),
            doubles=_remove_doubles(client, held),
        )


def _chunks(
    desk: Desk,
    state: State,
    items: Sequence[Id],
    predictions: Mapping[Id, Prediction],
    chunk: int,
) -> Iterator[dict[Id, Task]]:
    tasks: dict[Id, Task] = {}
    size = 0
    for item in items:
        made = task(desk, state, item, predictions.get(item))
        length = len(json.dumps(made))
        if tasks and (len(tasks) == chunk or size + length > _LARGEST_REQUEST):
            yield tasks
            tasks, size = {}, 0
        tasks[item] = made
        size += length
    if tasks:
        yield tasks


def _import(client: Client, project: int, tasks: Mapping[Id, Task]) -> dict[Id, int]:
    answer: Any = client.post(
        f"/api/projects/{project}/import",
        list(tasks.values()),
        timeout=_IMPORT_SECONDS,
        return_task_ids="true",
    )
    numbers: Any = answer.get("task_ids") if isinstance(answer, dict) else None
    if isinstance(numbers, list) and len(numbers) == len(tasks):
        return {item: int(number) for item, number in zip(tasks, numbers, strict=True)}
    held = tasks_of(client, project, list(tasks))
    if len(held) < len(tasks):
        raise LabelStudioError(
            f"{client.url}: has {len(held)} of the {len(tasks)} tasks that were sent. It may "
            "still be working: run the same command later to check again and send what is "
            "missing"
        )
    return {item: int(found[0]["id"]) for item, found in held.items()}


def _note(desk: Desk, state: State, place: str, numbers: Mapping[Id, int]) -> None:
    """Note in the journal what the server holds, as far as it does not stand there."""
    known = state.tasks(place)
    rounds: defaultdict[int, dict[Id, int | str]] = defaultdict(dict)
    for item, external in numbers.items():
        if item not in known:
            rounds[state.item(item).round or 0][item] = external
    for number, tasks in rounds.items():
        desk.send(number, place, tasks)


def _remove_doubles(client: Client, held: Mapping[Id, Sequence[Task]]) -> int:
    removed = 0
    for tasks in held.values():
        touched = [each for each in tasks if not is_untouched(each)]
        kept = (touched or tasks)[0]["id"]
        for each in tasks:
            if each["id"] == kept or not is_untouched(each):
                continue
            fresh = client.get(f"/api/tasks/{int(each['id'])}/")
            if item_name(fresh) == item_name(each) and is_untouched(fresh):
                client.delete(f"/api/tasks/{int(each['id'])}/")
                removed += 1
    return removed
