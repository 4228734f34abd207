"""Scorers on Ray: the choices of one process, ahead or not, and what happens when they are lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import keepers
from keepers.errors import KeepersError, ParameterError, RunError
from keepers.online import BatchSelector, InProcess, Replay, Scorers, Scoring, scorers
from keepers.online.scorers import OnRay
from test_online_ahead import Noise, data, model, trained

pytestmark = pytest.mark.ray


def pids() -> list[int]:
    """Processes of the scorers that are alive."""
    found = psutil.process_iter(["cmdline"])
    return [each.pid for each in found if "ray::_Scorer" in " ".join(each.info["cmdline"] or ())]


def test_what_is_shared_out_is_chosen_as_in_one_process(ray_cluster: Any) -> None:
    plain, expected = trained(InProcess, augment=Noise())
    shared, found = trained(Scorers(1), augment=Noise())
    assert shared.noted == plain.noted
    assert all(map(torch.equal, expected.parameters(), found.parameters()))
    facts = shared.scorer_facts()
    assert facts is not None
    assert facts["seconds"] > 0
    assert {versions for _, versions in facts["schedule"]} == {(step,) * 2 for step in range(9)}
    shared.close()
    until = time.monotonic() + 30
    while pids() and time.monotonic() < until:
        time.sleep(0.1)
    assert not pids()


class AtHome(nn.Module):
    """Far-off inputs work where it was made, and nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.home = model(), os.getpid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if os.getpid() != self.home and x.max() > 1e3:
            raise RuntimeError("nothing here")
        return self.inner(x)


class Running:
    """A loop that takes steps until something is so, on batches that are always the same."""

    def __init__(self, choose: BatchSelector, network: nn.Module) -> None:
        self.choose, self.network, self.taken = choose, network, list[list[int]]()
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        self.x, self.y = data()
        self.stream = choose.stream(network, self.batches())

    def batches(self) -> Iterator[Any]:
        draw = torch.Generator().manual_seed(5)
        while True:
            rows = torch.randperm(len(self.x), generator=draw)[:32]
            yield self.x[rows], self.y[rows], rows

    def step(self) -> None:
        chosen = next(self.stream)
        self.taken.append(chosen.ids.tolist())
        self.optimizer.zero_grad()
        F.cross_entropy(self.network(chosen.batch[0]), chosen.labels).backward()
        self.optimizer.step()

    def steps(self, count: int) -> list[list[int]]:
        for _ in range(count):
            self.step()
        return self.taken

    def until(self, so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not so():
            assert time.monotonic() < deadline, self.choose.notes
            self.step()
            time.sleep(0.01)


def test_a_scorer_that_is_killed_or_paused_is_given_up_and_taken_back(
    ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorers, "LOOKED_AFTER", 0.1)
    given, network = Scorers(2), AtHome()
    with BatchSelector("loss", keep=0.25, scorers=given) as choose:
        run = Running(choose, network)

        def noted(words: str) -> bool:
            return words in " ".join(choose.notes)

        def all_there() -> bool:
            assert choose._made is not None
            return not choose._made[1].workers._away  # pyright: ignore

        run.steps(1)
        run.until(all_there)
        far = (run.x + 1e4, run.y, torch.arange(len(run.x)))
        with pytest.raises(KeepersError, match=r"scorer \d failed at step \d+ .*nothing here"):
            choose(network, far)
        os.kill(pids()[0], signal.SIGKILL)
        run.until(lambda: noted("died"))
        run.until(all_there)
        victim, given.patience = pids()[0], 0.5
        os.kill(victim, signal.SIGSTOP)
        run.until(lambda: noted("did not answer within 0.5 s"))
        os.kill(victim, signal.SIGCONT)
        given.patience = 60.0
        run.until(all_there)
        taken = run.taken
    assert " ".join(choose.notes).count("is there from step") >= 2
    alone = Running(BatchSelector("loss", keep=0.25), AtHome())
    assert alone.steps(len(taken)) == taken


def test_a_run_that_lost_its_scorer_is_replayed(ray_cluster: Any) -> None:
    network = model()
    with BatchSelector("loss", keep=0.25, scorers=1, scoring=Scoring(max_staleness=1)) as choose:
        run = Running(choose, network)
        run.steps(3)
        assert choose._made is not None
        workers: Any = choose._made[1].workers  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(workers, OnRay)
        ray_cluster.kill(workers._actors[0], no_restart=True)
        taken = run.steps(9)
        with pytest.raises(KeepersError, match="label"):  # as without scorers
            choose(network, (run.x, run.y + 9, torch.arange(len(run.x))))
    assert "died" in choose.notes[0]
    versions = dict(choose.schedule)
    assert versions[2] == (1,) * len(versions[2])
    assert versions[11] == (11,)
    again = BatchSelector(
        "loss",
        keep=0.25,
        backend=Replay(schedule=versions.items()),
        scoring=Scoring(max_staleness=1),
    )
    assert Running(again, model()).steps(12) == taken
    plain = BatchSelector("loss", keep=0.25)
    assert Running(plain, model()).steps(1)[0] == taken[0]


def test_a_model_that_cannot_be_sent(ray_cluster: Any) -> None:
    x, y = data()
    locked = model()
    locked.lock = threading.Lock()  # pyright: ignore[reportAttributeAccessIssue]
    with (
        BatchSelector("loss", keep=8, scorers=1) as choose,
        pytest.raises(ParameterError, match="scorers: the model cannot be sent to them"),
    ):
        choose(locked, (x, y, torch.arange(len(x))))


def test_an_address_that_does_not_answer_is_said_before_anything_starts() -> None:
    with pytest.raises(RunError, match=r"127\.0\.0\.1:1 does not answer"):
        keepers.train("no such data", scorers=1, ray="127.0.0.1:1")
