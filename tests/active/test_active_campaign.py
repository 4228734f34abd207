from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from active_worlds import CLASSES, World, events, make_world, run_rounds, spy

from keepers import Campaign, Vote
from keepers.campaign import Planned, Trained
from keepers.errors import DataError, KeepersError, ParameterError, RunError
from keepers.workflows import stages
from keepers.workflows.active import rounds as rounds_module
from keepers.workflows.active import work
from keepers.workflows.active.batches import write_batch


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def test_a_campaign_from_start_to_status(world: World) -> None:
    campaign = world.start(control=0.25)
    assert campaign.state.classes == CLASSES
    cold = campaign.query(8)
    assert (cold.round, len(cold), cold.method, cold.again) == (1, 8, "k-center", False)
    assert cold.facts["cold"] is True
    assert [item.reason for item in campaign.state.rounds[0].items if item.part == "selected"] == [
        "cold start: k-center"
    ] * 6
    assert world.label(campaign, cold.ids).new == 8
    warm = campaign.query(8)
    assert (warm.round, warm.method, warm.facts["cold"]) == (2, "margin", False)
    assert not set(warm.ids) & set(cold.ids)

    again = world.open()
    assert again.state.pending() == warm.ids
    status = again.status()
    assert (status.pool, status.left) == (60, 44)
    assert status.counts["labelled"] == status.counts["planned"] == 8
    assert status.parts == {"selected": 6, "control": 2}
    assert sum(status.classes.values()) == 8
    assert [facts["labels_seen"] for facts in status.rounds] == [0, 8]
    assert status.accuracy is not None
    assert (status.accuracy["on"], status.accuracy["examples"]) == ("control", 2)


def test_what_a_kill_left_in_a_campaign_is_swept_as_it_is_opened(world: World) -> None:
    world.start().close()
    folder = world.folder / "campaign"
    held = sorted(folder.rglob("*"))
    for place in (folder, folder / "pools", folder / "work" / "stages" / "proxy-0123456789ab"):
        place.mkdir(parents=True, exist_ok=True)
        (place / ".report.html.x1x2x3x4.partial").write_text("half")
        (place / ".report.html.notes").write_text("mine")
    writing = folder / ".model.safetensors.a1a2a3a4.partial"
    with writing.open("w") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        world.open().close()
        assert list(folder.rglob("*.partial")) == [writing]
    world.open().close()
    assert not list(folder.rglob("*.partial"))
    assert len(list(folder.rglob(".report.html.notes"))) == 3
    assert set(held) <= set(folder.rglob("*"))


def test_scores_and_predictions_of_a_batch_are_those_of_its_proxy(world: World) -> None:
    campaign = world.start()
    world.label(campaign, campaign.query(9).ids)
    batch = campaign.query(6)
    planned = campaign.state.rounds[-1]
    scores = [item.score for item in planned.items]
    assert scores == sorted(scores, key=lambda score: -(score or 0))  # the smallest margin first
    predictions: Any = batch.facts["predictions"]
    assert [item for item, _, _ in predictions] == list(batch.ids)
    assert all(name in CLASSES and 1 / 3 <= p <= 1 for _, name, p in predictions)


def test_two_campaigns_agree_to_the_bit_also_on_a_shuffled_pool(tmp_path: Path) -> None:
    found: list[Any] = []
    for name, seed in (("one", 0), ("two", 0), ("other", 7)):
        (tmp_path / name).mkdir()
        world = make_world(tmp_path / name)
        if name == "two":
            world.write(rows=np.random.default_rng(1).permutation(60).tolist())
        found.append(run_rounds(world, world.start(control=0.2, seed=seed), [6, 6, 6]))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_an_untouched_batch_comes_back(world: World) -> None:
    campaign = world.start()
    first = campaign.query(5)
    before = len(events(campaign))
    again = world.open().query(5)
    assert again.again
    assert (again.ids, again.facts) == (first.ids, first.facts)
    assert len(events(campaign)) == before
    other = campaign.query(5, new=True)
    assert other.round == 2
    assert not set(other.ids) & set(first.ids)
    larger = campaign.query(7)  # another count is another batch
    assert larger.round == 3
    assert not set(larger.ids) & {*first.ids, *other.ids}


