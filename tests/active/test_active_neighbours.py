"""SEALS: candidates near to what is labelled, searched exactly or, in large pools, by an index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from active_worlds import World, make_world, spy
from torch import Tensor

from keepers.errors import RunError
from keepers.runs import Run
from keepers.training import Hardware
from keepers.workflows import stages
from keepers.workflows.active import exact_neighbours, neighbour_index, neighbours
from keepers.workflows.workplace import Workplace


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def test_neighbours_that_are_everything_change_nothing(tmp_path: Path) -> None:
    found: list[Any] = []
    for name, count in (("all", None), ("many", 1000)):
        (tmp_path / name).mkdir()
        world = make_world(tmp_path / name)
        campaign = world.start(neighbours=count, control=0.1)
        world.label(campaign, campaign.query(9).ids)
        campaign.query(10)
        found.append([(item.item, item.score) for item in campaign.state.rounds[-1].items])
    assert found[0] == found[1]


def test_with_neighbours_only_what_is_near_a_label_is_scored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    angles = 0.05 * np.arange(60) ** 1.01
    world.more["place"] = np.stack([np.cos(angles), np.sin(angles)], 1).tolist()
    world.write()
    campaign = world.start(neighbours=2, features="place", method="entropy")
    world.label(campaign, [100, 101, 102, 130])
    scored: list[int] = []
    spy(
        monkeypatch,
        stages,
        "extract",
        lambda _, given: scored.extend(given["positions"].tolist()),
    )
    batch = campaign.query(4)
    assert sorted(scored) == [0, 1, 2, 3, 4, 29, 30, 31]
    assert sorted(batch.ids) == [103, 104, 129, 131]


def test_too_few_neighbours_for_the_batch(world: World) -> None:
    campaign = world.start(neighbours=1)
    world.label(campaign, world.ids[:4])
    assert len(campaign.query(50)) == 50


@pytest.mark.parametrize("block", [1 << 23, 24])
def test_the_nearest_candidates_by_a_naive_oracle(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact_neighbours, "BLOCK_ELEMENTS", block)
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(80, 5, generator=generator)
    order = torch.randperm(80, generator=generator)
    anchors, candidates = order[:7], order[7:60].sort().values
    expected = {
        int(candidates[place])
        for anchor in anchors
        for place in (features[candidates] - features[anchor]).norm(dim=1).argsort()[:4]
    }
    found = neighbours.nearest(features, anchors, candidates, 4)
    assert found.tolist() == sorted(expected)
    assert neighbours.nearest(features, anchors, candidates, 53).tolist() == candidates.tolist()


def test_the_nearest_that_come_last_and_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks in which every distance is nearer than all before, and none is."""
    monkeypatch.setattr(exact_neighbours, "BLOCK_ELEMENTS", 10)
    line = torch.arange(100.0)[:, None]
    for anchor, expected in ((99, [96, 97, 98]), (0, [1, 2, 3])):
        candidates = torch.tensor([place for place in range(100) if place != anchor])
        found = neighbours.nearest(line, torch.tensor([anchor]), candidates, 3)
        assert found.tolist() == expected


def grouped(n: int, seed: int = 0) -> Tensor:
    """Features of ten groups that overlap, of length 1."""
    rng = np.random.default_rng(seed)
    centres = 0.7 * rng.standard_normal((10, 64))
    points = centres[rng.integers(0, 10, n)] + rng.standard_normal((n, 64))
    return torch.nn.functional.normalize(torch.from_numpy(points.astype(np.float32)), dim=1)


def workplace(folder: Path) -> Workplace:
    hardware = Hardware(device="cpu", precision="fp32")
    return Workplace(run=Run(folder, {}), hardware=hardware)


def test_an_index_finds_nearly_all_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 30_000)
    features = grouped(30_000)
    order = torch.randperm(30_000, generator=torch.Generator().manual_seed(1))
    anchors, candidates = order[:300], order[300:25_000].sort().values
    exact = neighbours.nearest(features, anchors, candidates, 20)
    found: list[Tensor] = []
    for name in ("first", "second"):
        place = workplace(tmp_path / name)
        index = neighbour_index.made(features, place, 7, 20)
        assert index is not None
        assert index.share >= 0.95
        assert index.serves
        assert neighbour_index.made(features, place, 7, 20) == index
        assert [cost.phase for cost in place.ledger.costs] == ["neighbours"]
        found.append(neighbours.nearest(features, anchors, candidates, 20, index))
    assert torch.equal(*found)
    assert torch.isin(found[0], candidates).all()
    assert torch.equal(found[0], found[0].unique())
    assert float(torch.isin(exact, found[0]).double().mean()) >= 0.9
    # What is not exact is near all the same: one for one, not a larger set.
    assert len(found[0]) <= 1.02 * len(exact)


