from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from active_worlds import CENTRES, CLASSES, World, events, make_world, spy

from keepers import Campaign, Vote
from keepers.campaign import control
from keepers.data import joined, open_source
from keepers.errors import DataError, KeepersError, ParameterError
from keepers.workflows.active import rounds


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[set[Any]]:
    """The ids that each proxy of a query is trained on."""
    found: list[set[Any]] = []
    spy(
        monkeypatch,
        rounds,
        "propose",
        lambda args, _: found.append(set(args[0].source.ids[args[0].members].tolist())),
    )
    return found


def part_of(campaign: Campaign, part: str) -> list[Any]:
    """The ids of a part, in the order in which they were planned."""
    return [item.item for each in campaign.state.rounds for item in each.items if item.part == part]


def test_the_control_slice_is_the_reserve_in_its_order(
    world: World, trained_on: list[set[Any]]
) -> None:
    campaign = world.start(control=0.3, seed=3)
    for count in (10, 15, 35):
        world.label(campaign, campaign.query(count).ids)
    number = dict(zip(world.ids, control.numbers(world.ids, 3), strict=True))
    drawn, selected = part_of(campaign, "control"), part_of(campaign, "selected")
    assert [number[item] for item in drawn] == sorted(number[item] for item in drawn)
    assert {item for item in world.ids if number[item] < 0.3} == set(drawn)
    assert sorted(drawn + selected) == world.ids  # the whole pool, and no reserve was selected
    assert trained_on[-1]
    assert not trained_on[-1] & set(drawn)
    assert campaign.state.trained[-1].facts["control"]["labels"] == 8  # 0.3 · 25, rounded


def test_rows_added_later_leave_the_reserve_as_it_was(tmp_path: Path) -> None:
    world = make_world(tmp_path, 100)
    world.write(rows=range(0, 100, 2))
    campaign = world.start(control=0.4, cold="random")
    campaign.query(20)
    world.write()
    grown = world.open()
    grown.query(80, new=True)
    number = dict(zip(world.ids, control.numbers(world.ids, 0), strict=True))
    drawn = part_of(grown, "control")
    assert set(drawn) == {item for item in world.ids if number[item] < 0.4}
    assert [number[item] for item in drawn[8:]] == sorted(number[item] for item in drawn[8:])


def test_control_items_stand_anywhere_in_a_batch(tmp_path: Path) -> None:
    world = make_world(tmp_path, 400)
    campaign = world.start(control=0.5, cold="random")
    ranks: list[int] = []
    for _ in range(8):
        campaign.query(20, new=True)
        items = campaign.state.rounds[-1].items
        assert [item.rank for item in items] == list(range(20))
        assert {item.reason for item in items if item.part == "control"} == {"control"}
        ranks += [item.rank for item in items if item.part == "control"]
    assert len(ranks) == 80
    assert 7 < np.mean(ranks) < 12
    assert len(set(ranks)) > 15


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_small_batches_come_to_their_share_of_control(tmp_path: Path, count: int) -> None:
    world = make_world(tmp_path, 200)
    campaign = world.start(control=0.25, cold="random")
    for number in range(1, 11):
        campaign.query(count, new=True)
        drawn = len(part_of(campaign, "control"))
        assert abs(drawn - 0.25 * count * number) <= 0.5


def test_a_reserve_that_runs_out(tmp_path: Path) -> None:
    world = make_world(tmp_path, 30)
    number = control.numbers(world.ids, 0)
    share = float(np.sort(number)[2:4].mean())  # three of thirty, and a tenth of every batch
    campaign = world.start(control=share, cold="random")
    for _ in range(3):
        campaign.query(10, new=True)
    assert len(part_of(campaign, "control")) == 3
    assert campaign.status().left == 0


def test_a_pool_that_is_all_but_reserve(tmp_path: Path) -> None:
    world = make_world(tmp_path, 30)
    campaign = world.start(control=0.9)
    reserved = int((control.numbers(world.ids, 0) < 0.9).sum())
    batch = campaign.query(30)
    assert len(batch) == 30
    assert len(part_of(campaign, "control")) == reserved
    world.label(campaign, batch.ids)
    assert campaign.measure() is not None or reserved > 28


