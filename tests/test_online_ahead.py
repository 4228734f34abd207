"""Looking ahead: shares, the age of scores, what is replayed, and when it ends by itself."""

from __future__ import annotations

import contextlib
import itertools
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import keepers
from keepers import cluster
from keepers.data import DensePool
from keepers.errors import KeepersError, ParameterError, RunError
from keepers.models import Recipe
from keepers.online import (
    BatchSelector,
    InProcess,
    IrreducibleLosses,
    Replay,
    Scored,
    Scoring,
    Selecting,
    Selector,
)
from keepers.online.pieces import Shares
from keepers.online.second_look import EVERY, LEAST, WARM, WINDOW, SecondLook
from keepers.online.weights import Packing, unpack
from keepers.training import Candidates, Checkpoint, Hardware, Length, fit
from keepers.types import Signals, TrainView

N, CLASSES = 96, 4
RUNTIME = Hardware(device="cpu", precision="fp32").runtime(gains_from_bf16=False)
Choices = list[tuple[int, list[int]]]


def data() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    y = torch.randint(CLASSES, (N,), generator=draw)
    return torch.randn(N, 6, generator=draw) + F.one_hot(y, 6) * 2.0, y


def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, CLASSES))


class Noise:
    """An augmentation: a function of the generator alone."""

    def __call__(self, inputs: tuple[Tensor, ...], draw: torch.Generator) -> tuple[Tensor, ...]:
        return (inputs[0] + 0.1 * torch.randn(inputs[0].shape, generator=draw),)

    def __repr__(self) -> str:
        return "Noise()"


