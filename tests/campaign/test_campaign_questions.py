"""What people are asked of several labels and of numbers: rows that come back, votes, consensus."""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepers.campaign import Journal, Schema, Started, State, Vote, read_votes, record
from keepers.errors import DataError, ParameterError
from keepers.tasks import question_of
from keepers.tasks.question import Question

LABELS = question_of("labels", ["joy", "anger", "fear"])
PRICE = question_of("number", ["price"])
BOTH = question_of("number", ["wide", "high"])


def read(path: Path, question: Question) -> dict[Any, Any]:
    votes = read_votes(path, annotator="ann", question=question)
    return {
        int(vote.item) if str(vote.item).isdigit() else vote.item: vote.label for _, vote in votes
    }


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_labels_come_back_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"back{suffix}"
    if suffix == ".csv":
        lines = ["1,joy|fear", "2,[]", "3,", '4,"[""anger"", ""joy""]"', '5,"joy, anger"', "6,fear"]
        path.write_text("\n".join(["id,label", *lines]))
    elif suffix == ".jsonl":
        rows = [["joy", "fear"], [], None, [1, 1, 0], "joy;anger", "fear"]
        path.write_text(
            "\n".join(json.dumps({"id": at, "label": row}) for at, row in enumerate(rows, 1))
        )
    else:
        rows = [["joy", "fear"], [], None, ["anger", "joy"], ["joy", "anger", "joy"], ["fear"]]
        pq.write_table(pa.table({"id": [1, 2, 3, 4, 5, 6], "label": rows}), path)
    expected = {1: ("fear", "joy"), 2: (), 4: ("anger", "joy"), 5: ("anger", "joy"), 6: ("fear",)}
    assert read(path, LABELS) == expected


def test_a_column_of_0_and_1_for_each_label(tmp_path: Path) -> None:
    path = tmp_path / "back.csv"
    path.write_text("id,Joy,anger,fear\na,1,0,1\nb,0,0,0\nc,,,\nd,1.0,0.0,TRUE\n")
    found = read(path, LABELS)
    assert found == {"a": ("fear", "joy"), "b": (), "d": ("fear", "joy")}
    path.write_text("id,joy,anger,fear\na,1,,1\nb,0,2,0\n")
    with pytest.raises(DataError, match=r"line 2: 'anger' is ''. Give 0 or 1.*line 3: 'anger'"):
        read(path, LABELS)
    path.write_text("id,joy,anger\na,1,0\n")
    with pytest.raises(DataError, match="no column 'label'"):
        read(path, LABELS)


def test_numbers_come_back(tmp_path: Path) -> None:
    path = tmp_path / "back.csv"
    path.write_text("id,label\n1,3.5\n2,-4\n3,\n4,1e3\n5,nan\n")
    assert read(path, PRICE) == {1: (3.5,), 2: (-4.0,), 4: (1000.0,)}
    path.write_text("id,wide,high\n1,2,1.5\n2,,\n")
    assert read(path, BOTH) == {1: (2.0, 1.5)}
    pq.write_table(pa.table({"id": [1, 2], "label": [[2.0, 1.5], None]}), tmp_path / "back.parquet")
    assert read(tmp_path / "back.parquet", BOTH) == {1: (2.0, 1.5)}
    column = pa.array([2.0, math.nan, None])
    pq.write_table(pa.table({"id": [1, 2, 3], "label": column}), tmp_path / "back.parquet")
    assert read(tmp_path / "back.parquet", PRICE) == {1: (2.0,)}


@pytest.mark.parametrize(
    ("question", "label", "problem"),
    [
        (PRICE, "dear", "'dear' is not a number. Write, for example, 3.5"),
        (PRICE, "3,5", "'3,5' is not a number"),
        (PRICE, "inf", "not finite"),
        (PRICE, True, "True is not a number"),
        (PRICE, [1.0, 2.0], "Give one number"),
        (PRICE, [math.nan], "not finite"),
        (BOTH, 3.0, "Give 2 numbers: wide, high"),
        (BOTH, [1.0, "x"], "'x' is not a number"),
        (BOTH, [1.0, None], "None is not a number"),
        (LABELS, {"joy": 1}, "Give a list"),
        (LABELS, [["joy"]], "Give a list of names"),
        (LABELS, ["joy", None], "Give a list of names"),
    ],
)
def test_what_is_no_answer_is_refused_by_row(
    tmp_path: Path, question: Question, label: Any, problem: str
) -> None:
    path = tmp_path / "back.jsonl"
    path.write_text(json.dumps({"id": 7, "label": label}))
    with pytest.raises(DataError, match="line 1") as caught:
        read(path, question)
    assert problem in str(caught.value)


@given(st.lists(st.frozensets(st.sampled_from(["a", "b", "c"])), min_size=1, max_size=6))
def test_labels_are_settled_one_by_one(votes: list[frozenset[str]]) -> None:
    question = question_of("labels", ["a", "b", "c"])
    counts = {name: sum(name in vote for vote in votes) for name in "abc"}
    tied = any(2 * count == len(votes) for count in counts.values())
    expected = tuple(name for name in "abc" if 2 * counts[name] > len(votes))
    found = question.agreed([tuple(sorted(vote)) for vote in votes])
    assert found == (None if tied else expected)