@pytest.mark.parametrize("distinct", [None, 0.98])
@pytest.mark.parametrize("method", ["margin", "random", "badge"])
def test_batches_of_control_items_alone(world: World, method: str, distinct: float | None) -> None:
    campaign = world.start(method=method, distinct=distinct, control=0.9)
    campaign.query(1)
    open_ones = [i for i in world.ids if control.numbers([i], 0)[0] >= 0.9]
    world.label(campaign, open_ones[:-1])
    warm = campaign.query(1, new=True)
    assert [item.part for each in campaign.state.rounds for item in each.items] == ["control"] * 2
    assert len(warm.facts["predictions"]) == (method != "random")


def test_the_reserve_that_is_left_at_the_end_of_a_pool(world: World) -> None:
    campaign = world.start(control=0.2, distinct=0.98, cold="typiclust")
    reserved = int((control.numbers(world.ids, 0) < 0.2).sum())
    while left := campaign.status().left:
        campaign.query(1 if left < 12 else 4, new=True)
    assert len(part_of(campaign, "control")) == reserved
    assert len(campaign.state.pending()) == 60


def test_without_control_nothing_is_held_back(world: World) -> None:
    campaign = world.start(control=0)
    campaign.query(60)
    assert part_of(campaign, "control") == []


def test_what_stands_in_the_test_set_is_never_planned_nor_trained_on(
    world: World, trained_on: list[set[Any]]
) -> None:
    test = make_world(world.folder, 12)
    test.x = world.x[:12].copy()  # the first twelve of the pool under other keys
    test.ids = [9000 + i for i in range(12)]
    world.write()
    campaign = world.start(test=test.write("test", labels=True), control=0.3)
    in_test = set(world.ids[:12])
    assert campaign.holdings.source.found[-1] == (
        "12 examples stand in the test data, too: they are neither selected nor trained on"
    )
    with pytest.raises(ParameterError, match="got 49, but 48 examples are left"):
        campaign.query(49)
    first = campaign.query(20)
    world.label(campaign, [*first.ids, *world.ids[:12]])  # somebody labels them nevertheless
    second = campaign.query(28)
    assert not in_test & {*first.ids, *second.ids}
    assert trained_on[-1] <= set(first.ids)
    status = campaign.status()
    assert status.left == 0
    assert status.accuracy is not None
    assert (status.accuracy["on"], status.accuracy["examples"]) == ("test", 12)
    assert not [text for text in status.warnings if "were added since" in text]


def test_a_pool_that_is_the_test_set(world: World) -> None:
    campaign = world.start(test=world.write("test", labels=True))
    with pytest.raises(ParameterError, match="0 examples are left"):
        campaign.query(1)


def test_a_test_set_without_labels(world: World) -> None:
    with pytest.raises(KeepersError, match=r"test: .*label"):
        world.start(test=world.write("test"))


def test_classes_are_those_of_the_test_set(world: World) -> None:
    test = make_world(world.folder, 12, seed=4)
    world.write()
    path = test.write("test", labels=True)
    assert world.start(classes=None, test=path).state.classes == CLASSES


@pytest.mark.parametrize("where", ["inside", "outside", "both"])
def test_labels_that_are_brought(world: World, trained_on: list[set[Any]], where: str) -> None:
    world.write(rows=range(40))
    rows = {"inside": range(9), "outside": range(45, 54), "both": range(33, 48)}[where]
    labelled = world.write("labelled", rows, labels=True)
    campaign = world.start(labelled=labelled, classes=None, control=0.2)
    brought = {world.ids[row] for row in rows}
    status = campaign.status()
    assert status.parts == {"brought": len(brought)}
    inside = [row for row in rows if row < 40]
    assert (status.pool, status.left) == (40, 40 - len(inside))
    batch = campaign.query(status.left)
    assert batch.facts["cold"] is False
    assert set(batch.ids) == set(world.ids[:40]) - brought
    assert trained_on == [brought]
    assert not campaign.status().warnings

    again = world.open()  # nothing is brought twice
    assert len(events(again)) == len(events(campaign))
    kinds = Counter(vote.source for item in again.state.items.values() for vote in item.votes)
    assert kinds == {"labelled": len(brought)}