def isotropic(n: int) -> Tensor:
    """Features without groups, whose neighbours are in many lists."""
    return torch.randn(n, 64, generator=torch.Generator().manual_seed(4))


def test_neighbours_that_an_index_would_miss_are_found_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 20_000)
    features, place = isotropic(20_000), workplace(tmp_path / "run")
    index = neighbour_index.made(features, place, 7, 20)
    assert index is not None
    assert 0.3 < index.share < 0.95
    assert not list(index.folder.glob("*.faiss"))  # it would be of no use
    spy(monkeypatch, neighbour_index, "_built", lambda *_: pytest.fail("it was made again"))
    assert neighbour_index.made(features, place, 7, 20) == index
    anchors, candidates = torch.arange(100), torch.arange(100, 20_000)
    exact = neighbours.nearest(features, anchors, candidates, 20)
    assert torch.equal(neighbours.nearest(features, anchors, candidates, 20, index), exact)
    facts = neighbours.search_facts(20, index, len(exact))
    assert (facts["search"], facts["share"], facts["index_share"]) == ("exact", 1.0, index.share)


def test_more_lists_are_searched_until_enough_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 20_000)
    monkeypatch.setattr(neighbour_index, "_LARGEST_PART", 1)
    index = neighbour_index.made(isotropic(20_000), workplace(tmp_path / "run"), 7, 20)
    assert index is not None
    assert (index.lists, index.serves) == (92, True)  # twice what √n lists begin with, twice


def test_equal_features_are_no_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 5000)
    features = grouped(50).repeat(100, 1)
    index = neighbour_index.made(features, workplace(tmp_path / "run"), 7, 20)
    assert index is not None
    assert index.share == 1


def test_an_anchor_whose_lists_hold_no_candidate_is_searched_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 10_000)
    rng = np.random.default_rng(0)
    features = torch.from_numpy((0.1 * rng.standard_normal((10_000, 8))).astype(np.float32))
    features[:9000, 0] += 100  # far from the candidates, and nearly all lists
    index = neighbour_index.made(features, workplace(tmp_path / "run"), 7, 20)
    assert index is not None
    index = replace(index, lists=1, share=1.0)
    anchors, candidates = torch.tensor([3, 4]), torch.arange(9000, 9100)
    exact = neighbours.nearest(features, anchors, candidates, 5)
    assert len(exact) >= 5
    assert torch.equal(neighbours.nearest(features, anchors, candidates, 5, index), exact)


def test_other_features_have_another_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 3000)
    place, features = workplace(tmp_path / "run"), grouped(3000)
    changed = features.clone()
    changed[17, 3] += 0.01
    folders = [
        neighbour_index.made(given, place, seed, count)
        for given, seed, count in (
            (features, 7, 20),
            (changed, 7, 20),
            (features, 8, 20),
            (features, 7, 10),
        )
    ]
    assert len({index.folder for index in folders if index is not None}) == 4


def damaged(path: Path, how: str) -> None:
    whole = bytearray(path.read_bytes())
    if how == "flipped":
        whole[len(whole) // 2] ^= 1
    path.write_bytes(whole[:1000] if how == "truncated" else whole)


@pytest.mark.parametrize("how", ["flipped", "truncated"])
def test_a_damaged_index_is_made_again(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 3000)
    features = grouped(3000)
    place = workplace(tmp_path / "run")
    index = neighbour_index.made(features, place, 7, 20)
    assert index is not None
    place.run.close()
    (file,) = index.folder.glob("*.faiss")
    whole = file.read_bytes()
    damaged(file, how)
    assert neighbour_index.made(features, workplace(tmp_path / "run"), 7, 20) == index
    assert file.read_bytes() == whole


def test_an_index_that_is_damaged_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 3000)
    features = grouped(3000)
    index = neighbour_index.made(features, workplace(tmp_path / "run"), 7, 20)
    assert index is not None
    (file,) = index.folder.glob("*.faiss")
    file.write_bytes(b"")
    with pytest.raises(RunError) as caught:
        neighbours.nearest(features, torch.arange(3), torch.arange(3, 3000), 20, index)
    assert str(caught.value).startswith(f"campaign: the index {file} cannot be read (")
    assert str(caught.value).endswith(f"Remove the folder {index.folder}: it will be made again")


