from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from active_worlds import CLASSES, World, events, make_world, spy
from PIL import Image

from keepers import Campaign, Vote
from keepers.campaign import Pool
from keepers.errors import DataError, KeepersError, KeepersWarning, ParameterError, RunError
from keepers.reports import active_charts
from keepers.reports.active import active_report
from keepers.reports.active_answers import accuracy
from keepers.workflows.active.beginning import DATA, _where_now  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def pools(campaign: Campaign) -> list[Pool]:
    return [event for event in events(campaign) if isinstance(event, Pool)]


def test_rows_that_come_and_go(world: World) -> None:
    world.write(rows=range(40))
    campaign = world.start()
    batch = campaign.query(10)
    world.label(campaign, batch.ids[:6])
    gone = {batch.ids[0], batch.ids[9]}  # one labelled, one pending
    unasked = next(i for i in world.ids[:40] if i not in batch.ids)
    rows = [r for r, i in enumerate(world.ids[:45]) if i not in {*gone, unasked}]
    world.write(rows=rows)

    said: list[str] = []
    changed = Campaign.open(world.folder / "campaign", say=said.append)
    assert (changed.drift.added, changed.drift.gone, changed.drift.changed) == (5, 3, 0)
    assert set(changed.drift.removed) == gone
    assert "The pool changed: 5 rows added, 3 removed, 0 with another input" in said[0]
    assert "No longer in the pool" in said[1]
    assert "2 examples of this campaign (" in said[1]
    assert {item: changed.state.item(item).status for item in gone} == dict.fromkeys(
        gone, "removed"
    )
    assert set(changed.state.pending()) == set(batch.ids[6:9])
    assert batch.ids[9] not in changed.desk.state.next_items("ann", 100)
    status = changed.status()
    assert (status.pool, status.counts["removed"], status.counts["labelled"]) == (42, 2, 5)
    assert status.left == 42 - 8
    assert any("No longer in the pool" in text for text in status.warnings)

    # It is said once; that they are away is said for as long as they are.
    again = world.open()
    assert (again.drift.added, again.drift.gone) == (0, 0)
    assert set(again.drift.removed) == gone
    assert len(pools(again)) == 2
    second = again.query(34)
    assert not gone & set(second.ids)
    assert set(world.ids[40:45]) <= set(second.ids)


def test_what_left_while_it_waited_and_came_back(world: World) -> None:
    campaign = world.start()
    batch = campaign.query(8)
    away, labelled, late = batch.ids[:3]
    world.label(campaign, [labelled, *batch.ids[3:]])
    world.write(rows=[r for r, i in enumerate(world.ids) if i not in (away, labelled, late)])
    gone = world.open()
    # A label that comes nevertheless is kept, and counts once the row is back.
    assert gone.record([Vote(item=late, annotator="ann", label="a")]).new == 1
    assert gone.state.item(late).status == "removed"
    assert gone.state.pending() == ()
    assert not {away, labelled, late} & set(gone.state.labels)
    gone.query(5)

    world.write()
    back = world.open()
    assert back.drift.removed == ()
    assert back.state.item(labelled).status == back.state.item(late).status == "labelled"
    assert back.state.pending()[0] == away
    assert [set(pool.removed) for pool in pools(back)] == [set(), {away, labelled, late}, set()]


def test_an_input_that_changed_under_its_key(world: World) -> None:
    campaign = world.start()
    batch = campaign.query(5)
    world.label(campaign, batch.ids)
    world.x[world.ids.index(batch.ids[0])] += 1
    world.x[world.ids.index(batch.ids[1])] += 1
    world.write()
    changed = world.open()
    assert (changed.drift.added, changed.drift.gone, changed.drift.changed) == (0, 0, 2)
    assert (
        "0 rows added, 0 removed, 2 with another input under the same key"
        in (changed.status().warnings[0])
    )
    # What was labelled is another example now: its label does not hold for it.
    assert set(changed.drift.removed) == set(batch.ids[:2])
    assert set(changed.state.labels) == set(batch.ids[2:])
    assert len(changed.query(5)) == 5
    world.x[world.ids.index(batch.ids[0])] -= 1
    world.write()
    back = world.open()
    assert set(back.drift.removed) == {batch.ids[1]}
    assert set(back.state.labels) == {batch.ids[0], *batch.ids[2:]}


