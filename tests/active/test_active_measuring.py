from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from active_worlds import CLASSES, World, events, make_world, spy

from keepers import Vote
from keepers.campaign import Trained, wilson
from keepers.data import open_source
from keepers.errors import ParameterError
from keepers.methods import get
from keepers.roles import Role, prepare
from keepers.runs import Run
from keepers.statistics import paired_difference
from keepers.types import EvalView, Signals
from keepers.workflows import stages
from keepers.workflows.active import measuring
from keepers.workflows.active.asking import Labelled, Opinion, training_of
from keepers.workflows.active.measuring import selection_against_random, warnings
from keepers.workflows.active.rounds import Round
from keepers.workflows.options.active import ActiveConfig
from keepers.workflows.workplace import Workplace


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def with_test(world: World, n: int = 30) -> Path:
    test = make_world(world.folder, n, seed=5)
    test.ids = [900 + i for i in range(n)]
    world.write()
    return test.write("test", labels=True)


def test_accuracy_on_the_test_set_with_its_interval(world: World) -> None:
    campaign = world.start(test=with_test(world), control=0.2)
    world.label(campaign, campaign.query(15).ids)
    campaign.query(5)
    status = campaign.status()
    accuracy = status.accuracy
    assert accuracy is not None
    correct = round(accuracy["value"] * 30)
    assert accuracy["value"] == pytest.approx(correct / 30)
    assert (accuracy["low"], accuracy["high"]) == wilson(correct, 30)
    assert (accuracy["on"], accuracy["examples"]) == ("test", 30)
    control = status.trained[-1]["control"]
    assert control["labels"] == 3


def test_accuracy_on_control_labels_counts_each_of_them(world: World) -> None:
    campaign = world.start(control=0.4)
    world.label(campaign, campaign.query(30).ids)
    batch = campaign.query(10)
    facts = campaign.state.trained[-1].facts["control"]
    assert facts["labels"] == 12
    assert (facts["low"], facts["high"]) == wilson(facts["correct"], 12)
    # By hand: all control items answered wrongly on purpose are all wrong in the end.
    control = [i.item for i in campaign.state.rounds[0].items if i.part == "control"]
    other = {"a": "b", "b": "c", "c": "a"}
    campaign.record(
        [
            Vote(item=i, annotator="ann", label=other[world.truth[i]], time="2020-04-01")
            for i in control
        ]
    )
    wrong = campaign.measure()
    assert wrong is not None
    assert wrong["control"]["correct"] <= 12 - facts["correct"]
    assert len(batch) == 10


def test_an_ensemble_is_worth_its_mean_prediction(world: World) -> None:
    campaign = world.start(ensemble=3, control=0.4)
    world.label(campaign, campaign.query(30).ids)
    batch = campaign.query(4)
    predictions: Any = batch.facts["predictions"]
    assert all(1 / 3 <= p <= 1 for _, _, p in predictions)
    assert campaign.state.trained[-1].facts["control"]["labels"] == 12


def said(*probabilities: float) -> stages.Trained:
    """A model that gave each test example this probability of class 0."""
    first = torch.tensor(probabilities)
    tested = torch.stack([first, 1 - first], 1).log()
    error = float((first < 0.5).double().mean())  # both are of class 0
    return stages.Trained(signals=Signals(), facts={"test_error": error}, costs=(), tested=tested)


def test_the_test_accuracy_of_an_ensemble_is_that_of_its_mean_prediction() -> None:
    view = EvalView(pool=None, labels=torch.tensor([0, 0]))  # type: ignore[arg-type]
    test = stages.Tested(view=view, fingerprint="")
    models = (said(0.9, 0.1), said(0.4, 0.2), said(0.45, 0.6))
    # Means 0.583 and 0.3: one of two is right. The members are right in 1, 0 and 1 of 2 cases.
    opinion = Opinion(method=get("margin"), trained=models, test=test)
    assert opinion.test_accuracy == 0.5
    assert Opinion(method=get("margin"), trained=models[1:2], test=test).test_accuracy == 0.0
    assert Opinion(method=get("margin"), trained=models[:1], test=test).test_accuracy == 0.5
    assert Opinion(method=get("margin"), trained=models).test_accuracy is None


def test_the_mean_prediction_is_that_of_probabilities_not_of_their_logarithms() -> None:
    test = stages.Tested(
        view=EvalView(pool=None, labels=torch.tensor([0, 0])),  # type: ignore[arg-type]
        fingerprint="",
    )
    # The arithmetic mean of 0.9, 0.9 and 0.01 is 0.60; by the geometric mean class 1 would win.
    models = (said(0.9, 0.1), said(0.9, 0.1), said(0.01, 0.1))
    assert Opinion(method=get("margin"), trained=models, test=test).test_accuracy == 0.5