def test_after_one_label_another_batch_without_the_pending_ones(world: World) -> None:
    campaign = world.start()
    first = campaign.query(6)
    world.label(campaign, first.ids[:1])
    second = campaign.query(6)
    assert not second.again
    assert not set(second.ids) & set(first.ids)
    campaign.record([Vote(item=second.ids[0], annotator="ann", kind="skip")])
    third = campaign.query(6)
    assert not set(third.ids) & {*first.ids, *second.ids}


def test_what_was_sent_is_not_planned_again_under_the_same_round(world: World) -> None:
    campaign = world.start()
    first = campaign.query(4)
    campaign.desk.send(1, "elsewhere", {item: f"task-{item}" for item in first.ids})
    assert campaign.query(4).round == 2


def test_budgets(world: World) -> None:
    campaign = world.start(control=0.1)
    for count in (0, -3, 2.0, True, "5"):
        with pytest.raises(ParameterError, match=r"count: got .*Give a whole number"):
            campaign.query(count)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="count: got 61, but 60 examples are left"):
        campaign.query(61)
    assert not campaign.state.rounds
    world.label(campaign, campaign.query(30).ids)
    left = campaign.status().left
    assert left == 30
    with pytest.raises(ParameterError, match="got 31, but 30 examples are left"):
        campaign.query(31)
    assert len(campaign.query(30)) == 30
    assert campaign.status().left == 0
    with pytest.raises(ParameterError, match="got 1, but 0 examples are left"):
        campaign.query(1)


def test_two_votes_are_needed_where_asked(world: World) -> None:
    campaign = world.start(votes=2)
    batch = campaign.query(6)
    campaign.record(world.votes(batch.ids))
    assert campaign.state.pending() == batch.ids
    assert campaign.query(3).facts["cold"] is True  # nothing is labelled yet
    campaign.record(world.votes(batch.ids, "ben"))
    assert campaign.status().counts["labelled"] == 6
    assert campaign.query(3, new=True).facts["cold"] is False


