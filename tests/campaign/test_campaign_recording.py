from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from keepers.campaign import (
    Desk,
    Journal,
    Planned,
    PlannedItem,
    Recorded,
    Schema,
    Started,
    State,
    Vote,
    record,
    utc,
)
from keepers.data import Source, open_source
from keepers.errors import DataError

KNOWN = frozenset(range(100))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.create(tmp_path / "campaign") as journal:
        journal.append(
            [Started(settings={}, campaign="c"), Schema(version=1, classes=("neg", "pos"))]
        )
        yield journal


def fold(journal: Journal) -> State:
    return State.empty().after(event for _, event in journal.read())


def take(journal: Journal, *votes: Vote | tuple[str, Vote], partial: bool = False) -> Recorded:
    return record(journal, fold(journal), votes, known=KNOWN, partial=partial)


def says(item: int | str, label: str | None, who: str = "ann", time: str | None = None) -> Vote:
    kind = "skip" if label is None else "label"
    return Vote(item=item, annotator=who, kind=kind, label=label, time=time)


def undo(item: int, who: str = "ann") -> Vote:
    return Vote(item=item, annotator=who, kind="undo")


def test_new_repeated_and_changed_votes_are_counted(journal: Journal) -> None:
    assert take(journal, says(1, "pos"), says(2, None)) == Recorded(new=2)
    assert take(journal, says(1, "pos"), says(2, None)) == Recorded(repeated=2)
    assert take(journal, says(1, "neg"), says(3, "pos")) == Recorded(new=1, changed=1)
    assert take(journal, undo(3)) == Recorded(changed=1)
    assert take(journal, undo(3), undo(4)) == Recorded(repeated=2)
    assert take(journal, says(3, "pos")) == Recorded(new=1)
    assert dict(fold(journal).labels) == {1: "neg", 3: "pos"}


def test_the_same_file_twice_changes_nothing(journal: Journal) -> None:
    timed = [says(item, "pos", time="2026-03-01T00:00:00Z") for item in range(50)]
    assert take(journal, *timed) == Recorded(new=50)
    before = fold(journal)
    random.Random(0).shuffle(timed)
    assert take(journal, *timed) == Recorded(repeated=50)
    assert fold(journal) == before


def test_a_late_vote_of_an_earlier_time_does_not_change_the_word(journal: Journal) -> None:
    take(journal, says(1, "pos", time="2026-03-02"))
    assert take(journal, says(1, "neg", time="2026-03-01")) == Recorded(new=1)
    assert dict(fold(journal).labels) == {1: "pos"}


def test_a_word_without_a_time_is_later_than_one_from_a_fast_clock(journal: Journal) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=3)
    take(journal, says(1, "pos", time=ahead.isoformat()))
    assert take(journal, says(1, "neg")) == Recorded(changed=1)
    assert dict(fold(journal).labels) == {1: "neg"}
    assert fold(journal).item(1).current[0].time == utc(ahead + timedelta(microseconds=1))


def test_a_time_in_the_future_is_refused(journal: Journal) -> None:
    """No later word could ever replace it."""
    with pytest.raises(DataError, match=r"vote 1: the time 2999-01-01.* lies in the future"):
        take(journal, says(1, "pos", time="2999-01-01T00:00:00Z"))
    assert not fold(journal).labels


def test_words_of_one_delivery_follow_each_other_after_an_undo(journal: Journal) -> None:
    assert take(journal, says(1, "pos"), undo(1), says(1, "neg")) == Recorded(new=2, changed=1)
    assert dict(fold(journal).labels) == {1: "neg"}


def test_ids_that_came_as_text_are_matched(journal: Journal) -> None:
    take(journal, says("12", "pos"), says(" 13", "neg"))
    assert dict(fold(journal).labels) == {12: "pos", 13: "neg"}
    record(journal, fold(journal), [says(7, "pos")], known={"7"})
    assert fold(journal).labels["7"] == "pos"
    with pytest.raises(DataError, match="vote 1: the pool has no example with the id '012'"):
        take(journal, says("012", "pos"))


def test_unknown_ids_and_classes_are_named_and_nothing_is_taken(journal: Journal) -> None:
    before = journal.read()
    votes = [
        ("f.csv, line 2", says(1, "pos")),
        ("f.csv, line 3", says("x", "pos")),
        ("f.csv, line 4", says(2, "Pos")),
        *((f"f.csv, line {n}", says(1000 + n, "pos")) for n in range(5, 20)),
    ]
    with pytest.raises(DataError) as caught:
        take(journal, *votes)
    text = str(caught.value)
    assert text.startswith(
        "labels: 17 of 18 are invalid, so none was imported: f.csv, line 3: the pool"
    )
    assert "f.csv, line 4: 'Pos' is not one of the classes (did you mean 'pos'?)" in text
    assert "line 7" in text
    assert "line 8" not in text
    assert text.endswith("; …. Correct them, or pass --partial (partial=True) to import the others")
    assert journal.read() == before


def test_partial_takes_the_good_ones(journal: Journal) -> None:
    recorded = take(
        journal, says(1, "pos"), says("x", "pos"), says(2, "odd"), says(3, "neg"), partial=True
    )
    assert recorded == Recorded(
        new=3,
        quarantined=1,
        refused=("vote 2: the pool has no example with the id 'x'",),
    )
    assert dict(fold(journal).labels) == {1: "pos", 3: "neg"}
    assert fold(journal).quarantined == (2,)
    journal.append([Schema(version=2, classes=("neg", "pos", "odd"))])
    assert fold(journal).labels[2] == "odd"