def test_an_ensemble_is_measured_by_its_mean_prediction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    opinions: list[Opinion] = []
    spy(monkeypatch, Round, "_measured", lambda args, _: opinions.append(args[1]))
    campaign = world.start(test=with_test(world), ensemble=3, control=0.2, epochs=1)
    world.label(campaign, campaign.query(15).ids)
    campaign.query(5)
    (opinion,) = (each for each in opinions if each.trained)
    tested = [each.tested for each in opinion.trained if each.tested is not None]
    assert [tuple(each.shape) for each in tested] == [(30, 3)] * 3
    assert opinion.test is not None
    assert opinion.test.view.labels is not None
    mean = torch.stack(tested).double().exp().mean(0)
    right = float((mean.argmax(1) == opinion.test.view.labels).double().mean())
    assert campaign.state.trained[-1].facts["test_accuracy"] == right


def labelled_world(folder: Path, flip: bool, *, control: int = 100) -> tuple[Any, ...]:
    """Points of two classes on a line, and labels of which those selected may be wrong."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((300, 2)).astype(np.float32)
    truth = (values[:, 0] > 0).astype(np.int64)
    source = open_source((values, truth))
    assert source.labels is not None
    truth = source.labels.copy()
    labels = np.full(300, -1, dtype=np.int64)
    members = torch.arange(200, 300)
    labels[:control] = truth[:control]
    labels[200:] = 1 - truth[200:] if flip else truth[200:]
    closed = torch.zeros(300, dtype=torch.bool)
    closed[:control] = True
    known = Labelled(
        source=source,
        labels=labels,
        members=members,
        closed=closed,
        covered=torch.empty(0, dtype=torch.int64),
    )
    role = Role(model="logistic", epochs=20, lr=0.3)
    _, prepared = prepare(role, source)
    config = ActiveConfig(device="cpu")
    run = Run(folder / "run", {})
    place = Workplace(run=run, hardware=config.hardware)
    return known, torch.arange(control), prepared, place


@pytest.mark.parametrize(("flip", "verdict"), [(True, "worse"), (False, "inconclusive")])
def test_selection_against_random_without_a_test_set(
    tmp_path: Path, flip: bool, verdict: str
) -> None:
    known, control, prepared, place = labelled_world(tmp_path, flip)
    found = selection_against_random(
        known, control, known.members, prepared, place, test=None, seed=0
    )
    assert found is not None
    assert (found["labels"], found["measured_on"]) == (80, "control")
    assert [len(errors) for errors in found["errors"].values()] == [5, 5]
    again = paired_difference(
        found["errors"]["selected"], found["errors"]["random"], overlap=20 / 80
    )
    assert found["difference"] == asdict(again)
    assert found["difference"]["verdict"] == verdict
    assert np.mean(found["errors"]["random"]) < 0.1
    assert (np.mean(found["errors"]["selected"]) > 0.9) == flip
    told = warnings({"against_random": found}, "margin")
    by_auto = warnings({"against_random": found}, "auto")
    assert [text.partition(" labels. ")[2] for text in told] == ["Consider --method random"][:flip]
    remedy = ["so auto takes random ones"][:flip]
    assert [text.partition(" labels, ")[2] for text in by_auto] == remedy


def test_neither_model_is_measured_on_what_it_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, control, prepared, place = labelled_world(tmp_path, False)
    seen: list[tuple[set[int], set[int]]] = []

    def spy(*args: Any, **kwargs: Any) -> Any:
        seen.append((set(kwargs["members"].tolist()), set(kwargs["scored"].tolist())))
        return training_of(*args, **kwargs)

    monkeypatch.setattr(measuring, "training_of", spy)
    selection_against_random(known, control, known.members, prepared, place, test=None, seed=0)
    assert len(seen) == 10
    assert all(not members & scored for members, scored in seen)
    assert set.union(*(scored for _, scored in seen)) == set(range(100))
    random, selected = seen[0::2], seen[1::2]
    assert all(len(members) == 80 for members, _ in seen)
    assert all(members <= set(range(100)) for members, _ in random)
    assert all(members <= set(range(200, 300)) for members, _ in selected)
    assert len({frozenset(members) for members, _ in seen}) == 10


@pytest.mark.parametrize("control", [99, 0])
def test_too_few_control_labels_to_compare(tmp_path: Path, control: int) -> None:
    known, drawn, prepared, place = labelled_world(tmp_path, False, control=control)
    assert (
        selection_against_random(known, drawn, known.members, prepared, place, test=None, seed=0)
        is None
    )


def test_too_few_selected_labels_to_compare(tmp_path: Path) -> None:
    known, control, prepared, place = labelled_world(tmp_path, False)
    few = known.members[:49]
    assert selection_against_random(known, control, few, prepared, place, test=None, seed=0) is None


def test_selection_against_random_in_a_campaign(tmp_path: Path) -> None:
    """Selected labels that are all wrong are worse than random ones, and the status says so."""
    world = make_world(tmp_path, 260)
    campaign = world.start(test=with_test(world), control=0.45)
    other = {"a": "b", "b": "c", "c": "a"}
    batch = campaign.query(230)
    truth = world.truth
    selected = {i.item for i in campaign.state.rounds[0].items if i.part == "selected"}
    campaign.record(
        [
            Vote(item=i, annotator="ann", label=other[truth[i]] if i in selected else truth[i])
            for i in batch.ids
        ]
    )
    facts = campaign.measure()
    assert facts is not None
    against = facts["against_random"]
    assert against["measured_on"] == "test"
    labelled = facts["control"]["labels"]
    assert (against["control"], labelled) == (labelled, round(0.45 * 230))
    assert against["labels"] == labelled - -(-labelled // 5)  # a fifth is left out each time
    assert against["difference"]["verdict"] == "worse"
    assert any("worse proxy than as many random" in text for text in campaign.status().warnings)
    phases = [cost["phase"] for cost in facts["costs"]]
    assert "control training" in phases


def test_a_proxy_that_agrees_with_its_target(world: World) -> None:
    target = {"model": "logistic", "epochs": 60, "lr": 0.3}
    campaign = world.start(target=target, method="margin", epochs=60)
    world.label(campaign, campaign.query(20).ids)
    campaign.query(5)
    facts = campaign.state.trained[-1].facts["fidelity"]
    assert facts["sample"] == 40
    assert facts["proxy_target"] > 0.8
    assert facts["proxy_seeds"] > 0.8
    assert facts["target_seeds"] > 0.8
    assert not [text for text in campaign.status().warnings if "misleads" in text]
    phases = {cost["phase"] for cost in campaign.state.trained[-1].facts["costs"]}
    assert "target training" in phases
    # What the target costs is never booked as the selection.
    assert "target training" not in {c["phase"] for c in campaign.state.rounds[-1].costs}


def test_when_the_proxy_is_said_to_mislead() -> None:
    def said(agreement: float, proxy: float, target: float) -> bool:
        seeds = {"proxy_seeds": proxy, "target_seeds": target}
        fidelity = {"sample": 400, "proxy_target": agreement, **seeds}
        return bool(warnings({"fidelity": fidelity}, "margin"))

    assert said(0.3, 0.9, 0.8)
    assert not said(0.4, 0.9, 0.8)
    assert not said(0.4, 0.2, 0.8)  # the ceiling is the lower of the two
    assert warnings({"fidelity": None, "against_random": None}, "margin") == []
    text = warnings(
        {
            "fidelity": {
                "sample": 400,
                "proxy_target": 0.123,
                "proxy_seeds": 0.9,
                "target_seeds": 0.876,
            }
        },
        "margin",
    )[0]
    assert (
        "with the target is 0.12, but that of two seeds of one model is 0.88. Use a --proxy closer"
        in text
    )


def test_a_model_that_ranks_by_chance_is_no_ceiling() -> None:
    def said(proxy: float, target: float, sample: int = 400) -> list[str]:
        seeds = {"proxy_seeds": proxy, "target_seeds": target}
        fidelity = {"sample": sample, "proxy_target": 0.36, **seeds}
        return warnings({"fidelity": fidelity}, "margin")

    (proxy,) = said(-0.06, 1.0)
    assert proxy == (
        "the rank agreement of two seeds of the proxy is -0.06, which is chance: train it for "
        "longer (--epochs), or use another --proxy"
    )
    (target,) = said(0.9, 0.05)
    assert target == (
        "the rank agreement of two seeds of the target is 0.05, which is chance: it is not known "
        "yet whether the proxy selects well for it"
    )
    assert len(said(0.0, 0.0)) == 2
    # What is chance depends on how many were ranked.
    assert said(0.06, 0.06, sample=2000) == []
    assert len(said(0.6, 0.6, sample=10)) == 2


def test_a_target_that_says_the_same_of_everything(world: World) -> None:
    campaign = world.start(target={"model": "logistic", "epochs": 1, "lr": 1e-30}, epochs=1)
    world.label(campaign, campaign.query(20).ids)
    campaign.query(5)
    assert isinstance(campaign.status().warnings, tuple)


@pytest.mark.parametrize("method", ["bald", "batch-bald", "badge", "k-center"])
def test_agreement_of_methods_of_every_kind(world: World, method: str) -> None:
    campaign = world.start(method=method, ensemble=2, target="logistic")
    world.label(campaign, campaign.query(20).ids)
    campaign.query(4)
    facts = campaign.state.trained[-1].facts["fidelity"]
    assert -1 <= facts["proxy_target"] <= 1


def test_forecasts(world: World) -> None:
    campaign = world.start()
    for labels, accuracy in ((10, 0.5), (20, 0.6), (40, 0.65), (80, 0.675)):
        facts = {"test_accuracy": accuracy, "test_examples": 1000, "method": "margin"}
        campaign.journal.append([Trained(round=labels, labels=labels, facts=facts)])
    status = campaign.status(goal=0.69)
    assert status.forecast is not None
    assert status.forecast["points"] == 4
    assert status.forecast["labels"] == pytest.approx(200, rel=0.05)  # 0.7 − 2 / n
    assert (campaign.status(goal=0.75).forecast or {}).get("labels") is None
    assert campaign.status().forecast is None
    for goal in (0.0, 1.0, 90):
        with pytest.raises(ParameterError, match=r"goal: got .*such as 0.9"):
            campaign.status(goal=goal)


def test_too_few_points_for_a_forecast(world: World) -> None:
    assert world.start().status(goal=0.9).forecast == {"goal": 0.9, "points": 0}


def test_labels_since_the_last_measurement(world: World) -> None:
    campaign = world.start(control=0.2)
    world.label(campaign, campaign.query(20).ids)
    batch = campaign.query(10)
    assert not campaign.status().warnings
    world.label(campaign, batch.ids[:5])
    selected = [i.item for i in campaign.state.rounds[1].items[:5] if i.part == "selected"]
    assert f"{len(selected)} labels to train on were added since" in campaign.status().warnings[-1]
    campaign.measure()
    assert not campaign.status().warnings
    campaign.record([Vote(item=i, annotator="ann", kind="undo") for i in batch.ids[:5]])
    assert not campaign.status().warnings


def test_who_labelled_and_what_it_took(world: World) -> None:
    campaign = world.start(votes=2)
    one, two, three = campaign.query(3).ids
    campaign.record(
        [
            Vote(item=one, annotator="ann", label="a", seconds=2.5),
            Vote(item=two, annotator="ann", kind="skip", seconds=1.0),
            Vote(item=three, annotator="ann", label="b"),
            Vote(item=one, annotator="ben", label="a", seconds=4.0),
        ]
    )
    status = campaign.status()
    assert status.annotators == {
        "ann": {"labels": 2, "skips": 1, "seconds": 3.5},
        "ben": {"labels": 1, "skips": 0, "seconds": 4.0},
    }
    assert status.labelling_seconds == 7.5
    assert status.counts["labelled"] == 1
    assert status.classes == {"a": 1, "b": 0, "c": 0}


def test_what_is_spent_is_booked_once(world: World) -> None:
    campaign = world.start(distinct=0.9, control=0.2, test=with_test(world))
    for count in (15, 5, 5):
        world.label(campaign, campaign.query(count).ids)
    rounds = campaign.state.rounds
    phases = [{cost["phase"]: cost for cost in each.costs} for each in rounds]
    assert set(phases[0]) == {"features", "selecting"}
    assert set(phases[1]) == {"encoding", "proxy training", "scoring", "selecting"}
    assert phases[1]["proxy training"]["steps"] == 10  # of this round, and of no other
    assert phases[2]["proxy training"]["steps"] == 10
    total = sum(cost["seconds"] for each in rounds for cost in each.costs)
    assert campaign.status().selection_seconds == pytest.approx(total)

    measured = campaign.measure()
    assert measured is not None
    paid = {name for e in events(campaign) if isinstance(e, Trained) for name in e.facts["stages"]}
    again = campaign.measure()
    assert again is not None
    assert "proxy training" not in [cost["phase"] for cost in again["costs"]]
    assert set(measured["stages"]) <= paid
    assert set(CLASSES) == set(campaign.status().classes)
