from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from active_worlds import CLASSES, World, make_world, spy

from keepers import methods
from keepers.campaign import Planned, PlannedItem
from keepers.errors import ParameterError
from keepers.methods import ACTIVE
from keepers.workflows.active import Campaign, planning
from keepers.workflows.active.judging import said_of_balance, said_of_halves
from keepers.workflows.offered import active_signals
from keepers.workflows.options.active import ActiveConfig

OFFERED = list(methods.offered(active_signals("class"), replacement=False))
SAMPLED = [name for name in OFFERED if "posterior_log_probs" in methods.get(name).needs]
DROPOUT = {"model": "mlp", "options": {"hidden": (8,), "dropout": 0.3}, "epochs": 3}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def test_what_is_offered() -> None:
    needed = {"random", "margin", "entropy", "least-confidence", "k-center", "badge", "bald"}
    assert needed | {"batch-bald", "typiclust", "probcover", "cluster-margin"} <= set(OFFERED)
    of_others = {"label-entropy", "label-margin", "mmc", "committee", "greedy-sampling"}
    for name in methods.names():
        in_table = ACTIVE in methods.workflows(methods.get(name))
        assert (in_table and name not in of_others) == (name in OFFERED)


@pytest.mark.parametrize("name", OFFERED)
def test_every_method_that_is_offered(world: World, name: str) -> None:
    proxy = DROPOUT if name in SAMPLED else "logistic"
    campaign = world.start(method=name, proxy=proxy, epochs=2, samples=3, control=0.2)
    world.label(campaign, world.ids[:9])
    batch = campaign.query(10)
    planned = campaign.state.rounds[-1]
    assert batch.method == name
    assert len(set(batch.ids)) == 10
    assert not set(batch.ids) & set(world.ids[:9])
    assert sum(item.part == "control" for item in planned.items) == 2
    scored = methods.get(name).score is not None
    selected = [item for item in planned.items if item.part == "selected"]
    assert all((item.score is not None) == scored for item in selected)
    # What selects without a model leaves it untrained; all others say what it is worth.
    assert len(campaign.state.trained) == bool(methods.get(name).needs)


@pytest.mark.parametrize("name", SAMPLED)
def test_an_ensemble_stands_in_for_dropout(world: World, name: str) -> None:
    campaign = world.start(method=name, ensemble=2, epochs=2)
    world.label(campaign, world.ids[:9])
    assert len(campaign.query(4)) == 4


