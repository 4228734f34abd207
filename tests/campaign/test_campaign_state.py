from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepers.campaign import (
    Event,
    Id,
    Journal,
    Planned,
    PlannedItem,
    Pool,
    Schema,
    Sent,
    Started,
    State,
    Trained,
    Vote,
)
from keepers.campaign.encoding import decode, encode, event_kind
from keepers.errors import ParameterError

CLASSES = ("neg", "pos", "odd")


def minute(number: int) -> str:
    return f"2026-03-01T{number // 60:02d}:{number % 60:02d}:00Z"


def vote(item: Id, who: str, label: str | None, at: int = 0, kind: str = "") -> Vote:
    kind = kind or ("skip" if label is None else "label")
    return Vote(item=item, annotator=who, kind=kind, label=label, time=minute(at))  # type: ignore[arg-type]


def begun(votes: int = 1, items: Sequence[Id] = (), round: int = 1) -> State:
    events: list[Event] = [
        Started(settings={"votes": votes}, campaign="test"),
        Schema(version=1, classes=CLASSES),
    ]
    if items:
        events.append(planned(round, items))
    return State.empty().after(events)


def planned(round: int, items: Sequence[Id], part: str = "selected") -> Planned:
    return Planned(
        round=round,
        asked=len(items),
        labels_seen=0,
        method="margin",
        items=tuple(
            PlannedItem(item=item, rank=rank, score=-rank / 2, part=part, reason="near")  # type: ignore[arg-type]
            for rank, item in enumerate(items)
        ),
    )


def test_planned_then_sent_then_labelled() -> None:
    state = begun(items=[5, 3])
    assert state.item(5).status == "planned"
    state = state.after([Sent(round=1, channel="page", tasks={3: 900})])
    assert state.item(3).status == "sent"
    assert state.pending() == (5, 3)
    state = state.after([vote(3, "ann", "pos")])
    assert state.item(3).status == "labelled"
    assert dict(state.labels) == {3: "pos"}
    assert state.pending() == (5,)
    assert state.tasks("page") == {3: 900}
    assert state.tasks("label-studio") == {}
    assert state.part(3) == "selected"
    assert state.part(77) is None
    assert (state.item(3).rank, state.item(3).score, state.item(3).reason) == (1, -0.5, "near")
    assert state.counts() == {
        "unplanned": 0,
        "planned": 1,
        "sent": 0,
        "labelled": 1,
        "skipped": 0,
        "disputed": 0,
        "quarantined": 0,
        "removed": 0,
    }


def test_the_latest_word_of_an_annotator_counts_and_undo_withdraws_it() -> None:
    state = begun(items=[1]).after([vote(1, "ann", "neg", 2), vote(1, "ann", "pos", 1)])
    assert dict(state.labels) == {1: "neg"}
    state = state.after([vote(1, "ann", None, 3, "undo")])
    assert state.pending() == (1,)
    assert state.item(1).current == ()
    assert len(state.item(1).votes) == 3
    assert state.next_items("ann", 5) == [1]
    assert dict(state.after([vote(1, "ann", "odd", 4)]).labels) == {1: "odd"}


def test_skips_never_outvote_a_label() -> None:
    state = begun(items=[1]).after([vote(1, "ann", None), vote(1, "bob", None)])
    assert state.skipped == (1,)
    assert state.pending() == ()
    state = state.after([vote(1, "cid", "pos")])
    assert dict(state.labels) == {1: "pos"}


def test_a_tie_at_the_top_is_disputed_and_a_majority_settles_it() -> None:
    state = begun(items=[1, 2]).after([vote(1, "ann", "neg"), vote(1, "bob", "pos")])
    assert state.disputed == (1,)
    assert 1 not in state.labels
    assert state.next_items("ann", 5) == [2]
    assert state.next_items("cid", 5) == [2, 1]
    assert state.next_items("cid", 1) == [2]
    assert dict(state.after([vote(1, "cid", "pos")]).labels) == {1: "pos"}
    assert state.after([vote(1, "cid", "odd")]).disputed == (1,)


def test_two_votes_are_waited_for_where_two_are_asked_for() -> None:
    state = begun(votes=2, items=[1]).after([vote(1, "ann", "neg")])
    assert state.pending() == (1,)
    assert state.next_items("ann", 5) == []
    assert state.next_items("bob", 5) == [1]
    assert state.after([vote(1, "bob", None)]).pending() == (1,)
    assert dict(state.after([vote(1, "bob", "neg")]).labels) == {1: "neg"}
    assert state.after([vote(1, "bob", "pos")]).disputed == (1,)


def test_labels_that_were_brought_need_no_second_vote() -> None:
    brought = replace(vote(9, "file", "pos"), source="labelled")
    assert dict(begun(votes=2).after([brought]).labels) == {9: "pos"}
    assert begun(votes=2).after([replace(brought, source="labels.csv")]).labels == {}


