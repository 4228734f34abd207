"""`auto` in a campaign: random until the proxy knows where it errs, BADGE afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from active_worlds import CLASSES, TIME, World, make_world

import keepers
from keepers.campaign import Vote
from keepers.errors import ParameterError
from keepers.workflows.active.auto import Judged


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, n=140)


def test_auto_takes_badge_once_the_proxy_knows_enough(world: World) -> None:
    said: list[str] = []
    campaign = world.start(method="auto", say=said.append)
    assert campaign.config.method == "auto"
    world.label(campaign, campaign.query(30).ids)
    few = campaign.query(80)
    assert few.method == "random"
    assert few.facts["auto"].startswith("there are 30 labels to train on, and with fewer than 100")
    assert f"auto: random: {few.facts['auto']}" in said
    assert [each.facts["method"] for each in campaign.state.trained] == ["margin"]  # measured
    world.label(campaign, few.ids)
    enough = world.open().query(10)
    assert enough.method == "badge"
    assert "of 110 labelled examples that it did not train on" in enough.facts["auto"]
    items = world.open().state.rounds[-1].items
    assert {item.reason for item in items} == {"badge"}
    assert world.open().status().method == "auto"


def test_auto_stays_at_random_where_labels_cannot_be_learnt(world: World) -> None:
    campaign = world.start(method="auto")
    draw = np.random.default_rng(0)
    ids = campaign.query(110).ids
    campaign.record(
        [Vote(item=i, annotator="ann", label=CLASSES[draw.integers(3)], time=TIME) for i in ids]
    )
    batch = campaign.query(10)
    assert batch.method == "random"
    assert "it is less sure of the error" in batch.facts["auto"]
    assert batch.facts["auto"].endswith("too little to go by")


def test_auto_hears_that_selected_labels_were_worse(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keepers.workflows.active.rounds import Round

    worse = {"difference": {"verdict": "worse"}}
    campaign = world.start(method="auto")
    world.label(campaign, campaign.query(110).ids)
    monkeypatch.setattr(Round, "_latest_against_random", lambda _: worse)
    monkeypatch.setattr(Round, "_against_random", lambda _: None)
    batch = campaign.query(10)
    assert batch.method == "random"
    assert batch.facts["auto"] == (
        "selected labels trained a worse proxy than as many random labels"
    )


def test_a_class_of_three_labels_is_too_little_to_go_by(world: World) -> None:
    campaign = world.start(method="auto")
    ids = campaign.query(110).ids
    campaign.record(
        [
            Vote(item=i, annotator="ann", label=CLASSES[place < 3], time=TIME)
            for place, i in enumerate(ids)
        ]
    )
    batch = campaign.query(5)
    assert batch.method == "random"
    assert "always guessing the largest class is right on 97%" in batch.facts["auto"]


def test_a_campaign_keeps_the_method_it_was_started_with(world: World) -> None:
    world.start(method="margin")
    campaign = world.open()
    assert campaign.config.method == "margin"
    world.label(campaign, campaign.query(9).ids)
    batch = campaign.query(5)
    assert (batch.method, batch.facts["auto"]) == ("margin", None)


def test_auto_has_no_options_of_its_own(world: World) -> None:
    with pytest.raises(ParameterError, match="got options for 'auto'"):
        world.start(method="auto", method_options={"x": 1})


@pytest.mark.parametrize(
    ("correct", "largest", "low", "is_proxy", "trusted"),
    [
        (86, 0.86, 0.60, True, True),  # no better than a guess, but it knows where it errs
        (86, 0.86, 0.60, False, False),  # that is nothing to a network in whose place it stands
        (86, 0.20, 0.60, False, True),
        (86, 0.20, 0.54, True, False),  # good, but unsure of anything
        (95, 0.50, 0.00, True, True),  # of five errors nothing can be told
        (97, 0.97, 1.00, True, False),  # all it is right on may be the largest class
        (100, 1.0, 0.0, True, False),
    ],
)
def test_a_proxy_is_trusted_that_knows_where_it_errs(
    correct: int, largest: float, low: float, is_proxy: bool, trusted: bool
) -> None:
    tells = (0.8, low, 1.0)
    found = Judged(correct=correct, num=100, largest=largest, tells=tells, is_proxy=is_proxy)
    assert found.is_trusted == trusted
    assert str(found).endswith("too little to go by") != trusted
    assert ("of pairs" in str(found)) == (correct <= 90)


def test_a_simulation_says_what_auto_took(tmp_path: Path) -> None:
    found = keepers.simulate(
        "digits", test=0.5, initial=100, rounds=[120, 140], proxy="linear", target="linear",
        distinct=None, seeds=1, run=tmp_path,
    )  # fmt: skip
    assert {row["method"] for row in found.rows} == {"random", "auto"}
    assert [each["k"] for each in found.result["auto"]] == [100, 120]
    assert {each["taken"]["method"] for each in found.result["auto"]} == {"badge"}
    picks = {row["method"]: 0 for row in found.rows}
    for pick in found.picks.to_pylist():
        picks[pick["method"]] += 1
    assert picks == {"random": 140, "auto": 140}