class Noted(Selecting):
    """Notes the version of the oldest weights that scored each step, and what was chosen."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self.noted: Choices = []

    def choose(self, candidates: Candidates, progress: float) -> Any:
        choice = super().choose(candidates, progress)
        assert choice is not None
        taken = candidates.positions[choice.rows].tolist()
        self.noted.append((candidates.version - choice.staleness, taken))
        return choice


def trained(
    backend: Any,
    steps: int = 9,
    scoring: Scoring | None = None,
    keep: Checkpoint | None = None,
    augment: Any = None,
) -> tuple[Noted, nn.Module]:
    x, y = data()
    network = model()

    def make(module: nn.Module, runtime: Any) -> Selector:
        return Selector(
            "rho-loss",
            keep=0.25,
            irreducible=torch.linspace(0, 1, N),
            scoring=scoring,
            hand_over=False,
        )

    policy = Noted(make, keep=0.25, backend=backend)
    fit(
        network,
        TrainView(pool=DensePool(x), labels=y, positions=torch.arange(N), augment=augment),
        Recipe(epochs=1, batch_size=8, lr=0.05, optimizer="adamw"),
        runtime=RUNTIME,
        seed=3,
        policy=policy,
        length=Length(steps=steps),
        keep=keep,
    )
    return policy, network


def test_shares_end_together_and_leave_no_row_alone() -> None:
    assert Shares.exact(3).bounds(320) == [0, 80, 160, 240, 320]
    assert Shares.ahead(1, 0.1).bounds(320) == [0, 112, 320]  # 3 * 32 + 112 = 320 - 112
    assert Shares.ahead(1, 0.1, 0.2).bounds(320) == [0, 80, 320]  # 3 * 32 + 64 + 80 = 320 - 80
    assert Shares.ahead(1, 0.5).bounds(320) == [0, 320]
    assert Shares(scorers=2, own=0.0, whole=True).bounds(7) == [0, 7]
    for scorers in (1, 2, 5):
        for n in range(1, 200):
            for shares in (Shares.exact(scorers), Shares.ahead(scorers, 0.05)):
                bounds = shares.bounds(n)
                assert bounds[0] == 0
                assert bounds[-1] == n
                sizes = [b - a for a, b in itertools.pairwise(bounds)]
                assert min(sizes) >= min(2, n)
                assert len(sizes) <= scorers + 1


@pytest.mark.parametrize("augment", [None, Noise()])
@pytest.mark.parametrize("scorers", [1, 3])
def test_what_is_shared_out_is_chosen_as_in_one_process(scorers: int, augment: Any) -> None:
    plain, expected = trained(InProcess, augment=augment)
    shared, found = trained(Replay(scorers=scorers), augment=augment)
    assert shared.noted == plain.noted
    assert all(map(torch.equal, expected.parameters(), found.parameters()))


@pytest.mark.parametrize("age", [1, 3])
def test_scores_ahead_are_by_the_weights_that_there_were(age: int) -> None:
    """The oracle keeps every version of the weights, and scores by that of `age` steps before."""
    policy, _ = trained(Replay(), scoring=Scoring(max_staleness=age, shortlist=0))
    checked = {step for step, (version, _) in enumerate(policy.noted) if version == step and step}
    assert checked == {1}  # the first with older scores is compared with fresh ones
    for step, (version, _) in enumerate(policy.noted):
        if step not in checked:
            assert version == max(0, step - age)

    versions: list[nn.Module] = []

    class Old(InProcess):
        """Scores with a copy of the weights of some steps before."""

        def score(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
            twin = model()
            twin.load_state_dict(self.module.state_dict())
            versions.append(twin)
            step = candidates.version
            back = 0 if step == 1 else age
            by = versions[max(0, step - back)]
            return InProcess(module=by, scoring=Scoring()).score(candidates, needs)

    oracle, _ = trained(Old)
    assert [rows for _, rows in oracle.noted] == [rows for _, rows in policy.noted]


def test_a_shortlist_is_admitted_by_old_scores_and_chosen_among_by_fresh_ones() -> None:
    draw = torch.Generator().manual_seed(0)
    old, new = torch.rand(40, generator=draw), torch.rand(40, generator=draw)
    positions = torch.arange(40)
    candidates = Candidates(
        positions=positions, labels=positions, args=(positions,), cut=lambda r: ((r,), {})
    )

    def again(some: Candidates) -> Scored:
        return Scored(
            positions=some.positions, version=9, signals=Signals(losses=new[some.positions])
        )

    def rank(_: Candidates, scored: Scored) -> Tensor:
        return scored.signals.get("losses")

    early = Scored(positions=positions, version=8, signals=Signals(losses=old))
    second = SecondLook(0.25)
    second.steps = WARM * EVERY
    rows, scored = second.look(candidates, early, again, rank, 4)
    assert rows is None  # compared: all are scored afresh
    best, admitted = new.topk(4).indices, old.topk(10).indices
    assert float(second.overlaps[WARM % WINDOW]) == pytest.approx(
        len(set(best.tolist()) & set(admitted.tolist())) / 4
    )
    rows, scored = second.look(candidates, early, again, rank, 4)
    assert rows is not None
    assert rows.tolist() == sorted(admitted.tolist())
    assert torch.equal(scored.signals.get("losses"), new[rows])


def test_looking_ahead_ends_where_old_scores_choose_otherwise() -> None:
    def overlaps(values: list[float]) -> SecondLook:
        second = SecondLook(None)
        for number, value in enumerate(values):
            second.steps = number * EVERY + 1
            second.note(value, number)
        return second

    assert overlaps([0.0] * (WARM + WINDOW - 1)).ended is None
    assert overlaps([0.0] * WARM + [LEAST + 0.01] * 9).ended is None
    ended = overlaps([1.0] * (WARM + WINDOW) + [0.0, 0.5, 1.0]).ended
    assert ended is not None
    assert ended.overlap == pytest.approx(2.5 / 4)
    state = overlaps([0.0] * (WARM + WINDOW)).state_dict()
    again = SecondLook(None)
    again.load_state_dict(state)
    assert again.ended is not None
    assert "Scoring ahead ended after step" in str(again.ended)


def test_a_training_that_looks_ahead_falls_back_by_itself() -> None:
    """At a rate at which each step turns the model over, scores of four steps ago are no good."""
    x, y = data()
    choose = BatchSelector(
        "loss", keep=0.25, backend=Replay(), scoring=Scoring(max_staleness=4, shortlist=0), seed=1
    )
    network = model()
    optimizer = torch.optim.SGD(network.parameters(), lr=2.0)
    draw = torch.Generator().manual_seed(5)
    batches = [torch.randint(N, (32,), generator=draw) for _ in range(6 * EVERY + 8)]
    ages: list[int] = []
    for chosen in choose.stream(network, [(x[rows], y[rows], rows) for rows in batches]):
        ages.append(chosen.staleness)
        optimizer.zero_grad()
        F.cross_entropy(network(chosen.batch[0]), chosen.labels).backward()
        optimizer.step()
    assert max(ages) == 4
    assert choose.selector.second is not None
    ended = choose.selector.second.ended
    assert ended is not None
    assert choose.notes == [str(ended)]
    assert not any(ages[ended.step + 4 :])


def loop(choose: BatchSelector, loader: Any, network: nn.Module, optimizer: Any) -> list[list[int]]:
    taken: list[list[int]] = []
    for chosen in choose.stream(network, loader):
        taken.append(list(chosen.ids))
        optimizer.zero_grad()
        F.cross_entropy(network(chosen.batch[0]), chosen.labels).backward()
        optimizer.step()
    return taken


@pytest.mark.parametrize("scorers", [1, 3])
def test_a_stream_resumes_with_what_was_on_its_way(scorers: int) -> None:
    """With another number of scorers, too."""
    x, y = data()
    losses = IrreducibleLosses.given(range(N), np.linspace(0, 1, N))

    def begin(
        scorers: int = 1, shortlist: float = 0.5
    ) -> tuple[BatchSelector, keepers.SelectingLoader, nn.Module, Any]:
        choose = BatchSelector(
            "rho-loss",
            losses,
            keep=0.25,
            backend=Replay(scorers=scorers),
            scoring=Scoring(max_staleness=2, shortlist=shortlist),
            hand_over=False,
        )
        items = [(x[row], y[row], row) for row in range(N)]
        loader = keepers.SelectingLoader(items, choose, batch_size=16, seed=2)
        network = model()
        return choose, loader, network, torch.optim.SGD(network.parameters(), lr=0.1)

    choose, loader, network, optimizer = begin()
    whole: list[list[int]] = []
    for _ in range(3):
        whole += loop(choose, loader, network, optimizer)
    choose, loader, network, optimizer = begin()
    part: list[list[int]] = []
    for chosen in choose.stream(network, loader):
        part.append(list(chosen.ids))
        optimizer.zero_grad()
        F.cross_entropy(network(chosen.batch[0]), chosen.labels).backward()
        optimizer.step()
        if len(part) == 3:
            state = loader.state_dict(ahead=choose.fetched)
            weights = {name: value.clone() for name, value in network.state_dict().items()}
            break
    assert choose.fetched == 2
    with pytest.raises(RunError, match="other data or settings"):
        begin(shortlist=0.25)[1].load_state_dict(state)
    choose, loader, network, optimizer = begin(scorers)
    loader.load_state_dict(state)
    network.load_state_dict(weights)
    for _ in range(3):
        part += loop(choose, loader, network, optimizer)
    assert part == whole
    versions = dict(choose.schedule)
    assert set(versions) == set(range(len(whole)))
    assert versions[4] == (2,)


def test_a_killed_training_resumes_with_what_was_on_its_way(tmp_path: Path) -> None:
    scoring = Scoring(max_staleness=2, shortlist=0)
    _, expected = trained(Replay(), 12, scoring)

    class KilledError(Exception):
        pass

    class Dies(Replay):
        def __call__(self, **given: Any) -> Any:
            made = super().__call__(**given)
            score = made.score

            def dying(candidates: Candidates, needs: frozenset[str]) -> Scored:
                if candidates.version == 7:
                    raise KilledError
                return score(candidates, needs)

            made.score = dying
            return made

    keep = Checkpoint(path=tmp_path / "checkpoint", every=0.0)
    with contextlib.suppress(KilledError):
        trained(Dies(), 12, scoring, keep)
    assert keep.path.exists()
    resumed, found = trained(Replay(), 12, scoring, keep)
    assert resumed.noted[0][0] == 5  # step 8, by the weights of two steps before
    assert all(map(torch.equal, expected.parameters(), found.parameters()))


def test_a_recorded_run_is_replayed_with_what_was_lost() -> None:
    class Loses(Replay):
        """A scorer that loses each fifth piece."""

        def __call__(self, **given: Any) -> Any:
            made, submitted = super().__call__(**given), [0]
            submit = made.workers.submit

            def losing(*args: Any) -> Any:
                submitted[0] += 1
                return None if submitted[0] % 5 == 0 else submit(*args)

            made.workers.submit = losing
            return made

    scoring = Scoring(max_staleness=2, shortlist=0)
    run, expected = trained(Loses(scorers=2), 14, scoring)
    assert run.ahead is not None
    schedule = run.ahead.schedule  # pyright: ignore[reportAttributeAccessIssue]
    assert any(len(set(versions)) > 1 for _, versions in schedule)
    again, found = trained(Replay(scorers=2, schedule=schedule), 14, scoring)
    assert again.noted == run.noted
    assert all(map(torch.equal, expected.parameters(), found.parameters()))
    other, _ = trained(Replay(scorers=2), 14, scoring)
    assert other.noted != run.noted


def test_what_cannot_be_scored_in_pieces_is_refused() -> None:
    x, y = data()
    batch = (x, y, list(range(N)))
    drop = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, CLASSES))
    norm = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    for scoring, network, message in (
        (Scoring(dropout=True), drop, "together with dropout"),
        (Scoring(part=0.5), drop, "together with part"),
        (Scoring(batch_norm="batch-and-update"), norm, "running statistics are with the trainer"),
        (Scoring(), norm, "batch_norm 'batch' scorers cannot share the candidates of a step:"),
    ):
        choose = BatchSelector("loss", keep=0.25, backend=Replay(), scoring=scoring)
        with pytest.raises(ParameterError, match=message):
            choose(network, batch)
    assert BatchSelector("loss", keep=0.25, backend=Replay(), scoring=Scoring(batch_norm="eval"))(
        norm, batch
    )
    with pytest.raises(ParameterError, match=r"max_staleness: got 1, but random does not rank"):
        BatchSelector("random", keep=0.25, scoring=Scoring(max_staleness=1))
    with pytest.raises(ParameterError, match="shortlist: got without max_staleness"):
        Scoring(shortlist=0.5)
    with pytest.raises(ParameterError, match=r"shortlist: got 1\.5"):
        Scoring(shortlist=1.5, max_staleness=1)
    with pytest.raises(ParameterError, match="scorers: got together with backend"):
        BatchSelector("loss", scorers=1, backend=Replay())
    with pytest.raises(ParameterError, match="scorers: got 0"):
        keepers.Scorers(0)
    with pytest.raises(KeepersError, match="max_staleness: got without scorers"):
        keepers.train("digits", max_staleness=1)
    with pytest.raises(KeepersError, match="scorers: got 2 together with max_age"):
        keepers.train("digits", scorers=2, max_age=3)


def test_whole_batches_go_to_a_scorer_where_scores_depend_on_each_other() -> None:
    x, y = data()
    norm = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    choose = BatchSelector(
        "loss", keep=0.25, backend=Replay(scorers=2), scoring=Scoring(max_staleness=1)
    )
    batches = [(x[at : at + 32], y[at : at + 32], list(range(at, at + 32))) for at in (0, 32, 64)]
    assert len(list(choose.stream(norm, batches))) == 3
    assert choose.schedule == [(0, (0,)), (1, (0,)), (2, (1,))]


def test_weights_travel_without_what_is_frozen_until_it_changes() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    network[0].requires_grad_(False)
    packing = Packing(network)
    twin = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    twin.load_state_dict(network.state_dict())
    first = set(packing.pack(network))
    assert first == {"1.weight", "1.bias", "2.weight", "2.bias"}
    network(torch.randn(5, 3))  # moves the running statistics
    with torch.no_grad():
        network[2].weight.mul_(3)
        network[0].weight.data[0, 0] = 7.0  # past autograd, which does not count it
    packet = packing.pack(network)
    assert set(packet) > {"1.running_mean", "0.weight"}
    unpack(packet, twin)
    for name, value in network.state_dict().items():
        assert torch.equal(twin.state_dict()[name], value), name
    half = Packing(network, "bf16").pack(network)
    assert sum(each.nbytes for each in half.values()) < sum(each.nbytes for each in packet.values())
    unpack(half, twin)
    assert torch.equal(twin[2].weight, network[2].weight.bfloat16().float())


def test_a_frozen_batch_normalisation_is_shared_out() -> None:
    x, y = data()
    norm = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    norm[1].eval()  # it takes its running statistics: scores do not depend on each other
    batch = (x, y, list(range(N)))
    shared = BatchSelector("loss", keep=0.25, backend=Replay(scorers=2))
    assert shared(norm, batch).ids == BatchSelector("loss", keep=0.25)(norm, batch).ids
    assert shared.schedule == [(0, (0, 0, 0))]
    norm[1].train()  # no longer: one scores them all
    expected = BatchSelector("loss", keep=0.25)(norm, batch).ids
    assert shared(norm, batch).ids == expected
    assert shared.schedule[1:] == [(1, (1,))]


def test_a_small_share_of_the_trainer_is_none() -> None:
    shares = Shares.ahead(1, 0.19, 0.38)  # 2.5% of the candidates
    assert not shares.has_own(32)
    assert shares.bounds(32) == [0, 32]  # the scorer's
    assert shares.has_own(3200)
    assert shares.bounds(3200) == [0, 80, 3200]
    for scorers in range(1, 9):
        assert all(Shares.exact(scorers).has_own(n) for n in range(1, 70))


def test_attributes_travel_once_they_change() -> None:
    network, twin = (nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2)) for _ in range(2))
    packing = Packing(network)
    assert packing.pack_attributes(network) == {}
    network[0].p, network.temperature = 0.25, 3.0  # pyright: ignore[reportArgumentType]
    network[1].eval()
    unpack({}, twin, packing.pack_attributes(network))
    found = twin[0].p, twin.temperature, twin[1].training
    assert found == (0.25, 3.0, False)
    network[0].p = 0.5  # as it was at first, and the twin must be told
    unpack({}, twin, packing.pack_attributes(network))
    assert twin[0].p == 0.5


def test_what_happened_is_known_after_the_end() -> None:
    x, y = data()
    batches = [(x[at : at + 32], y[at : at + 32], list(range(at, at + 32))) for at in (0, 32, 64)]
    with BatchSelector(
        "loss", keep=0.25, backend=Replay(), scoring=Scoring(max_staleness=1)
    ) as choose:
        stream = choose.stream(model(), batches)
        next(stream)
        choose._made[1].workers.notes.append("A note")  # pyright: ignore
        before = choose.schedule
    assert before == choose.schedule == [(0, (0, 0))]
    assert choose.notes == ["A note"]
    assert len(list(stream)) == 2
    assert [step for step, _ in choose.schedule] == [0, 1, 2]
    assert choose.notes == ["A note"]


def test_to_measure_the_cost_of_a_step_leaves_what_is_on_its_way() -> None:
    def schedule(*, measured: bool) -> Any:
        x, y = data()
        rows = [torch.arange(at, at + 32) for at in (0, 32, 64)]
        choose = BatchSelector(
            "loss", keep=0.25, backend=Replay(), scoring=Scoring(max_staleness=1, shortlist=0)
        )
        network, taken = model(), list[Any]()
        for chosen in choose.stream(network, [(x[part], y[part], part) for part in rows]):
            taken.append(chosen.ids.tolist())
            if measured and len(taken) == 2:
                choose.step_cost(network, (x[rows[2]], y[rows[2]], rows[2]))
        return taken, choose.schedule

    assert schedule(measured=True) == schedule(measured=False)


@pytest.mark.parametrize("value", ["two", 1.5, True, [1]])
def test_a_number_of_scorers_is_a_number(value: Any) -> None:
    for make in (keepers.Scorers, lambda count: Replay(scorers=count)):
        with pytest.raises(ParameterError, match="scorers: got"):
            make(value)
    with pytest.raises(ParameterError, match="max_staleness: got"):
        Scoring(max_staleness="1")  # pyright: ignore[reportArgumentType]


def test_what_scorers_cannot_be_given() -> None:
    for name, value in (("patience", "long"), ("gpus", -1), ("address", 5), ("weights", "fp8")):
        with pytest.raises(ParameterError, match=f"{name}: got"):
            keepers.Scorers(1, **{name: value})
    with pytest.raises(ParameterError, match="schedule: got int"):
        Replay(schedule=5)  # pyright: ignore[reportArgumentType]
    x, y = data()
    again = BatchSelector("loss", keep=0.25, backend=Replay(scorers=2, schedule=[(0, (0,))]))
    with pytest.raises(ParameterError, match="scorers: got 2, but the schedule has 1 pieces"):
        again(model(), (x, y, list(range(N))))


def test_batch_normalisation_is_refused_before_irreducible_losses_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepers.Scorers, "check", lambda self: None)  # Ray may not be there
    said: list[str] = []
    with pytest.raises(ParameterError, match="scorers: the model has batch normalisation"):
        keepers.train(
            "digits", select="rho-loss", model="preact20", scorers=1, run=tmp_path, say=said.append
        )
    assert not any("rreducible" in line for line in said)


def test_one_ray_serves_all_that_start_it_here(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"running": False, "started": 0}

    def start(*_: Any) -> None:
        state.update(running=True, started=state["started"] + 1)

    ray = SimpleNamespace(
        is_initialized=lambda: state["running"], shutdown=lambda: state.update(running=False)
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(cluster, "_start", start)
    monkeypatch.setattr(cluster, "check_cluster", lambda _: None)
    monkeypatch.setattr(cluster, "_users", 0)
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        first.enter_context(cluster.connected(1, None, "--scorers"))
        second.enter_context(cluster.connected(1, None, "--scorers"))
        first.close()
        assert cluster.is_running()  # the second needs it
        assert cluster.is_shared()
        second.close()
        assert not cluster.is_running()
    assert state["started"] == 1
    state["running"] = True  # by the program itself
    with cluster.connected(1, None, "--scorers"):
        assert not cluster.is_shared()
    assert cluster.is_running()
