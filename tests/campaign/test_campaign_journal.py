from __future__ import annotations

import errno
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import disks
from keepers.campaign import Journal, Schema, Sent, Started, State, Trained, Vote, encoding
from keepers.campaign.journal import NAME
from keepers.errors import RunError

START = [Started(settings={"votes": 1}, campaign="c"), Schema(version=1, classes=("a", "b"))]
SIZE = 7


def delivery(number: int) -> list[Vote]:
    """Votes that belong together."""
    return [
        Vote(item=f"{number}-{place}", annotator="ann", label="a", time="2026-03-01")
        for place in range(SIZE)
    ]


def forked(task: Callable[[int], None]) -> tuple[int, int]:
    """A child process that runs `task(pipe)`: its id, and the end of the pipe to read."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            task(writing)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    return child, reading


def everything(pipe: int) -> bytes:
    with os.fdopen(pipe, "rb") as file:
        return file.read()


def test_events_come_back_in_order_and_once(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "c") as journal:
        assert journal.append(START) == [True, True]
        assert (
            journal.append([*delivery(1), START[0], *delivery(1)[:2]])
            == [True] * SIZE + [False] * 3
        )
        assert journal.append([]) == []
    with Journal.open(tmp_path / "c") as journal:
        read = journal.read()
        assert [event for _, event in read] == [*START, *delivery(1)]
        assert [seq for seq, _ in read] == list(range(1, SIZE + 3))
        assert [event for _, event in journal.read(after=SIZE + 1)] == delivery(1)[-1:]


def test_what_is_taken_down_outlasts_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepers.campaign.journal.SYNCHRONOUS", disks.SYNCHRONOUS)
    with Journal.create(tmp_path) as journal:
        (found,) = journal._connection.execute("PRAGMA synchronous").fetchone()
    assert found == 2  # FULL


def test_a_vote_without_a_time_gets_the_moment(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append([Vote(item=1, annotator="ann", label="a")])
        ((_, event),) = journal.read()
    assert isinstance(event, Vote)
    assert event.time is not None
    assert len(event.time) == len("2026-03-01T00:00:00.000000Z")


def test_ids_keep_their_types(tmp_path: Path) -> None:
    sent = Sent(round=1, channel="page", tasks={12: 1, "12": "x"})
    with Journal.create(tmp_path) as journal:
        journal.append([sent, Vote(item=12, annotator="a", kind="skip", time="2026-03-01")])
        events = [event for _, event in journal.read()]
    assert events[0] == sent
    assert State.empty().after(events).item(12).status == "skipped"
    assert State.empty().after(events).item("12").status == "sent"


@pytest.mark.parametrize(
    "statement",
    ["UPDATE events SET body = '{}'", "DELETE FROM events", "DELETE FROM events WHERE seq = 1"],
)
def test_nothing_is_changed_or_removed(tmp_path: Path, statement: str) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append(START)
        before = journal.read()
        other = sqlite3.connect(tmp_path / NAME)
        with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
            other.execute(statement)
        other.close()
        assert journal.read() == before


def test_nothing_is_replaced(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append(START)
        before = journal.read()
        with sqlite3.connect(tmp_path / NAME) as other:
            for seq, key in ((1, "other"), (99, "started")):
                values = (seq, key, "started", "", "{}", "")
                other.execute("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?)", values)
        other.close()
        assert journal.read() == before


def test_a_kill_during_appends_loses_no_answer_and_halves_none(tmp_path: Path) -> None:
    Journal.create(tmp_path).close()
    draw = random.Random(0)
    acknowledged: set[int] = set()
    first = 0

    for _ in range(12):

        def append(pipe: int, first: int = first) -> None:
            with Journal.open(tmp_path) as journal:
                for number in range(first, first + 5000):
                    journal.append(delivery(number))
                    os.write(pipe, b"%d\n" % number)

        child, pipe = forked(append)
        os.read(pipe, 1)
        time.sleep(draw.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        rest = everything(pipe).split(b"\n")[:-1]
        acknowledged |= {int(number) for number in rest if number} | {first}
        with Journal.open(tmp_path) as journal:
            items = [str(e.item) for _, e in journal.read() if isinstance(e, Vote)]
        whole = Counter(int(item.split("-")[0]) for item in items)
        assert set(whole.values()) == {SIZE}
        assert acknowledged <= set(whole)
        assert len(whole) - len(acknowledged) <= 12
        first = max(whole) + 1
    assert len(acknowledged) > 12


def test_two_processes_append_at_once(tmp_path: Path) -> None:
    Journal.create(tmp_path).close()

    def appending(own: range) -> Callable[[int], None]:
        def append(pipe: int) -> None:
            new = 0
            with Journal.open(tmp_path) as journal:
                for number in own:
                    new += sum(journal.append(delivery(number)))
            os.write(pipe, b"%d" % new)

        return append

    children = [forked(appending(range(60))), forked(appending(range(30, 90)))]
    new = sum(int(everything(pipe)) for _, pipe in children)
    assert [os.waitpid(child, 0)[1] for child, _ in children] == [0, 0]
    with Journal.open(tmp_path) as journal:
        keys = [event.key for _, event in journal.read()]
    assert new == len(keys) == len(set(keys)) == 90 * SIZE


def test_threads_share_a_journal(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:

        def append(first: int) -> None:
            for number in range(first, first + 10):
                journal.append(delivery(number))

        threads = [threading.Thread(target=append, args=(10 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(journal.read()) == 40 * SIZE


def test_an_event_that_cannot_be_written_takes_none_with_it(tmp_path: Path) -> None:
    bad = Trained(round=1, labels=1, facts={})
    object.__setattr__(bad, "facts", {"accuracy": float("nan")})
    with Journal.create(tmp_path) as journal:
        with pytest.raises(ValueError, match="JSON compliant"):
            journal.append([*START, bad])
        assert journal.read() == []
        assert journal.append(START) == [True, True]


def test_a_full_disk_is_told_and_leaves_the_journal_whole(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append(START)
        journal._connection.execute("PRAGMA max_page_count = 8")  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(RunError, match=r"cannot be used \(.*full.*\)\. Free some space"):
            journal.append([vote for n in range(100) for vote in delivery(n)])
        journal._connection.execute("PRAGMA max_page_count = 100000")  # pyright: ignore[reportPrivateUsage]
        assert len(journal.read()) == 2
        assert journal.append(delivery(1)) == [True] * SIZE


def test_a_campaign_is_not_begun_twice(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append(START)
    with pytest.raises(RunError, match=r"already holds a campaign. Continue it"):
        Journal.create(tmp_path)


def test_a_start_that_was_killed_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / NAME).touch()
    with pytest.raises(RunError, match=r"its start did not finish. Start the campaign again"):
        Journal.open(tmp_path)
    Journal.create(tmp_path).close()
    with Journal.create(tmp_path) as journal:
        assert journal.append(START) == [True, True]


def test_a_folder_without_a_campaign_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no campaign. Start one with keepers active start"):
        Journal.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"campaign: .*file is a file. Name a folder"):
        Journal.create(tmp_path / "file")


def test_a_foreign_or_newer_file_is_told(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / NAME) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    for open_it in (Journal.open, Journal.create):
        with pytest.raises(RunError, match=r"is not a journal of keepers. Name another folder"):
            open_it(tmp_path)
    Journal.create(tmp_path / "new").close()
    with sqlite3.connect(tmp_path / "new" / NAME) as other:
        other.execute("PRAGMA user_version = 3")
    other.close()
    with pytest.raises(
        RunError, match=r"has format 3, but this version of keepers reads 2. Install a newer"
    ):
        Journal.open(tmp_path / "new")
    with sqlite3.connect(tmp_path / "new" / NAME) as other:
        other.execute("PRAGMA user_version = 1")
    other.close()
    with pytest.raises(RunError, match="has format 1 of an earlier version of keepers, without"):
        Journal.open(tmp_path / "new")


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"this is no database at all" * 100)
    for open_it in (Journal.open, Journal.create):
        with pytest.raises(RunError, match=f"{NAME} cannot be used .* restore an earlier copy"):
            open_it(tmp_path)


def test_damage_further_in_is_told(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append([vote for number in range(200) for vote in delivery(number)])
    data = bytearray((tmp_path / NAME).read_bytes())
    data[8192:-4096] = os.urandom(len(data) - 12288)
    (tmp_path / NAME).write_bytes(data)
    with pytest.raises(RunError, match="damaged"), Journal.open(tmp_path) as journal:
        journal.read()


def test_an_event_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append(START)
        monkeypatch.setattr("keepers.campaign.journal.encode", lambda _: '{"round": 1}')
        journal.append([Trained(round=0, labels=2, facts={})])
        with pytest.raises(RunError, match=r"is damaged: event 3 \(trained\) cannot be read"):
            journal.read()
        monkeypatch.delitem(encoding._KINDS, "trained")  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(RunError, match=r"of a kind \(trained\) .* a newer version wrote them"):
            journal.read()


def test_a_lock_needs_no_room_and_says_what_to_do_where_it_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = Journal.create(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with journal.lock("planning"):  # the note of who holds it is a courtesy
            pass
    (tmp_path / ".lock").unlink()
    (tmp_path / ".lock").mkdir()
    remedy = r"\.lock cannot be written \(Is a directory\)\. Free some space, or make the folder"
    with pytest.raises(RunError, match=remedy), journal.lock("planning"):
        pass


def test_a_lock_that_is_held_is_told_with_its_purpose(tmp_path: Path) -> None:
    def hold(pipe: int) -> None:
        with Journal.open(tmp_path).lock("planning"):
            os.write(pipe, b"held")
            time.sleep(60)

    with Journal.create(tmp_path) as journal:
        child, pipe = forked(hold)
        assert os.read(pipe, 4) == b"held"
        in_use = r"in use by another process \(planning\). Wait for it"
        with pytest.raises(RunError, match=in_use), journal.lock("sending"):
            pass
        assert journal.append(START) == [True, True]
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(pipe)
        with journal.lock("sending"):
            pass


CHANGES = {
    "a vote": "UPDATE events SET body = replace(body, '\"a\"', '\"b\"') WHERE seq = 3",
    "a time": "UPDATE events SET time = '2026' WHERE seq = 3",
    "the order": "UPDATE events SET seq = 100 WHERE seq = 3",
    "an event in the middle": "DELETE FROM events WHERE seq = 3",
    "the last event": "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)",
    "all events": "DELETE FROM events",
    "the end": "UPDATE head SET chain = 'x'",
    "the end's row": "DELETE FROM head",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_journal_that_was_changed_is_refused(tmp_path: Path, change: str) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append(START)
        journal.append([Vote(item=n, annotator="ann", label="a") for n in range(3)])
    with sqlite3.connect(tmp_path / NAME) as other:
        for trigger in ("never_changed", "never_removed"):
            other.execute(f"DROP TRIGGER {trigger}")
        other.execute(CHANGES[change])
    with (
        Journal.open(tmp_path) as journal,
        pytest.raises(RunError, match=r"campaign\.db is damaged.*Restore an earlier copy"),
    ):
        journal.read()
