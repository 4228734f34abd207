"""Selection that ends by itself: when, in which front, and that it goes on to the bit."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import forked
from emulated import DEVICE, Accelerator
from keepers.data import DensePool
from keepers.errors import KeepersWarning
from keepers.models import Recipe
from keepers.online import (
    BatchSelector,
    HandOver,
    IrreducibleLosses,
    RhoLoss,
    Selecting,
    Selector,
)
from keepers.online.handover import WINDOW, Watch
from keepers.training import Checkpoint, Hardware, Step, fit
from keepers.training.length import Length
from keepers.types import TrainView

N, CLASSES, FEATURES = 240, 3, 4
STEPS = 40
RUNTIME = Hardware(device="cpu", precision="fp32").runtime(gains_from_bf16=False)
RECIPE = Recipe(epochs=3, batch_size=8, lr=0.05, optimizer="adamw", weight_decay=0.0)
MESSAGE = "RHO-LOSS handed over to uniform steps after step"


def data(noise: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Easy vectors, of which some have another label, and which those are."""
    draw = torch.Generator().manual_seed(3)
    y = torch.arange(N) % CLASSES
    x = torch.randn(N, FEATURES, generator=draw) * 0.5
    x[torch.arange(N), y] += 2.0
    wrong = torch.rand(N, generator=draw) < noise
    return x, torch.where(wrong, (y + 1) % CLASSES, y), wrong


def fair(y: Tensor, wrong: Tensor, right: float = 0.6) -> Tensor:
    """Losses of a model that gives true labels `right`, more or less, and wrong ones little."""
    draw = torch.Generator().manual_seed(4)
    p = torch.where(wrong, 0.15, right) + 0.1 * (torch.rand(N, generator=draw) - 0.5)
    return -p.log()


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def losses_of(noise: float = 0.0) -> tuple[Tensor, Tensor, Tensor, IrreducibleLosses]:
    x, y, wrong = data(noise)
    return x, y, wrong, IrreducibleLosses.given(torch.arange(N), fair(y, wrong))