@pytest.mark.parametrize("time", [None, "2026-03-01T10:00:00Z"])
def test_contradictions_in_one_delivery_are_named(journal: Journal, time: str | None) -> None:
    votes = [
        ("f, line 2", says(1, "pos", time=time)),
        ("f, line 3", says(2, "pos", time=time)),
        ("f, line 4", says("1", "neg", time=time)),
        ("f, line 5", says(2, "pos", time=time)),
        ("f, line 6", says(1, "neg", "bob", time)),
    ]
    with pytest.raises(DataError, match=r"f, line 4: ann says 'neg' of 1, and 'pos' \(f, line 2\)"):
        take(journal, *votes)
    recorded = take(journal, *votes, partial=True)
    assert (recorded.new, recorded.repeated, len(recorded.refused)) == (2, 1, 1)
    assert dict(fold(journal).labels) == {1: "neg", 2: "pos"}
    assert [vote.annotator for vote in fold(journal).item(1).current] == ["bob"]


def test_different_times_are_no_contradiction(journal: Journal) -> None:
    take(journal, says(1, "neg", time="2026-03-02"), says(1, "pos", time="2026-03-01"))
    assert dict(fold(journal).labels) == {1: "neg"}


def test_a_vote_belongs_to_the_classes_of_its_day(journal: Journal) -> None:
    take(journal, says(1, "pos"))
    renamed = {"pos": "neg", "neg": "pos"}
    journal.append([Schema(version=2, classes=("neg", "pos"), renamed=renamed)])
    take(journal, says(2, "pos"))
    assert dict(fold(journal).labels) == {1: "neg", 2: "pos"}
    assert take(journal, says(1, "neg")) == Recorded(repeated=1)
    journal.append([Schema(version=3, classes=("bad", "good"), renamed={"neg": "bad"})])
    assert take(journal, says(3, "neg")) == Recorded(new=1)
    assert fold(journal).labels[3] == "bad"


def test_a_removed_item_still_takes_a_label(journal: Journal) -> None:
    item = PlannedItem(item=500, rank=0)
    journal.append([Planned(round=1, asked=1, labels_seen=0, method="m", items=(item,))])
    assert take(journal, says(500, "pos")) == Recorded(new=1)


def test_thousands_of_labels_in_pieces(journal: Journal) -> None:
    votes = [says(n, ("neg", "pos")[n % 2], time="2026-03-01") for n in range(3_000)]
    known = range(3_000)
    random.Random(0).shuffle(votes)
    state, new = fold(journal), 0
    for start in range(0, 3_000, 750):
        new += record(journal, state, votes[start : start + 900], known=known).new
        state = fold(journal)
    assert new == 3_000
    assert dict(state.labels) == {n: ("neg", "pos")[n % 2] for n in range(3_000)}


@pytest.fixture(scope="module")
def texts() -> Source:
    table = pa.table({"key": [30, 10, 20], "text": ["c <b>", "a b c", "b c d"]})
    return open_source(table, id="key", input="text", require_labels=False)


def test_ids_find_their_positions(texts: Source) -> None:
    ids = texts.examples
    assert [ids.position(each) for each in (10, 20, 30, 5, 15, 99, "10", True)] == [
        *(0, 1, 2),
        *(None, None, None, None, None),
    ]
    digits = open_source("digits")
    names = digits.examples
    assert [names.position(each) for each in digits.ids[:50]] == list(range(50))
    assert "" not in names
    assert 5 not in names
    assert "~" not in names


def test_a_desk_sees_what_others_record(journal: Journal, texts: Source) -> None:
    desk, other = Desk(journal, texts), Desk(Journal.open(journal.folder), texts)
    assert (desk.kind, desk.content(30)) == ("text", "c <b>")
    assert desk.record([says("10", "pos")]) == Recorded(new=1)
    assert dict(other.state.labels) == {10: "pos"}
    assert other.state is other.state
    assert other.send(1, "page", {20: 7})
    assert not desk.send(1, "page", {20: 8})
    assert desk.state.tasks("page") == {20: 7}
    with pytest.raises(DataError, match="the pool has no example with the id 11"):
        desk.record([says(11, "pos")])
    with pytest.raises(DataError, match="item: the pool has no example with the id 11"):
        desk.content(11)
    other.journal.close()


def test_threads_at_one_desk(journal: Journal) -> None:
    source = open_source("digits")
    desk = Desk(journal, source)
    ids = source.ids[:40].tolist()

    def label(who: str) -> None:
        for item in ids:
            desk.record([says(item, "pos", who)])

    threads = [threading.Thread(target=label, args=(who,)) for who in ("ann", "bob", "cid")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(desk.state.labels) == 40
    assert all(len(desk.state.item(item).current) == 3 for item in ids)
    assert all(vote.schema == 1 for item in ids for vote in desk.state.item(item).votes)
    assert desk.state == fold(journal)


def test_a_name_that_was_guessed_changes_no_word(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append([Started(settings={}, campaign="c"), Schema(version=1, classes=("a", "b"))])

        def take(label: str, annotator: str, unsure: str | None) -> Recorded:
            state = State.empty().after(event for _, event in journal.read())
            vote = Vote(item=1, annotator=annotator, label=label)
            return record(journal, state, [vote], known=[1], unsure=unsure)

        assert take("a", "batch", "batch").new == 1
        assert take("a", "batch", "batch").repeated == 1
        with pytest.raises(DataError, match=r"'b', but 'a' in an earlier.* --annotator batch"):
            take("b", "batch", "batch")
        assert take("b", "batch", None).changed == 1
        assert take("a", "bob", "bob").new == 1
        state = State.empty().after(event for _, event in journal.read())
        assert state.item(1).status == "disputed"
