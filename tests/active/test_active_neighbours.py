"""SEALS: candidates near to what is labelled, searched exactly or, in large pools, by an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from active_worlds import World, make_world, spy
from torch import Tensor

from keepers.ledger import Ledger
from keepers.runs import Run
from keepers.training import Hardware
from keepers.workflows import stages
from keepers.workflows.active import neighbour_index, neighbours
from keepers.workflows.stages import Workplace


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
    monkeypatch.setattr(neighbours, "BLOCK_ELEMENTS", block)
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
    monkeypatch.setattr(neighbours, "BLOCK_ELEMENTS", 10)
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
    return Workplace(run=Run(folder, {}), hardware=hardware, ledger=Ledger())


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
        path = neighbour_index.made(features, place, 7)
        assert path is not None
        assert neighbour_index.made(features, place, 7) == path
        assert [cost.phase for cost in place.ledger.costs] == ["neighbours"]
        found.append(neighbours.nearest(features, anchors, candidates, 20, path))
    assert torch.equal(*found)
    assert torch.isin(found[0], candidates).all()
    assert torch.equal(found[0], found[0].unique())
    assert float(torch.isin(exact, found[0]).double().mean()) >= 0.9
    # What is not exact is near all the same: one for one, not a larger set.
    assert len(found[0]) <= 1.02 * len(exact)


def test_an_index_is_for_large_pools_with_faiss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = workplace(tmp_path / "run")
    assert neighbour_index.made(torch.zeros(100, 2), place, 0) is None
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 100)
    monkeypatch.setattr(neighbour_index, "_faiss", lambda: None)
    assert neighbour_index.made(torch.zeros(100, 2), place, 0) is None
    assert not list((tmp_path / "run").glob("stages/*"))


def test_a_campaign_makes_its_index_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbour_index, "INDEXED_FROM", 3000)
    world = make_world(tmp_path, 3000)
    searched: list[Path] = []
    spy(monkeypatch, neighbour_index, "search", lambda args, _: searched.append(args[0]))
    written: list[Path] = []
    spy(monkeypatch, neighbour_index, "_write", lambda args, _: written.append(args[2]))
    campaign = world.start(neighbours=20, epochs=1)
    world.label(campaign, world.ids[:9])
    for _ in range(2):
        world.label(campaign, campaign.query(5).ids)
        campaign = world.open()
    assert len(written) == 1
    assert len(searched) == 2
    assert all(path.is_file() and path == searched[0] for path in searched)
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
