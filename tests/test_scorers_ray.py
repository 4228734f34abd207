"""Scorers on Ray: the choices of one process, ahead or not, and what happens when they are lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import psutil
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import keepers
from keepers.errors import KeepersError, ParameterError, RunError
from keepers.online import BatchSelector, InProcess, Replay, Scorers, Scoring
from keepers.online.scorers import OnRay
from test_online_ahead import Noise, data, model, trained

pytestmark = pytest.mark.ray


def pids() -> list[int]:
    """Processes of the scorers that are alive."""
    found = psutil.process_iter(["cmdline"])
    return [each.pid for each in found if "ray::_Scorer" in " ".join(each.info["cmdline"] or ())]


def test_what_is_shared_out_is_chosen_as_in_one_process(ray_cluster: Any) -> None:
    plain, expected = trained(InProcess, augment=Noise())
    shared, found = trained(Scorers(2), augment=Noise())
    assert shared.noted == plain.noted
    assert all(map(torch.equal, expected.parameters(), found.parameters()))
    facts = shared.scorer_facts()
    assert facts is not None
    assert facts["seconds"] > 0
    assert {versions for _, versions in facts["schedule"]} == {(step,) * 3 for step in range(9)}
    shared.close()
    until = time.monotonic() + 30
    while pids() and time.monotonic() < until:
        time.sleep(0.1)
    assert not pids()


def loop(choose: BatchSelector, steps: int, at: dict[int, Any]) -> tuple[list[list[int]], Any]:
    x, y = data()
    network = model()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    draw = torch.Generator().manual_seed(5)
    batches = [torch.randperm(len(x), generator=draw)[:32] for _ in range(steps)]
    taken: list[list[int]] = []
    loader = [(x[rows], y[rows], rows) for rows in batches]
    for step, chosen in enumerate(choose.stream(network, loader)):
        taken.append(chosen.ids.tolist())
        optimizer.zero_grad()
        F.cross_entropy(network(chosen.batch[0]), chosen.labels).backward()
        optimizer.step()
        if step in at:
            at[step]()
    return taken, network


def test_a_scorer_that_is_killed_or_paused_is_given_up_and_taken_back(ray_cluster: Any) -> None:
    expected, _ = loop(BatchSelector("loss", keep=0.25), 40, {})

    def kill() -> None:
        os.kill(pids()[0], signal.SIGKILL)

    def pause() -> None:
        victim = pids()[0]
        os.kill(victim, signal.SIGSTOP)
        threading.Timer(4.0, os.kill, (victim, signal.SIGCONT)).start()

    def wait() -> None:
        until = time.monotonic() + 60
        while len(pids()) < 2 and time.monotonic() < until:
            time.sleep(0.2)
        time.sleep(1.1)  # it is looked after once a second

    with BatchSelector("loss", keep=0.25, scorers=Scorers(2, patience=2.0)) as choose:
        happens = {0: wait, 5: kill, 15: wait, 20: pause, 30: lambda: time.sleep(4.5)}
        taken, _ = loop(choose, 40, happens)
        notes = choose.notes
    assert taken == expected
    assert len(taken) == 40
    words = " ".join(notes)
    assert "died" in words
    assert "did not answer within 2 s" in words
    assert words.count("is there from step") >= 2


def test_a_run_that_lost_its_scorer_is_replayed(ray_cluster: Any) -> None:
    expected, _ = loop(BatchSelector("loss", keep=0.25), 12, {})
    choose = BatchSelector("loss", keep=0.25, scorers=1, scoring=Scoring(max_staleness=1))

    def end() -> None:
        assert choose._made is not None
        workers: Any = choose._made[1].workers  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(workers, OnRay)
        ray_cluster.kill(workers._actors[0], no_restart=True)

    with choose:
        taken, _ = loop(choose, 12, {2: end})
        assert "died" in choose.notes[0]
        versions = dict(choose.schedule)
        assert versions[11] == (11,)
        x, y = data()
        with pytest.raises(KeepersError, match="label"):  # as without scorers
            choose(choose._made[0], (x, y + 9, torch.arange(len(x))))
    assert len(taken) == 12
    again = BatchSelector(
        "loss",
        keep=0.25,
        backend=Replay(schedule=versions.items()),
        scoring=Scoring(max_staleness=1),
    )
    assert loop(again, 12, {})[0] == taken
    assert taken[0] == expected[0]


class Fails(nn.Module):
    """Works where it was made, and nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.home = nn.Linear(6, 4), os.getpid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if os.getpid() != self.home:
            raise RuntimeError("nothing here")
        return self.layer(x)


def test_errors_of_scorers(ray_cluster: Any) -> None:
    x, y = data()
    batch = (x, y, torch.arange(len(x)))
    with BatchSelector("loss", keep=8, scorers=1) as choose:
        with pytest.raises(KeepersError, match=r"scorer 0 failed at step 1 .*nothing here"):
            choose(Fails(), batch)
        locked = model()
        locked.lock = threading.Lock()  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(ParameterError, match="scorers: the model cannot be sent to them"):
            choose(locked, batch)


def test_an_address_that_does_not_answer_is_said_before_anything_starts() -> None:
    with pytest.raises(RunError, match=r"127\.0\.0\.1:1 does not answer"):
        keepers.train("no such data", scorers=1, ray="127.0.0.1:1")