def test_renamed_classes_carry_older_votes_along_also_where_names_are_swapped() -> None:
    state = begun(items=[1, 2, 3]).after(
        [
            replace(vote(1, "ann", "neg"), schema=1),
            replace(vote(2, "ann", "pos"), schema=1),
            Schema(version=2, classes=("neg", "pos"), renamed={"neg": "pos", "pos": "neg"}),
            replace(vote(3, "ann", "pos"), schema=2),
        ]
    )
    assert dict(state.labels) == {1: "pos", 2: "neg", 3: "pos"}
    state = state.after([Schema(version=3, classes=("bad", "good"), renamed={"neg": "bad"})])
    assert dict(state.labels) == {2: "bad"}
    assert state.quarantined == (1, 3)
    assert state.classes == ("bad", "good")


def test_an_old_name_that_comes_late_is_taken_for_what_it_became() -> None:
    state = begun(items=[1]).after(
        [
            Schema(version=2, classes=("bad", "good"), renamed={"neg": "bad", "pos": "good"}),
            Schema(version=3, classes=("bad", "fine"), renamed={"good": "fine"}),
            vote(1, "ann", "pos"),
        ]
    )
    assert dict(state.labels) == {1: "fine"}


def test_a_class_that_left_is_quarantined_and_released_when_it_returns() -> None:
    state = begun(items=[1, 2]).after([vote(1, "ann", "odd"), vote(2, "ann", "pos")])
    state = state.after([Schema(version=2, classes=("neg", "pos"))])
    assert state.quarantined == (1,)
    assert dict(state.labels) == {2: "pos"}
    assert state.pending() == ()
    state = state.after([Schema(version=3, classes=CLASSES)])
    assert dict(state.labels) == {1: "odd", 2: "pos"}


def test_a_quarantined_vote_is_kept_and_not_counted() -> None:
    state = begun(items=[1]).after(
        [vote(1, "ann", "gone"), vote(1, "bob", "gone", 1), vote(1, "cid", "pos", 2)]
    )
    assert dict(state.labels) == {1: "pos"}
    assert [state.resolve(each) for each in state.item(1).current] == [None, None, "pos"]


def test_removed_while_pending_and_back_again() -> None:
    state = begun(items=[1, 2]).after([Pool(number=0, fingerprint="a")])
    state = state.after([Pool(number=1, fingerprint="b", gone=1, removed=(1,))])
    assert state.removed == (1,)
    assert state.pending() == (2,)
    assert state.next_items("ann", 5) == [2]
    state = state.after([vote(1, "ann", "pos")])
    assert state.removed == (1,)
    assert state.labels == {}
    state = state.after([Pool(number=2, fingerprint="a", added=1)])
    assert state.removed == ()
    assert dict(state.labels) == {1: "pos"}
    assert state.pool is not None
    assert state.pool.fingerprint == "a"


def test_an_item_planned_again_stands_in_the_later_round() -> None:
    state = begun(items=["b", "a"]).after([vote("a", "ann", None)])
    later, earlier = planned(3, ["a"], "control"), planned(2, ["c", "a"])
    for after in (
        state.after([later, earlier]),
        state.after([earlier, later]),
        state.after([later]).after([earlier]),
    ):
        assert after.item("a").round == 3
        assert after.part("a") == "control"
        assert after.pending() == ("b", "c")
        assert after.pending(2) == ("c",)
        assert after.counts(1)["planned"] == 1
        assert [each.round for each in after.rounds] == [1, 2, 3]


def test_events_are_taken_once() -> None:
    events: list[Event] = [
        planned(1, [1]),
        Sent(round=1, channel="page", tasks={1: 1}),
        Trained(round=1, labels=5, facts={"accuracy": 0.5}),
        vote(1, "ann", "pos"),
    ]
    state = begun().after(events)
    assert state.after(events) == state
    other = state.after([replace(events[0], method="entropy"), replace(events[2], facts={})])  # type: ignore[type-var,arg-type]
    assert other == state


def test_seconds_add_up_and_those_of_label_studio_run_on() -> None:
    seconds = [
        replace(vote(1, "ann", "pos", 1), seconds=0.1, source="page"),
        replace(vote(1, "ann", "neg", 2), seconds=0.2, source="page"),
        replace(vote(2, "label-studio-1", "pos", 1), seconds=4.0, source="label-studio"),
        replace(vote(2, "label-studio-1", "neg", 2), seconds=6.5, source="label-studio"),
        vote(3, "bob", "pos"),
    ]
    assert begun().after(seconds).seconds == pytest.approx(6.8)


def ten_thousand(seed: int) -> list[Vote]:
    draw = random.Random(seed)
    votes: list[Vote] = []
    for number in range(10_000):
        item = draw.randrange(4000)
        kind = draw.choices(["label", "skip", "undo"], [8, 1, 1])[0]
        label = draw.choice(CLASSES) if kind == "label" else None
        votes.append(vote(item, draw.choice(["ann", "bob", "cid"]), label, number % 1440, kind))
        votes[-1] = replace(votes[-1], seconds=draw.random())
    return votes


