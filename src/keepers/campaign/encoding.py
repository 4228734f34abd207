"""Events to JSON and back, as the journal holds them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from keepers.campaign.events import (
    Event,
    Measure,
    Moved,
    Planned,
    PlannedItem,
    Pool,
    Schema,
    Sent,
    Started,
    Trained,
    Vote,
)

_KINDS: dict[str, type[Any]] = {
    "started": Started,
    "schema": Schema,
    "pool": Pool,
    "measure": Measure,
    "planned": Planned,
    "sent": Sent,
    "vote": Vote,
    "trained": Trained,
    "moved": Moved,
}


def event_kind(event: Event) -> str:
    """The name that the journal has for events of this class."""
    return type(event).__name__.lower()


def is_known(kind: str) -> bool:
    """Whether this version has events of a kind; a later one may have others."""
    return kind in _KINDS


def encode(event: Event) -> str:
    """The body of an event as JSON; ids stay integers or strings, also as keys."""
    if isinstance(event, Sent):
        body = {**vars(event), "tasks": list(event.tasks.items())}
    elif isinstance(event, Vote):
        body = {name: value for name, value in vars(event).items() if name != "key"}
    else:
        body = asdict(event)
    return json.dumps(body, allow_nan=False)


def decode(kind: str, body: str) -> Event:
    """The event that `encode` wrote.

    >>> vote = Vote(item=7, annotator="ann", label="pos", time="2026-03-01")
    >>> decode("vote", encode(vote)) == vote
    True

    Raises:
        ValueError, TypeError, KeyError: it is of no known kind, or damaged.
    """
    values = json.loads(body)
    if kind == "sent":
        values["tasks"] = dict(map(tuple, values["tasks"]))
    if kind == "planned":
        values["items"] = [PlannedItem(**item) for item in values["items"]]
    if kind == "pool":
        values["removed"] = tuple(values["removed"])
    return _KINDS[kind](**values)