def loop(choose: BatchSelector, model: nn.Module, first: int = 0, last: int = STEPS) -> list[Any]:
    """A loop by hand over shuffled batches of 80; the ids of each step."""
    x, y, _ = data(0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    chosen: list[Any] = []
    for step in range(first, last):
        order = torch.randperm(N, generator=torch.Generator().manual_seed(step // 3))
        rows = order[(step % 3) * 80 :][:80]
        found = choose(model, (x[rows], y[rows], rows))
        chosen.append(found.ids.tolist())
        F.cross_entropy(model(found.batch[0]), found.labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    return chosen


# When --------------------------------------------------------------------------------------


def test_it_ends_when_the_target_knows_as_much_by_hand() -> None:
    watch, rows = Watch(), torch.tensor([1, 3])
    il = -torch.tensor([0.5, 0.5, 0.9, 0.1]).log()
    behind, level = (-torch.tensor(p).log() for p in ([0.4, 0.4, 0.6, 0.1], [0.6, 0.6, 0.9, 0.05]))
    for _ in range(WINDOW - 1):
        assert watch.note(behind, il, rows, False) is None
    over = watch.note(behind, il, rows, False)
    assert over is not None
    assert not over  # 0.375 < 0.5
    for _ in range(WINDOW - 1):
        assert watch.note(level, il, rows, False) is None
    over = watch.note(level, il, rows, False)
    assert over is not None
    assert over  # 0.5375 >= 0.5, whatever came before
    assert watch.ended is None
    ended = watch.end(2 * WINDOW, 0.5)
    assert ended.step == 2 * WINDOW
    assert ended.target == pytest.approx(0.5375)
    assert ended.irreducible == pytest.approx(0.5)
    reducible = [np.log(0.5 / 0.6), np.log(0.5 / 0.6), 0.0, np.log(2.0)]
    assert ended.chosen == pytest.approx((reducible[1] + reducible[3]) / 2, abs=1e-6)
    assert ended.rest == pytest.approx((reducible[0] + reducible[2]) / 2, abs=1e-6)
    assert ended.suspect == 0.5  # the last, which both find unlikely
    assert ended.suspect_rest == 0.0
    assert watch.ended is ended


def test_a_few_terrible_losses_do_not_keep_it_going() -> None:
    # By mean loss the target would stay behind for ever: one sure mistake in ten outweighs all.
    watch, rows = Watch(), torch.arange(3)
    il = torch.full((10,), 0.5)
    target = torch.full((10,), 0.05).index_fill(0, torch.tensor([0]), 12.0)
    assert target.mean() > il.mean()
    over = [watch.note(target, il, rows, False) for _ in range(WINDOW)][-1]
    assert over is not None
    assert bool(over)


def test_the_drift_into_noise_is_stopped() -> None:
    """Selected to the end, wrong labels come in; handed over, their share is that of the data."""
    _, _, wrong, losses = losses_of(0.2)
    drifting = RhoLoss(losses, keep=0.1, hand_over=False)
    ids = loop(drifting, network())
    assert drifting.ended is None
    early, late = (
        float(wrong[torch.tensor(part)].double().mean()) for part in (ids[:6], ids[-12:])
    )
    assert early < 0.1
    assert late > max(2 * early, 0.9 * float(wrong.double().mean()))
    choose = RhoLoss(losses, keep=0.1)
    with pytest.warns(KeepersWarning, match=MESSAGE) as said:
        ids = loop(choose, network())
    assert len([each for each in said if MESSAGE in str(each.message)]) == 1
    assert choose.ended is not None
    assert choose.ended.step % WINDOW == 0
    assert choose.ended.target >= choose.ended.irreducible
    assert f"after step {choose.ended.step}:" in str(choose.ended)
    after = torch.tensor(ids[choose.ended.step :][-27:]).flatten()
    assert float(wrong[after].double().mean()) == pytest.approx(
        float(wrong.double().mean()), abs=0.05
    )


def test_a_method_that_compares_with_nothing_is_not_watched() -> None:
    choose = BatchSelector("loss", losses_of()[3], keep=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop(choose, network())
    assert choose.ended is None


# After -------------------------------------------------------------------------------------


def ended() -> HandOver:
    return HandOver(step=8, target=0.7, irreducible=0.6)


def test_uniform_steps_score_nothing_and_come_to_all_equally_often() -> None:
    class Silent(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("scored")

    x, y, _, losses = losses_of()
    choose = RhoLoss(losses, keep=0.1)
    choose.selector.watch.ended = ended()
    times = torch.zeros(N)
    for step in range(30):  # ten passes, of each of which a tenth is taken
        order = torch.randperm(N, generator=torch.Generator().manual_seed(step // 3))
        rows = order[(step % 3) * 80 :][:80]
        chosen = choose(Silent(), (x[rows], y[rows], rows))
        assert torch.equal(chosen.batch[0], x[chosen.ids])
        assert torch.equal(chosen.ids, rows[chosen.rows])
        assert chosen.weights.tolist() == [1.0] * 8
        times[chosen.ids] += 1
    assert times.sum() == N
    assert times.max() <= 2
    assert (times == 1).double().mean() > 0.75  # of independent draws it would be 0.39
    with pytest.raises(ValueError, match="ids: got 3 for 80 labels"):
        choose(Silent(), (x[:80], y[:80], torch.arange(3)))


def test_a_hand_over_costs_no_wait_for_an_accelerator() -> None:
    x, y, wrong = data(0.2)
    losses = IrreducibleLosses.given(torch.arange(N), fair(y, wrong, right=0.2))
    with Accelerator() as accelerator, warnings.catch_warnings():
        warnings.simplefilter("ignore", KeepersWarning)
        choose, there = RhoLoss(losses, keep=8), accelerator.model(network())
        found: list[int] = []
        for _ in range(2 * WINDOW):
            accelerator.waits.clear()
            chosen = choose(there, (x.to(DEVICE), y.to(DEVICE), torch.arange(N)))
            found.append(len(accelerator.waits))
            assert chosen.rows.device == DEVICE
        assert choose.ended is not None
        assert choose.ended.step == WINDOW
        assert set(found[1 : WINDOW - 1]) == {1}  # the first also looks at the labels
        assert found[WINDOW - 1] == 2  # once: the numbers of the hand-over
        assert set(found[WINDOW:]) == {0}


# Resume ------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [3, 7, 8, 13, 30])
def test_a_loop_continues_to_the_same_choices(at: int) -> None:
    losses = losses_of(0.2)[3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KeepersWarning)
        choose = RhoLoss(losses, keep=0.1)
        whole = loop(choose, network())
        first, model = RhoLoss(losses, keep=0.1), network()
        before = loop(first, model, 0, at)
        second = RhoLoss(losses, keep=0.1)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        assert second.ended == first.ended
        assert before + loop(second, model, at) == whole
    assert second.ended == choose.ended
    assert choose.ended is not None


def test_a_state_with_hand_over_is_not_one_without() -> None:
    losses = losses_of()[3]
    with pytest.raises(ValueError, match=r"state: it is of a selector .* hand_over"):
        RhoLoss(losses, hand_over=False).load_state_dict(RhoLoss(losses).state_dict())


class Killed(BaseException):
    pass


class Record:
    def __init__(self, kill_after: int = 10**9) -> None:
        self.positions: list[list[int]] = []
        self.candidates: list[int] = []
        self.kill_after = kill_after

    def after_step(self, step: Step) -> float:
        if len(self.positions) == self.kill_after:
            raise Killed
        self.positions.append(step.positions.tolist())
        self.candidates.append(step.candidates)
        return 0.0

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...


def view() -> TrainView:
    x, y, _ = data(0.2)
    return TrainView(pool=DensePool(x), labels=y, positions=torch.arange(N), augment=None)


def policy(*, hand_over: bool = True, **given: Any) -> Selecting:
    x, y, wrong = data(0.2)

    def make(module: nn.Module, runtime: Any) -> Selector:
        return Selector(
            "rho-loss",
            keep=0.1,
            irreducible=fair(y, wrong),
            num_examples=len(x),
            hand_over=hand_over,
            **given,
        )

    return Selecting(make, keep=0.1, name="rho-loss")


def trained(policy: Any, record: Record, seed: int = 0, **given: Any) -> tuple[Any, nn.Module]:
    module = network(seed)
    result = fit(
        module,
        view(),
        RECIPE,
        runtime=RUNTIME,
        seed=0,
        policy=policy,
        observers=[record],
        length=Length(steps=60),
        **given,
    )
    return result, module


@pytest.mark.parametrize("killed_after", [7, 16, 33])
def test_a_killed_training_hands_over_at_the_same_step(tmp_path: Path, killed_after: int) -> None:
    chooses, whole = policy(), Record()
    done, module = trained(chooses, whole)
    assert chooses.ended is not None
    assert 8 <= chooses.ended.step <= 24
    keep = Checkpoint(path=tmp_path / "checkpoint.safetensors", every=0.0)
    before, after, again = Record(killed_after), Record(), policy()
    with pytest.raises(Killed):
        trained(policy(), before, keep=keep)
    redone, resumed = trained(again, after, seed=9, keep=keep)
    assert before.positions + after.positions == whole.positions
    assert again.ended == chooses.ended
    assert done.cost.flops == redone.cost.flops
    assert done.candidates == redone.candidates
    for one, other in zip(module.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_training_has_its_steps_and_batches_all_the_same() -> None:
    chooses, record = policy(), Record()
    result, _ = trained(chooses, record)
    assert chooses.ended is not None
    at = chooses.ended.step
    assert result.cost.steps == 60
    assert {len(rows) for rows in record.positions} == {8}
    new = np.diff([0, *record.candidates]).tolist()
    assert new == [80] * at + [8] * (60 - at)  # what is not looked at is no candidate
    times = torch.zeros(N)
    for rows in record.positions[at : at + 30]:
        times[rows] += 1
    assert times.max() <= 2
    to_the_end = policy(hand_over=False)
    trained(to_the_end, Record())
    assert to_the_end.ended is None


# Several processes -------------------------------------------------------------------------


def worker(folder: str) -> None:
    """Every process has batches of its own, and one of them alone would hand over later."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    rank = dist.get_rank()
    x, y, wrong = data(0.2)
    irreducible = fair(y, wrong)
    choose = RhoLoss(IrreducibleLosses.given(torch.arange(N), irreducible), keep=0.1)
    choose.in_step = True
    chooses, record = policy(), Record()
    trained(chooses, record)
    assert chooses.ended is not None
    model, ends = network(), -1
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    half = torch.arange(rank, N, 2)
    if rank:  # its candidates are the harder ones
        half = half[x[half].norm(dim=1).argsort()[:80]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KeepersWarning)
        for step in range(60):
            found = choose(model, (x[half], y[half], half))
            if choose.ended is not None and ends < 0:
                ends = step
            F.cross_entropy(model(found.batch[0]), found.labels).backward()
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad)
                parameter.grad /= 2
            optimizer.step()
            optimizer.zero_grad()
    facts = None if choose.ended is None else vars(choose.ended)
    report = {"ends": ends, "facts": facts, "fit": vars(chooses.ended), "rows": record.positions}
    Path(folder, f"rank{rank}.json").write_text(json.dumps(report))
    dist.destroy_process_group()


def test_processes_hand_over_together(tmp_path: Path) -> None:
    job = {"function": "test_online_handover:worker", "path": str(Path(__file__).parent)}
    (done,) = forked.run({**job, "arguments": {"folder": str(tmp_path)}, "ranks": 2})
    assert done.status == 0, done.stderr
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["ends"] >= WINDOW - 1
    alone, record = policy(), Record()
    trained(alone, record)
    assert alone.ended is not None
    assert first["fit"]["step"] == alone.ended.step
    assert first["rows"] == record.positions
