"""What the page asks for and sends: items, pictures, votes, undo; and hostile requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from integrations.labelling.labelling_campaigns import TEXTS, Enter, MakeDesk, plan, texts
from keepers.campaign import Desk, Schema
from keepers.data import open_source
from keepers.errors import RunError
from keepers.integrations.labelling.claims import Claims

FIRST, SECOND, THIRD = ('"item-0"', '"item-1"', '"item-2"')


def vote(item: str, label: object = "pos", kind: object = "label", **other: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "item": item,
        "annotator": "ann",
        "kind": kind,
        "time": "2026-03-01T10:00:00.000Z",
        "seconds": 2.5,
        "schema": 1,
    }
    return given | ({} if kind == "label" and label is None else {"label": label}) | other


def send(client: TestClient, *votes: object, campaign: str = "campaign-1") -> dict[str, Any]:
    reply = client.post("/api/votes", json={"campaign": campaign, "votes": list(votes)})
    assert reply.status_code == 200, reply.text
    return reply.json()


def statuses(answer: dict[str, Any]) -> list[str]:
    return [result["status"] for result in answer["results"]]


def upcoming(client: TestClient, annotator: str = "ann", limit: int = 10) -> list[str]:
    reply = client.get("/api/next", params={"annotator": annotator, "limit": limit})
    assert reply.status_code == 200, reply.text
    return [item["item"] for item in reply.json()["items"]]


def recorded(desk: Desk) -> list[tuple[Any, ...]]:
    votes = [vote for item in desk.state.items.values() for vote in item.votes]
    return sorted((v.item, v.annotator, v.kind, v.label or "") for v in votes)


def test_next_gives_the_items_in_rank_order_with_all_that_the_page_needs(
    make_desk: MakeDesk, enter: Enter
) -> None:
    desk = make_desk(items=("item-2", "item-0"))
    answer = enter(desk).get("/api/next", params={"annotator": "ann"}).json()
    shown = {"votes": [], "length": 6, "item": THIRD, "name": "item-2", "text": "So-so."}
    assert answer["items"][0] == shown
    assert answer["items"][1]["text"] == "Good."
    assert (answer["campaign"], answer["kind"]) == ("campaign-1", "text")
    assert (answer["classes"], answer["schema"]) == (["neg", "pos"], 1)
    assert answer["progress"] == {
        "round": 1,
        "done": 0,
        "left": 2,
        "disputed": 0,
        "mine": 0,
        "waiting": 2,
    }


def test_the_page_is_not_told_why_an_item_was_chosen(make_desk: MakeDesk, enter: Enter) -> None:
    answer = enter(make_desk()).get("/api/next", params={"annotator": "ann"}).text
    assert not any(word in answer for word in ("score", "control", "selected", "reason", "random"))


def test_a_vote_is_recorded_as_it_was_given(make_desk: MakeDesk, enter: Enter) -> None:
    desk = make_desk()
    answer = send(enter(desk), vote(FIRST))
    (taken,) = desk.state.item("item-0").votes
    assert (taken.annotator, taken.label, taken.source, taken.schema) == ("ann", "pos", "page", 1)
    assert (taken.time, taken.seconds) == ("2026-03-01T10:00:00.000000Z", 2.5)
    assert statuses(answer) == ["taken"]
    assert answer["progress"]["done"] == answer["progress"]["mine"] == 1


def test_the_same_votes_again_change_nothing(make_desk: MakeDesk, enter: Enter) -> None:
    desk = make_desk()
    client = enter(desk)
    votes = vote(FIRST), vote(SECOND, None, "skip")
    send(client, *votes)
    before = desk.journal.read()
    assert statuses(send(client, *votes, *votes)) == ["taken"] * 4
    assert desk.journal.read() == before


def test_label_skip_undo_and_another_label(make_desk: MakeDesk, enter: Enter) -> None:
    desk = make_desk()
    client = enter(desk)
    send(client, vote(FIRST), vote(SECOND, None, "skip"))
    assert upcoming(client) == [THIRD]
    undone = vote(FIRST, None, "undo", time="2026-03-01T10:00:01.000Z")
    assert statuses(send(client, undone)) == ["taken"]
    assert upcoming(client) == [FIRST, THIRD]
    send(client, vote(FIRST, "neg", time="2026-03-01T10:00:02.000Z"))
    assert desk.state.labels == {"item-0": "neg"}
    assert desk.state.skipped == ("item-1",)


def test_votes_that_arrive_late_count_by_their_times(make_desk: MakeDesk, enter: Enter) -> None:
    desk = make_desk()
    client = enter(desk)
    send(client, vote(FIRST, "neg", time="2026-03-01T10:00:02.000Z"))
    send(client, vote(FIRST, "pos", time="2026-03-01T10:00:00.000Z"))
    assert desk.state.labels == {"item-0": "neg"}


def test_two_annotators_at_once_get_different_items_first_and_both_votes_stay(
    make_desk: MakeDesk, enter: Enter
) -> None:
    desk = make_desk()
    client = enter(desk)
    assert upcoming(client, "ann", 1) == [FIRST]
    assert upcoming(client, "ben", 10) == [SECOND, THIRD, FIRST]
    send(client, vote(FIRST, "neg"), vote(FIRST, "pos", annotator="ben"))
    assert recorded(desk) == [("item-0", "ann", "label", "neg"), ("item-0", "ben", "label", "pos")]
    assert desk.state.disputed == ("item-0",)


def test_where_every_item_needs_two_votes_both_get_all_in_order(
    make_desk: MakeDesk, enter: Enter
) -> None:
    client = enter(make_desk(votes=2))
    assert upcoming(client, "ann", 2) == [FIRST, SECOND]
    assert upcoming(client, "ben", 2) == [FIRST, SECOND]


def test_a_third_person_sees_who_disagrees(make_desk: MakeDesk, enter: Enter) -> None:
    desk = make_desk(items=("item-0",))
    client = enter(desk)
    send(client, vote(FIRST, "neg"), vote(FIRST, "pos", annotator="<b>ben</b>"))
    (item,) = client.get("/api/next", params={"annotator": "cleo"}).json()["items"]
    assert item["votes"] == [
        {"annotator": "<b>ben</b>", "label": "pos"},
        {"annotator": "ann", "label": "neg"},
    ]
    assert upcoming(client, "ann") == []


def test_claims_end_and_leave_nobody_without_work() -> None:
    now = [0.0]
    claims = Claims(seconds=60, clock=lambda: now[0])
    assert claims.share([1, 2], "ann", 2) == [1, 2]
    assert claims.share([1, 2], "ben", 1) == [1]
    assert claims.share([3, 1, 2], "ben", 2) == [3, 1]
    now[0] = 61.0
    assert claims.share([1, 2, 3], "ben", 2) == [1, 2]
    assert claims.share([1, 2, 3], "ann", 3) == [3, 1, 2]


def test_a_campaign_without_a_batch_and_one_planned_while_the_page_is_open(
    make_desk: MakeDesk, enter: Enter
) -> None:
    desk = make_desk(items=())
    client = enter(desk)
    answer = client.get("/api/next", params={"annotator": "ann"}).json()
    assert (answer["items"], answer["progress"]["round"]) == ([], None)
    desk.journal.append([plan(1, ["item-1"])])
    assert upcoming(client) == [SECOND]


def test_progress_counts_the_open_batches_without_what_left_the_pool(
    make_desk: MakeDesk, enter: Enter
) -> None:
    desk = make_desk(items=("item-0", "item-1"))
    client = enter(desk)
    desk.journal.append([plan(2, ["item-2"])])
    progress = send(client, vote(FIRST))["progress"]
    assert (progress["round"], progress["done"], progress["left"]) == (2, 1, 2)
    progress = send(client, vote(SECOND, None, "skip"))["progress"]
    assert (progress["done"], progress["left"], progress["mine"]) == (0, 1, 0)


def test_whole_numbers_and_texts_as_ids_stay_exact(make_desk: MakeDesk, enter: Enter) -> None:
    large = 2**60 + 1
    desk = make_desk(texts(["a", "b"], [large, large + 1]), items=(large, large + 1))
    client = enter(desk)
    assert upcoming(client) == [str(large), str(large + 1)]
    assert statuses(send(client, vote(str(large)), vote(f'"{large}"'))) == ["taken", "refused"]
    assert dict(desk.state.labels) == {large: "pos"}


def test_pictures_are_png_and_of_the_batch_only(make_desk: MakeDesk, enter: Enter) -> None:
    source = open_source("digits")
    ids = source.ids.tolist()
    client = enter(make_desk(source, items=ids[:2]))
    picture = client.get("/api/picture", params={"item": json.dumps(ids[1])})
    assert picture.headers["content-type"] == "image/png"
    assert picture.content == source.preview(1)
    assert client.get("/api/picture", params={"item": json.dumps(ids[2])}).status_code == 404
    answer = client.get("/api/next", params={"annotator": "ann"}).json()
    assert (answer["kind"], answer["items"][0]["text"]) == ("image", None)


def test_vectors_are_shown_as_text(make_desk: MakeDesk, enter: Enter) -> None:
    table = pa.table({"key": ["a", "b"], "width": [1.5, 2.0], "height": [3.0, 4.0]})
    source = open_source(table, id="key", input="width,height", require_labels=False)
    answer = enter(make_desk(source, items=("a",))).get("/api/next?annotator=ann").json()
    assert (answer["kind"], answer["items"][0]["text"]) == ("vector", "width=1.5, height=3")


@pytest.mark.parametrize(
    "key",
    [
        *("", "item-0", "../../etc/passwd", '"../../etc/passwd"', '"item-3"', '"item-9"', "null"),
        *("true", "1.5", "[]", "{}", "NaN", "9" * 5000, "[" * 9000, '"\\ud800"', "\x00"),
    ],
)
def test_ids_are_looked_up_and_nothing_else(make_desk: MakeDesk, enter: Enter, key: str) -> None:
    desk = make_desk()
    client = enter(desk)
    for path in ("/api/item", "/api/picture"):
        reply = client.get(path, params={"item": key})
        assert (reply.status_code, reply.json()) == (
            404,
            {"error": "The item is in no batch of this campaign"},
        )
    assert statuses(send(client, vote(key))) == ["refused"]
    assert recorded(desk) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label": "zebra"}, "'zebra' is not one of the classes"),
        ({"label": None}, "What was sent is not one of the classes"),
        ({"label": ["pos"]}, "What was sent is not one of the classes"),
        ({"label": "x" * 999}, f"'{'x' * 59}…' is not one of the classes"),
        ({"kind": "skip"}, "There is a class with the skip"),
        ({"kind": "delete"}, "A vote is a label, a skip or an undo"),
        ({"kind": ["label"]}, "A vote is a label, a skip or an undo"),
        ({"annotator": " "}, "Give the annotator a name of 1 to 80 characters"),
        ({"annotator": "x" * 81}, "Give the annotator a name of 1 to 80 characters"),
        ({"annotator": "a\nb"}, "Give the annotator a name of 1 to 80 characters"),
        ({"annotator": "\ud800"}, "Give the annotator a name of 1 to 80 characters"),
        ({"annotator": 7}, "Give the annotator a name of 1 to 80 characters"),
        (
            {"time": None},
            "What was sent is not a valid time of a vote: check this computer's clock",
        ),
        ({"time": "2026-03-01"}, "'2026-03-01' is not a valid time of a vote"),
        (
            {"time": "2026-02-30T10:00:00.000Z"},
            "'2026-02-30T10:00:00.000Z' is not a valid time of a vote",
        ),
        (
            {"time": "1999-01-01T10:00:00.000Z"},
            "'1999-01-01T10:00:00.000Z' is not a valid time of a vote",
        ),
        (
            {"time": "9999-01-01T10:00:00.000Z"},
            "'9999-01-01T10:00:00.000Z' is not a valid time of a vote",
        ),
        ({"seconds": -1}, "The seconds of a vote are a number from 0"),
        ({"seconds": "2"}, "The seconds of a vote are a number from 0"),
        ({"seconds": True}, "The seconds of a vote are a number from 0"),
        ({"schema": 2}, "The vote is for classes that this campaign never had"),
        ({"schema": True}, "The vote is for classes that this campaign never had"),
    ],
)
def test_a_vote_that_is_none_is_refused_alone(
    make_desk: MakeDesk, enter: Enter, change: dict[str, Any], reason: str
) -> None:
    desk = make_desk()
    body = {"campaign": "campaign-1", "votes": [vote(FIRST, **change), vote(SECOND)]}
    reply = enter(desk).post(
        "/api/votes", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    refused, taken = reply.json()["results"]
    assert refused["status"] == "refused"
    assert reason in refused["reason"]
    assert taken == {"status": "taken"}
    assert recorded(desk) == [("item-1", "ann", "label", "pos")]


def test_votes_of_tomorrow_are_refused_and_those_of_a_fast_clock_taken(
    make_desk: MakeDesk, enter: Enter
) -> None:
    now = datetime.now(UTC)
    near, far = (
        (now + timedelta(hours=hours)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for hours in (1, 25)
    )
    answer = send(enter(make_desk()), vote(FIRST, time=near), vote(SECOND, time=far))
    assert statuses(answer) == ["taken", "refused"]


def test_seconds_are_capped_and_may_be_missing(make_desk: MakeDesk, enter: Enter) -> None:
    desk = make_desk()
    unmeasured = vote(SECOND)
    del unmeasured["seconds"]
    send(enter(desk), vote(FIRST, seconds=1e9), unmeasured)
    assert desk.state.item("item-0").votes[0].seconds == 600
    assert desk.state.item("item-1").votes[0].seconds is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 422),
        ("{", 422),
        ("[" * 100_000, 422),
        ("\ud800".encode("utf-8", "surrogatepass"), 422),
        ("null", 422),
        ("{}", 422),
        ('{"campaign": "campaign-1", "votes": {}}', 422),
        ('{"campaign": 1, "votes": []}', 422),
        ('{"campaign": "another", "votes": []}', 409),
        (json.dumps({"campaign": "campaign-1", "votes": [0] * 501}), 413),
        (b" " * 1_000_001, 413),
    ],
)
def test_requests_that_are_no_votes(
    make_desk: MakeDesk, enter: Enter, body: str | bytes, status: int
) -> None:
    desk = make_desk()
    headers = {"content-type": "application/json"}
    reply = enter(desk).post("/api/votes", content=body, headers=headers)
    assert reply.status_code == status
    assert reply.json()["error"]
    assert recorded(desk) == []


@pytest.mark.parametrize("votes", [[None], ["x"], [[]], [{}], [1.5]])
def test_votes_that_are_no_objects_are_refused(
    make_desk: MakeDesk, enter: Enter, votes: list[object]
) -> None:
    assert statuses(send(enter(make_desk()), *votes)) == ["refused"]


@pytest.mark.parametrize("query", ["", "annotator=", "annotator=%20", f"annotator={'x' * 81}"])
def test_next_needs_a_name(make_desk: MakeDesk, enter: Enter, query: str) -> None:
    reply = enter(make_desk()).get(f"/api/next?{query}")
    assert (reply.status_code, reply.json()) == (
        422,
        {"error": "Give the annotator a name of 1 to 80 characters"},
    )


@pytest.mark.parametrize("limit", ["0", "51", "-1", "x", "", "1.5", "٣", "9" * 5000])
def test_next_needs_a_sensible_limit(make_desk: MakeDesk, enter: Enter, limit: str) -> None:
    reply = enter(make_desk()).get("/api/next", params={"annotator": "ann", "limit": limit})
    assert (reply.status_code, reply.json()) == (
        422,
        {"error": "The limit is a whole number from 1 to 50"},
    )


def test_a_vote_for_a_class_that_is_gone_is_kept_aside_until_it_comes_back(
    make_desk: MakeDesk, enter: Enter
) -> None:
    desk = make_desk()
    client = enter(desk)
    desk.journal.append([Schema(version=2, classes=("good", "neg"), renamed={})])
    assert statuses(send(client, vote(FIRST), vote(SECOND, "neg"))) == ["aside", "taken"]
    assert desk.state.quarantined == ("item-0",)
    assert dict(desk.state.labels) == {"item-1": "neg"}
    desk.journal.append([Schema(version=3, classes=("good", "neg", "pos"))])
    assert dict(desk.state.labels) == {"item-0": "pos", "item-1": "neg"}


def test_a_vote_under_the_old_name_of_a_class_counts_for_the_new_one(
    make_desk: MakeDesk, enter: Enter
) -> None:
    desk = make_desk()
    client = enter(desk)
    desk.journal.append([Schema(version=2, classes=("neg", "good"), renamed={"pos": "good"})])
    assert statuses(send(client, vote(FIRST))) == ["taken"]
    assert dict(desk.state.labels) == {"item-0": "good"}


def test_markup_direction_and_long_texts_come_as_they_are(
    make_desk: MakeDesk, enter: Enter
) -> None:
    hostile = ["<script>alert(1)</script>", "شكرا \u202e abc", "x" * 300_000, "<img onerror=a src>"]
    keys = ["<script>", "a/../b", "c\"'&", "d e"]
    classes = ("<img src=x onerror=alert(1)>", "شكرا", "y" * 500)
    desk = make_desk(texts(hostile, keys), classes=classes, items=keys)
    client = enter(desk)
    reply = client.get("/api/next", params={"annotator": "<b>"})
    assert reply.headers["content-type"] == "application/json"
    answer = reply.json()
    assert [item["text"] for item in answer["items"]] == [
        *(hostile[0], hostile[1], "x" * 200_000, hostile[3])
    ]
    assert (answer["items"][2]["length"], answer["items"][0]["name"]) == (300_000, "<script>")
    assert answer["classes"] == list(classes)
    for key, label in zip(keys, (*classes, classes[0]), strict=True):
        assert statuses(send(client, vote(json.dumps(key), label))) == ["taken"]
    assert len(desk.state.labels) == 4


def test_one_item_that_cannot_be_read_stops_no_other_and_names_no_path(
    make_desk: MakeDesk, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk()
    whole = desk.content

    def content(item: int | str) -> str | bytes:
        if item == "item-0":
            raise OSError("/home/ann/private.txt cannot be read")
        return whole(item)

    monkeypatch.setattr(desk, "content", content)
    client = enter(desk)
    reply = client.get("/api/next", params={"annotator": "ann"})
    assert [item["text"] for item in reply.json()["items"]] == [None, TEXTS[1], TEXTS[2]]
    picture = client.get("/api/picture", params={"item": FIRST})
    assert (picture.status_code, picture.json()["error"]) == (422, "This picture cannot be shown")
    assert "private" not in reply.text + picture.text


def test_pictures_of_another_format_are_not_sent(
    make_desk: MakeDesk, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk()

    def drawing(_: object) -> bytes:
        return b"<svg onload='alert(1)'/>"

    monkeypatch.setattr(desk, "content", drawing)
    assert enter(desk).get("/api/picture", params={"item": FIRST}).status_code == 422


def test_a_journal_that_cannot_be_written_is_503_without_its_path(
    make_desk: MakeDesk, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk()

    def record(*_: object, **__: object) -> None:
        raise RunError("campaign: /home/ann/campaign.db cannot be used (disk full)")

    client = enter(desk)
    monkeypatch.setattr(desk, "record", record)
    reply = client.post("/api/votes", json={"campaign": "campaign-1", "votes": [vote(FIRST)]})
    assert (reply.status_code, reply.json()) == (
        503,
        {"error": "The campaign cannot be read or written just now"},
    )


@pytest.mark.parametrize("path", ["/page.html", "/..%2f..%2fetc/passwd", "/static/", "/docs"])
def test_no_files_are_served(make_desk: MakeDesk, enter: Enter, path: str) -> None:
    assert enter(make_desk()).get(path).status_code == 404


def test_only_reading_is_answered_to_get(make_desk: MakeDesk, enter: Enter) -> None:
    client = enter(make_desk())
    assert client.get("/api/votes").status_code == 405
    deleting: Callable[..., Any] = client.delete
    assert deleting("/api/next", headers={"content-type": "application/json"}).status_code == 405