def test_disputed_skipped_and_quarantined_are_never_trained_on_nor_planned(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = world.start()
    batch = campaign.query(12)
    disputed, skipped, unknown, *rest = batch.ids
    world.label(campaign, rest)
    campaign.record(
        [
            Vote(item=disputed, annotator="ann", label="a"),
            Vote(item=disputed, annotator="ben", label="b"),
            Vote(item=skipped, annotator="ann", kind="skip"),
            Vote(item=unknown, annotator="ann", label="zebra"),
        ],
        partial=True,
    )
    seen: list[Any] = []
    spy(monkeypatch, rounds_module, "propose", lambda args, _: seen.append(args[0]))
    rest_of_it = campaign.query(48)
    assert not {disputed, skipped, unknown} & set(rest_of_it.ids)
    ids = campaign.holdings.source.ids
    assert sorted(ids[seen[0].members].tolist()) == sorted(rest)


def test_a_vote_on_what_nobody_asked_for_is_trained_on(world: World) -> None:
    campaign = world.start()
    world.label(campaign, world.ids[:6])
    batch = campaign.query(4)
    assert batch.facts["cold"] is False
    assert not set(batch.ids) & set(world.ids[:6])
    assert campaign.status().parts == {"brought": 6}


def test_the_model_of_a_round_is_trained_from_scratch(tmp_path: Path) -> None:
    """A campaign that was told all labels at once asks the proxy of one that came to them."""
    slow, fast = (make_world(tmp_path / name) for name in _folders(tmp_path, "slow", "fast"))
    in_steps = slow.start()
    run_rounds(slow, in_steps, [6, 6])
    told = fast.start()
    told.query(6)
    told.query(6, new=True)  # as many rounds, of which nothing was learnt
    labels = {item: in_steps.state.labels[item] for item in in_steps.state.labels}
    planned = {item for each in told.state.rounds for item in (i.item for i in each.items)}
    told.record([Vote(item=item, annotator="ann", label=name) for item, name in labels.items()])
    one, other = in_steps.query(5), told.query(5)
    facts = [dict(c.state.trained[-1].facts) for c in (in_steps, told)]
    assert facts[0]["method"] == facts[1]["method"] == "margin"
    both = set(one.ids) & set(other.ids)
    predicted = [{i: p for i, *p in batch.facts["predictions"]} for batch in (one, other)]
    assert both
    assert all(predicted[0][item] == predicted[1][item] for item in both)
    assert planned - set(labels)  # the second had other examples waiting


def _folders(tmp_path: Path, *names: str) -> list[str]:
    for name in names:
        (tmp_path / name).mkdir()
    return list(names)


def test_a_failed_query_plans_nothing_and_its_proxy_is_found_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = world.start()
    world.label(campaign, campaign.query(8).ids)
    trained: list[str] = []
    spy(monkeypatch, stages, "fit", lambda _, given: trained.append(given["phase"]))
    with monkeypatch.context() as patch:
        patch.setattr(rounds_module, "composed", _fail)
        with pytest.raises(RuntimeError, match="on purpose"):
            campaign.query(4)
    assert len(campaign.state.rounds) == 1
    assert trained == ["proxy training"]
    assert campaign.query(4).round == 2
    assert trained == ["proxy training"]
    left = [path.name for path in (world.folder / "campaign" / "work" / "stages").iterdir()]
    assert not [name for name in left if not name.startswith("features-")]


def _fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError("on purpose")


def test_a_batch_and_what_its_proxy_was_worth_are_one_entry(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = world.start()
    world.label(campaign, campaign.query(8).ids)
    appended: list[list[str]] = []
    spy(
        monkeypatch,
        campaign.journal,
        "append",
        lambda args, _: appended.append([type(event).__name__ for event in args[0]]),
    )
    campaign.query(4)
    assert appended == [["Planned", "Trained"]]


def test_only_one_plans_at_a_time(world: World) -> None:
    campaign = world.start()
    with campaign.journal.lock("planning a batch"):
        for act in (
            lambda: world.open().query(5),
            lambda: world.open().measure(),
            lambda: world.open().reclassify(["a", "b"]),
        ):
            with pytest.raises(RunError, match=r"in use by another process \(planning a batch\)"):
                act()
        assert world.label(world.open(), world.ids[:3]).new == 3  # voting needs no lock
    assert len(campaign.query(5)) == 5


def test_starting_twice(world: World) -> None:
    world.start().close()  # an open journal has files beside it
    before = sorted(path.name for path in (world.folder / "campaign").iterdir())
    with pytest.raises(RunError, match=r"already holds a campaign. Continue it, or name another"):
        world.start()
    assert sorted(path.name for path in (world.folder / "campaign").iterdir()) == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"classes": ["a"]}, "classes: got 1. Give at least two names"),
        ({"classes": ["a", "a"]}, "classes: 'a' occurs twice"),
        ({"classes": ["a", " b"]}, "classes: got the name ' b'"),
        ({"classes": ["a", ""]}, "classes: got the name ''"),
        (
            {"classes": None},
            "classes: got none, but there are no labelled or test data to read them from",
        ),
        ({"method": "entropi"}, "method: got 'entropi'.*Did you mean 'entropy'"),
        ({"method": "el2n"}, "method: 'el2n'|method: .*el2n"),
        ({"method_options": {"delta": 1}}, "options of margin: got 'delta', but it has none"),
        ({"cold": "margin"}, "cold: got 'margin'"),
        ({"proxy": "nonesuch"}, "proxy: got 'nonesuch', which is not known"),
        ({"proxy": {"model": "mlp", "options": {"deep": 1}}}, "options of 'mlp': got 'deep'"),
        ({"proxy": "fasttext"}, "proxy: .*(texts|vector)"),
        ({"proxy": {"model": "mlp", "epoch": 2}}, "proxy.epoch: got 'epoch'.*'epochs'"),
        ({"target": "nonesuch"}, "target: got 'nonesuch', which is not known"),
        ({"method": "bald"}, "proxy: the method samples the posterior.*dropout=0.1.*--ensemble"),
        ({"features": "y"}, "features: in pool.parquet got 'y', which is not known"),
        ({"features": "hf:/nowhere"}, "features: got 'hf:/nowhere', but the data are vectors"),
        (
            {"method": "random", "balance": "class"},
            "balance: got 'class', but 'random' does not use",
        ),
        ({"balance": "group"}, "balance: .*group"),
        ({"distinct": 0.0}, r"distinct: got 0.0. Give a cosine similarity in \(0, 1\]"),
        ({"distinct": 1.01}, "distinct: got 1.01"),
        ({"neighbours": 0}, "neighbours: got 0. Give 1 or more"),
        ({"ensemble": 0}, "ensemble: got 0"),
        ({"epochs": 0}, "epochs: got 0"),
        ({"samples": 1}, "samples: got 1. Give 2 or more"),
        ({"control": 1.0}, r"control: got 1.0. Give a fraction in \[0, 1\)"),
        ({"control": -0.1}, "control: got -0.1"),
        ({"votes": 0}, "votes: got 0"),
        ({"device": "tpu"}, "device: got 'tpu'"),
        ({"seed": "x"}, "seed: got 'x'"),
        ({"input": "z"}, "pool: input: got 'z'|input: got 'z'"),
        ({"id": "x"}, "id: column 'x' holds"),
    ],
)
def test_what_a_campaign_cannot_be_started_with(
    world: World, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(KeepersError, match=message):
        world.start(**given)
    assert not (world.folder / "campaign").exists()


def test_pools_that_a_later_command_would_not_find(world: World) -> None:
    with pytest.raises(
        ParameterError, match=r"pool: got tuple. A campaign needs data that it can read again"
    ):
        Campaign.start(([[1.0]], [0]), campaign=world.folder / "c", classes=CLASSES)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"pool: .*nowhere.parquet"):
        Campaign.start(
            world.folder / "nowhere.parquet", campaign=world.folder / "c", classes=CLASSES
        )
    with pytest.raises(RunError, match=r"campaign: .* lies inside the data"):
        Campaign.start(world.folder, campaign=world.folder / "c", classes=CLASSES)
    with pytest.raises(RunError, match=r"campaign: .*pool.parquet is a file"):
        Campaign.start(world.pool, campaign=world.pool / "c", classes=CLASSES)
    assert not (world.folder / "c").exists()


