from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepers.data import DensePool, crop_and_flip
from keepers.errors import KeepersError, ParameterError, RunError
from keepers.models import Recipe
from keepers.random import generator
from keepers.signals import extract, store
from keepers.training import (
    Checkpoint,
    Dynamics,
    FreshSubset,
    Hardware,
    Length,
    Shuffle,
    Step,
    estimate_seconds,
    fit,
    optimizer_state,
)
from keepers.training.optim import SCHEDULES, cosine, one_cycle, optimizer
from keepers.training.policy import next_batch, num_batches
from keepers.types import EvalView, TrainView

RUNTIME = Hardware(device="cpu", precision="fp32").runtime(gains_from_bf16=False)
RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, weight_decay=1e-4)


def pictures(n: int = 50) -> tuple[DensePool, Tensor]:
    draw = torch.Generator().manual_seed(1)
    labels = torch.randint(3, (n,), generator=draw)
    images = torch.randint(0, 100, (n, 1, 8, 8), generator=draw, dtype=torch.uint8)
    images[torch.arange(n), 0, labels] += 120  # class c lights up row c
    return DensePool(images), labels


def view(n: int = 50, *, augment: bool = True) -> TrainView:
    pool, labels = pictures(n)
    return TrainView(
        pool=pool,
        labels=labels,
        positions=torch.arange(n),
        augment=crop_and_flip(padding=1) if augment else None,
    )


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(256, 3),
        )


def weights(module: nn.Module) -> list[Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def same(left: nn.Module, right: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(left), weights(right), strict=True))


def train(module: nn.Module, **given: object) -> nn.Module:
    defaults: dict[str, object] = {"runtime": RUNTIME, "seed": 0}
    fit(module, view(), RECIPE, **(defaults | given))  # type: ignore[arg-type]
    return module


def test_fit_is_a_plain_loop() -> None:
    module, plain = network(), network()
    module[3].p = plain[3].p = 0.0
    seen = view(augment=False)
    fit(module, seen, RECIPE, runtime=RUNTIME, seed=7)

    plain.train().to(memory_format=torch.channels_last)
    optim = torch.optim.SGD(plain.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-4)
    step, total = 0, 3 * 4
    for epoch in range(3):
        order = torch.randperm(50, generator=generator(7, "order", epoch))
        for rows in order.split(16):
            for group in optim.param_groups:
                group["lr"] = 0.05 * one_cycle(step / total)
            optim.zero_grad()
            F.cross_entropy(plain(*seen.pool.gather(rows)), seen.labels[rows]).backward()
            optim.step()
            step += 1
    for ours, theirs in zip(weights(module), weights(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_few_examples_are_seen_more_often_until_there_are_enough_steps() -> None:
    few, seen = replace(RECIPE, min_steps=20), view(augment=False)
    found = fit(network(), seen, few, runtime=RUNTIME, seed=7)
    assert (found.cost.steps, found.epochs) == (20, 5)  # 4 steps an epoch, where 3 are 12
    named = network()
    fit(named, seen, replace(RECIPE, epochs=5), runtime=RUNTIME, seed=7)
    assert same(found.module, named)  # the schedule spans the steps that there are
    enough = replace(RECIPE, min_steps=12)
    assert fit(network(), seen, enough, runtime=RUNTIME, seed=7).cost.steps == 12
    asked = fit(network(), seen, few, runtime=RUNTIME, seed=7, length=Length(steps=2))
    assert asked.cost.steps == 2


def test_weights_fade_where_few_examples_are_seen_often() -> None:
    def trained(*, length: Any = None, policy: Any = None, **changed: Any) -> nn.Module:
        recipe = replace(RECIPE, optimizer="adamw", lr=1e-2, min_steps=20, **changed)
        given = {"runtime": RUNTIME, "seed": 7, "length": length, "policy": policy}
        return fit(network(), view(augment=False), recipe, **given).module

    faded = trained(decay_epochs=5, weight_decay=0.0)  # 50 rows in batches of 16: 4 steps
    assert same(faded, trained(weight_decay=1 / (1e-2 * 5 * 4)))
    assert not same(faded, trained(weight_decay=0.0))
    assert same(trained(decay_epochs=5, weight_decay=50.0), trained(weight_decay=50.0))
    short = {"length": Length(epochs=3)}
    assert same(trained(**short, decay_epochs=5), trained(**short))  # as often as the recipe says
    ends = {"length": Length(steps=12), "policy": FreshSubset(32)}  # which has 2 steps an epoch
    assert same(trained(**ends, decay_epochs=5), trained(**ends))


def test_a_subset_of_each_epoch_counts_the_steps_that_it_has() -> None:
    few = replace(RECIPE, min_steps=20)
    found = fit(network(), view(), few, runtime=RUNTIME, seed=0, policy=FreshSubset(32))
    assert found.cost.steps == 20


def test_same_seed_same_bits_and_other_seed_not() -> None:
    assert same(train(network()), train(network()))
    assert not same(train(network()), train(network(), seed=1))


def test_global_random_state_is_untouched() -> None:
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()
    train(network())
    estimate_seconds(network(), view(), RECIPE, runtime=RUNTIME, budget=0.0)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])


