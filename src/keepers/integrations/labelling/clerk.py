"""The clerk: what the labelling page asks of a campaign's desk, as plain values for JSON."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from keepers.campaign import Desk, Id, State, Vote
from keepers.integrations.labelling.claims import Claims
from keepers.integrations.labelling.votes import (
    Refused,
    check_annotator,
    find_item,
    item_key,
    read_votes,
)

_SHOWN_AT_ONCE = 50
_TEXT_LIMIT = 200_000
_PNG = b"\x89PNG\r\n\x1a\n"
_log = logging.getLogger(__name__)


class Clerk:
    """Answers the page out of a desk, and writes votes through `desk.record` alone."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._claims = Claims()

    def next_items(self, annotator: object, limit: str) -> dict[str, Any]:
        """The next items of an annotator with their contents, the classes, and the progress.

        Raises:
            Refused: no name, or no whole number of items from 1 to 50.
        """
        name = check_annotator(annotator)
        whole = limit.isascii() and limit.isdigit() and len(limit) <= 2
        if not (whole and 1 <= int(limit) <= _SHOWN_AT_ONCE):
            raise Refused(422, f"The limit is a whole number from 1 to {_SHOWN_AT_ONCE}")
        state = self._desk.state
        waiting = state.next_items(name, len(state.items))
        if int(state.settings.get("votes") or 1) > 1:  # everybody's word is wanted on every item
            items = waiting[: int(limit)]
        else:
            items = self._claims.share(waiting, name, int(limit))
        return {
            "campaign": state.campaign,
            "kind": self._desk.kind,
            "form": state.question.form,
            "classes": list(state.classes),
            "schema": state.schema.version if state.schema else 0,
            "items": [self._shown(state, item) for item in items],
            "progress": _progress(state, name, len(waiting)),
            "time": _now(),
        }

    def item(self, key: str) -> dict[str, Any]:
        """One planned item.

        Raises:
            Refused: it is in no batch, or left the pool.
        """
        state = self._desk.state
        return self._shown(state, self._find(key, state))

    def picture(self, key: str) -> tuple[str, bytes]:
        """The media type and the bytes of a planned item's picture.

        Raises:
            Refused: it is in no batch, left the pool, or cannot be shown.
        """
        item = self._find(key, self._desk.state)
        content = self._content(item)
        if isinstance(content, bytes) and content.startswith(_PNG):
            return "image/png", content
        raise Refused(422, "This picture cannot be shown")

    def take(self, body: object) -> dict[str, Any]:
        """Record votes: each is taken, kept aside because its class is gone, or refused.

        Raises:
            Refused: the request as a whole.
        """
        state = self._desk.state
        read = read_votes(body, state)
        good = [vote for vote in read if isinstance(vote, Vote)]
        lost = self._record(good)
        state = self._desk.state
        results: list[dict[str, str]] = []
        for vote in read:
            if isinstance(vote, Refused):
                results.append({"status": "refused", "reason": str(vote)})
            elif vote.key in lost:
                results.append({"status": "refused", "reason": "The campaign does not take it"})
            elif vote.kind == "label" and state.resolve(vote) is None:
                results.append({"status": "aside"})
            else:
                results.append({"status": "taken"})
        answer: dict[str, Any] = {"results": results, "time": _now()}
        if good:
            name = good[-1].annotator
            waiting = len(state.next_items(name, len(state.items)))
            answer["progress"] = {"annotator": name, **_progress(state, name, waiting)}
        return answer

    def _record(self, votes: Sequence[Vote]) -> set[str]:
        """The keys of the votes that the campaign would not have."""
        if not votes or not self._desk.record(votes, partial=True).refused:
            return set()
        alone = [(vote.key, self._desk.record([vote], partial=True)) for vote in votes]
        for _, recorded in alone:
            for sentence in recorded.refused:
                _log.error("%s", sentence)
        return {key for key, recorded in alone if recorded.refused}

    def _find(self, key: str, state: State) -> Id:
        item = find_item(key, state)
        if item is None or state.item(item).status == "removed":
            raise Refused(404, "The item is in no batch of this campaign")
        return item

    def _content(self, item: Id) -> Any:
        try:
            return self._desk.content(item)
        except Exception as error:
            # One broken file must not end the work on the others. What the error says may name
            # files of this machine: it is for the terminal alone.
            _log.error("Item %r cannot be shown: %s", item, error)
            return None

    def _shown(self, state: State, item: Id) -> dict[str, Any]:
        known = state.item(item)
        disputed = known.status == "disputed"
        said = [(vote.annotator, state.resolve(vote)) for vote in known.current] * disputed
        words = [(who, state.question.in_words(what)) for who, what in said if what is not None]
        shown: dict[str, Any] = {
            "item": item_key(item),
            "name": _clean(str(item)),
            "votes": [{"annotator": _clean(who), "label": what} for who, what in sorted(words)],
            "text": None,
            "length": 0,
        }
        if self._desk.kind != "image":
            content = self._content(item)
            if content is not None:
                text = content if isinstance(content, str) else str(content)
                shown |= {"text": _clean(text[:_TEXT_LIMIT]), "length": len(text)}
        return shown


def _progress(state: State, annotator: str, waiting: int) -> dict[str, Any]:
    """Where the open batches stand, or the last: done, left, disputed, by this annotator, for them.

    A batch is open while items of it are pending.
    """
    pending = {state.item(item).round for item in state.pending()}
    rounds = [r for r in state.rounds if r.round in pending or r is state.rounds[-1]]
    ids = {planned.item for r in rounds for planned in r.items}
    items = [item for item in map(state.item, ids) if item.status != "removed"]
    left = sum(item.status in ("planned", "sent") for item in items)
    disputed = sum(item.status == "disputed" for item in items)
    mine = sum(any(vote.annotator == annotator for vote in item.current) for item in items)
    return {
        "round": state.rounds[-1].round if state.rounds else None,
        "done": len(items) - left - disputed,
        "left": left,
        "disputed": disputed,
        "mine": mine,
        "waiting": waiting,
    }


def _clean(text: str) -> str:
    # Half a surrogate pair, as broken files have it, cannot be sent as UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
