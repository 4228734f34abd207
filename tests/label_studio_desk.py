"""A small campaign with a planned batch, for the tests that send it to Label Studio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from keepers.campaign import (
    Desk,
    Event,
    Id,
    Journal,
    Planned,
    PlannedItem,
    Schema,
    Started,
    Vote,
)
from keepers.data import Source, open_source

AWKWARD = (
    "<b>bold</b>",
    "fish & chips",
    'say "no"',
    "it's",
    "$5",
    "$text",
    "a, b",
    " spaced ",
    "7",
    "true",
    "é ☃ 😀",
    'x" name="text',
)
"""More than ten classes, with all that XML or Label Studio's page gives a meaning to."""


def text_desk(
    folder: Path,
    ids: Sequence[Id] = (10, 11, 12),
    *,
    classes: Sequence[str] = ("neg", "pos"),
    votes: int = 1,
    texts: Sequence[str] | None = None,
    planned: Sequence[Id] | None = None,
) -> Desk:
    """A campaign over texts, with those `planned` (by default all) in one batch, in this order."""
    return _desk(folder, text_source(ids, texts), planned or ids, classes, votes)


def text_source(ids: Sequence[Id], texts: Sequence[str] | None = None) -> Source:
    """A pool of texts."""
    texts = texts or [f"text of {item}" for item in ids]
    pool = pa.table({"id": list(ids), "text": list(texts)})
    return open_source(pool, input="text", id="id", require_labels=False)


def picture_desk(folder: Path, count: int = 3) -> Desk:
    """A campaign over pictures of 8 × 8 pixels."""
    grey = np.random.default_rng(0).integers(0, 255, (count, 8, 8), dtype=np.uint8)
    source = open_source((grey, np.arange(count) % 2), require_labels=False)
    return _desk(folder, source, source.ids.tolist(), ("cat", "dog"), 1)


def reopened(desk: Desk) -> Desk:
    """The same campaign as another process finds it."""
    return Desk(Journal.open(desk.journal.folder), desk.source)


def plan(desk: Desk, ids: Sequence[Id], round: int = 2) -> None:
    """Plan another batch."""
    desk.journal.append([_planned(round, ids)])


def label(desk: Desk, item: Id, name: str, annotator: str = "ann") -> None:
    """A label that was given on the page."""
    desk.record([Vote(item=item, annotator=annotator, label=name, source="page")])


def words(desk: Desk) -> dict[Id, list[tuple[str, str | None]]]:
    """Who says what of each item now, without Label Studio's part of the names."""
    return {
        name: sorted(
            (vote.annotator.removeprefix("label-studio-"), vote.label or vote.kind)
            for vote in item.current
        )
        for name, item in desk.state.items.items()
        if item.current
    }


def _desk(
    folder: Path, source: Source, ids: Sequence[Id], classes: Sequence[str], votes: int
) -> Desk:
    events: list[Event] = [
        Started(settings={"votes": votes}, campaign=f"campaign-of-{folder.name}"),
        Schema(version=1, classes=tuple(classes)),
        _planned(1, ids),
    ]
    journal = Journal.create(folder)
    journal.append(events)
    return Desk(journal, source)


def _planned(round: int, ids: Sequence[Id]) -> Planned:
    items = tuple(PlannedItem(item=item, rank=rank) for rank, item in enumerate(ids))
    return Planned(round=round, asked=len(ids), labels_seen=0, method="margin", items=items)
