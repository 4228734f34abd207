"""The whole exchange with a real Label Studio (`make test-label-studio`)."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from label_studio_server import VARIABLE, RealLabelStudio, executable

from keepers.campaign import Desk, Id, Schema
from keepers.integrations.label_studio import (
    Client,
    LabelStudioError,
    channel,
    connect,
    poll,
    pull,
    push,
)
from keepers.integrations.label_studio.project import controls_in
from label_studio_desk import AWKWARD, picture_desk, plan, reopened, text_desk, words

pytestmark = [pytest.mark.label_studio, pytest.mark.timeout(280)]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLabelStudio]:
    program = executable()
    if program is None:
        pytest.skip(
            f"{VARIABLE} does not name label-studio, or the python of an environment that has it "
            "(make test-label-studio makes one)"
        )
    server = RealLabelStudio(program, tmp_path_factory.mktemp("label-studio"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def server(running: RealLabelStudio, monkeypatch: pytest.MonkeyPatch) -> RealLabelStudio:
    """The server, with its token in the environment."""
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", running.token)
    return running


@pytest.fixture
def client(server: RealLabelStudio) -> Iterator[Client]:
    with connect(server.url) as client:
        yield client


def items(server: RealLabelStudio, project: int | None) -> list[str]:
    return [task["data"]["item_id"] for task in server.tasks(project)]


def test_a_round_of_texts(tmp_path: Path, client: Client, server: RealLabelStudio) -> None:
    ids = (2**62, 12, 11, 10)
    desk = text_desk(
        tmp_path / "texts", ids, texts=["<script>alert(1)</script>", " ", "dé ☃", "$5 <b>off</b>"]
    )
    pushed = push(desk, client, predictions={12: ("pos", 0.5)}, title="Reviews")
    assert (pushed.made, pushed.sent) == (True, 4)
    tasks = server.tasks(pushed.project)
    assert [task["data"]["item_id"] for task in tasks] == [str(item) for item in ids]
    assert [task["data"]["selection_rank"] for task in tasks] == [0, 1, 2, 3]
    assert {task["data"]["text"] for task in tasks} == {
        *("<script>alert(1)</script>", " ", "dé ☃", "$5 <b>off</b>")
    }
    assert [task["meta"] for task in tasks] == [{"round": 1}] * 4
    (prediction,) = tasks[1]["predictions"]
    assert prediction["score"] == 0.5
    assert prediction["model_version"] == "keepers round 1"

    assert pull(desk, client).new == 0  # predictions are no votes
    server.annotate(tasks[0], "pos", lead_time=3.25)
    server.annotate(tasks[1], None, lead_time=1.0)
    pulled = pull(desk, client)  # a part of the batch
    assert (pulled.new, pulled.waiting, pulled.unreadable, pulled.refused) == (2, 2, (), ())
    assert words(desk) == {2**62: [("1", "pos")], 12: [("1", "skip")]}
    assert desk.state.seconds == 4.25

    before = len(desk.journal.read())
    again = pull(reopened(desk), client)
    assert (again.new, again.changed, again.repeated) == (0, 0, 2)
    assert len(desk.journal.read()) == before
    assert push(desk, client).sent == 0
    assert len(server.tasks(pushed.project)) == 4


def test_a_round_of_pictures(tmp_path: Path, client: Client, server: RealLabelStudio) -> None:
    desk = picture_desk(tmp_path / "pictures", 3)
    pushed = push(desk, client)
    tasks = server.tasks(pushed.project)
    assert all(task["data"]["image"].startswith("data:image/png;base64,") for task in tasks)
    for task in tasks:
        server.annotate(task, "dog")
    assert pull(desk, client).new == 3
    assert set(desk.state.labels.values()) == {"dog"}


def test_annotators_edits_and_deletions(
    tmp_path: Path, client: Client, server: RealLabelStudio
) -> None:
    desk = text_desk(tmp_path / "people", (10, 11, 12), votes=2)
    pushed = push(desk, client)
    assert server.ask("GET", f"/api/projects/{pushed.project}")["maximum_annotations"] == 2
    second = server.new_user("second@example.org")
    tasks = server.tasks(pushed.project)
    mine = [server.annotate(task, "pos") for task in tasks]
    theirs = [
        server.annotate(task, choice, user=second)
        for task, choice in zip(tasks, ("neg", "pos", None), strict=True)
    ]
    pull(desk, client)
    assert words(desk) == {
        10: [("1", "pos"), (str(second), "neg")],
        11: [("1", "pos"), (str(second), "pos")],
        12: [("1", "pos"), (str(second), "skip")],
    }
    assert desk.state.disputed == (10,)
    assert dict(desk.state.labels) == {11: "pos"}

    result = [{**mine[0]["result"][0], "value": {"choices": ["neg"]}}]
    server.ask("PATCH", f"/api/annotations/{mine[0]['id']}/", json={"result": result})
    server.ask("DELETE", f"/api/annotations/{theirs[1]['id']}/")
    pulled = pull(desk, client)
    assert (pulled.changed, pulled.withdrawn) == (1, 1)
    assert dict(desk.state.labels) == {10: "neg"}
    assert words(desk)[11] == [("1", "pos")]
    assert pull(desk, client).withdrawn == 0

    server.ask("DELETE", f"/api/tasks/{tasks[0]['id']}/")
    assert pull(desk, client).withdrawn == 0
    assert dict(desk.state.labels) == {10: "neg"}


def test_a_disputed_item_is_shown_to_one_more(
    tmp_path: Path, client: Client, server: RealLabelStudio
) -> None:
    desk = text_desk(tmp_path / "divided", (10, 11), votes=2)
    project = push(desk, client).project
    others = [server.new_user(f"{name}@example.org") for name in ("third", "fourth")]
    first, second = server.tasks(project)
    for task, choices in ((first, ("pos", "neg")), (second, ("pos", "pos"))):
        for user, choice in zip(others, choices, strict=True):
            server.annotate(task, choice, user=user)
    assert server.next_item(project) is None
    assert pull(desk, client).offered == 1
    assert server.next_item(project) == "10"  # of the first user, whose token this is
    assert pull(desk, client).offered == 0
    server.annotate(first, "neg")
    assert server.next_item(project) is None
    assert pull(desk, client).offered == 0
    assert dict(desk.state.labels) == {10: "neg", 11: "pos"}


def test_awkward_classes_and_ids(tmp_path: Path, client: Client, server: RealLabelStudio) -> None:
    ids = (
        "a,b",
        "50%41",
        'q"uote',
        "back\\slash",
        "é ☃",
        "<s>",
        "x&y=z",
        "+",
        "007",
        " ",
        "7",
        "'",
    )
    desk = text_desk(tmp_path / "awkward", ids, classes=AWKWARD)
    predictions: dict[Id, tuple[str, float]] = {
        item: (name, 1.0) for item, name in zip(ids, AWKWARD, strict=True)
    }
    pushed = push(desk, client, predictions=predictions)
    assert push(desk, client).there == len(ids)
    assert tuple(items(server, pushed.project)) == ids
    for task in server.tasks(pushed.project):
        (prediction,) = task["predictions"]
        server.annotate(task, prediction["result"][0]["value"]["choices"][0])
    assert pull(desk, client).new == len(ids)
    assert dict(desk.state.labels) == dict(zip(ids, AWKWARD, strict=True))


def test_classes_that_change(tmp_path: Path, client: Client, server: RealLabelStudio) -> None:
    desk = text_desk(tmp_path / "schema", (10, 11))
    pushed = push(desk, client)
    first, second = server.tasks(pushed.project)
    server.annotate(first, "pos")
    server.annotate(second, "unheard of")
    pulled = pull(desk, client)
    assert (pulled.new, pulled.quarantined, desk.state.quarantined) == (2, 1, (11,))
    renamed = Schema(version=2, classes=("neg", "good", "so-so"), renamed={"pos": "good"})
    desk.journal.append([renamed])
    plan(desk, (11, 10))
    server.ask("DELETE", f"/api/tasks/{second['id']}/")
    desk.journal.append([Schema(version=3, classes=("neg", "good", "so-so", "unheard of"))])
    assert pull(desk, client).repeated == 1
    assert dict(desk.state.labels) == {10: "good", 11: "unheard of"}


def test_new_classes_reach_the_page(
    tmp_path: Path, client: Client, server: RealLabelStudio
) -> None:
    desk = text_desk(tmp_path / "more", (10, 11))
    project = push(desk, client).project
    server.annotate(server.tasks(project)[0], "pos")
    pull(desk, client)
    desk.journal.append([Schema(version=2, classes=("neg", "so-so"))])
    assert push(desk, client).updated
    configuration = server.ask("GET", f"/api/projects/{project}")["label_config"]
    assert controls_in(configuration) == (("Choices", "label", "neg", "so-so"),)


def test_tasks_of_others_are_left_alone(
    tmp_path: Path, client: Client, server: RealLabelStudio
) -> None:
    desk = text_desk(tmp_path / "others", (10,))
    project = push(desk, client).project
    server.ask("POST", f"/api/projects/{project}/import", json=[{"text": "theirs"}])
    ours, theirs = server.tasks(project)
    server.annotate(theirs, "pos")
    pulled = pull(desk, client)
    assert (pulled.foreign, pulled.new) == ((theirs["id"],), 0)
    assert push(desk, client).doubles == 0
    assert [task["id"] for task in server.tasks(project)] == [ours["id"], theirs["id"]]


def test_the_server_restarts_in_the_middle(
    tmp_path: Path, client: Client, server: RealLabelStudio
) -> None:
    desk = text_desk(tmp_path / "restart", (10, 11, 12))
    project = push(desk, client).project
    server.annotate(server.tasks(project)[0], "pos")
    server.stop()
    with pytest.raises(LabelStudioError, match=r"cannot be reached.*Start Label Studio"):
        pull(desk, client)
    assert words(desk) == {}

    slept: list[float] = []

    def until_it_is_back(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            server.start()

    poll(desk, client, until=lambda pulled: pulled.new == 1, sleep=until_it_is_back)
    assert words(desk) == {10: [("1", "pos")]}
    assert push(desk, client).there == 2
    assert items(server, project) == ["10", "11", "12"]


@pytest.mark.parametrize("when", ["after", "during"])
def test_killed_around_the_import(
    tmp_path: Path, client: Client, server: RealLabelStudio, when: str
) -> None:
    desk = text_desk(tmp_path / when, range(300))
    child = [sys.executable, str(Path(__file__).parent / "killed_while_pushing.py")]
    killed = subprocess.run(
        [*child, str(desk.journal.folder), "300", server.url, when],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not desk.state.sent
    pushed = push(desk, client)
    assert not pushed.made
    assert pushed.sent + pushed.there == 300
    if when == "after":
        assert pushed.sent == 0
    push(desk, client)  # an import that was under way may have arrived during the first
    assert sorted(map(int, items(server, pushed.project))) == list(range(300))
    assert len(desk.state.tasks(channel(client, pushed.project or 0))) == 300


def test_a_personal_token(tmp_path: Path, server: RealLabelStudio) -> None:
    token = server.personal_token
    desk = text_desk(tmp_path / "personal", (10,))
    with connect(server.url, token) as client:
        push(desk, client)
        vars(client)["_token"].grant("x.y.z")  # what it was granted has expired
        assert pull(desk, client).waiting == 1


def test_refusals(server: RealLabelStudio) -> None:
    for bad, kind in (("f" * 40, "legacy"), ("aaaa.bbbb.cccc", "personal")):
        with pytest.raises(LabelStudioError, match=rf"refuses the {kind} token \(401\)") as caught:
            connect(server.url, bad)
        assert bad not in str(caught.value)
    with pytest.raises(LabelStudioError, match=r"404|web page|redirects"):
        connect(f"{server.url}/elsewhere")


def test_a_project_that_is_deleted(tmp_path: Path, client: Client, server: RealLabelStudio) -> None:
    desk = text_desk(tmp_path / "deleted", (10, 11))
    first = push(desk, client).project
    server.annotate(server.tasks(first)[0], "pos")
    pull(desk, client)
    server.ask("DELETE", f"/api/projects/{first}/")
    with pytest.raises(LabelStudioError, match="has no project of this campaign"):
        pull(desk, client)
    again = push(desk, client)
    assert (again.made, again.sent) == (True, 1)
    assert pull(desk, client).withdrawn == 0
    assert dict(desk.state.labels) == {10: "pos"}


def test_the_token_is_in_no_file_and_no_log(
    tmp_path: Path,
    client: Client,
    server: RealLabelStudio,
    logged: io.StringIO,
    capfd: pytest.CaptureFixture[str],
) -> None:
    desk: Desk = text_desk(tmp_path / "secret", (10,))
    personal = server.personal_token
    with connect(server.url, personal) as other:
        push(desk, other)
    server.annotate(server.tasks(push(desk, client).project)[0], "pos")
    pull(desk, client)
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    said = "".join((logged.getvalue(), *capfd.readouterr()))
    assert server.url.encode() in files
    assert "api/tasks" in said
    for secret in (server.token, personal):
        assert secret.encode() not in files
        assert secret not in said
