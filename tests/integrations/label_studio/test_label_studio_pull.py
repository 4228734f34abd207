"""Pull: annotations are votes, once each, and what is taken back there is taken back here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.label_studio.fake_label_studio import FakeLabelStudio
from keepers.campaign import Desk, Schema, Vote
from keepers.errors import ParameterError
from keepers.integrations.label_studio import (
    Client,
    LabelStudioError,
    Pulled,
    poll,
    pull,
    push,
)
from keepers.integrations.label_studio import collecting as collecting_module
from label_studio_desk import label, reopened, text_desk, words


@pytest.fixture
def desk(tmp_path: Path, client: Client) -> Desk:
    desk = text_desk(tmp_path / "c", (10, 11, 12))
    push(desk, client)
    return desk


def events(desk: Desk) -> int:
    return len(desk.journal.read())


def test_labels_and_skips(desk: Desk, client: Client, server: FakeLabelStudio) -> None:
    made = server.annotate(server.task_of(10), "pos", user=3)
    server.annotate(server.task_of(11), None)
    pulled = pull(desk, client)
    assert (pulled.new, pulled.waiting) == (2, 1)
    assert words(desk) == {10: [("3", "pos")], 11: [("1", "skip")]}
    assert {name: item.status for name, item in desk.state.items.items()} == {
        10: "labelled",
        11: "skipped",
        12: "sent",
    }
    (vote,) = desk.state.item(10).votes
    assert (vote.seconds, vote.source) == (2.5, "label-studio")
    assert vote.time == made["updated_at"].replace("Z", ".000000Z")


def test_a_second_look_adds_nothing(desk: Desk, client: Client, server: FakeLabelStudio) -> None:
    server.annotate(server.task_of(10), "pos")
    pull(desk, client)
    before = events(desk)
    for again in (desk, reopened(desk)):
        pulled = pull(again, client)
        assert (pulled.new, pulled.changed, pulled.repeated) == (0, 0, 1)
    assert events(desk) == before


def test_two_annotators_disagree(desk: Desk, client: Client, server: FakeLabelStudio) -> None:
    server.annotate(server.task_of(10), "pos", user=1)
    server.annotate(server.task_of(10), "neg", user=2)
    pull(desk, client)
    assert desk.state.disputed == (10,)


def test_a_disputed_item_is_offered_to_one_more_annotator(
    tmp_path: Path, client: Client, server: FakeLabelStudio
) -> None:
    desk = text_desk(tmp_path / "two", (10, 11, 12), votes=2)
    push(desk, client)
    for item, second in ((10, "neg"), (11, "pos")):
        server.annotate(server.task_of(item), "pos", user=1)
        server.annotate(server.task_of(item), second, user=2)
    server.annotate(server.task_of(12), "pos", user=1)
    assert server.shown_to(3) == ["12"]
    assert pull(desk, client).offered == 1
    assert server.shown_to(3) == ["10", "12"]
    assert server.shown_to(1) == []  # who had it does not get it again
    sent = len(server.requests)
    assert pull(desk, client).offered == 0
    assert all(request.method == "GET" for request in server.requests[sent:])
    server.annotate(server.task_of(10), None, user=4)  # a skip does not use the offer up
    assert pull(desk, client).offered == 0
    assert server.shown_to(3) == ["10", "12"]
    server.annotate(server.task_of(10), "neg", user=3)
    assert pull(desk, client).offered == 0
    assert desk.state.labels[10] == "neg"
    assert server.shown_to(5) == ["12"]


def test_a_dispute_with_the_page_is_offered_and_a_tie_again(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    label(desk, 10, "neg")
    server.annotate(server.task_of(10), "pos", user=1)
    assert pull(desk, client).offered == 1
    server.annotate(server.task_of(10), "pos", user=2)
    label(desk, 10, "neg", annotator="bob")
    assert pull(desk, client).offered == 1
    assert server.tasks[server.task_of(10)]["overlap"] == 3
    assert desk.state.disputed == (10,)


def divided(server: FakeLabelStudio, *items: int) -> None:
    for item in items:
        server.annotate(server.task_of(item), "pos", user=1)
        server.annotate(server.task_of(item), "neg", user=2)


@pytest.mark.parametrize("status", [400, 403])
def test_what_was_pulled_stays_when_an_offer_is_refused(
    status: int, desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    divided(server, 10, 12)
    server.annotate(server.task_of(11), "neg", user=2)
    refused = f"/api/tasks/{server.task_of(10)}/"
    server.trouble = lambda request: (
        httpx.Response(status, json={"detail": "no"}) if request.url.path == refused else None
    )
    pulled = pull(desk, client)
    assert desk.state.labels == {11: "neg"}
    assert desk.state.disputed == (10, 12)
    assert (pulled.new, pulled.offered, pulled.open) == (5, 1, 1)
    (sentence,) = pulled.unoffered
    assert sentence.startswith(f"item 10: {client.url}: refuse")
    assert f"({status}" in sentence
    server.trouble = None
    pulled = pull(desk, client)
    assert (pulled.offered, pulled.open, pulled.unoffered) == (1, 2, ())


def test_a_task_deleted_before_its_offer_is_none(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    divided(server, 10)
    server.trouble = lambda request: (
        httpx.Response(404, json={}) if request.method == "PATCH" else None
    )
    pulled = pull(desk, client)
    assert (pulled.new, pulled.offered, pulled.open, pulled.unoffered) == (2, 0, 0, ())


def test_a_server_that_is_away_at_an_offer_may_be_asked_again(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    divided(server, 10)
    server.trouble = lambda request: httpx.Response(503) if request.method == "PATCH" else None
    with pytest.raises(LabelStudioError, match="failed at /api/tasks") as caught:
        pull(desk, client)
    assert caught.value.transient
    assert desk.state.disputed == (10,)
    server.trouble = None
    assert pull(desk, client).offered == 1


def test_a_server_that_leaves_the_task_done_offers_nothing(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    server.flag_is_read_only = True
    divided(server, 10)
    for _ in range(2):
        pulled = pull(desk, client)
        assert (pulled.offered, pulled.open) == (0, 0)
        assert pulled.unoffered == ("item 10: the server still marks its task as done",)


def test_predictions_are_no_votes(tmp_path: Path, client: Client) -> None:
    desk = text_desk(tmp_path / "d")
    push(desk, client, predictions={10: ("pos", 0.9)})
    assert pull(desk, client).new == 0
    assert words(desk) == {}


def test_an_edited_annotation_is_a_newer_vote(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    annotation = server.annotate(server.task_of(10), "pos")
    pull(desk, client)
    server.edit(annotation, "neg")
    assert pull(desk, client).changed == 1
    assert words(desk) == {10: [("1", "neg")]}
    assert len(desk.state.item(10).votes) == 2


def test_a_deleted_annotation_is_withdrawn_once(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    task = server.tasks[server.task_of(10)]
    server.annotate(task["id"], "pos")
    server.annotate(task["id"], "pos", user=2)
    pull(desk, client)
    del task["annotations"][0]
    pulled = pull(desk, client)
    assert (pulled.withdrawn, pulled.changed) == (1, 0)
    assert words(desk) == {10: [("2", "pos")]}
    before = events(desk)
    assert pull(desk, client).withdrawn == 0
    assert events(desk) == before
    server.annotate(task["id"], "neg")  # and once more, in its place
    assert pull(desk, client).new == 1
    assert words(desk) == {10: [("1", "neg"), ("2", "pos")]}


def test_an_older_annotation_counts_again(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    task = server.tasks[server.task_of(10)]
    server.annotate(task["id"], "pos")
    server.annotate(task["id"], "neg")
    pull(desk, client)
    assert words(desk) == {10: [("1", "neg")]}
    del task["annotations"][1]
    pull(desk, client)
    assert words(desk) == {10: [("1", "pos")]}
    before = events(desk)
    pull(desk, client)
    assert events(desk) == before


def test_labels_outlive_their_task_and_the_project(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    server.annotate(server.task_of(10), "pos")
    pull(desk, client)
    del server.tasks[server.task_of(10)]
    assert pull(desk, client).withdrawn == 0
    server.projects.clear()
    with pytest.raises(LabelStudioError, match=r"has no project of this campaign.*Push the batch"):
        pull(desk, client)
    assert words(desk) == {10: [("1", "pos")]}


def test_votes_of_elsewhere_are_left_alone(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    label(desk, 10, "pos", annotator="label-studio-1")
    assert pull(desk, client).withdrawn == 0
    assert words(desk) == {10: [("1", "pos")]}


def test_what_arrives_during_the_look_is_not_withdrawn(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    """Another process pulls an annotation that this look came too early for."""
    theirs = reopened(desk)

    def meanwhile(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/api/tasks/":
            return None
        server.trouble = None
        early = server(request)
        server.annotate(server.task_of(10), "pos")
        pull(theirs, client)
        return early

    server.trouble = meanwhile
    assert pull(desk, client).withdrawn == 0
    assert words(desk) == {10: [("1", "pos")]}


def test_unknown_classes_are_quarantined(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    server.annotate(server.task_of(10), "perhaps")
    server.annotate(server.task_of(11), "pos")
    pulled = pull(desk, client)
    assert (pulled.new, pulled.quarantined) == (2, 1)
    assert (desk.state.quarantined, dict(desk.state.labels)) == ((10,), {11: "pos"})
    assert pull(desk, client).repeated == 2


def test_a_renamed_class_is_not_taken_back(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    server.annotate(server.task_of(10), "pos")
    pull(desk, client)
    renamed = Schema(version=2, classes=("neg", "good"), renamed={"pos": "good"})
    desk.journal.append([renamed])
    before = events(desk)
    pull(desk, client)
    assert dict(desk.state.labels) == {10: "good"}
    assert events(desk) == before


def test_tasks_of_others_are_listed_and_left_alone(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    project = next(iter(server.projects))
    data: list[dict[str, Any]] = [{"text": "theirs"}, {"item_id": "99"}, {"item_id": [10]}]
    tasks = [server.add(project, {"data": each}) for each in data]
    for task in tasks:
        server.annotate(task, "pos")
    pulled = pull(desk, client)
    assert (pulled.foreign, pulled.new, pulled.unreadable) == (tuple(tasks), 0, ())
    assert set(tasks) <= server.tasks.keys()


def test_annotations_that_are_no_votes_are_listed(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    task = server.task_of(10)
    annotation = server.annotate(task, "pos")
    pull(desk, client)
    annotation["result"] = []
    server.annotate(server.task_of(11), "neg")
    pulled = pull(desk, client)
    assert (pulled.new, pulled.withdrawn, len(pulled.unreadable)) == (1, 0, 1)
    assert f"task {task}" in pulled.unreadable[0]
    assert words(desk) == {10: [("1", "pos")], 11: [("1", "neg")]}


def test_both_tasks_of_a_doubled_item_count(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    first = server.task_of(10)
    second = server.add(next(iter(server.projects)), {"data": {"item_id": "10"}})
    server.annotate(first, "pos", user=1)
    server.annotate(second, "pos", user=2)
    assert pull(desk, client).new == 2
    assert pull(desk, client).withdrawn == 0
    assert words(desk) == {10: [("1", "pos"), ("2", "pos")]}


def test_ids_that_are_texts(tmp_path: Path, client: Client, server: FakeLabelStudio) -> None:
    desk = text_desk(tmp_path / "d", ("007", "7", "a, b"))
    push(desk, client)
    for name in ("007", "7", "a, b"):
        server.annotate(server.task_of(name), "neg" if name == "7" else "pos")
    pull(desk, client)
    assert dict(desk.state.labels) == {"007": "pos", "7": "neg", "a, b": "pos"}


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_every_page_is_read(
    desk: Desk, client: Client, server: FakeLabelStudio, limit: int
) -> None:
    for item in (10, 11, 12):
        server.annotate(server.task_of(item), "pos")
    server.page_limit = limit
    assert pull(desk, client).new == 3


def test_a_task_that_vanishes_between_two_pages(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    for item in (10, 11, 12):
        server.annotate(server.task_of(item), "pos")
    server.page_limit = 2

    def vanish(request: httpx.Request) -> None:
        if request.url.params.get("page") == "2" and len(server.tasks) == 3:
            del server.tasks[server.task_of(12)]

    server.trouble = vanish
    assert pull(desk, client).new == 2


# Polling


def test_poll_ends_when_nothing_waits(desk: Desk, client: Client, server: FakeLabelStudio) -> None:
    todo = iter((10, 11, 12))
    slept: list[float] = []

    def work(seconds: float) -> None:
        slept.append(seconds)
        server.annotate(server.task_of(next(todo)), "pos")

    looks: list[object] = []
    last = poll(desk, client, every=5, say=looks.append, sleep=work)
    assert (slept, last.waiting, len(looks)) == ([5, 5, 5], 0, 4)
    assert len(desk.state.labels) == 3


def test_poll_waits_for_a_dispute_that_it_offers(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    divided(server, 10, 11, 12)
    todo = iter((10, 12))

    def work(_: float) -> None:
        item = next(todo, None)
        if item is None:
            label(desk, 11, "neg", annotator="carol")  # settled here, not there
        else:
            server.annotate(server.task_of(item), "pos", user=3)

    looks: list[object] = []
    last = poll(desk, client, say=looks.append, sleep=work)
    assert [getattr(look, "open", None) for look in looks] == [3, 2, 1, 0]
    assert (last.waiting, desk.state.labels) == (0, {10: "pos", 11: "neg", 12: "pos"})


def test_poll_ends_where_a_dispute_is_not_offered(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    server.flag_is_read_only = True
    divided(server, 10, 11, 12)
    last = poll(desk, client, sleep=lambda _: pytest.fail("it waited"))
    assert len(last.unoffered) == 3


def test_poll_ends_when_it_is_told(desk: Desk, client: Client) -> None:
    assert poll(desk, client, until=lambda pulled: pulled.waiting == 3).waiting == 3


def test_poll_waits_for_a_server_that_restarts(
    desk: Desk, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = LabelStudioError("away", transient=True)
    answers: Iterator[Pulled | LabelStudioError] = iter((away, away, Pulled(waiting=0)))

    def look(*_: object) -> Pulled:
        answer = next(answers)
        if isinstance(answer, LabelStudioError):
            raise answer
        return answer

    monkeypatch.setattr(collecting_module, "pull", look)
    said: list[object] = []
    poll(desk, client, say=said.append, patience=2, sleep=lambda _: None)
    assert said == [away, away, Pulled()]
    answers = iter((away, away, away))
    with pytest.raises(LabelStudioError, match="away"):
        poll(desk, client, patience=2, sleep=lambda _: None)


def test_poll_does_not_wait_for_a_refusal(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    server.trouble = lambda _: httpx.Response(401, json={})
    with pytest.raises(LabelStudioError, match="refuses the legacy token"):
        poll(desk, client, sleep=lambda _: pytest.fail("it waited"))


def test_poll_needs_a_time(desk: Desk, client: Client) -> None:
    with pytest.raises(ParameterError, match="every: got 0"):
        poll(desk, client, every=0)


def test_a_vote_of_the_page_stays_when_label_studio_s_is_deleted(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    task = server.tasks[server.task_of(10)]
    server.annotate(task["id"], "pos")
    pull(desk, client)
    page = Vote(item=10, annotator="label-studio-1", label="neg", source="page")
    desk.record([page])
    task["annotations"].clear()
    assert pull(desk, client).withdrawn == 0
    assert words(desk) == {10: [("1", "neg")]}