def test_opening_what_is_no_campaign(world: World) -> None:
    with pytest.raises(RunError, match=r"holds no campaign. Start one with keepers active start"):
        Campaign.open(world.folder / "nowhere")
    (world.folder / "campaign").mkdir()
    (world.folder / "campaign" / "campaign.db").write_bytes(b"not a data base" * 100)
    with pytest.raises(RunError, match=r"campaign.db cannot be used .*restore an earlier copy"):
        world.open()
    with pytest.raises(RunError, match=r"campaign.db cannot be used"):
        world.start()


def test_a_campaign_is_found_from_another_folder(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.folder)
    Campaign.start(
        "pool.parquet", campaign="here", classes=CLASSES, input="x", id="key", test=None
    ).close()
    monkeypatch.chdir(world.folder / "here")
    with Campaign.open() as campaign:
        assert campaign.status().pool == 60


def test_unknown_labels_and_ids_take_nothing_in(world: World) -> None:
    campaign = world.start()
    batch = campaign.query(3)
    before = len(events(campaign))
    with pytest.raises(DataError, match="2 of 3 are invalid, so none was"):
        campaign.record(
            [
                Vote(item=batch.ids[0], annotator="ann", label="a"),
                Vote(item=batch.ids[1], annotator="ann", label="zebra"),
                Vote(item=9999, annotator="ann", label="a"),
            ]
        )
    assert len(events(campaign)) == before


