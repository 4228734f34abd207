"""How far annotators agree: the worked example of the source, and by label and number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from keepers.campaign import Schema, Started, State, Vote, agreement, krippendorff_alpha
from keepers.reports.active_items import annotators
from keepers.tasks.question import Answer

# Krippendorff 2011, section C: four observers of twelve units; 0 is missing.
OBSERVERS = ("123321412000", "123322412503", "033323422510", "123324412510")
UNITS = [[vote for vote in unit if vote != "0"] for unit in zip(*OBSERVERS, strict=True)]


def state(votes: Mapping[str, Mapping[str, Answer]], names: tuple[str, ...], **asked: Any) -> State:
    events = [
        Vote(item=item, annotator=who, label=said, time="2026-03-01T12:00:00Z", schema=1)
        for item, each in votes.items()
        for who, said in each.items()
    ]
    begun = Started(campaign="c", settings=asked)
    return State.empty().after([begun, Schema(version=1, classes=names), *events])


def test_the_worked_example() -> None:
    assert krippendorff_alpha(UNITS) == pytest.approx(0.743, abs=5e-4)
    numbers = [[float(vote) for vote in unit] for unit in UNITS]
    assert krippendorff_alpha(numbers) == pytest.approx(0.849, abs=5e-4)


def test_full_agreement_chance_and_nothing_to_go_by() -> None:
    assert krippendorff_alpha([["a", "a"], ["b", "b"]]) == 1
    assert krippendorff_alpha([[1.0, 1.0], [2.5, 2.5]]) == 1
    opposite = krippendorff_alpha([[True, False]] * 50)
    assert opposite is not None
    assert -1.0 <= opposite < -0.9
    assert krippendorff_alpha([["a", "a"], ["a", "a"], ["b"]]) is None
    assert krippendorff_alpha([["a"], ["b"]]) is None
    assert krippendorff_alpha([]) is None


def test_each_label_has_its_own() -> None:
    votes = {
        "1": {"x": ("art",), "y": ("art",)},
        "2": {"x": ("art", "money"), "y": ("art",)},
        "3": {"x": (), "y": ("money",)},
        "4": {"x": ("money",)},
    }
    found = agreement(state(votes, ("art", "money", "sport"), task="labels"))
    assert [*found] == ["money", "art"]  # nobody chose sport
    assert found["art"] == 1
    assert found["money"] == krippendorff_alpha([[False] * 2, [True, False], [False, True]])


def test_numbers_and_classes() -> None:
    apart = {"1": {"x": (1.0, 5.0), "y": (1.2, 9.0)}, "2": {"x": (3.0, 9.0), "y": (3.1, 5.0)}}
    found = agreement(state(apart, ("price", "size"), task="number"))
    assert [*found] == ["size", "price"]
    assert found["size"] == pytest.approx(krippendorff_alpha([[5.0, 9.0], [9.0, 5.0]]))
    assert found["price"] > 0.98
    classes = {"1": {"x": "a", "y": "a"}, "2": {"x": "a", "y": "b"}, "3": {"x": "b", "y": "b"}}
    assert agreement(state(classes, ("a", "b"))) == {
        "class": krippendorff_alpha([["a", "a"], ["a", "b"], ["b", "b"]])
    }


def test_numbers_are_held_against_the_median_within_a_tolerance_alone() -> None:
    votes = {"1": {"x": (3.0,), "y": (3.4,), "z": (9.0,)}}
    for tolerance, expected in (((), (0, 0)), ((0.5,), (2, 3))):
        found = annotators(state(votes, ("price",), task="number", tolerance=tolerance))
        assert (sum(a.agreed for a in found), sum(a.shared for a in found)) == expected
