"""Campaigns of a few items, and a client that was let in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from integrations.labelling.labelling_campaigns import ORIGIN, TOKEN, Enter, MakeDesk, plan, texts
from keepers.campaign import Desk, Event, Journal, Schema, Started
from keepers.data import Source
from keepers.integrations.labelling import create_app


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[MakeDesk]:
    opened: list[Journal] = []

    def make(
        source: Source | None = None,
        *,
        classes: Sequence[str] = ("neg", "pos"),
        items: Sequence[int | str] = ("item-0", "item-1", "item-2"),
        votes: int = 1,
    ) -> Desk:
        journal = Journal.create(tmp_path / f"campaign-{len(opened)}")
        opened.append(journal)
        events: list[Event] = [
            Started(settings={"votes": votes}, campaign=f"campaign-{len(opened)}"),
            Schema(version=1, classes=tuple(classes)),
        ]
        journal.append([*events, plan(1, items)] if items else events)
        return Desk(journal, source or texts())

    yield make
    for journal in opened:
        journal.close()


@pytest.fixture
def enter() -> Iterator[Enter]:
    """A client with the cookie, as a browser that opened the address has it."""
    clients: list[TestClient] = []

    def let_in(desk: Desk) -> TestClient:
        client = TestClient(create_app(desk, TOKEN), base_url=ORIGIN)
        client.__enter__()
        clients.append(client)
        client.headers["origin"] = ORIGIN
        assert client.get("/", params={"token": TOKEN}).status_code == 200
        return client

    yield let_in
    for client in clients:
        client.__exit__(None, None, None)