def test_an_index_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 3000)
    asked: list[int] = []
    spy(monkeypatch, neighbour_index, "check_room", lambda args, _: asked.append(args[1]))

    def full(*_: object) -> None:
        raise RuntimeError("Error in write: No space left on device\nat somewhere")

    monkeypatch.setattr(faiss, "write_index", full)
    message = r"cannot be written \(Error in write: No space left on device\)\. Remove the folder"
    with pytest.raises(RunError, match=message):
        neighbour_index.made(grouped(3000), workplace(tmp_path / "run"), 7, 20)
    assert asked == [3000 * 64 * 4 + 3000 * 8]


def test_an_index_is_for_large_pools_with_faiss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = workplace(tmp_path / "run")
    assert neighbour_index.made(torch.zeros(200, 2), place, 0, 20) is None
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 200)
    monkeypatch.setattr(neighbour_index, "_faiss", lambda: None)
    assert neighbour_index.made(torch.zeros(200, 2), place, 0, 20) is None
    assert not list((tmp_path / "run").glob("stages/*"))


def test_a_campaign_makes_its_index_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 3000)
    world = make_world(tmp_path, 3000)
    searched: list[Path] = []
    spy(
        monkeypatch,
        neighbour_index.Index,
        "search",
        lambda args, _: searched.append(args[0].folder),
    )
    written: list[Path] = []
    spy(monkeypatch, neighbour_index, "_make", lambda args, _: written.append(args[2]))
    monkeypatch.setattr(neighbour_index, "ENOUGH", 0.5)
    campaign = world.start(neighbours=20, epochs=1)
    world.label(campaign, world.ids[:9])
    for _ in range(2):
        world.label(campaign, campaign.query(5).ids)
        campaign = world.open()
    assert len(written) == 1
    assert len(searched) == 2
    assert all(folder.is_dir() and folder == searched[0] for folder in searched)
    spent: list[Any] = [planned.costs for planned in campaign.state.rounds]
    examples = [
        [cost["examples"] for cost in costs if cost["phase"] == "neighbours"] for costs in spent
    ]
    assert examples == [[3000 + 3000 - 9], [3000 - 14]]


def test_the_same_index_gives_the_same_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 3000)
    found: list[tuple[Any, ...]] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        world = make_world(tmp_path / name, 3000)
        campaign = world.start(neighbours=5, epochs=1)
        world.label(campaign, world.ids[:9])
        found.append(campaign.query(10).ids)
    assert found[0] == found[1]


def test_a_round_says_how_it_searched_and_keeps_its_index_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 3000)
    monkeypatch.setattr(neighbour_index, "ENOUGH", 0.5)
    world = make_world(tmp_path, 3000)
    said: list[str] = []
    campaign = world.start(neighbours=5, epochs=1, say=said.append)
    world.label(campaign, world.ids[:9])
    stages = campaign.path / "work" / "stages"
    world.label(campaign, campaign.query(5).ids)
    (stages / "neighbour-index-0123456789ab").mkdir()  # of features of before
    campaign.query(10)
    facts = campaign.state.rounds[-1].facts["neighbours"]
    assert facts["search"] == "index"
    assert 0.5 <= facts["share"] <= 1
    assert said[-1] == (
        "Scored: the 5 nearest neighbours of each labelled example, found by an "
        f"index, {facts['share']:.0%} of them on a sample"
    )
    assert [folder.name for folder in stages.glob("neighbour-index-*")] == [facts["index"]]


def test_a_round_without_an_index_says_that_too(world: World) -> None:
    said: list[str] = []
    campaign = world.start(neighbours=1, epochs=1, say=said.append)
    world.label(campaign, world.ids[:4])
    campaign.query(1)
    assert said[-1] == "Scored: the nearest neighbour of each labelled example, found exactly"
    facts = campaign.state.rounds[-1].facts["neighbours"]
    assert (facts["search"], facts["share"], facts["index"]) == ("exact", 1.0, None)