def test_a_batch_as_a_file_comes_back_as_labels(world: World) -> None:
    campaign = world.start(control=0.5)
    batch = campaign.query(4)
    path = write_batch(
        campaign.state, campaign.holdings, batch, world.folder / "b.jsonl", overwrite=False
    )
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["id"] for row in rows] == list(batch.ids)
    assert [row["rank"] for row in rows] == [0, 1, 2, 3]
    assert {tuple(row) for row in rows} == {("id", "rank", "x", "label")}  # control is not marked
    assert {row["label"] for row in rows} == {None}
    np.testing.assert_allclose(rows[0]["x"], world.x[world.ids.index(batch.ids[0])])


def test_measuring_twice_is_one_entry(world: World) -> None:
    campaign = world.start()
    world.label(campaign, campaign.query(8).ids)
    first = campaign.measure()
    assert first is not None
    again = campaign.measure()
    assert {k: v for k, v in first.items() if k != "costs"} == {
        k: v for k, v in (again or {}).items() if k != "costs"
    } | {"stages": first["stages"]}
    assert sum(isinstance(event, Trained) for event in events(campaign)) == 1


def test_measuring_again_after_a_correction(world: World) -> None:
    test = make_world(world.folder, 30, seed=5)
    world.write()
    campaign = world.start(test=test.write("test", labels=True))
    world.label(campaign, campaign.query(9).ids)
    first = campaign.measure()
    names = {"a": "b", "b": "c", "c": "a"}
    labels = dict(campaign.state.labels)
    campaign.record([Vote(item=i, annotator="ann", label=names[n]) for i, n in labels.items()])
    second = campaign.measure()
    assert first is not None
    assert second is not None
    assert second["test_accuracy"] < 0.2 < 0.8 < first["test_accuracy"]
    trained = campaign.state.trained
    assert [(each.round, each.labels) for each in trained] == [(1, 9)]
    assert trained[-1].facts["test_accuracy"] == second["test_accuracy"]
    assert world.open().status().accuracy["value"] == second["test_accuracy"]  # type: ignore[index]


def test_measuring_too_early(world: World) -> None:
    campaign = world.start()
    assert campaign.measure() is None
    world.label(campaign, [item for item in world.ids if world.truth[item] == "a"][:5])
    assert campaign.measure() is None
    assert campaign.query(3).facts["cold"] is True  # one class is not enough to learn from


def test_a_query_after_measuring_trains_no_second_proxy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = world.start(control=0.2)
    world.label(campaign, campaign.query(10).ids)
    campaign.measure()
    monkeypatch.setattr(stages, "fit", _fail)
    campaign.query(5)
    assert len(campaign.state.rounds) == 2
    assert "proxy training" not in [cost["phase"] for cost in campaign.state.rounds[-1].costs]


def test_a_folder_that_cannot_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = world.start()
    folder = world.folder / "campaign"
    before = len(events(campaign))
    if os.geteuid():
        for path in (folder / "campaign.db", folder):
            path.chmod(path.stat().st_mode & ~0o222)
    else:  # root writes everywhere, so the file is made a folder's place
        monkeypatch.setattr(work, "WORK", "campaign.db")
    try:
        with pytest.raises(RunError, match=r"campaign|run: "):
            campaign.query(4)
    finally:
        folder.chmod(0o755)
        (folder / "campaign.db").chmod(0o644)
    assert len(events(campaign)) == before
    monkeypatch.undo()
    assert isinstance(world.open().query(4).ids, tuple)
    assert isinstance(campaign.state.rounds[-1], Planned)
