"""Online selection and InfoBatch as batch policies of `fit`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import forked
from keepers.data import DensePool, crop_and_flip
from keepers.errors import KeepersError, ParameterError
from keepers.models import Recipe, count_flops
from keepers.online import Companion, InfoBatch, Scoring, Selecting, Selector
from keepers.random import generator
from keepers.training import (
    BatchPolicy,
    Candidates,
    Checkpoint,
    Choice,
    Fitted,
    Hardware,
    Shuffle,
    Step,
    fit,
)
from keepers.training.length import Length
from keepers.training.optim import SCHEDULES
from keepers.training.policy import next_batch
from keepers.types import TrainView

RUNTIME = Hardware(device="cpu", precision="fp32").runtime(gains_from_bf16=False)
N = 90
RECIPE = Recipe(epochs=3, batch_size=8, lr=0.01, optimizer="adamw", weight_decay=1e-2)


def view(*, augment: bool = False, members: int = N) -> TrainView:
    draw = torch.Generator().manual_seed(1)
    labels = torch.randint(3, (N,), generator=draw)
    images = torch.randint(0, 100, (N, 1, 4, 4), generator=draw, dtype=torch.uint8)
    images[torch.arange(N), 0, labels] += 120
    return TrainView(
        pool=DensePool(images),
        labels=labels,
        positions=torch.arange(N - members, N),
        augment=crop_and_flip(padding=1) if augment else None,
    )


def irreducible() -> Tensor:
    return torch.rand(N, generator=torch.Generator().manual_seed(2))


def network(seed: int = 0, *, norm: bool = True, dropout: float = 0.2) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        middle = nn.BatchNorm2d(4) if norm else nn.Identity()
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            middle,
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(64, 3),
        )


def same(left: nn.Module, right: nn.Module) -> bool:
    values = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in values)


class Killed(BaseException):
    pass


class Record:
    """Remembers what each step trained on; ends the work after so many steps."""

    def __init__(self, kill_after: int = 10**9) -> None:
        self.steps: list[Step] = []
        self.kill_after = kill_after

    def after_step(self, step: Step) -> float:
        if len(self.steps) == self.kill_after:
            raise Killed
        self.steps.append(step)
        return 0.0

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        pass

    @property
    def positions(self) -> list[list[int]]:
        return [step.positions.tolist() for step in self.steps]


def selecting(
    method: str = "rho-loss", *, keep: float = 0.2, until: float = 1.0, **given: Any
) -> Selecting:
    given.setdefault("irreducible", irreducible())

    def make(module: nn.Module, runtime: Any) -> Selector:
        made = {name: value() if callable(value) else value for name, value in given.items()}
        return Selector(method, keep=keep, num_examples=N, **made)

    return Selecting(make, keep=keep, until=until, name=method, ids=range(1000, 1000 + N))


def train(
    module: nn.Module,
    policy: BatchPolicy,
    *,
    seen: TrainView | None = None,
    record: Record | None = None,
    recipe: Recipe = RECIPE,
    seed: int = 0,
    **given: Any,
) -> Fitted:
    return fit(
        module,
        seen or view(),
        recipe,
        runtime=RUNTIME,
        seed=seed,
        policy=policy,
        observers=[record] if record else [],
        **given,
    )


# The selected set ---------------------------------------------------------------------------


def by_hand(
    method: str, module: nn.Module, keep: float, until: float = 1.0, batch_norm: str = "batch"
) -> list[list[int]]:
    """The same training with a plain loop and scores from their definitions."""
    seen, found = view(), []
    module.train()
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=1.0, weight_decay=RECIPE.weight_decay, fused=True
    )
    factor = SCHEDULES[RECIPE.schedule]
    size = round(RECIPE.batch_size / keep)
    for epoch in range(RECIPE.epochs):
        order = torch.randperm(N, generator=generator(0, "order", epoch))
        offset = 0
        while offset < N:
            progress = (epoch + offset / (size * -(-N // size))) / RECIPE.epochs
            selects = progress < until
            group = next_batch(order, offset, size if selects else RECIPE.batch_size)
            offset += len(group)
            (x,), y = seen.pool.gather(group), seen.labels[group]
            rows = torch.arange(len(group))
            if selects:
                running = [value.clone() for value in module.buffers()]
                module.train(batch_norm == "batch")
                with torch.no_grad():
                    loss = F.cross_entropy(module(x), y, reduction="none")
                module.train()
                for value, old in zip(module.buffers(), running, strict=True):
                    value.copy_(old)
                score = {"rho-loss": loss - irreducible()[group], "loss": loss}[method]
                k = max(1, int(keep * len(group) + 0.5))
                rows = score.sort(descending=True, stable=True).indices[:k]
            found.append(group[rows].tolist())
            for parameters in optimizer.param_groups:
                parameters["lr"] = RECIPE.lr * factor(progress)
            F.cross_entropy(module(x[rows]), y[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return found


@pytest.mark.parametrize("method", ["rho-loss", "loss"])
@pytest.mark.parametrize("batch_norm", ["batch", "eval"])
def test_fit_selects_what_a_plain_loop_does(method: str, batch_norm: Any) -> None:
    record = Record()
    policy = selecting(method, scoring=Scoring(batch_norm=batch_norm))
    train(network(dropout=0.0), policy, record=record)
    expected = by_hand(method, network(dropout=0.0), 0.2, batch_norm=batch_norm)
    assert record.positions == expected
    assert [len(rows) for rows in expected] == [8, 8, 2] * 3  # the last, short one: same share


@pytest.mark.parametrize(
    ("keep", "batch_size"), [(0.9, 8), (0.75, 4), (0.95, 8), (0.6, 8), (0.3, 8), (0.1, 2)]
)
def test_a_step_trains_on_the_batch_size_whatever_the_fraction(
    keep: float, batch_size: int
) -> None:
    record = Record()
    train(
        network(dropout=0.0),
        selecting("loss", keep=keep),
        record=record,
        recipe=replace(RECIPE, epochs=1, batch_size=batch_size),
    )
    assert {len(step.positions) for step in record.steps[:-1]} == {batch_size}
    assert len(record.steps[-1].positions) <= batch_size + 2


def test_uniform_steps_end_a_training() -> None:
    record = Record()
    train(network(dropout=0.0), selecting(until=0.5), record=record)
    assert record.positions == by_hand("rho-loss", network(dropout=0.0), 0.2, until=0.5)
    assert len(record.steps[0].positions) == len(record.steps[-2].positions) == 8


def test_a_selector_that_is_ignored_changes_nothing() -> None:
    class Ignored(Selecting):
        """Scores the very batch that a uniform step trains on, and lets it be."""

        def num_candidates(self, batch_size: int, progress: float) -> int:
            return batch_size

        def choose(self, candidates: Candidates, progress: float) -> Choice | None:
            assert super().choose(candidates, progress) is not None
            return None

    plain = network()
    train(plain, Shuffle(), seen=view(augment=True))
    for method in ("rho-loss", "bald", "gradient-norm-is", "random"):
        like = selecting(method, scoring=Scoring(samples=2))
        beside, record = network(), Record()
        ignored = Ignored(like.make, keep=0.2)
        train(beside, ignored, seen=view(augment=True), record=record)
        assert same(plain, beside), method
        assert all(len(step.positions) > 1 for step in record.steps)


def test_running_statistics_move_under_batch_and_update_alone() -> None:
    def tracked(batch_norm: Any) -> int:
        module = network()
        train(module, selecting(scoring=Scoring(batch_norm=batch_norm)))
        return int(module.state_dict()["1.num_batches_tracked"])

    assert [tracked("batch"), tracked("eval"), tracked("batch-and-update")] == [9, 9, 18]


def test_weights_of_a_draw_scale_the_losses() -> None:
    record, module = Record(), network(norm=False, dropout=0.0)
    weighted: list[Tensor] = []

    class Watched(Selecting):
        def choose(self, candidates: Candidates, progress: float) -> Choice | None:
            choice = super().choose(candidates, progress)
            assert choice is not None
            assert choice.weights is not None
            weighted.append(choice.weights)
            return choice

    like = selecting("gradient-norm-is")
    result = train(
        module, Watched(like.make, keep=0.2), record=record, recipe=replace(RECIPE, epochs=1)
    )
    expected = [
        float((F.cross_entropy(step.logits, step.labels, reduction="none") * weights).mean())
        for step, weights in zip(record.steps, weighted, strict=True)
    ]
    assert result.losses[0] == pytest.approx(sum(expected) / 3, rel=1e-5)


def test_nan_is_named_by_the_id_of_the_data() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            out = self.linear(x.flatten(1))
            return (
                out if self.training else out * torch.where(x.flatten(1)[:, :1] > 0.3, torch.nan, 1)
            )

    seen = view()
    first = torch.randperm(N, generator=generator(0, "order", 0))[:40]
    wrong = [int(i) for i in first if float(seen.pool.gather(i[None])[0].flatten()[0]) > 0.3]
    shown = ", ".join(str(1000 + i) for i in wrong[:5])
    message = rf"losses: step 1 scores NaN for {len(wrong)} candidates, such as \[{shown}\]"
    with pytest.raises(KeepersError, match=message):
        train(Broken(), selecting())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": 5}, "keep: got the count 5. Give the fraction of the candidates"),
        ({"keep": 0.0}, "keep: got 0.0, which keeps nothing"),
        ({"until": 0.0}, r"until: got 0.0. Give a share of the training in \(0, 1\]"),
    ],
)
def test_settings_that_cannot_be(given: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        selecting(**given)


# Cost ----------------------------------------------------------------------------------------


def test_flops_are_those_of_what_was_scored() -> None:
    seen, one = view(), replace(RECIPE, epochs=1)
    plain = network(norm=False)
    forward = count_flops(plain, seen.pool.gather(torch.arange(1)))
    small = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    little = count_flops(small, seen.pool.gather(torch.arange(1)))

    def scoring_flops(**given: Any) -> float:
        result = train(network(norm=False), selecting(**given), recipe=one)
        assert result.candidates == N
        assert result.choosing_seconds > 0
        return result.cost.flops - 3 * forward * result.cost.examples

    assert scoring_flops() == forward * N
    assert scoring_flops(method="random") == 0
    assert scoring_flops(scoring=Scoring(part=0.5)) == forward * 45
    assert scoring_flops(method="bald", scoring=Scoring(samples=3)) == 3 * forward * N
    beside = scoring_flops(
        stand_in=lambda: Companion(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)))
    )
    assert beside == little * (N + 3 * 18)
    pooled = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    quarter = train(pooled, selecting(scoring=Scoring(resolution=2)), recipe=one)
    whole = count_flops(pooled, seen.pool.gather(torch.arange(1)))
    assert quarter.cost.flops == whole * (3 * quarter.cost.examples + N / 4)
    two = replace(RECIPE, epochs=2)
    result = train(network(norm=False), selecting(scoring=Scoring(max_age=10)), recipe=two)
    assert result.cost.flops == forward * (3 * result.cost.examples + N)  # the second is free


# Resume --------------------------------------------------------------------------------------

POLICIES: dict[str, Callable[[], BatchPolicy]] = {
    "rho-loss": selecting,
    "until": lambda: selecting(until=0.6),
    "batch-and-update": lambda: selecting(scoring=Scoring(batch_norm="batch-and-update")),
    "dropout": lambda: selecting(scoring=Scoring(dropout=True)),
    "max-age": lambda: selecting(scoring=Scoring(max_age=4, batch_norm="eval")),
    "part": lambda: selecting(scoring=Scoring(part=0.5)),
    "stand-in": lambda: selecting(stand_in=lambda: Companion(network(5, norm=False), lr=0.05)),
    "original": lambda: selecting(updated=lambda: Companion(network(6), lr=1e-3)),
    "importance": lambda: selecting("gradient-norm-is"),
    "backprop": lambda: selecting("selective-backprop"),
    "bald": lambda: selecting("bald", scoring=Scoring(samples=2)),
    "infobatch": lambda: InfoBatch(keep=0.5, off=0.1),
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("killed_after", [1, 3, 5, 8])
def test_a_killed_training_continues_to_the_same_bits(
    tmp_path: Path, name: str, killed_after: int
) -> None:
    make, seen = POLICIES[name], view(augment=True)
    whole, all_steps = network(), Record()
    done = train(whole, make(), seen=seen, record=all_steps)
    keep = Checkpoint(path=tmp_path / "checkpoint.safetensors", every=0.0)
    before = Record(killed_after)
    with pytest.raises(Killed):
        train(network(), make(), seen=seen, record=before, keep=keep)
    resumed, after = network(9), Record()
    redone = train(resumed, make(), seen=seen, record=after, keep=keep)
    assert same(whole, resumed)
    assert before.positions + after.positions == all_steps.positions
    assert done.losses == redone.losses
    for field in ("steps", "examples", "flops"):
        assert getattr(done.cost, field) == getattr(redone.cost, field)


# InfoBatch -----------------------------------------------------------------------------------


def infobatch(**given: Any) -> InfoBatch:
    policy = InfoBatch(**{"keep": 0.5, "off": 0.2, **given})
    policy.start(nn.Identity(), runtime=RUNTIME, seed=0, num_examples=20, batch_size=4)
    return policy


def note(policy: InfoBatch, positions: Sequence[int], losses: Sequence[float]) -> None:
    """Let the policy see these losses: those of logits (0, z) for label 0 are log(1 + e^z)."""
    z = torch.tensor(losses).expm1().log()
    logits = torch.stack([torch.zeros_like(z), z], 1)
    labels = torch.zeros(len(losses), dtype=torch.int64)
    policy.after_step(Step(positions=torch.tensor(positions), labels=labels, logits=logits))


def test_infobatch_leaves_out_half_of_those_below_the_mean() -> None:
    policy, members = infobatch(), torch.arange(20)
    note(policy, range(20), [0.1] * 12 + [4.0] * 8)  # the mean is 1.66
    order = policy.order(members, seed=0, epoch=1)
    kept = set(order.tolist())
    assert set(range(12, 20)) <= kept
    assert len(order) == len(kept) == 14
    below = torch.tensor(sorted(kept & set(range(12))))
    assert policy.weights(below).tolist() == [2.0] * 6
    assert policy.weights(torch.arange(12, 20)).tolist() == [1.0] * 8
    assert set(policy.order(members, seed=0, epoch=2).tolist()) != kept
    assert policy.order(members, seed=0, epoch=1).tolist() == order.tolist()


@pytest.mark.parametrize(("keep", "below"), [(0.5, 12), (0.5, 3), (0.3, 1), (0.9, 7), (1.0, 5)])
def test_infobatch_is_unbiased(keep: float, below: int) -> None:
    values = torch.cat([torch.linspace(0.1, 0.5, below), torch.full((20 - below,), 8.0)])
    policy, members = infobatch(keep=keep), torch.arange(20)
    note(policy, range(20), values.tolist())
    total = torch.zeros(20)
    for epoch in range(1, 1500):
        order = policy.order(members, seed=0, epoch=epoch)
        weights = policy.weights(order)
        assert float(weights.sum()) == pytest.approx(20, rel=1e-5)
        total[order] += weights
    assert (total / 1499 - 1).abs().max() < 0.15  # each counts as once an epoch


def test_infobatch_leaves_nothing_out_where_all_losses_are_equal() -> None:
    policy = infobatch()
    policy.losses[:] = 0.25
    assert sorted(policy.order(torch.arange(10), seed=0, epoch=1).tolist()) == list(range(10))
    assert policy.weights(torch.arange(10)).tolist() == [1.0] * 10


def test_infobatch_trains_on_all_at_first_and_at_the_end() -> None:
    policy, members = infobatch(), torch.arange(20)
    for epoch in range(10):
        order = policy.order(members, seed=0, epoch=epoch, progress=epoch / 10)
        whole = epoch == 0 or epoch >= 8
        assert (sorted(order.tolist()) == members.tolist()) == whole
        assert bool((policy.weights(order) == 1).all()) == whole
        note(policy, range(20), [0.1] * 12 + [4.0] * 8)


def test_infobatch_keeps_what_it_has_not_seen() -> None:
    policy = infobatch()
    note(policy, [0, 1, 2, 3], [0.1, 0.1, 4.0, 4.0])
    order = policy.order(torch.arange(20), seed=0, epoch=1).tolist()
    assert set(range(2, 20)) <= set(order)
    assert len(order) == 19


def test_infobatch_through_fit() -> None:
    policy, record = InfoBatch(keep=0.5, off=0.25), Record()
    module = network(dropout=0.0)
    recipe = replace(RECIPE, epochs=4, lr=0.02)
    result = train(module, policy, record=record, recipe=recipe, seen=view(members=80))
    by_epoch: list[list[int]] = [[] for _ in range(4)]
    for step in record.steps:
        by_epoch[int(step.epoch) - (step.epoch == int(step.epoch))].extend(step.positions.tolist())
    sizes = [len(positions) for positions in by_epoch]
    assert sizes[0] == sizes[3] == 80
    assert 40 <= sizes[1] < 80
    assert 40 <= sizes[2] < 80
    assert all(len(set(positions)) == len(positions) for positions in by_epoch)
    assert result.cost.examples == sum(sizes)
    first = {
        int(p): float(loss)
        for step in record.steps[:10]
        for p, loss in zip(
            step.positions,
            F.cross_entropy(step.logits, step.labels, reduction="none"),
            strict=True,
        )
    }
    mean = sum(first.values()) / 80
    below = {p for p, loss in first.items() if loss < mean}
    assert set(first) - below <= set(by_epoch[1])
    assert len(below & set(by_epoch[1])) == max(1, int(0.5 * len(below) + 0.5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": 0.0}, r"keep: got 0.0. Give the fraction that stays, in \(0, 1\]"),
        ({"keep": 1.2}, "keep: got 1.2"),
        ({"off": -0.1}, r"off: got -0.1. Give a share of the training in \[0, 1\]"),
    ],
)
def test_infobatch_out_of_range(given: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        InfoBatch(**given)


# Several processes ---------------------------------------------------------------------------


def run_and_record(norm: bool, method: str) -> list[list[int]]:
    record = Record()
    scoring = Scoring(max_age=2 if method == "max-age" else 0)
    policy = selecting("rho-loss" if method == "max-age" else method, scoring=scoring)
    seen = view(members=80)  # whole groups of candidates: a short one joins the one before
    train(network(norm=norm, dropout=0.0), policy, record=record, seen=seen)
    return record.positions


CASES = [(False, "rho-loss"), (True, "rho-loss"), (False, "max-age"), (False, "gradient-norm-is")]


def worker(folder: str) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    assert dist.get_world_size() == 2
    found = [run_and_record(norm, method) for norm, method in CASES]
    Path(folder, f"rank{dist.get_rank()}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def test_two_processes_select_what_one_does(tmp_path: Path) -> None:
    job = {"function": "test_online_policy:worker", "path": str(Path(__file__).parent)}
    (done,) = forked.run({**job, "arguments": {"folder": str(tmp_path)}, "ranks": 2})
    assert done.status == 0, done.stderr
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    for (norm, method), found in zip(CASES, first, strict=True):
        alone = run_and_record(norm, method)
        if norm:  # training statistics are those of each process's part
            assert found[0] == alone[0]
        else:
            assert found == alone, method


@pytest.mark.parametrize("length", [Length(steps=60), Length(epochs=6)], ids=["steps", "epochs"])
def test_infobatch_prunes_until_the_last_share_of_any_length(length: Length) -> None:
    policy, record = InfoBatch(keep=0.2, off=0.3), Record()
    fit(
        network(dropout=0.0),
        view(members=80),
        replace(RECIPE, lr=0.02),
        runtime=RUNTIME,
        seed=1,
        policy=policy,
        observers=[record],
        length=length,
    )
    by_epoch: dict[int, list[Step]] = {}
    for step in record.steps:
        by_epoch.setdefault(math.ceil(step.epoch - 1e-9), []).append(step)
    whole = [sum(len(step.positions) for step in steps) for steps in by_epoch.values()]
    began = [steps[0].progress for steps in by_epoch.values()]
    for size, progress in list(zip(whole, began, strict=True))[:-1]:
        assert (size == 80) == (progress == 0 or progress >= 0.7), (size, progress)
    assert any(0 < progress < 0.7 for progress in began)