def test_numbers_are_settled_by_their_median() -> None:
    assert PRICE.agreed([(1.0,), (9.0,)]) == (5.0,)  # nobody said what is too far
    near = question_of("number", ["price"], [0.5])
    assert near.agreed([(1.0,), (1.5,)]) == (1.25,)
    assert near.agreed([(1.0,), (1.6,)]) is None
    for votes in permutations([(1.0,), (9.0,), (1.4,)]):
        assert near.agreed(votes) == (1.4,)
    assert near.agreed([(1.0,), (9.0,), (1.4,), (8.8,)]) is None  # two against two
    pair = question_of("number", ["wide", "high"], [0.5, 100.0])
    assert pair.agreed([(1.0, 10.0), (1.2, 90.0)]) == (1.1, 50.0)
    assert pair.agreed([(1.0, 10.0), (3.0, 10.0)]) is None


def begun(tmp_path: Path, task: str, names: tuple[str, ...], **settings: Any) -> Journal:
    journal = Journal.create(tmp_path / "campaign")
    started = Started(settings={"task": task, "votes": 2, **settings}, campaign="c")
    journal.append([started, Schema(version=1, classes=names)])
    return journal


def state_of(journal: Journal) -> State:
    return State.empty().after(event for _, event in journal.read())


def test_the_journal_keeps_labels_and_numbers(tmp_path: Path) -> None:
    journal = begun(tmp_path, "labels", ("a", "b"))
    votes = [
        Vote(item=1, annotator="ann", label=("b", "a", "b"), time="2026-03-01"),
        Vote(item=1, annotator="ben", label=("a",), time="2026-03-01"),
        Vote(item=2, annotator="ann", label=(), time="2026-03-01"),
        Vote(item=2, annotator="ben", label=(), time="2026-03-01"),
    ]
    recorded = record(journal, state_of(journal), votes, known=[1, 2])
    assert recorded.new == 4
    again = record(journal, state_of(journal), votes, known=[1, 2])
    assert (again.new, again.repeated) == (0, 4)
    journal.close()
    state = state_of(Journal.open(tmp_path / "campaign"))
    assert state.disputed == (1,)
    assert state.labels == {2: ()}
    assert state.after(
        [Vote(item=1, annotator="cem", label=("a", "b"), time="2026-03-02")]
    ).labels == {1: ("a", "b"), 2: ()}


def test_names_of_another_kind_are_refused(tmp_path: Path) -> None:
    journal = begun(tmp_path, "labels", ("joy", "anger"))
    for label, problem in [
        (("joy", "angr"), "'angr' is not one of the labels (did you mean 'anger'?)"),
        ("joy", "is not a list of labels"),
        (3.0, "is not a list of labels"),
    ]:
        vote = Vote(item=1, annotator="ann", label=label)
        with pytest.raises(DataError) as caught:
            record(journal, state_of(journal), [vote], known=[1])
        assert problem in str(caught.value)
    vote = Vote(item=1, annotator="ann", label=("joy", "rage"))
    recorded = record(journal, state_of(journal), [vote], known=[1], partial=True)
    assert recorded.quarantined == 1
    assert state_of(journal).quarantined == (1,)
    journal.append([Schema(version=2, classes=("joy", "rage"), renamed={"anger": "rage"})])
    assert not state_of(journal).quarantined  # it waits for the second vote now


def test_labels_that_become_one_count_once(tmp_path: Path) -> None:
    journal = begun(tmp_path, "labels", ("joy", "anger", "rage"), votes=1)
    vote = Vote(item=1, annotator="ann", label=("anger", "rage"))
    record(journal, state_of(journal), [vote], known=[1])
    assert state_of(journal).labels == {1: ("anger", "rage")}
    journal.append(
        [
            Schema(
                version=2, classes=("joy", "fury"), renamed=dict.fromkeys(("anger", "rage"), "fury")
            )
        ]
    )
    assert state_of(journal).labels == {1: ("fury",)}
    journal.append([Schema(version=3, classes=("joy", "calm"))])
    assert state_of(journal).quarantined == (1,)


@pytest.mark.parametrize("label", [math.nan, [1.0, "a"], [True], object(), [""]])
def test_a_vote_of_anything_else_is_none(label: Any) -> None:
    with pytest.raises(ParameterError, match="label"):
        Vote(item=1, annotator="ann", label=label)


def test_a_vote_for_classes_is_written_as_before() -> None:
    vote = Vote(item=7, annotator="ann", label="pos", time="2026-03-01T00:00:00Z")
    assert (
        vote.key
        == "vote-"
        + __import__("hashlib")
        .blake2b(json.dumps([7, "ann", vote.time, "label", "pos"]).encode(), digest_size=16)
        .hexdigest()
    )
