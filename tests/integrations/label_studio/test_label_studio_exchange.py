"""The whole exchange, as the command calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from integrations.label_studio.fake_label_studio import LEGACY, URL, FakeLabelStudio
from keepers.campaign import Desk
from keepers.errors import ParameterError, RunError
from keepers.integrations.label_studio import Client, connect, exchange
from label_studio_desk import label, text_desk


@pytest.fixture
def desk(tmp_path: Path, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch) -> Desk:
    def connected(url: str, token: str | None, *, variable: str) -> Client:
        return connect(url, token, variable=variable, transport=server.transport)

    monkeypatch.setenv("LABEL_STUDIO_TOKEN", LEGACY)
    monkeypatch.setattr("keepers.integrations.label_studio.round_trip.connect", connected)
    return text_desk(tmp_path / "c", (10, 11))


def test_there_and_back(desk: Desk, server: FakeLabelStudio) -> None:
    said: list[str] = []
    first = exchange(desk, URL, say=said.append)
    server.annotate(server.task_of(10), "pos")
    server.annotate(server.task_of(11), "whatever", lead_time=None)
    second = exchange(desk, URL, LEGACY, say=said.append)
    (project,) = server.projects
    assert said == [
        f"made {URL}/projects/{project}",
        "sent 2 of 2",
        f"2 tasks sent, 0 already there: {URL}/projects/{project}",
        "0 new labels; 2 examples wait",
        f"0 tasks sent, 2 already there: {URL}/projects/{project}",
        "2 new labels, 1 of unknown classes; 0 examples wait",
    ]
    assert (first["pushed"]["sent"], second["pulled"]["new"]) == (2, 2)
    assert LEGACY not in json.dumps([first, second])


def test_what_is_left_out_is_said(desk: Desk, server: FakeLabelStudio) -> None:
    exchange(desk, URL)
    (project,) = server.projects
    server.annotate(server.task_of(10), "pos")["result"] = []
    server.add(project, {"data": {"text": "theirs"}})
    said: list[str] = []
    exchange(desk, URL, say=said.append)
    assert said[-2].startswith("Left out: http://label-studio.test, task")
    assert said[-1] == "Tasks left alone, because they are not the campaign's: 1"


def test_polling(desk: Desk, server: FakeLabelStudio) -> None:
    todo: Iterator[int] = iter((10, 11))
    looks: list[str] = []

    def work(sentence: str) -> None:
        looks.append(sentence)
        if "wait" in sentence and (item := next(todo, None)) is not None:
            server.annotate(server.task_of(item), "pos")

    exchange(desk, URL, every=0.01, say=work)
    assert looks[-3:] == [
        "0 new labels; 2 examples wait",
        "1 new label; 1 example waits",
        "1 new label; 0 examples wait",
    ]


def test_an_offer_is_said(desk: Desk, server: FakeLabelStudio) -> None:
    exchange(desk, URL)
    server.annotate(server.task_of(10), "pos", user=1)
    server.annotate(server.task_of(10), "neg", user=2)
    said: list[str] = []
    assert exchange(desk, URL, say=said.append)["pulled"]["offered"] == 1
    assert said[-1] == (
        "2 new labels, 1 disputed, offered to another annotator; 1 example waits, and 1 disputed"
    )


def test_what_is_not_offered_is_said_once(desk: Desk, server: FakeLabelStudio) -> None:
    exchange(desk, URL)
    server.flag_is_read_only = True
    server.annotate(server.task_of(10), "pos", user=1)
    server.annotate(server.task_of(10), "neg", user=2)
    sentence = (
        "1 disputed example is not offered to another annotator (item 10: the server still "
        "marks its task as done). Settle it on the page or in a file"
    )
    said: list[str] = []
    exchange(desk, URL, say=said.append)
    assert said[-1] == sentence
    looks = iter((None, None, 11))

    def work(spoken: str) -> None:
        said.append(spoken)
        if "wait" in spoken and (item := next(looks, None)) is not None:
            server.annotate(server.task_of(item), "pos")

    said.clear()
    exchange(desk, URL, every=0.01, say=work)
    assert said.count(sentence) == 1
    assert said[-1] == "1 new label; 0 examples wait"


@pytest.mark.parametrize("every", [0, -1.0, float("nan"), float("inf")])
def test_a_wrong_interval_is_refused_before_anything_is_sent(
    desk: Desk, server: FakeLabelStudio, every: float
) -> None:
    with pytest.raises(ParameterError, match=r"every: got .*Give a positive number of seconds"):
        exchange(desk, URL, every=every)
    assert server.requests == []


def test_nothing_was_ever_planned(desk: Desk) -> None:
    label(desk, 10, "pos")
    label(desk, 11, "pos")
    with pytest.raises(RunError, match=r"nothing waits for labels.*keepers active query"):
        exchange(desk, URL)


def test_corrections_come_when_nothing_waits(desk: Desk, server: FakeLabelStudio) -> None:
    exchange(desk, URL)
    annotations = [server.annotate(server.task_of(item), "pos") for item in (10, 11)]
    exchange(desk, URL)
    server.edit(annotations[0], "neg")
    said: list[str] = []
    assert exchange(desk, URL, say=said.append)["pulled"]["changed"] == 1
    assert said == ["Nothing waits for labels", "0 new labels, 1 changed; 0 examples wait"]
