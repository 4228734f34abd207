"""Push: each item that waits is one task on the server, whatever breaks off in between."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.label_studio.fake_label_studio import LEGACY, URL, FakeLabelStudio
from keepers.campaign import Desk, Schema, Sent
from keepers.errors import DataError, ParameterError, RunError
from keepers.integrations.label_studio import Client, LabelStudioError, channel, push
from keepers.integrations.label_studio.project import controls_in, labelling_configuration
from keepers.tasks import CLASSES
from label_studio_desk import AWKWARD, label, picture_desk, plan, reopened, text_desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return text_desk(tmp_path / "c", (12, 10, 11))


def only(server: FakeLabelStudio) -> int:
    (number,) = server.projects
    return number


# The project


def test_a_project_is_made_once_for_the_campaign(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    first = push(desk, client, title="Reviews of films, " * 4)
    again = push(reopened(desk), client)
    project = server.projects[only(server)]
    assert (first.made, again.made, first.project) == (True, False, only(server))
    assert first.url == f"{URL}/projects/{first.project}"
    assert len(project["title"]) == 50
    assert project["title"].endswith(" (campaign)")
    assert "[keepers campaign campaign-of-c]" in project["description"]
    assert project["sampling"] == "Sequential sampling"


def test_a_project_is_found_behind_many_others(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    push(desk, client)
    for number in range(1000, 1230):
        description = "[keepers campaign campaign-of-cc]" if number % 2 else None
        server.projects[number] = {"id": number, "description": description}
    assert not push(desk, client).made


def test_the_oldest_of_two_projects_is_taken(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    push(desk, client)
    copy = {**server.projects[only(server)], "id": 999}
    server.projects[999] = copy
    assert push(desk, client).project == min(server.projects)


def test_a_kill_after_the_project_was_made(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    server.lose_answer_to = "POST /api/projects/"
    with pytest.raises(LabelStudioError, match="the connection broke at POST /api/projects/"):
        push(desk, client)
    pushed = push(desk, client)
    assert (pushed.made, pushed.sent, len(server.projects)) == (False, 3, 1)


def test_votes_are_how_many_annotators_label(
    tmp_path: Path, client: Client, server: FakeLabelStudio
) -> None:
    push(text_desk(tmp_path / "two", votes=2), client)
    assert server.projects[only(server)]["maximum_annotations"] == 2


@pytest.mark.parametrize("kind", ["text", "image"])
def test_classes_survive_the_configuration(kind: Any) -> None:
    configuration = labelling_configuration(kind, CLASSES.question(AWKWARD))
    assert controls_in(configuration) == (("Choices", "label", *AWKWARD),)
    assert configuration.count("hotkey") == 10
    assert f'value="${kind}"' in configuration
    # the page would read $5 and $text as fields of the task
    assert 'value="$5"' not in configuration
    assert configuration.count('value="$text"') == (kind == "text")


def test_a_configuration_of_somebody_else() -> None:
    assert controls_in("<View><Choices name='other'/></View>") == ()
    assert controls_in("not xml") is None


def test_new_classes_reach_the_project(desk: Desk, client: Client, server: FakeLabelStudio) -> None:
    assert not push(desk, client).updated
    assert not push(desk, client).updated
    desk.journal.append([Schema(version=2, classes=("neg", "pos", "so-so"))])
    assert push(desk, client).updated
    configuration = server.projects[only(server)]["label_config"]
    assert controls_in(configuration) == (("Choices", "label", "neg", "pos", "so-so"),)
    assert not push(desk, client).updated


# The tasks


def test_tasks_of_texts(desk: Desk, client: Client, server: FakeLabelStudio) -> None:
    pushed = push(desk, client, predictions={10: ("pos", 0.75)})
    ((first, second, third),) = server.sent_to(f"/api/projects/{pushed.project}/import")
    assert first == {
        "data": {"text": "text of 12", "item_id": "12", "selection_rank": 0},
        "meta": {"round": 1},
    }
    assert second["predictions"] == [
        {
            "model_version": "keepers round 1",
            "score": 0.75,
            "result": [
                {
                    "from_name": "label",
                    "to_name": "text",
                    "type": "choices",
                    "value": {"choices": ["pos"]},
                }
            ],
        }
    ]
    assert third["data"]["selection_rank"] == 2
    assert (pushed.sent, pushed.there) == (3, 0)


def test_pictures_travel_in_the_task(
    tmp_path: Path, client: Client, server: FakeLabelStudio
) -> None:
    push(picture_desk(tmp_path / "p"), client)
    task = next(iter(server.tasks.values()))
    head, _, body = task["data"]["image"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body)[1:4] == b"PNG"


def test_vectors_have_nothing_to_show() -> None:
    with pytest.raises(DataError, match="Label Studio cannot show a pool of vectors"):
        labelling_configuration("vector", CLASSES.question(("a", "b")))


def test_only_what_waits_is_sent(desk: Desk, client: Client, server: FakeLabelStudio) -> None:
    label(desk, 10, "pos")
    assert push(desk, client).sent == 2
    assert server.items() == ["12", "11"]


def test_nothing_waits(desk: Desk, client: Client, server: FakeLabelStudio) -> None:
    for item in (10, 11, 12):
        label(desk, item, "pos")
    assert push(desk, client).project is None
    assert not server.projects


def test_batches_are_sent_in_the_order_to_label(
    tmp_path: Path, client: Client, server: FakeLabelStudio
) -> None:
    desk = text_desk(tmp_path / "c", tuple(range(7)))
    sizes: list[str] = []
    push(desk, client, chunk=3, say=sizes.append)
    bodies = server.sent_to(f"/api/projects/{only(server)}/import")
    assert [len(body) for body in bodies] == [3, 3, 1]
    assert [t["data"]["selection_rank"] for body in bodies for t in body] == list(range(7))
    assert sizes[1:] == ["sent 3 of 7", "sent 6 of 7", "sent 7 of 7"]


def test_large_pictures_travel_in_smaller_portions(
    desk: Desk, client: Client, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepers.integrations.label_studio.sending._LARGEST_REQUEST", 250)
    push(desk, client)
    assert [len(body) for body in server.sent_to(f"/api/projects/{only(server)}/import")] == [2, 1]


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (("maybe", 0.5), "item 10 is predicted to be 'maybe'. The classes are: neg, pos"),
        (("pos", 7.5), r"score 7.5. Give the probability of its class, from 0 to 1"),
        (("pos", float("nan")), "score nan"),
    ],
)
def test_the_server_would_take_any_prediction(
    desk: Desk,
    client: Client,
    server: FakeLabelStudio,
    prediction: tuple[str, float],
    message: str,
) -> None:
    with pytest.raises(ParameterError, match=message):
        push(desk, client, predictions={10: prediction})
    assert not server.projects


# Each item once


@pytest.mark.parametrize(
    "ids",
    [
        ("a,b", "50%41", 'q"uote', "back\\slash", "é ☃", "<s>", "x&y=z", "+"),
        (-7, 2**62, 0),
        tuple(range(10**17, 10**17 + 250)),
        tuple("☃" * 30 + str(number) for number in range(40)),
    ],
)
def test_every_id_is_found_again(
    tmp_path: Path, client: Client, server: FakeLabelStudio, ids: tuple[Any, ...]
) -> None:
    desk = text_desk(tmp_path / "c", ids)
    assert push(desk, client).sent == len(ids)
    again = push(desk, client)
    assert (again.sent, again.there) == (0, len(ids))
    assert sorted(server.items()) == sorted(map(str, ids))


def test_a_kill_between_the_import_and_the_journal(
    desk: Desk, client: Client, server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Desk, "send", killed)
        with pytest.raises(KeyboardInterrupt):
            push(desk, client)
    assert len(server.tasks) == 3
    assert all(desk.state.item(item).status == "planned" for item in (10, 11, 12))
    pushed = push(reopened(desk), client)
    assert (pushed.sent, pushed.there, len(server.tasks)) == (0, 3, 3)
    assert desk.state.tasks(channel(client, only(server))) == {
        item: server.task_of(item) for item in (10, 11, 12)
    }
    assert desk.state.item(10).status == "sent"


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_the_answer_to_an_import_is_lost(
    desk: Desk, client: Client, server: FakeLabelStudio, chunk: int
) -> None:
    push(text_desk(desk.journal.folder.parent / "other"), client)  # its tasks stay out of it
    server.lose_answer_to = f"POST /api/projects/{max(server.tasks) + 1}/import"
    with pytest.raises(LabelStudioError, match=r"the connection broke.*first checks what arrived"):
        push(desk, client, chunk=chunk)
    pushed = push(desk, client, chunk=chunk)
    assert (pushed.sent, pushed.there) == (3 - chunk, chunk)
    assert sorted(server.items()) == ["10", "10", "11", "11", "12", "12"]


def test_an_import_that_arrives_late_leaves_no_double(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    project = push(desk, client).project or 0
    for item in (10, 11, 12):
        del server.tasks[server.task_of(item)]

    def late(request: httpx.Request) -> None:
        if request.url.path.endswith("/import") and not server.tasks:
            for task in json.loads(request.content):
                server.add(project, task)

    server.trouble = late
    pushed = push(desk, client)
    assert (pushed.sent, pushed.doubles) == (3, 3)
    assert sorted(server.items()) == ["10", "11", "12"]


def test_a_double_that_somebody_touched_stays(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    project = push(desk, client).project or 0
    first = server.task_of(10)
    tasks = [server.add(project, {"data": {"item_id": "10"}}) for _ in range(3)]
    server.annotate(tasks[0], "pos")
    server.tasks[tasks[1]]["drafts"] = [{"id": 1}]
    assert push(desk, client).doubles == 2
    assert {first, *tasks} & server.tasks.keys() == set(tasks[:2])


def test_a_task_that_was_deleted_is_sent_again(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    push(desk, client)
    del server.tasks[server.task_of(11)]
    pushed = push(desk, client)
    assert (pushed.sent, pushed.there) == (1, 2)


def test_a_project_that_was_deleted_is_made_again(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    first = push(desk, client)
    server.projects.clear()
    server.tasks.clear()
    again = push(desk, client)
    assert (again.made, again.sent) == (True, 3)
    assert again.project != first.project
    assert desk.state.tasks(channel(client, again.project or 0)).keys() == {10, 11, 12}


def test_a_project_that_is_deleted_midway(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    def delete(request: httpx.Request) -> None:
        if request.url.path.endswith("/import"):
            server.projects.clear()

    server.trouble = delete
    with pytest.raises(LabelStudioError, match=r"404.*the same command creates it again"):
        push(desk, client)
    server.trouble = None
    assert push(desk, client).sent == 3


def test_a_later_round_adds_its_items(
    client: Client, server: FakeLabelStudio, tmp_path: Path
) -> None:
    desk = text_desk(tmp_path / "c", tuple(range(6)), planned=(0, 1, 2))
    push(desk, client)
    label(desk, 0, "pos")
    plan(desk, (5, 3))
    pushed = push(desk, client)
    assert (pushed.sent, pushed.there) == (2, 2)
    assert server.items() == ["0", "1", "2", "5", "3"]
    assert server.tasks[server.task_of(5)]["meta"] == {"round": 2}


def test_the_server_keeps_the_ids_of_tasks_to_itself(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    def forgetful(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/import"):
            server.trouble = None
            server(request)
            return httpx.Response(201, json={"import": 7})
        return None

    server.trouble = forgetful
    assert push(desk, client).sent == 3
    assert len(desk.state.tasks(channel(client, only(server)))) == 3


def test_an_import_that_is_still_under_way(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    def slow(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(201, json={}) if request.url.path.endswith("/import") else None

    server.trouble = slow
    with pytest.raises(LabelStudioError, match=r"has 0 of the 3 tasks.*still be working"):
        push(desk, client)
    assert not [event for _, event in desk.journal.read() if isinstance(event, Sent)]


def test_two_at_once(desk: Desk, client: Client, server: FakeLabelStudio) -> None:
    with (
        desk.journal.lock("planning"),
        pytest.raises(RunError, match=r"in use by another process \(planning\)"),
    ):
        push(reopened(desk), client)
    assert not server.projects


def test_the_token_is_nowhere_in_the_campaign(
    desk: Desk, client: Client, server: FakeLabelStudio
) -> None:
    push(desk, client)
    files = [path.read_bytes() for path in desk.journal.folder.rglob("*") if path.is_file()]
    assert any(b"label-studio.test" in content for content in files)
    assert all(LEGACY.encode() not in content for content in files)
