"""`auto` in a campaign: random until the proxy knows where it errs, BADGE afterwards."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from active_worlds import CLASSES, TIME, World, events, make_world, spy

import keepers
from keepers import Campaign
from keepers.campaign import Vote
from keepers.errors import ParameterError
from keepers.reports.active import active_report
from keepers.reports.active_answers import selection, why_auto
from keepers.workflows.active import asking
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


def test_random_is_of_the_whole_pool_whatever_neighbours_are_scored(world: World) -> None:
    campaign = world.start(method="auto", neighbours=1)
    world.label(campaign, campaign.query(8).ids)
    few = campaign.query(100)
    assert (few.method, few.facts["neighbours"]) == ("random", None)
    world.label(campaign, few.ids)
    enough = campaign.query(5)
    assert enough.method == "badge"
    assert enough.facts["neighbours"]["count"] == 1


def test_random_labels_are_not_compared_with_random_ones(world: World) -> None:
    labelled = world.write("labelled", range(6), labels=True)
    with world.start(
        "small", method="auto", control=0.5, labelled=labelled, label=None
    ) as campaign:
        for _ in range(2):
            world.label(campaign, campaign.query(60).ids)
        assert campaign.query(5).method == "random"
        standing = campaign.status()
    assert standing.parts["control"] >= 60
    assert all(each["against_random"] is None for each in standing.trained)
    assert selection(standing).words == "There is none yet: all batches are random."


def test_status_and_report_say_why(world: World) -> None:
    with world.start(method="auto") as campaign:
        world.label(campaign, campaign.query(30).ids)
        campaign.query(10)
        standing = campaign.status()
        page = active_report(campaign, standing).read_text()
    first, second = (each["auto"] for each in standing.rounds)
    assert first is None
    assert second.startswith("there are 30 labels to train on")
    assert why_auto(standing) == f"auto took random in round 2: {second}"
    assert second in page


OWN = """
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from keepers.types import EncoderSpec, Model

class Failing(LogisticRegression):
    def predict_proba(self, X):
        raise RuntimeError("no probabilities today")

class Lost(LogisticRegression):
    def predict_proba(self, X):
        return super().predict_proba(X) * np.nan

class Letters(torch.nn.Module):
    seen = 0
    def forward(self, texts):
        Letters.seen += len(texts)
        return torch.tensor([[text.count(each) for each in "xyz"] for text in texts]).float()

def letters(info):
    return Model(module=Letters(), encoder=EncoderSpec(kind="text", scheme="raw"))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "of_auto.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "of_auto", raising=False)
    return importlib.import_module("of_auto")


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Failing", "the model failed to predict: RuntimeError: no probabilities today"),
        ("Lost", "the model gives predictions that are not finite"),
    ],
)
def test_a_proxy_that_cannot_be_judged_is_called_by_its_option(
    world: World, name: str, problem: str
) -> None:
    campaign = world.start(method="auto", proxy=f"sklearn:of_auto:{name}")
    world.label(campaign, campaign.query(110).ids)
    before = len(events(campaign))
    with pytest.raises(ParameterError, match=f"^proxy: {problem}"):
        campaign.query(5)
    assert len(events(campaign)) == before


def test_an_encoder_reads_each_text_once(tmp_path: Path, own: Any) -> None:
    draw = np.random.default_rng(0)
    texts = [f"{n} " + "xyz"[n % 3] * int(draw.integers(1, 9)) for n in range(60)]
    pd.DataFrame({"key": range(60), "text": texts}).to_parquet(tmp_path / "texts.parquet")
    campaign = Campaign.start(
        tmp_path / "texts.parquet", campaign=tmp_path / "texts", id="key", classes=["x", "y", "z"],
        proxy="probe:of_auto:letters",
    )  # fmt: skip
    for count in (12, 6, 6):
        ids = campaign.query(count).ids
        labels = ["xyz"[int(each) % 3] for each in ids]
        votes = zip(ids, labels, strict=True)
        campaign.record([Vote(item=i, annotator="ann", label=name) for i, name in votes])
    assert [each.method for each in campaign.state.rounds] == ["typiclust", "random", "random"]
    assert len(campaign.state.trained) == 2
    assert own.Letters.seen == 60 + 60  # once, after a trial of a batch
    assert len(list((tmp_path / "texts/work/stages").glob("features-*"))) == 2


def test_a_random_round_scores_only_what_it_is_measured_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    spy(monkeypatch, asking, "train", lambda args, _: scored.append(len(args[1].scored)))
    campaign = world.start(method="auto", control=0.2)
    world.label(campaign, campaign.query(30).ids)
    assert campaign.query(10).method == "random"
    assert scored == [30]  # those that are labelled, of 140
    campaign.measure()
    assert scored[1] > 100


def test_what_has_no_classes_is_not_balanced(world: World) -> None:
    with pytest.raises(ParameterError, match=r"balance: .* the task is 'number', which has no cl"):
        world.start(classes=None, numbers=["size"], method="auto", balance="class")


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
        (9, 0.01, 0.9, True, False),  # of nine right answers nothing can be told either
        (10, 0.01, 0.9, True, True),
    ],
)
def test_a_proxy_is_trusted_that_knows_where_it_errs(
    correct: int, largest: float, low: float, is_proxy: bool, trusted: bool
) -> None:
    tells = (0.8, low, 1.0)
    found = Judged(correct=correct, num=100, largest=largest, tells=tells, is_proxy=is_proxy)
    assert found.is_trusted == trusted
    assert str(found).endswith("too little to go by") != trusted
    assert ("of pairs" in str(found)) == (10 <= correct <= 90)


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
