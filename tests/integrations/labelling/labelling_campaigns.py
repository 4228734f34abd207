"""Campaigns of a few items for the tests of the labelling page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from starlette.testclient import TestClient

from keepers.campaign import Desk, Planned, PlannedItem
from keepers.data import Source, open_source

TOKEN = "an-only-too-well-known-token"
ORIGIN = "http://127.0.0.1:8765"
TEXTS = ("Good.", "Bad.", "So-so.", "Never planned.")

MakeDesk = Callable[..., Desk]
Enter = Callable[..., TestClient]


def texts(contents: Sequence[str] = TEXTS, keys: Sequence[Any] = ()) -> Source:
    keys = list(keys) or [f"item-{number}" for number in range(len(contents))]
    table = pa.table({"key": keys, "text": list(contents)})
    return open_source(table, id="key", input="text", require_labels=False)


def plan(round: int, items: Sequence[int | str]) -> Planned:
    planned = [PlannedItem(item=item, rank=rank) for rank, item in enumerate(items)]
    return Planned(
        round=round, asked=len(planned), labels_seen=0, method="random", items=tuple(planned)
    )
