"""Votes as the page sends them, read with suspicion; and how items are called in addresses."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from keepers.campaign import Id, State, Vote
from keepers.tasks.question import Answer

SECONDS_LIMIT = 600.0
"""More than ten minutes on one item is a coffee, not labelling."""

_VOTES_LIMIT, _NAME_LIMIT = 500, 80
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_NOT_IN_BATCH = "The item is in no batch of this campaign"


class Refused(Exception):  # noqa: N818
    """A request that cannot be answered: the HTTP status, and a sentence for the page."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def item_key(item: Id) -> str:
    """What an address or a vote calls an item; whole numbers stay apart from texts, and exact.

    >>> item_key(2**60), item_key("7")
    ('1152921504606846976', '"7"')
    """
    return json.dumps(item)


def find_item(key: object, state: State) -> Id | None:
    """The planned item that a key names; None where there is none.

    >>> find_item("7", State.empty()) is None
    True
    """
    try:
        item: object = json.loads(key) if isinstance(key, str) and len(key) < 10_000 else None
    except (ValueError, RecursionError):
        return None
    if isinstance(item, bool) or not isinstance(item, int | str):
        return None
    return item if state.item(item).round is not None else None


def check_annotator(name: object) -> str:
    """The name of who labels, without the space around it.

    >>> check_annotator("  Zoë ")
    'Zoë'

    Raises:
        Refused: no name, over 80 characters, or control characters in it.
    """
    text = name.strip() if isinstance(name, str) else ""
    usable = not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
    if not text or len(text) > _NAME_LIMIT or not usable:
        raise Refused(422, f"Give the annotator a name of 1 to {_NAME_LIMIT} characters")
    return text


def read_votes(body: object, state: State) -> list[Vote | Refused]:
    """Each vote of a request, or why it is not taken.

    Raises:
        Refused: the request as a whole is not what the page sends, or is for another campaign.
    """
    request = cast("dict[str, object]", body) if isinstance(body, dict) else {}
    campaign, votes = request.get("campaign"), request.get("votes")
    if not isinstance(campaign, str) or not isinstance(votes, list):
        raise Refused(422, "Expected an object with a campaign and a list of votes")
    sent = cast("list[object]", votes)
    if campaign != state.campaign:
        raise Refused(409, "These votes are of another campaign than the one that is open here")
    if len(sent) > _VOTES_LIMIT:
        raise Refused(413, f"Send at most {_VOTES_LIMIT} votes at once")
    return [_read_vote(vote, state) for vote in sent]


def _read_vote(given: object, state: State) -> Vote | Refused:
    if not isinstance(given, dict):
        return Refused(422, "A vote is an object")
    sent = cast("dict[str, object]", given)
    item = find_item(sent.get("item"), state)
    if item is None:
        return Refused(422, _NOT_IN_BATCH)
    try:
        kind = _read_kind(sent.get("kind"))
        schema = _read_schema(sent, state)
        return Vote(
            item=item,
            annotator=check_annotator(sent.get("annotator")),
            kind=kind,
            label=_read_label(sent.get("label"), kind, schema, state),
            time=_read_time(sent.get("time")),
            seconds=_read_seconds(sent.get("seconds")),
            source="page",
            schema=schema,
        )
    except Refused as refused:
        return refused


def _read_kind(kind: object) -> Literal["label", "skip", "undo"]:
    for known in ("label", "skip", "undo"):
        if kind == known:
            return known
    raise Refused(422, "A vote is a label, a skip or an undo")


def _read_schema(sent: Mapping[str, object], state: State) -> int | None:
    """The version of the classes that the page showed, which need not be today's."""
    versions = {schema.version for schema in state.schemas}
    version = sent.get("schema", state.schema and state.schema.version)
    if type(version) is int and version in versions:
        return version
    raise Refused(422, "The vote is for classes that this campaign never had")


def _read_label(label: object, kind: str, version: int | None, state: State) -> Answer | None:
    if kind != "label":
        if label is not None:
            raise Refused(422, f"There is a {state.question.one} with the {kind}")
        return None
    names = next(schema.classes for schema in state.schemas if schema.version == version)
    question = state.asked_under(names)
    answer = question.sent(label)
    if answer is None:
        raise Refused(422, f"{_short(label)} is {question.wrong}")
    return answer


def _read_time(time: object) -> str:
    if isinstance(time, str) and _TIME.fullmatch(time):
        try:
            moment = datetime.fromisoformat(time)
        except ValueError:
            moment = None
        # A vote of the future would win over all that follow; a clock may be somewhat off.
        latest = datetime.now(UTC) + timedelta(days=1)
        if moment and datetime(2000, 1, 1, tzinfo=UTC) <= moment <= latest:
            return time
    raise Refused(422, f"{_short(time)} is not a valid time of a vote: check this computer's clock")


def _read_seconds(seconds: object) -> float | None:
    if seconds is None:
        return None
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        amount = min(seconds, SECONDS_LIMIT)
        if math.isfinite(amount) and amount >= 0:
            return float(amount)
    raise Refused(422, "The seconds of a vote are a number from 0")


def _short(value: Any) -> str:
    text = f"'{value}'" if isinstance(value, str) else "What was sent"
    return text if len(text) <= 60 else f"{text[:60]}…'"
