from __future__ import annotations

import pytest

from integrations.label_studio.fake_label_studio import LEGACY, URL, FakeLabelStudio
from keepers.integrations.label_studio import Client, connect


@pytest.fixture
def server() -> FakeLabelStudio:
    return FakeLabelStudio()


@pytest.fixture
def waits() -> list[float]:
    """The seconds that the client would have waited."""
    return []


@pytest.fixture
def client(server: FakeLabelStudio, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", LEGACY)
    return connect(URL, transport=server.transport, sleep=waits.append)