class Killed(BaseException):
    pass


class KillAfter:
    """An observer that ends the process' work after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def after_step(self, step: Step) -> float:
        self.steps -= 1
        if self.steps < 0:
            raise Killed
        return 0.0

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        pass


@pytest.mark.parametrize("optimizer_name", ["sgd", "adamw"])
@pytest.mark.parametrize("killed_after", [0, 1, 5, 8, 11])
def test_a_killed_training_continues_to_the_same_bits(
    tmp_path: Path, killed_after: int, optimizer_name: str
) -> None:
    recipe = replace(RECIPE, optimizer=optimizer_name)
    keep = Checkpoint(path=tmp_path / "checkpoint.safetensors", every=0.0)
    whole, dynamics = network(), Dynamics(50)
    done = fit(whole, view(), recipe, runtime=RUNTIME, seed=3, observers=[dynamics])

    seen = Dynamics(50)
    with pytest.raises(Killed):
        fit(
            network(),
            view(),
            recipe,
            runtime=RUNTIME,
            seed=3,
            observers=[seen, KillAfter(killed_after)],
            keep=keep,
        )
    resumed, again = network(9), Dynamics(50)  # other first weights: only the checkpoint counts
    if killed_after == 0:
        resumed = network()
    redone = fit(resumed, view(), recipe, runtime=RUNTIME, seed=3, observers=[again], keep=keep)
    assert same(whole, resumed)
    assert torch.equal(dynamics.forgetting(), again.forgetting())
    assert torch.equal(dynamics.aum(), again.aum())
    assert done.losses == redone.losses
    assert (done.cost.steps, done.cost.examples) == (redone.cost.steps, redone.cost.examples)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    keep = Checkpoint(path=tmp_path / "c", every=0.0)
    train(network(), keep=keep)
    with pytest.raises(RunError, match="to another training"):
        train(network(), keep=keep, seed=5)


def test_stopping_early_follows_the_whole_schedule() -> None:
    early = network()
    result = fit(early, view(), RECIPE, runtime=RUNTIME, seed=0, stop_after=1)
    assert len(result.losses) == 1
    assert result.cost.steps == 4
    other = network()
    fit(other, view(), replace(RECIPE, epochs=1), runtime=RUNTIME, seed=0)
    assert not same(early, other)  # one epoch of three is not a schedule of one


def test_costs_are_counted() -> None:
    result = fit(network(), view(), RECIPE, runtime=RUNTIME, seed=0)
    assert (result.cost.steps, result.cost.examples) == (12, 150)
    convolution, linear = 2 * 4 * 9 * 64, 2 * 256 * 3
    assert result.cost.flops == 3 * 150 * (convolution + linear)


def test_nothing_to_train_on_and_too_small_batches_are_refused() -> None:
    with pytest.raises(ParameterError, match="no example"):
        fit(
            network(),
            view().restrict(torch.empty(0, dtype=torch.int64)),
            RECIPE,
            runtime=RUNTIME,
            seed=0,
        )
    with pytest.raises(ParameterError, match="batch_size"):
        fit(network(), view(), replace(RECIPE, batch_size=1), runtime=RUNTIME, seed=0)


def test_a_diverged_training_stops_with_a_remedy() -> None:
    with pytest.raises(KeepersError, match=r"not finite in epoch 1.*Lower lr"):
        fit(
            network(),
            view(),
            replace(RECIPE, lr=1e30, schedule="constant"),
            runtime=RUNTIME,
            seed=0,
        )


@pytest.mark.parametrize(("length", "size"), [(1, 4), (4, 4), (5, 4), (9, 4), (10, 4), (3, 8)])
def test_number_of_batches(length: int, size: int) -> None:
    order, parts, start = torch.arange(length), [], 0
    while start < length:
        parts.append(next_batch(order, start, size))
        start += len(parts[-1])
    assert torch.equal(torch.cat(parts), torch.arange(length))
    assert len(parts) == num_batches(length, size)
    assert len(parts) == 1 or min(map(len, parts)) >= 2


def test_shuffle_visits_every_member_once() -> None:
    members = torch.tensor([3, 5, 8, 9, 11])
    first = Shuffle().order(members, seed=0, epoch=0)
    assert torch.equal(first.sort().values, members)
    assert not torch.equal(first, Shuffle().order(members, seed=0, epoch=1))


def test_fresh_subsets_visit_everything_before_repeating() -> None:
    members = torch.arange(20)
    policy = FreshSubset(5)
    epochs = [policy.order(members, seed=0, epoch=epoch) for epoch in range(8)]
    assert all(len(set(epoch.tolist())) == 5 for epoch in epochs)
    assert torch.equal(torch.cat(epochs[:4]).sort().values, members)
    assert torch.equal(torch.cat(epochs[4:]).sort().values, members)


@pytest.mark.parametrize("size", range(1, 22))
def test_no_example_comes_twice_in_a_fresh_subset(size: int) -> None:
    members = torch.arange(100, 120)
    for epoch in range(12):
        drawn = FreshSubset(size).order(members, seed=0, epoch=epoch).tolist()
        assert len(drawn) == len(set(drawn)) == min(size, 20)
        assert set(drawn) <= set(members.tolist())


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_stay_within_the_peak(name: str) -> None:
    values = [SCHEDULES[name](step / 500) for step in range(500)]
    assert max(values) == pytest.approx(1.0, abs=1e-4)
    assert min(values) >= 0.0


def test_decaying_schedules_end_near_nothing() -> None:
    assert cosine(0.999) < 1e-4
    assert one_cycle(0.999) < 1e-4


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_optimisers_step_like_those_of_torch_to_the_bit(name: str) -> None:
    ours, theirs = network(3), network(3)
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[name]
    given = {"lr": 0.1, "weight_decay": 0.01} | ({"momentum": 0.9} if name == "sgd" else {})
    ways = (
        (ours, optimizer(name, ours, lr=0.1, momentum=0.9, weight_decay=0.01)),
        (theirs, kind(theirs.parameters(), fused=True, **given)),
    )
    inputs = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for module, stepping in ways:
        module.eval()  # no dropout
        for _ in range(4):
            module(inputs).logsumexp(1).mean().backward()
            stepping.step()
            stepping.zero_grad()
    assert not same(ours, network(3))
    assert same(ours, theirs)
    states = [optimizer_state(stepping) for _, stepping in ways]
    expected = ways[1][1].state_dict()["state"]
    assert states[0].keys() == states[1].keys()
    assert len(states[0]) == sum(len(entry) for entry in expected.values())
    assert all(torch.equal(states[0][key], value) for key, value in states[1].items())


def test_a_process_that_torchrun_did_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("MASTER_PORT", "29500")
    with pytest.raises(KeepersError, match="WORLD_SIZE is 4, but RANK, LOCAL_RANK, MASTER_ADDR"):
        Hardware(device="cpu").runtime(gains_from_bf16=False)


def test_unknown_optimizer_and_schedule_name_the_nearest() -> None:
    with pytest.raises(ParameterError, match="Did you mean 'adamw'"):
        optimizer("adam", network(), lr=0.1, momentum=0.9, weight_decay=0.0)


def test_forgetting_events_by_hand() -> None:
    # Example 0: right, wrong, right, wrong: 2 events. 1: never right. 2: always right: 0.
    dynamics = Dynamics(3)
    labels = torch.tensor([0, 1, 0])
    right, wrong = torch.tensor([2.0, 1.0]), torch.tensor([1.0, 3.0])
    for first in (right, wrong, right, wrong):
        logits = torch.stack([first, torch.tensor([1.0, 0.5]), right])
        order = torch.tensor([2, 0, 1])
        dynamics.after_step(Step(positions=order, labels=labels[order], logits=logits[order]))
    assert dynamics.forgetting().tolist() == [2.0, float("inf"), 0.0]
    assert dynamics.aum().tolist() == [(1 - 2 + 1 - 2) / 4, -0.5, 1.0]


def test_extract_uses_the_evaluation_mode_and_leaves_the_module_alone() -> None:
    pool, labels = pictures()
    module = network().train()
    before = weights(module)
    signals = extract(
        module,
        EvalView(pool=pool, labels=labels),
        runtime=RUNTIME,
        wanted={"log_probs", "losses", "features"},
        batch_size=7,
    )
    assert module.training
    assert all(torch.equal(a, b) for a, b in zip(before, weights(module), strict=True))
    module.eval()
    with torch.no_grad():
        (inputs,) = pool.gather(torch.arange(50))
        logits = module(inputs)
        features = module[:5](inputs)
    torch.testing.assert_close(signals.log_probs, F.log_softmax(logits, 1))
    torch.testing.assert_close(signals.features, features)
    torch.testing.assert_close(signals.losses, F.cross_entropy(logits, labels, reduction="none"))


def test_large_arrays_are_mapped_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, labels = pictures()
    evaluation = EvalView(pool=pool, labels=labels)
    wanted = {"log_probs", "features"}
    expected = extract(network(), evaluation, runtime=RUNTIME, wanted=wanted)
    monkeypatch.setattr(store, "LARGE_BYTES", 1000)
    signals = extract(network(), evaluation, runtime=RUNTIME, wanted=wanted, folder=tmp_path)
    assert (tmp_path / "features.npy").exists()
    assert not (tmp_path / "log_probs.npy").exists()  # 600 bytes
    store.write(tmp_path, {n: v for n, v in signals.items() if n != "labels"})
    found = store.read(tmp_path)
    assert set(found) == wanted
    for name in wanted:
        assert torch.equal(found[name], expected.get(name))


def test_a_model_that_gives_nan_is_named() -> None:
    pool, labels = pictures()
    module = network()
    with torch.no_grad():
        module[5].bias.fill_(float("nan"))
    with pytest.raises(KeepersError, match="gives NaN"):
        extract(module, EvalView(pool=pool, labels=labels), runtime=RUNTIME)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "gpu"}, "device: got 'gpu'. Give auto, cpu, cuda or mps"),
        ({"precision": "fp8"}, "precision: got 'fp8'"),
    ],
)
def test_unknown_hardware_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Hardware(**given)  # type: ignore[arg-type]


def test_a_disk_without_room_for_an_array_says_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LARGE_BYTES", 1000)
    with pytest.raises(OSError, match=r"disk is full: .*features\.npy takes up to 1,099,511"):
        store.allocate((2**32, 64), name="features", folder=tmp_path)


def test_a_checkpoint_of_other_data_of_the_same_size_is_refused(tmp_path: Path) -> None:
    keep = Checkpoint(path=tmp_path / "c", every=0.0)
    train(network(), keep=keep)
    other = replace(view(), labels=view().labels.flip(0))
    with pytest.raises(RunError, match="belongs to another training"):
        fit(network(), other, RECIPE, runtime=RUNTIME, seed=0, keep=keep)


def test_a_damaged_checkpoint_is_as_good_as_none(tmp_path: Path) -> None:
    keep = Checkpoint(path=tmp_path / "c", every=1e9)
    keep.path.write_bytes(b"rubbish")
    assert same(train(network(), keep=keep), train(network()))


def test_repeated_random_subsets_come_from_a_fresh_permutation_each_turn() -> None:
    policy, everything = FreshSubset(5), torch.arange(20)
    epochs = [set(policy.order(everything, seed=0, epoch=epoch).tolist()) for epoch in range(8)]
    for turn in (epochs[:4], epochs[4:]):  # each turn is a partition
        assert sorted(one for subset in turn for one in subset) == list(range(20))
    assert not any(subset in epochs[:4] for subset in epochs[4:])