def test_a_pool_that_is_another_altogether(world: World) -> None:
    campaign = world.start()
    campaign.query(5)
    before = len(events(campaign))
    kept = list(world.ids)
    world.ids = [5000 + i for i in range(60)]
    world.write()
    with pytest.raises(DataError, match=r"pool: pool.parquet has no example of this"):
        world.open()
    world.ids = kept
    world.write()
    assert len(events(world.open())) == before


def test_a_shuffled_pool_is_the_same_pool(world: World) -> None:
    world.start()
    world.write(rows=list(range(59, -1, -1)))
    again = world.open()
    assert len(pools(again)) == 1
    assert again.drift.sentences() == []


@pytest.mark.parametrize("damage", ["deleted", "truncated", "empty", "folder"])
def test_a_pool_file_that_is_damaged_between_two_commands(world: World, damage: str) -> None:
    campaign = world.start()
    campaign.query(5)
    before = len(events(campaign))
    whole = world.pool.read_bytes()
    world.pool.unlink()
    if damage == "truncated":
        world.pool.write_bytes(whole[: len(whole) // 2])
    elif damage == "empty":
        world.pool.write_bytes(b"")
    elif damage == "folder":
        world.pool.mkdir()
    with pytest.raises(DataError, match=r"pool: .*pool\.parquet"):
        world.open()
    assert len(events(campaign)) == before
    if damage == "folder":
        world.pool.rmdir()
    world.pool.write_bytes(whole)
    assert world.open().query(5).again


@pytest.mark.parametrize("name", ["labelled", "test"])
def test_other_files_that_are_gone(world: World, name: str) -> None:
    other = make_world(world.folder, 12, seed=4)
    other.ids = [900 + i for i in range(12)]
    path = other.write(name, labels=True)
    world.write()
    given: dict[str, Any] = {name: path}
    world.start(**given).close()
    path.unlink()
    with pytest.raises(DataError, match=rf"{name}: .*{name}\.parquet"):
        world.open()


def test_data_that_were_moved(world: World, tmp_path: Path) -> None:
    tests = make_world(world.folder, 12, seed=4).write("tests", labels=True)
    world.write()
    world.label(campaign := world.start(test=tests), campaign.query(9).ids)
    campaign.close()
    my_films = _where_now(dict.fromkeys(DATA, "/gone/a.parquet"), Path("my films"))
    assert my_films.endswith(" NEW --labelled NEW --test NEW --campaign 'my films'")
    folder, pool, there = world.folder / "campaign", world.pool, tmp_path / "there.parquet"
    shutil.move(pool, there)
    with pytest.raises(DataError, match=r"pool\.parquet does not exist.* If it was moved: k"):
        world.open()
    with pytest.raises(DataError, match=r"pool: .*few.* holds other examples than the campaign"):
        Campaign.move(folder, pool=world.write("few", range(20)))
    with pytest.raises(ParameterError, match="labelled: this campaign was begun without"):
        Campaign.move(folder, pool=there, labelled=there)
    with pytest.raises(ParameterError, match="pool: got nothing that was moved"):
        Campaign.move(folder)
    shutil.move(tests, tmp_path / "t.parquet")
    with pytest.raises(DataError, match=rf" active moved NEW --test NEW --campaign {folder}"):
        world.open()
    others = make_world(tmp_path, 12, seed=5).write("others", labels=True)
    with pytest.raises(DataError, match=rf"test: {others} holds other examples than the campaign"):
        Campaign.move(folder, pool=there, test=others)
    moved = {"pool": str(there), "test": str(tmp_path / "t.parquet")}
    assert Campaign.move(folder, **moved) == moved
    assert len(world.open().query(3)) == 3
    assert world.open().state.settings["pool"] == str(there)
    shutil.move(there, pool)
    Campaign.move(folder, pool=pool)
    assert len(pools(world.open())) == 1
    assert len(world.open().state.labels) == 9


def labels_of(args: Any) -> list[int]:
    return [facts["labels"] for facts in args[0]]


def test_other_test_data_are_told_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_world(world.folder, 12, seed=4)
    other.write("test", labels=True)
    world.write()
    campaign = world.start(test=world.folder / "test.parquet")
    world.label(campaign, campaign.query(9).ids)
    world.label(campaign, campaign.query(9).ids)
    assert not world.open().drift.sentences()
    other.y = other.y[::-1]  # the same inputs
    other.write("test", labels=True)
    assert world.open().drift.sentences() == [
        "The test data hold other examples or labels than before: accuracies from now on are "
        "not comparable with earlier ones"
    ]
    campaign = world.open()
    assert not campaign.drift.sentences()
    earlier = "The test data changed since the proxy was measured"
    assert any(earlier in each for each in campaign.status().warnings)
    assert "of an earlier test set" in accuracy(campaign.status()).words
    other.y = other.y[::-1]  # as it was when the proxy was measured
    other.write("test", labels=True)
    back = world.open().status()
    assert not any(earlier in each for each in back.warnings)
    assert "of the test set" in accuracy(back).words
    other.y = other.y[::-1]
    other.write("test", labels=True)
    campaign = world.open()
    campaign.query(9)
    assert not any(earlier in each for each in campaign.status().warnings)
    assert [each["is_earlier"] for each in campaign.status().trained] == [True, False]
    drawn: list[list[int]] = []
    spy(monkeypatch, active_charts, "accuracy_chart", lambda args, _: drawn.append(labels_of(args)))
    page = active_report(campaign, campaign.status()).read_text()
    assert drawn == [[campaign.status().trained[1]["labels"]]]
    assert "12 earlier test</td>" in page
    assert "12 test</td>" in page


def test_a_snapshot_that_is_gone(world: World) -> None:
    campaign = world.start()
    shutil.rmtree(world.folder / "campaign" / "pools")
    with pytest.warns(KeepersWarning, match="was written again"):
        assert len(world.open().query(3)) == 3  # an unchanged pool tells what stood in it
    assert len(pools(campaign)) == 1
    shutil.rmtree(world.folder / "campaign" / "pools")
    world.write(rows=range(50))
    with pytest.raises(RunError, match=r"campaign: .*pools.* cannot be read .*restore it"):
        world.open()
    assert len(pools(campaign)) == 1


def test_a_campaign_left_open_while_another_command_sees_the_pool_change(world: World) -> None:
    campaign = world.start()
    world.label(campaign, campaign.query(9).ids)
    world.write(rows=range(30))
    other = world.open()
    assert other.drift.gone == 30
    with pytest.raises(RunError, match=r"campaign: the pool changed since .* Open it again"):
        campaign.query(5)
    assert set(world.open().query(5).ids) <= set(world.ids[:30])


@pytest.mark.parametrize("method", ["margin", "badge"])
def test_classes_that_change_between_rounds(world: World, method: str) -> None:
    test = make_world(world.folder, 30, seed=5)
    test.ids = [900 + i for i in range(30)]
    world.write()
    campaign = world.start(method=method, test=test.write("test", labels=True), control=0.2)
    first = campaign.query(12)
    world.label(campaign, first.ids)
    campaign.query(6)
    before = campaign.state.trained[-1].facts["test_accuracy"]
    assert campaign.state.trained[-1].facts["test_examples"] == 30
    assert before > 0.7

    # b becomes B, c is left out, and there is a new one; the order is another, too.
    schema = campaign.reclassify(["new", "B", "a"], {"b": "B"})
    assert (schema.version, schema.classes) == (2, ("new", "B", "a"))
    quarantined = set(campaign.state.quarantined)
    assert quarantined == {i for i in first.ids if world.truth[i] == "c"}
    for opened in (campaign, world.open()):
        assert opened.state.classes == ("new", "B", "a")
        assert set(opened.state.labels.values()) == {"B", "a"}
        batch = opened.query(6, new=True)
        assert not quarantined & set(batch.ids)
        facts = opened.state.trained[-1].facts
        assert facts["test_examples"] == 20  # the c of the test set are of no class now
        assert facts["test_accuracy"] > 0.7
        assert {name for _, name, _ in batch.facts["predictions"]} <= {"new", "B", "a"}

    back = world.open()
    back.reclassify(["a", "B", "c"])
    assert not back.state.quarantined
    back.query(5, new=True)
    assert back.state.trained[-1].facts["test_examples"] == 30
    assert back.state.trained[-1].facts["test_accuracy"] > 0.7


def test_two_classes_that_swap_names(world: World) -> None:
    test = make_world(world.folder, 30, seed=5)
    test.ids = [900 + i for i in range(30)]
    world.write()
    campaign = world.start(
        test=test.write("test", labels=True), labelled=world.write("brought", range(9), labels=True)
    )
    first = campaign.measure()
    campaign.reclassify(["a", "b", "c"], {"a": "b", "b": "a"})
    second = world.open().measure()
    assert first is not None
    assert second is not None
    assert second["test_accuracy"] >= 0.8
    assert Vote(item=100, annotator="x", label="a").label == "a"
    assert world.open().state.labels[100] == "b"


def test_data_may_name_a_class_that_came_later(world: World) -> None:
    """The labelled file still speaks of the first classes, and may speak of new ones, too."""
    world.write("labelled", range(6), labels=True)
    campaign = world.start(labelled=world.folder / "labelled.parquet")
    campaign.reclassify(["one", "b", "c", "d"], {"a": "one"})
    world.y[4] = "d"
    world.write("labelled", range(6), labels=True)
    again = world.open()
    assert again.state.labels[100] == "one"
    assert again.state.labels[104] == "d"
    assert len(again.query(4)) == 4


def test_classes_that_cannot_be(world: World) -> None:
    campaign = world.start()
    before = len(events(campaign))
    for classes, renamed, message in (
        (["a"], {}, "classes: got 1"),
        (["a", "a"], {}, "'a' occurs twice"),
        (["a", "b"], {"zebra": "b"}, "renamed: got 'zebra'"),
        (["a", "b"], {"c": "d"}, "'c' becomes 'd', which is not a class"),
    ):
        with pytest.raises(ParameterError, match=message):
            campaign.reclassify(classes, renamed)
    assert len(events(campaign)) == before
    assert campaign.state.classes == CLASSES


def test_a_work_folder_that_is_damaged_or_gone(world: World) -> None:
    campaign = world.start()
    world.label(campaign, campaign.query(8).ids)
    work = world.folder / "campaign" / "work"
    for path in (work / "stages").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    second = campaign.query(4)
    assert second.round == 2
    shutil.rmtree(work)
    assert world.open().query(4, new=True).round == 3
    (work / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"campaign: .*work.* damaged.*Remove the folder"):
        world.open().query(4, new=True)
    shutil.rmtree(work)
    assert world.open().query(4, new=True).round == 4


def pictures(folder: Path, *bad: int, count: int = 30) -> Path:
    """A folder of pictures of three shades, some of which are cut short."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        pixels = rng.integers(0, 80, (12, 12), dtype=np.uint8) + number % 3 * 80
        path = folder / f"{number:03}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        if number in bad:  # the header is whole, the rest is not
            path.write_bytes(path.read_bytes()[:60])
    return folder


def test_pictures_that_cannot_be_decoded(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "classes": CLASSES,
        "proxy": "logistic",
        "epochs": 10,
        "distinct": None,
        "cold": "k-center",
    }
    pool = pictures(tmp_path / "cut", 4, 17)
    said: list[str] = []
    skip: dict[str, Any] = {"on_bad_row": "skip", "say": said.append}
    campaign = Campaign.start(pool, campaign=tmp_path / "c", **skip, **given)
    assert any(words.startswith("pool: Skipped 2 rows that cannot be used") for words in said)
    source = campaign.holdings.source
    names = dict(zip(source.ids.tolist(), source.inputs.names.tolist(), strict=True))  # type: ignore[union-attr]
    first = campaign.query(10)
    campaign.record(
        [Vote(item=i, annotator="o", label=CLASSES[int(names[i][:3]) % 3]) for i in first.ids]
    )
    assert campaign.status().left == 20
    with pytest.raises(ParameterError, match="got 20, but 18 examples are left"):
        campaign.query(20)
    second = campaign.query(18)
    assert not {"004.png", "017.png"} & {names[item] for item in (*first.ids, *second.ids)}
    assert len({campaign.desk.content(item) for item in second.ids}) == 18

    with pytest.raises(
        DataError, match=r"pool: the picture in row \d+ \(id \w+, 004\.png\) of cut"
    ):
        Campaign.start(tmp_path / "cut", campaign=tmp_path / "strict", **given)
    assert not (tmp_path / "strict").exists()
    strict = Campaign.start(pictures(tmp_path / "later"), campaign=tmp_path / "strict", **given)
    path = tmp_path / "later" / "004.png"
    path.write_bytes(path.read_bytes()[:60])
    strict.close()
    with Campaign.open(tmp_path / "strict") as strict:
        with pytest.raises(DataError, match=r"row \d+ \(id \w+, 004\.png\) of later cannot"):
            strict.query(3)
        assert not strict.state.rounds


def test_the_other_pictures_are_chosen_as_if_the_bad_one_were_not_there(tmp_path: Path) -> None:
    chosen: list[tuple[Any, ...]] = []
    for name in ("with", "without"):
        pool = pictures(tmp_path / name, 4)
        if name == "without":
            (pool / "004.png").unlink()
        campaign = Campaign.start(
            pool,
            campaign=tmp_path / f"c-{name}",
            classes=CLASSES,
            proxy="logistic",
            epochs=5,
            on_bad_row="skip",
        )
        first = campaign.query(9)
        order = {item: number for number, item in enumerate(sorted(first.ids))}
        campaign.record(
            [
                Vote(item=item, annotator="o", label=CLASSES[order[item] % 3], time="2020-03-01")
                for item in first.ids
            ]
        )
        second = campaign.query(6)
        items = campaign.state.rounds[-1].items
        chosen.append((first.ids, second.ids, tuple(item.score for item in items)))
    assert chosen[0] == chosen[1]


def test_a_test_picture_that_cannot_be_decoded(tmp_path: Path) -> None:
    pool, test = pictures(tmp_path / "pool"), tmp_path / "test"
    for number in range(9):
        part = test / CLASSES[number % 3]
        part.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (12, 12), dtype=np.uint8)
        Image.fromarray(pixels).save(part / f"{number}.png")
    bad = test / "a" / "0.png"
    bad.write_bytes(bad.read_bytes()[:50])
    given: dict[str, Any] = {"classes": CLASSES, "test": test, "proxy": "logistic", "epochs": 2}
    with pytest.raises(KeepersError, match=r"test: the picture in row \d+ .* cannot be"):
        Campaign.start(pool, campaign=tmp_path / "error", **given)
    campaign = Campaign.start(pool, campaign=tmp_path / "skip", on_bad_row="skip", **given)
    ids = campaign.holdings.source.ids.tolist()[:6]
    campaign.record([Vote(item=i, annotator="o", label=CLASSES[n % 2]) for n, i in enumerate(ids)])
    facts = campaign.measure()
    assert facts is not None
    assert facts["test_examples"] == 8
