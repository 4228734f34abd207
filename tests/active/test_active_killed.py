from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from active_kills import remembered, start
from active_worlds import World, events, make_world

import forked
from keepers import Campaign
from keepers.campaign import Measure, Planned, Pool, Schema, Started, Trained, Vote
from keepers.errors import RunError

POINTS = 3
"""Steps at which a command is killed, spread over all that it takes, beside the last ones."""

LAST = 2
BASE = "base"


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has just changed is remembered, as one of yesterday is: the same steps each time.

    The children do so too (`active_kills`).
    """
    monkeypatch.setattr(remembered, "SETTLED", 0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world with the campaign `base`: eight labels are in, and eight are waited for."""
    world = make_world(tmp_path)
    with start(world, BASE) as campaign:
        world.label(campaign, campaign.query(8).ids)
        campaign.query(8)
    return world


def job(world: World, name: str, what: str, last: int | None, **more: Any) -> dict[str, Any]:
    arguments = {"folder": str(world.folder), "name": name, "what": what, "last": last, **more}
    here = str(Path(__file__).parent)
    return {"function": "active_kills:act", "path": here, "arguments": arguments}


def killed(world: World, what: str) -> Iterator[str]:
    """Copies of `base` to which `what` was done until it was killed, at one step after another."""
    (whole,) = forked.run(job(world, copied(world, "counted"), what, None))
    assert whole.status == 0, whole.stderr
    count = int(whole.stdout)
    spread = np.linspace(1, count, POINTS).round().astype(int).tolist()
    for last in sorted({*spread, *range(max(1, count - LAST), count + 1)}):
        (done,) = forked.run(job(world, copied(world, f"at-{last}"), what, last))
        assert done.status == -signal.SIGKILL, (last, count, done.stderr)
        yield f"at-{last}"


def copied(world: World, name: str) -> str:
    if (world.folder / BASE).exists():
        shutil.copytree(world.folder / BASE, world.folder / name)
    return name


def planned(campaign: Campaign) -> list[tuple[Any, ...]]:
    return [
        tuple((i.item, i.rank, i.score, i.part) for i in each.items)
        for each in campaign.state.rounds
    ]


def worth(campaign: Campaign) -> list[tuple[Any, ...]]:
    return [
        (each.round, each.labels, each.seen, each.facts["test_accuracy"], each.facts["control"])
        for each in campaign.state.trained
    ]


def number_of(campaign: Campaign, kind: type[Any]) -> int:
    return sum(isinstance(event, kind) for event in events(campaign))


def test_killed_while_it_starts(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    with start(world, "never") as campaign:
        campaign.query(8)
        expected = planned(campaign)
    finished = 0
    for name in killed(world, "start"):
        try:
            start(world, name).close()
        except RunError:
            finished += 1  # the kill came after the last entry
        with world.open(name) as campaign:
            assert [type(event) for event in events(campaign)] == [Started, Schema, Pool, Measure]
            campaign.query(8)
            assert planned(campaign) == expected
    assert 1 <= finished <= LAST + 1


def test_killed_while_it_plans(world: World) -> None:
    with world.open(BASE) as campaign:
        world.label(campaign, campaign.state.pending())
    copied(world, "whole")
    with world.open("whole") as campaign:
        campaign.query(8)
        expected = planned(campaign), worth(campaign)
    seen: list[int] = []
    for name in killed(world, "query"):
        with world.open(name) as campaign:
            seen.append(number_of(campaign, Planned))
            assert campaign.query(8).round == 3
            assert (planned(campaign), worth(campaign)) == expected
            assert number_of(campaign, Trained) == 2
            assert number_of(campaign, Vote) == 16
    assert seen == sorted(seen)
    assert set(seen) == {2, 3}  # killed before the entry and after it


def test_killed_while_it_plans_the_first_batch(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    start(world, BASE).close()
    copied(world, "whole")
    with world.open("whole") as campaign:
        campaign.query(8)
        expected = planned(campaign)
    for name in killed(world, "query"):
        with world.open(name) as campaign:
            campaign.query(8)
            assert planned(campaign) == expected


def test_killed_while_it_measures(world: World) -> None:
    with world.open(BASE) as campaign:
        world.label(campaign, campaign.state.pending())
    copied(world, "whole")
    with world.open("whole") as campaign:
        campaign.measure()
        expected = worth(campaign)
    for name in killed(world, "measure"):
        with world.open(name) as campaign:
            campaign.measure()
            assert worth(campaign) == expected
            assert number_of(campaign, Trained) == 2


def test_killed_while_it_imports(world: World) -> None:
    seen: set[int] = set()
    for name in killed(world, "import"):
        with world.open(name) as campaign:
            before = number_of(campaign, Vote)
            seen.add(before)
            asked = [item.item for item in campaign.state.rounds[-1].items]
            recorded = world.label(campaign, asked)
            assert (recorded.new, recorded.repeated) == (16 - before, before - 8)
            assert number_of(campaign, Vote) == 16
            assert all(campaign.state.labels[item] == world.truth[item] for item in asked)
    assert seen == {8, 16}  # all or nothing


def test_killed_while_it_notices_another_pool(world: World) -> None:
    for name in killed(world, "pool"):
        world.write(rows=range(10, 60))
        with world.open(name) as campaign:
            assert number_of(campaign, Pool) == 2
            away = {item for item in campaign.state.items if item in world.ids[:10]}
            assert away
            assert set(campaign.state.removed) == away
        world.write()


def test_killed_while_classes_change(world: World) -> None:
    seen: set[int] = set()
    for name in killed(world, "classes"):
        with world.open(name) as campaign:
            seen.add(number_of(campaign, Schema))
            if number_of(campaign, Schema) == 1:
                campaign.reclassify(["a", "B", "c"], {"b": "B"})
            assert campaign.state.classes == ("a", "B", "c")
            assert len(campaign.state.labels) == 8
    assert seen == {1, 2}


def test_killed_at_any_moment(world: World) -> None:
    """Planning and labelling by turns, killed by the clock; a person labels what is planned."""
    with world.open(BASE) as campaign:
        world.label(campaign, campaign.state.pending())
    copied(world, "whole")
    began = time.perf_counter()
    with world.open("whole") as campaign:
        for _ in range(3):
            world.label(campaign, campaign.query(8).ids)
        expected = planned(campaign)
    whole = time.perf_counter() - began
    copied(world, "clock")
    ends: list[int] = []
    for share in np.random.default_rng(0).uniform(0.1, 0.6, 5).tolist():
        (done,) = forked.run(job(world, "clock", "rounds", None, alarm=share * whole))
        ends.append(done.status)
        with world.open("clock") as campaign:
            world.label(campaign, campaign.state.pending())
            if len(campaign.state.rounds) >= 5:
                break
    assert -signal.SIGALRM in ends
    with world.open("clock") as campaign:
        while len(campaign.state.rounds) < 5:
            world.label(campaign, campaign.query(8).ids)
        assert planned(campaign)[:5] == expected
        rounds = len(campaign.state.rounds)
        assert number_of(campaign, Vote) == len(campaign.state.labels) == 8 * rounds


def test_two_processes_that_plan_at_once(world: World) -> None:
    with world.open(BASE) as campaign, campaign.journal.lock("planning a batch"):
        (other,) = forked.run(job(world, BASE, "measure", None))
        before = number_of(campaign, Planned)
    assert other.status == 1
    assert "is in use by another process (planning a batch). Wait for it" in other.stderr
    assert number_of(world.open(BASE), Planned) == before