def test_any_order_repeats_and_pieces_give_the_state_of_once_in_order(tmp_path: Path) -> None:
    votes = ten_thousand(0)
    start = begun(votes=2, items=range(2000))
    began = time.process_time()
    once = start.after(votes)
    assert time.process_time() - began < 1.5
    assert min(once.counts()[s] for s in ("labelled", "disputed", "skipped", "planned")) > 50

    draw = random.Random(1)
    shuffled = votes + draw.sample(votes, 3000)
    draw.shuffle(shuffled)
    pieces, state = shuffled[:], start
    while pieces:
        size = draw.randrange(1, 2500)
        state, pieces = state.after(pieces[:size]), pieces[size:]
    assert state == once
    assert list(state.labels.items()) == list(once.labels.items())
    assert (state.disputed, state.pending()) == (once.disputed, once.pending())
    assert state.seconds == once.seconds

    with Journal.create(tmp_path) as journal:
        journal.append([Started(settings={"votes": 2}, campaign="test")])
        journal.append([Schema(version=1, classes=CLASSES), planned(1, range(2000))])
        new = sum(sum(journal.append(shuffled[at : at + 4000])) for at in range(0, 13_000, 4000))
        assert new == len({each.key for each in votes})
        assert State.empty().after(event for _, event in journal.read()) == once


def any_vote(item: int, who: str, at: int, word: str) -> Vote:
    return vote(item, who, word if word in CLASSES else None, at, "undo" if word == "undo" else "")


VOTES = st.builds(
    any_vote,
    st.integers(1, 3),
    st.sampled_from(["ann", "bob", "cid", "dee"]),
    st.integers(0, 3),
    st.sampled_from([*CLASSES, "skip", "undo"]),
)


def naive(votes: list[Vote], needed: int, item: Id) -> tuple[str, str | None]:
    """Status and label, by sorting and counting alone."""
    words: dict[str, Vote] = {}
    for each in sorted(votes, key=lambda v: (v.time or "", v.key)):
        if each.item == item:
            words[each.annotator] = each
    standing = [each for each in words.values() if each.kind != "undo"]
    labels = [each.label for each in standing if each.label]
    if len(labels) < needed:
        return ("skipped", None) if standing and not labels else ("planned", None)
    best = max(Counter(labels).values())
    top = [name for name, times in Counter(labels).items() if times == best]
    return ("labelled", top[0]) if len(top) == 1 else ("disputed", None)


@settings(max_examples=60, deadline=None)
@given(st.lists(VOTES, max_size=14), st.integers(1, 3), st.integers(0, 14))
def test_the_fold_agrees_with_counting(votes: list[Vote], needed: int, cut: int) -> None:
    start = begun(votes=needed, items=[1, 2, 3])
    state = start.after(votes)
    for item in (1, 2, 3):
        assert (state.item(item).status, state.item(item).label) == naive(votes, needed, item)
    assert start.after(votes[cut:]).after(reversed(votes[:cut])) == state


def test_every_event_comes_back_from_json_as_it_was() -> None:
    events: list[Event] = [
        Started(settings={"budget": (1, 2), "share": float("nan")}, campaign="c"),
        Schema(version=2, classes=("a", "b"), renamed={"x": "a"}),
        Pool(number=1, fingerprint="f", snapshot="s", added=2, gone=1, removed=(3, "3")),
        replace(planned(4, [7, 8]), facts={"k": (1, 2.5)}, costs=({"seconds": 1.0},)),
        Sent(round=1, channel="label-studio", tasks={7: 70, "7": "x"}),
        replace(vote("7", "ann\ud800", "pos\n"), seconds=1.5, source="page", schema=2),
        Trained(round=4, labels=9, facts={"accuracy": [0.5, None]}),
    ]
    for event in events:
        _ = event.key
        assert decode(event_kind(event), encode(event)) == event
    assert len({event.key for event in events}) == len(events)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"annotator": " "}, "annotator: got ' '. Say who labels"),
        ({"label": None}, "label: got None. Give the name of a class"),
        ({"label": "pos", "kind": "skip"}, "label: got 'pos' with a skip. Leave it out"),
        ({"kind": "maybe"}, "kind: got 'maybe'"),
        ({"time": "yesterday"}, "time: got 'yesterday'. Give ISO 8601"),
        ({"seconds": -1.0}, "seconds: got -1.0. Give 0 or more"),
        ({"seconds": float("inf")}, "seconds: got inf"),
    ],
)
def test_a_vote_that_says_nothing_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{message}"):
        Vote(**{"item": 1, "annotator": "ann", "label": "pos", **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": 0}, "version: got 0"),
        ({"classes": ("a", "")}, "classes: got \\['a', ''\\]"),
        ({"classes": ("a", "a")}, "classes: 'a' is there twice"),
        ({"renamed": {"x": "c"}}, "renamed: 'x' becomes 'c', which is not a class"),
    ],
)
def test_classes_that_cannot_be_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=f"^{message}"):
        Schema(**{"version": 1, "classes": ("a", "b"), **values})  # type: ignore[arg-type]