def test_samples_of_the_posterior_are_those_of_each_member(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    spy(monkeypatch, planning.methods, "choose", lambda args, _: seen.append(args[1]))
    campaign = world.start(method="bald", proxy=DROPOUT, samples=4)
    world.label(campaign, world.ids[:9])
    campaign.query(3)
    shapes = [members[0].posterior_log_probs.shape[1:] for members in seen]
    assert shapes == [(4, 3), (2, 3), (2, 3)]  # all passes choose, and then each half of them
    campaign = world.start("second", method="bald", proxy=DROPOUT, samples=4, ensemble=3)
    world.label(campaign, world.ids[:9])
    campaign.query(3)
    assert [members.posterior_log_probs for members in seen[-1]] == [None] * 3
    assert not torch.equal(seen[-1][0].log_probs, seen[-1][1].log_probs)


@pytest.mark.parametrize("method", ["bald", "batch-bald", "mc-entropy"])
def test_a_campaign_says_how_far_two_halves_of_the_passes_agree(world: World, method: str) -> None:
    said: list[str] = []
    campaign = world.start(method=method, proxy=DROPOUT, samples=8, control=0)
    world.label(campaign, world.ids[:9])
    campaign = Campaign.open(campaign.path, say=said.append)
    campaign.query(12)
    halves = campaign.state.rounds[-1].facts["halves"]
    assert halves["of"] == 12
    assert halves["passes"] == 8
    assert 0 <= halves["shared"] <= 12
    assert said_of_halves(halves) in said


def test_halves_that_hardly_agree_are_a_warning_with_a_remedy() -> None:
    assert said_of_halves({"shared": 6, "of": 12, "passes": 8}).startswith("Dropout: the two")
    few = said_of_halves({"shared": 5, "of": 12, "passes": 8})
    assert few == (
        "Warning: the choice depends on the dropout masks as much as on the model: the two "
        "halves of the 8 passes share 5 of 12 picks. Start a campaign with more passes "
        "(--samples 32), or with an --ensemble"
    )


def test_an_ensemble_asks_different_models_in_one_round(world: World) -> None:
    campaign = world.start(method="entropy", ensemble=2)
    world.label(campaign, world.ids[:9])
    batch = campaign.query(3)
    cost = {cost["phase"]: cost for cost in campaign.state.rounds[-1].costs}
    alone = world.start("alone", method="entropy")
    world.label(alone, world.ids[:9])
    alone.query(3)
    one = {cost["phase"]: cost for cost in alone.state.rounds[-1].costs}
    assert cost["proxy training"]["steps"] == 2 * one["proxy training"]["steps"]
    assert len(batch) == 3


@pytest.mark.parametrize("cold", ["typiclust", "probcover", "k-center", "random"])
@pytest.mark.parametrize("labelled", [0, 4])
def test_cold_starts(world: World, cold: str, labelled: int) -> None:
    campaign = world.start(cold=cold, control=0.2)
    if labelled:  # of one class only, which is as good as none
        world.label(campaign, [item for item in world.ids if world.truth[item] == "b"][:labelled])
    batch = campaign.query(10)
    assert (batch.method, batch.facts["cold"], batch.facts["predictions"]) == (cold, True, [])
    assert not set(batch.ids) & set(campaign.state.labels)
    assert not campaign.state.trained
    reasons = {item.part: item.reason for item in campaign.state.rounds[-1].items}
    assert reasons == {"selected": f"cold start: {cold}", "control": "control"}
    if cold != "random":  # all three kinds are among eight that are spread
        assert {world.truth[item] for item in batch.ids} == set(CLASSES)


def test_a_cold_start_keeps_away_from_what_is_labelled_or_waits(tmp_path: Path) -> None:
    world = make_world(tmp_path, 30)
    world.x = np.array([[i % 3 * 50, i * 0.01] for i in range(30)], dtype=np.float32)
    world.write()
    campaign = world.start(cold="k-center")
    world.label(campaign, [100])
    first = campaign.query(1)
    assert world.truth[first.ids[0]] != "a"
    second = campaign.query(1, new=True)
    assert {"a", world.truth[first.ids[0]], world.truth[second.ids[0]]} == set(CLASSES)


def test_a_cold_start_of_one_and_of_everything(world: World) -> None:
    for number, cold in enumerate(["typiclust", "probcover", "k-center", "random"]):
        campaign = world.start(f"c{number}", cold=cold, distinct=0.98)
        assert len(campaign.query(1)) == 1
        assert len(campaign.query(59)) == 59


def test_no_option_of_the_method_reaches_the_cold_start(world: World) -> None:
    campaign = world.start(method="probcover", method_options={"num_classes": 3}, cold="k-center")
    assert campaign.query(4).method == "k-center"
    world.label(campaign, world.ids[:9])
    assert campaign.query(4, new=True).method == "probcover"


def near(folder: Path) -> World:
    """Ten points, each six times with hardly a difference; three clusters far apart."""
    world = make_world(folder)
    world.x = np.repeat(world.x[:10], 6, axis=0)
    world.x += np.tile(np.arange(6, dtype=np.float32) * 2e-6, 10)[:, None]
    world.y = [CLASSES[i % 3] for i in np.repeat(np.arange(10), 6)]
    world.write()
    return world


@pytest.mark.parametrize(("distinct", "different"), [(0.98, True), (1.0, False), (None, False)])
def test_near_copies(tmp_path: Path, distinct: float | None, different: bool) -> None:
    world = near(tmp_path)
    campaign = world.start(method="margin", distinct=distinct)
    world.label(campaign, [100 + 6 * i for i in range(3)])
    batch = campaign.query(4)
    points = {world.ids.index(item) // 6 for item in batch.ids}
    # The smallest margin has five copies left; they fill the batch unless they are left out.
    assert len(points) == (4 if different else 1)
    assert batch.facts["near_duplicates"] == 0
    scores = [item.score or 0.0 for item in campaign.state.rounds[-1].items]
    assert scores == sorted(scores, reverse=True)


def test_near_copies_of_what_waits_for_its_label_are_left_out(tmp_path: Path) -> None:
    world = near(tmp_path)
    campaign = world.start(method="margin", distinct=0.9999)
    world.label(campaign, [100 + 6 * i for i in range(3)])
    first, second = campaign.query(3), campaign.query(3, new=True)
    points = [world.ids.index(item) // 6 for item in (*first.ids, *second.ids)]
    assert len(set(points)) == 6


def test_near_copies_are_let_in_where_nothing_else_is_left(tmp_path: Path) -> None:
    world = near(tmp_path)
    for name, method, cold in (("a", "margin", 0), ("b", "badge", 0), ("c", "margin", 1)):
        campaign = world.start(name, method=method, distinct=0.99999)
        if not cold:
            world.label(campaign, [100 + 6 * i for i in range(3)])
        batch = campaign.query(15)
        kinds = {world.ids.index(item) // 6 for item in batch.ids}
        assert batch.facts["near_duplicates"] == 15 - len(kinds)
        assert 8 <= len(kinds) <= 10


def test_a_method_that_ranks_nothing_is_not_asked_to_rank_the_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path, 300)
    world.x[:299] = world.x[0] + np.arange(299, dtype=np.float32)[:, None] * 1e-5
    world.write()
    asked: list[int] = []
    spy(monkeypatch, planning.methods, "choose", lambda args, _: asked.append(args[2]))
    campaign = world.start(cold="k-center", distinct=0.98)
    batch = campaign.query(5)
    assert asked == [5, 10, 20, 40]
    assert batch.facts["near_duplicates"] == 3


def test_class_quotas(tmp_path: Path) -> None:
    """Two thirds of the pool look like a: without quotas the batch has few of the others."""
    world = make_world(tmp_path, 90)
    world.y = ["a" if i < 60 else CLASSES[1 + i % 2] for i in range(90)]
    centres = {"a": (0, 0), "b": (9, 0), "c": (0, 9)}
    noise = np.random.default_rng(2).standard_normal((90, 2))
    world.x = (np.array([centres[y] for y in world.y]) + noise).astype(np.float32)
    world.write()
    seeds = world.ids[:3] + world.ids[60:66]
    found: dict[str | None, list[str]] = {}
    for balance in (None, "class"):
        campaign = world.start(str(balance), method="least-confidence", balance=balance, epochs=60)
        world.label(campaign, seeds)
        batch = campaign.query(12)
        found[balance] = [name for _, name, _ in batch.facts["predictions"]]
    counts = {name: found["class"].count(name) for name in CLASSES}
    assert counts == dict.fromkeys(CLASSES, 4)
    assert {name: found[None].count(name) for name in CLASSES} != counts


def test_quotas_wait_for_a_model(world: World) -> None:
    said: list[str] = []
    campaign = world.start(balance="class", say=said.append)
    assert campaign.query(4).facts["cold"] is True
    assert any(
        "This batch was chosen without a proxy, so --balance class" in words for words in said
    )


def test_a_batch_that_cannot_be_even_is_said(world: World) -> None:
    planned = Planned(
        round=2,
        asked=6,
        labels_seen=9,
        method="margin",
        items=(
            *(PlannedItem(item=n, rank=n) for n in range(5)),
            PlannedItem(item=9, rank=5, part="control"),
        ),
        facts={"predictions": [[n, "a" if n < 3 else "b", 0.5] for n in range(5)] + [[9, "c", 1]]},
    )
    assert said_of_balance(planned, ["a", "b"]) is None
    assert said_of_balance(planned, ["a", "b", "c"]) == (
        "Warning: --balance class cannot balance this batch: of 5 selected items the proxy "
        "predicts 'a' for 3 and 'c' for 0, of which it finds too few"
    )
    with pytest.raises(ParameterError, match="balance: got 'class', but the task is 'number'"):
        world.start(classes=None, numbers=["price"], method="committee", balance="class")


def test_a_configuration_of_its_own() -> None:
    assert ActiveConfig().distinct == 0.98
    assert ActiveConfig(method="random", balance="class").balance == "class"  # for comparisons