def test_no_label_is_asked_for_what_is_labelled_under_another_key(world: World) -> None:
    other = make_world(world.folder, 9)
    other.ids = [7000 + i for i in range(9)]
    world.write()
    campaign = world.start(labelled=other.write("labelled", labels=True))
    assert campaign.status().pool == 60
    assert campaign.status().parts == {"brought": 9}
    left = campaign.status().left
    assert left == 51
    assert set(campaign.query(left).ids) == set(world.ids[9:])


def test_keys_of_two_types(world: World) -> None:
    other = make_world(world.folder, 9, keys="text")
    world.write()
    with pytest.raises(DataError, match=r"labelled: the keys of .* are of different types"):
        world.start(labelled=other.write("labelled", labels=True))


def test_one_key_with_two_inputs(world: World) -> None:
    other = make_world(world.folder, 9, seed=8)
    world.write()
    with pytest.raises(
        DataError,
        match=r"labelled: 9 ids of .* belong to another input in "
        r".*\(100, 1",
    ):
        world.start(labelled=other.write("labelled", labels=True))
    assert not (world.folder / "campaign").exists()


def test_ids_made_from_the_inputs_are_the_same_in_both_files(world: World) -> None:
    labelled = world.write("labelled", range(9), labels=True)
    campaign = world.start(labelled=labelled, id=None)
    assert (campaign.status().pool, campaign.status().left) == (60, 51)


def test_labels_of_no_class(world: World) -> None:
    labelled = world.write("labelled", range(9), labels=True)
    with pytest.raises(DataError, match=r"labelled: .*the class 'c', which"):
        world.start(labelled=labelled, classes=["a", "b"])
    with pytest.raises(KeepersError, match=r"labelled: .*label"):
        world.start(labelled=world.write("plain", range(9)))


def test_the_pool_s_own_labels_are_read_only_where_their_column_is_named(world: World) -> None:
    world.write(labels=True)
    campaign = world.start()
    assert campaign.status().parts == {}
    assert "'label' is not read; --label label reads the labels in it" in (
        campaign.holdings.source.found
    )
    assert not [text for text in campaign.holdings.source.found if "classes from" in text]
    named = world.start("named", label="label", classes=None)
    assert named.status().parts == {"brought": 60}
    assert named.status().left == 0


def test_a_pool_that_is_labelled_in_part(world: World) -> None:
    world.y[10:] = [""] * 50
    world.write(labels=True)
    campaign = world.start(label="label", control=0.3)
    assert campaign.status().parts == {"brought": 10}
    assert campaign.query(50).facts["cold"] is False


def test_a_column_called_label_that_holds_none(world: World) -> None:
    world.more["target"] = [i / 7 for i in range(60)]
    world.more["label"] = [None] * 60
    world.write()
    assert len(world.start().query(3)) == 3
    with pytest.raises(DataError, match=r"numbers, not classes"):
        world.start("named", label="target")


def test_labels_that_do_not_agree(world: World) -> None:
    world.write(labels=True)
    world.y[3] = "b"
    labelled = world.write("labelled", range(9), labels=True)
    with pytest.raises(DataError, match="labelled: '103' is 'b' there, but 'a' in the pool"):
        world.start(label="label", labelled=labelled)


def test_a_labelled_file_that_changes_and_changes_back(world: World) -> None:
    world.write("labelled", range(6), labels=True)
    campaign = world.start(labelled=world.folder / "labelled.parquet")
    for name in ("b", "a", "a", "c"):
        world.y[0] = name
        world.write("labelled", range(6), labels=True)
        assert world.open().state.labels[100] == name
    world.write("labelled", range(8), labels=True)
    assert world.open().status().parts == {"brought": 8}
    votes = campaign.state.item(100).votes
    assert [vote.label for vote in votes] == ["a", "b", "a", "c"]


def test_a_labelled_file_and_a_person_who_differ_are_a_dispute(world: World) -> None:
    campaign = world.start(labelled=world.write("labelled", range(6), labels=True), votes=2)
    campaign.record([Vote(item=100, annotator="ann", label="c")])
    assert campaign.state.disputed == (100,)
    assert 100 not in campaign.query(54).ids


def test_texts_beside_a_pool_of_texts(tmp_path: Path) -> None:
    texts = [f"a {word} film, number {i}" for i, word in enumerate(["fine", "bad"] * 20)]
    pq.write_table(pa.table({"text": texts[:30]}), tmp_path / "pool.parquet")
    rows = {"text": pa.array(texts[25:], pa.large_string()), "label": ["pos", "neg"] * 7 + ["pos"]}
    pq.write_table(pa.table(rows), tmp_path / "labelled.parquet")
    campaign = Campaign.start(
        tmp_path / "pool.parquet",
        campaign=tmp_path / "campaign",
        labelled=tmp_path / "labelled.parquet",
        proxy={"model": "fasttext", "options": {"buckets": 256, "dim": 4}},
        epochs=2,
        distinct=None,
    )
    assert len(campaign.holdings.source) == 40
    assert campaign.holdings.source.rows.tolist().count(-1) == 10
    batch = campaign.query(25)
    assert batch.facts["cold"] is False
    content = {campaign.desk.content(item) for item in batch.ids}
    assert content == set(texts[:25])


def test_joined_keeps_every_input_with_its_id() -> None:
    digits = open_source("digits")
    order = np.random.default_rng(0).permutation(len(digits))
    both = joined(digits.take(order[:40]), digits.take(order[20:60]))
    assert both.ids.tolist() == sorted(both.ids.tolist())
    assert len(both) == 60
    here = {name: row for row, name in enumerate(digits.ids.tolist())}
    assert all(both.preview(p) == digits.preview(here[i]) for p, i in enumerate(both.ids.tolist()))
    own = set(digits.take(order[:40]).ids.tolist())
    expected = [i in own for i in both.ids.tolist()]
    assert (both.rows >= 0).tolist() == expected
    assert both.labels is None
    same = joined(digits.take(range(9)), digits.take(range(5)))
    assert len(same) == 9


def test_joined_refuses_what_is_not_alike(world: World) -> None:
    vectors = open_source(world.write(labels=True), id="key", input="x")
    with pytest.raises(DataError, match=r"holds image inputs of shape \(1, 8, 8\), but"):
        joined(vectors, open_source("digits"))
    wide = open_source((np.zeros((4, 5), np.float32) + np.arange(4)[:, None], [0, 1, 0, 1]))
    with pytest.raises(DataError, match=r"vector inputs of shape \(5,\)"):
        joined(vectors, wide)


def test_picture_files_of_two_folders(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for folder, count in (("pool", 12), ("more/a", 4), ("more/b", 4)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 255, (9, 9), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    campaign = Campaign.start(
        tmp_path / "pool",
        campaign=tmp_path / "campaign",
        labelled=tmp_path / "more",
        proxy="logistic",
        epochs=2,
    )
    assert len(campaign.holdings.source) == 20
    batch = campaign.query(12)
    assert batch.facts["cold"] is False
    assert campaign.holdings.in_pool.sum() == 12
    content = campaign.desk.content(batch.ids[0])
    assert isinstance(content, bytes)
    assert content.startswith(b"\x89PNG")


def test_columns_of_numbers_need_no_label(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = CENTRES[np.arange(40) % 3] + rng.standard_normal((40, 2))
    lines = [f"{a:.4f},{b:.4f}" for a, b in x]
    (tmp_path / "pool.csv").write_text("\n".join(["width,height", *lines]))
    campaign = Campaign.start(
        tmp_path / "pool.csv", campaign=tmp_path / "campaign", classes=CLASSES, proxy="logistic"
    )
    assert campaign.holdings.source.columns.input == ("width", "height")
    assert len(campaign.query(6)) == 6


def test_control_items_that_somebody_labelled_unasked(
    world: World, trained_on: list[set[Any]]
) -> None:
    campaign = world.start(control=0.5)
    reserve = {i for i, u in zip(world.ids, control.numbers(world.ids, 0), strict=True) if u < 0.5}
    world.label(campaign, world.ids[:20])
    batch = campaign.query(20)
    drawn = set(part_of(campaign, "control"))
    assert drawn <= reserve
    assert drawn & set(world.ids[:20])  # they are of the sample all the same
    assert not trained_on[-1] & reserve
    assert campaign.query(20).ids == batch.ids  # nothing of it was answered since
    asked = [item for item in batch.ids if item not in world.ids[:20]]
    world.label(campaign, asked[:1])
    assert campaign.query(20).round == 2
    left = campaign.status().left
    with pytest.raises(ParameterError, match=f"got {left + 1}, but {left} examples are left"):
        campaign.query(left + 1)
    assert len(campaign.query(left)) == left
