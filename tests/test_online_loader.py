"""Loaders that go on in the middle of an epoch, with other numbers of ranks and workers."""

from __future__ import annotations

import io
import json
import math
import os
import random
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import Subset, TensorDataset

import forked
import keepers
from emulated import DEVICE, Accelerator
from keepers import processes
from keepers.errors import KeepersError, KeepersWarning, ParameterError, RunError
from keepers.online import BatchSelector, IrreducibleLosses, SelectingLoader, read_batch
from keepers.online.epochs import Epoch
from keepers.training import FreshSubset, Weighted, WeightedSampling

ROOT = Path(__file__).parents[1]
N = 23


def loader(
    n: int = N, ranks: int = 1, rank: int = 0, *, dataset: Any = None, **given: Any
) -> SelectingLoader:
    given = {"batch_size": 6, "seed": 5, **given}
    if ranks > 1:
        given |= {"num_replicas": ranks, "rank": rank}
    return SelectingLoader(torch.arange(n) if dataset is None else dataset, **given)


def dealt(parts: list[list[int]]) -> list[int]:
    """A batch of all ranks, from the parts that they take in turn."""
    return [part[i] for i in range(len(parts[0])) for part in parts if i < len(part)]


def passes(loaders: list[SelectingLoader]) -> list[list[int]]:
    """The global batches of one pass."""
    parts = [[batch.tolist() for batch in each] for each in loaders]
    return [dealt(list(batch)) for batch in zip(*parts, strict=True)]


# How an epoch is cut --------------------------------------------------------------------------


@given(n=st.integers(1, 200), size=st.integers(1, 60), ranks=st.integers(1, 5))
def test_an_epoch_is_cut_evenly_and_dealt_out_whole(n: int, size: int, ranks: int) -> None:
    epoch = Epoch.cut(0, torch.arange(n), size)
    batches = [epoch.batch(step) for step in range(epoch.batches)]
    sizes = [len(batch) for batch in batches]
    assert torch.cat(batches).tolist() == list(range(n))
    assert sizes == sorted(sizes, reverse=True)
    assert size >= sizes[0] <= sizes[-1] + 1
    assert epoch.least == sizes[-1]
    assert epoch.batches == -(-n // size)  # as many as a DataLoader has
    for step, batch in enumerate(batches):
        parts = [epoch.share(step, rank=rank, ranks=ranks).tolist() for rank in range(ranks)]
        assert dealt(parts) == batch.tolist()
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("given", [{}, {"shuffle": False}, {"policy": FreshSubset(9)}])
def test_batches_do_not_depend_on_ranks(ranks: int, given: dict[str, Any]) -> None:
    alone, several = loader(**given), [loader(N, ranks, rank, **given) for rank in range(ranks)]
    first, second = passes([alone]), passes([alone])
    assert passes(several) == first
    assert passes(several) == second
    come = sorted(row for batch in first for row in batch)
    assert len(come) == len(set(come)) == (9 if "policy" in given else N)
    assert (first == second) == ("shuffle" in given)
    if "policy" in given:
        assert not set(come) & {row for batch in second for row in batch}


@pytest.mark.parametrize("workers", [0, 2])
def test_it_goes_on_after_any_step_with_other_ranks_and_workers(workers: int) -> None:
    whole = loader()
    expected = [passes([whole]), passes([whole])]
    for stop in range(1, 5) if not workers else (2,):
        old = [loader(N, 2, rank, num_workers=workers) for rank in range(2)]
        iterators = [iter(each) for each in old]
        begun = [dealt([next(each).tolist() for each in iterators]) for _ in range(stop)]
        states = [each.state_dict() for each in old]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        new = [loader(N, 3, rank) for rank in range(3)]
        for each in new:
            each.load_state_dict(states[0])
        assert (new[0].epoch, new[0].step) == ((0, stop) if stop < 4 else (1, 0))
        if stop < 4:
            begun += passes(new)
        assert begun == expected[0]
        assert passes(new) == expected[1]


def test_a_state_is_small_and_can_be_written_and_read_without_code() -> None:
    one = loader(100_000, batch_size=512)
    next(iter(one))
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    assert file.tell() < 5_000
    file.seek(0)
    other = loader(100_000, batch_size=512)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert next(iter(other)).tolist() == next(iter(one)).tolist()


# Where a pass stands --------------------------------------------------------------------------


def test_what_workers_loaded_ahead_is_not_counted() -> None:
    one = loader(num_workers=2, prefetch_factor=2)
    batches = iter(one)
    first = next(batches)
    assert int(one.state_dict()["step"]) == 1
    other = loader()
    other.load_state_dict(one.state_dict(ahead=1))  # as if the loop had not come to it yet
    assert next(iter(other)).tolist() == first.tolist()
    with pytest.raises(ParameterError, match="ahead: got 2, but the loop received 1 batch of"):
        one.state_dict(ahead=2)


def test_a_pass_that_is_left_is_continued() -> None:
    one, expected = loader(), passes([loader()])
    found = [next(iter(one)).tolist()]
    found += [next(iter(one)).tolist()]
    assert (one.epoch, one.step, len(one)) == (0, 2, 4)
    found += passes([one])
    assert found == expected
    assert (one.epoch, one.step) == (1, 0)


def test_setting_an_epoch() -> None:
    one, other = loader(), loader()
    expected = [passes([other]) for _ in range(3)]
    next(iter(one))
    one.set_epoch(0)  # as frameworks do when they go on in the middle of it
    assert passes([one]) == expected[0][1:]
    one.set_epoch(0)
    assert passes([one]) == expected[0]
    one.set_epoch(2)
    assert passes([one]) == expected[2]


@pytest.mark.parametrize("what", ["load", "epoch", "pass"])
def test_a_pass_does_not_go_on_when_the_loader_is_elsewhere(what: str) -> None:
    one = loader()
    state, under_way = one.state_dict(), iter(one)
    next(under_way)
    if what == "load":
        one.load_state_dict(state)
    elif what == "epoch":
        one.set_epoch(3)
    else:
        next(iter(one))
    with pytest.raises(KeepersError, match="Start"):
        next(under_way)
    if what == "load":
        assert passes([one]) == passes([loader()])


def test_an_iterator_that_is_made_early_begins_where_the_loader_is_when_it_is_asked() -> None:
    one, expected = loader(), loader()
    early = iter(one)
    one.set_epoch(1)
    expected.set_epoch(1)
    assert next(early).tolist() == next(iter(expected)).tolist()


# Forms of data --------------------------------------------------------------------------------


class Noisy:
    """Items that draw from all three global generators, as augmentation does."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Tensor:
        noise = torch.rand(()) + random.random() + np.random.rand()
        return row + noise.double() / 8


def test_random_items_are_the_same_in_any_process() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    alone = list(loader(dataset=Noisy()))
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()
    assert torch.equal(before[0], after[0])
    assert before[1] == after[1]
    assert np.array_equal(before[2][1], after[2][1])
    of_workers = list(loader(dataset=Noisy(), num_workers=2))
    assert torch.equal(torch.get_rng_state(), before[0])
    of_ranks = [list(loader(N, 2, rank, dataset=Noisy())) for rank in range(2)]
    for step, batch in enumerate(alone):
        assert torch.equal(of_workers[step], batch)
        assert torch.equal(of_ranks[0][step], batch[0::2])
        assert torch.equal(of_ranks[1][step], batch[1::2])
    again = loader(dataset=Noisy())
    again.set_epoch(1)
    noise = {round(float(item % 1), 9) for batch in [*alone, *again] for item in batch}
    assert len(noise) == 2 * N  # and others in each epoch


def test_any_map_style_data() -> None:
    rows = list(range(N))
    x = torch.arange(N)
    for dataset, read in (
        (rows, lambda batch: batch.tolist()),
        (np.arange(N), lambda batch: batch.tolist()),
        (TensorDataset(x, x), lambda batch: batch[1].tolist()),
        (Subset(TensorDataset(x), range(N)), lambda batch: batch[0].tolist()),
        ([{"id": row, "x": 0.0} for row in rows], lambda batch: batch["id"].tolist()),
    ):
        assert [read(batch) for batch in loader(dataset=dataset)] == passes([loader()])


def test_a_hugging_face_data_set() -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"id": list(range(N)), "text": [f"t{i}" for i in range(N)]})
    found = list(loader(dataset=rows, policy=Weighted(torch.ones(N))))
    assert [batch["id"].tolist() for batch in found] == passes([loader()])
    assert found[0]["text"] == [f"t{i}" for i in found[0]["id"].tolist()]
    assert found[0]["keepers_weights"].tolist() == [1.0] * 6


def test_what_is_given_to_the_dataloader() -> None:
    made = loader(collate_fn=tuple, pin_memory=False, timeout=0)
    assert isinstance(next(iter(made)), tuple)
    persistent, plain = loader(num_workers=1, persistent_workers=True), loader()
    for _ in range(2):
        assert passes([persistent]) == passes([plain])


def test_a_batch_size_of_numpy_is_a_count() -> None:
    made, plain = loader(batch_size=np.int64(4)), loader(batch_size=4)
    plain.load_state_dict(made.state_dict())
    assert passes([made]) == passes([plain])


# Small data -----------------------------------------------------------------------------------


def test_data_that_are_smaller_than_a_batch_or_just_larger() -> None:
    assert [len(batch) for batch in loader(4, batch_size=100)] == [4]
    assert [len(batch) for batch in loader(1)] == [1]
    assert [len(batch) for batch in loader(13, batch_size=12)] == [7, 6]
    halves = [loader(13, 2, rank, batch_size=12) for rank in range(2)]
    assert [[len(batch) for batch in half] for half in halves] == [[4, 3], [3, 3]]


def test_a_rank_without_an_example_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(ParameterError, match="a step of epoch 0 has 3 examples for 4 ranks"):
        next(iter(loader(3, 4, 0)))
    with pytest.raises(ParameterError, match=r"batch_size: got 2.*1 example for 2 ranks"):
        next(iter(loader(3, 2, 1, batch_size=2)))
    made = loader(6, 6, 5)
    assert [len(batch) for batch in made] == [1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": []}, "dataset: got no example"),
        ({"dataset": iter([1])}, "dataset: got list_iterator, which has no length"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"drop_last": True}, "drop_last: the loader makes its batches itself"),
        ({"sampler": [1]}, "sampler: the loader makes"),
        ({"choose": len}, "choose: got builtin_function_or_method"),
        ({"policy": "infobatch"}, "policy: got str"),
        ({"policy": FreshSubset(3), "shuffle": False}, "shuffle: got False together with a policy"),
        ({"policy": Weighted(torch.ones(4))}, "policy: got 4 weights for 23 examples"),
        (
            {"policy": Weighted(1 - torch.arange(N))},
            "policy: got the weight 0 for row 1. Give finite weights over 0",
        ),
        (
            {"policy": keepers.InfoBatch()},
            "epochs: got none, but InfoBatch trains on everything in the last part",
        ),
        ({"epochs": 0}, "epochs: got 0"),
        ({"epochs": 2.5}, r"epochs: got 2\.5"),
        ({"seed": "a"}, "seed: got 'a'"),
        ({"batch_size": True}, "batch_size: got True"),
        ({"num_replicas": 2}, "rank: got one of rank and num_replicas"),
        ({"ranks": 2, "rank": 2}, "rank: got 2 of 2 replicas. Ranks count from 0"),
        ({"ranks": 2, "rank": -1}, "rank: got -1 of 2 replicas"),
        (
            {"policy": Weighted(torch.ones(N)), "choose": BatchSelector("loss")},
            "policy: it weights examples, and so may the selector",
        ),
    ],
)
def test_what_cannot_be_loaded_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        loader(**given)


# States ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: loader(22), "other data: their number, order, ids or content differ"),
        (lambda: loader(dataset=torch.arange(N) + 1), "other data"),
        (lambda: loader(dataset=keepers.with_ids(items(1))), "other data"),
        (lambda: loader(batch_size=7), "other settings. Make the loader with the same ones:"),
        (lambda: loader(seed=6), "other settings"),
        (lambda: loader(shuffle=False), "other settings"),
        (lambda: loader(policy=FreshSubset(3)), "other settings"),
        (lambda: loader(choose=BatchSelector("loss")), "of a loader without a selector"),
    ],
)
def test_a_state_of_another_loader_is_refused(
    other: Callable[[], SelectingLoader], message: str
) -> None:
    one = loader()
    next(iter(one))
    refusing = other()
    before = refusing.state_dict()
    with pytest.raises(RunError, match=message):
        refusing.load_state_dict(one.state_dict())
    assert all(torch.equal(before[name], value) for name, value in refusing.state_dict().items())


def test_what_is_no_state_is_refused() -> None:
    with pytest.raises(RunError, match="state: it lacks settings, data, ranks, epoch, step"):
        loader().load_state_dict({})
    state = loader(choose=BatchSelector("loss")).state_dict()
    other = loader(choose=BatchSelector("loss", keep=0.5))
    with pytest.raises(RunError, match="selector with other data or settings"):
        other.load_state_dict(state)
    pruning = loader(policy=keepers.InfoBatch(), epochs=8)
    state = {k: v for k, v in pruning.state_dict().items() if k != "policy.losses"}
    with pytest.raises(RunError, match=r"state: it lacks policy\.losses"):
        pruning.load_state_dict(state)


def items(shift: int = 0) -> list[tuple[Tensor, int]]:
    return [(torch.tensor([float(row + shift)]), row % 2) for row in range(N)]


def test_ids_tell_data_apart_of_which_no_item_is_compared() -> None:
    class Lazy:
        """Read anew each time, as far as anybody knows."""

        def __init__(self, shift: int) -> None:
            self.items = items(shift)

        def __len__(self) -> int:
            return N

        def __getitem__(self, row: int) -> Any:
            return self.items[row]

    one, other = (loader(dataset=keepers.with_ids(Lazy(shift))) for shift in (0, 1))
    with pytest.raises(RunError, match="other data"):
        other.load_state_dict(one.state_dict())


def test_a_selector_among_own_candidates_says_that_choices_change_with_the_ranks() -> None:
    one = loader(choose=BatchSelector("loss"))
    other = loader(N, 2, 0, choose=BatchSelector("loss"))
    with pytest.warns(
        KeepersWarning, match="of 1 rank, but here are 2, and each chooses among its"
    ):
        other.load_state_dict(one.state_dict())


# Weights, and policies with a state -----------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_mean_over_ranks_is_that_of_the_global_batch(ranks: int) -> None:
    own = torch.rand(N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = [list(loader(N, ranks, rank, policy=Weighted(own))) for rank in range(ranks)]
    for batch, expected in zip(zip(*parts, strict=True), passes([loader()]), strict=True):
        means = [(weights * rows**2).mean() for rows, weights in batch]
        rows = torch.tensor(expected)
        torch.testing.assert_close(sum(means) / ranks, (own[rows] * rows**2).mean().float())
    plain = [loader(N, ranks, rank) for rank in range(ranks)]
    means = [float((rows.double() ** 2).mean()) * each.share for each in plain for rows in each]
    assert sum(means) / ranks == pytest.approx(
        sum(np.mean(np.square(rows)) for rows in passes([loader()]))
    )


def test_weighted_sampling() -> None:
    weights = torch.tensor([0.0, 1.0, 2.0, 5.0])
    for replacement in (True, False):
        policy = WeightedSampling(weights, size=2, replacement=replacement)
        drawn = [policy.order(torch.arange(4), seed=0, epoch=epoch) for epoch in range(4_000)]
        first = torch.stack(drawn)[:, 0].bincount(minlength=4) / len(drawn)
        torch.testing.assert_close(first, weights / 8, atol=0.03, rtol=0)
        pairs = Counter(tuple(each.tolist()) for each in drawn)
        second = weights[2] / (weights.sum() - (0 if replacement else weights[3]))
        share = pairs[3, 2] / sum(count for (one, _), count in pairs.items() if one == 3)
        assert share == pytest.approx(float(second), abs=0.04)
        assert (pairs[3, 3] > 0) == replacement
    with pytest.raises(ParameterError, match="weights: got 3 over 0, but 4"):
        WeightedSampling(weights, replacement=False)
    with pytest.raises(ParameterError, match="negative or not finite"):
        WeightedSampling(-weights)
    with pytest.raises(ParameterError, match="size: got 0"):
        WeightedSampling(weights, size=0)


def test_infobatch_goes_on_in_the_middle_of_an_epoch_that_it_pruned() -> None:
    def made() -> SelectingLoader:
        return loader(policy=keepers.InfoBatch(keep=0.5), epochs=8)

    def steps(one: SelectingLoader, count: int) -> list[Any]:
        found: list[Any] = []
        while len(found) < count:
            for rows, weights in one:
                found.append((one.epoch, rows.tolist(), weights.tolist()))
                one.note((rows * 7 % 11).float() / (1 + one.step))
                if len(found) == count:
                    break
        return found

    whole = steps(made(), 12)
    assert {weight for _, _, weights in whole for weight in weights} > {1.0}
    for stop in (3, 5, 8):
        one, other = made(), made()
        begun = steps(one, stop)
        state = one.state_dict()
        steps(one, 2)  # what happens after does not change a state
        other.load_state_dict(state)
        again = steps(other, 12 - stop)
        assert [each[1] for each in begun + again] == [each[1] for each in whole]


def test_infobatch_that_is_told_nothing_says_so() -> None:
    one = loader(policy=keepers.InfoBatch(), epochs=8)
    passes_of = [len(rows) for rows, _ in one]
    assert sum(passes_of) == N
    with pytest.raises(
        KeepersError,
        match=r"got no losses in epoch 0\. Call "
        r"loader\.note\(losses\)",
    ):
        next(iter(one))
    with pytest.raises(ParameterError, match=r"losses: got shape \(2,\) for a batch of 5"):
        one.note(torch.zeros(2))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_infobatch_refuses_a_loss_that_is_not_finite(bad: float) -> None:
    """By an infinite one all others would be below the mean, and half of them left out."""
    one = loader(policy=keepers.InfoBatch(), epochs=8)
    rows, _ = next(iter(one))
    losses = torch.ones(len(rows))
    losses[1] = bad
    with pytest.raises(ParameterError, match=rf"losses: got {bad} for row {int(rows[1])} of the"):
        one.note(losses)
    one.note(torch.ones(len(rows)))


# One choice among the candidates of all ranks ---------------------------------------------------


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4)).double()


SELECTORS: dict[str, Callable[[], BatchSelector]] = {
    "rho-loss": lambda: selector("rho-loss"),
    "hand-over": lambda: selector("rho-loss", hand_over=True, low=True),
    "part": lambda: selector("loss", scoring=keepers.Scoring(part=0.5)),
    "max-age": lambda: selector("loss", scoring=keepers.Scoring(max_age=2)),
    "importance": lambda: selector("gradient-norm-is"),
    "entropy": lambda: selector("entropy"),
    "random": lambda: selector("random"),
    "few": lambda: selector("loss", keep=1),
}


def selector(method: str, *, low: bool = False, **given: Any) -> BatchSelector:
    values = torch.rand(70, generator=torch.Generator().manual_seed(1))
    ids = 2**53 + 1 + torch.arange(70)
    losses = IrreducibleLosses.given(ids.numpy(), values + 2 * low)
    given = {"keep": 0.3, "hand_over": False, **given}
    return BatchSelector(method, losses, among="all", **given)


def together(folder: str) -> None:
    """What each of the selectors chooses in two epochs, on 1, 2 and 3 processes."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    for ranks in (1, 2, 3):
        children: list[int] = []
        for rank in range(ranks):
            pid = os.fork()
            if pid:
                children.append(pid)
                continue
            try:
                if ranks > 1:
                    place = f"file://{folder}/{ranks}"
                    dist.init_process_group("gloo", place, world_size=ranks, rank=rank)
                found = {name: choices(make()) for name, make in SELECTORS.items()}
                Path(folder, f"{ranks}-{rank}.json").write_text(json.dumps(found))
                processes.wait()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * ranks


def choices(choose: BatchSelector) -> dict[str, Any]:
    model, draw = net(), torch.Generator().manual_seed(2)
    x, y = torch.randn(70, 3, generator=draw).double(), torch.randint(4, (70,), generator=draw)
    data = TensorDataset(x, y, 2**53 + 1 + torch.arange(70))
    loads, chosen = SelectingLoader(data, choose, batch_size=16), list[Any]()
    for _ in range(2):
        for batch in loads:
            got = choose(model, batch)
            rows = got.batch[2] - 2**53 - 1
            assert torch.equal(got.batch[0], x[rows])
            assert torch.equal(got.labels, y[rows])
            assert len(rows) > 0
            losses = F.cross_entropy(model(got.batch[0]), got.batch[1], reduction="none")
            mean = processes.mean(float((got.weights * losses.detach()).mean()))
            chosen.append([rows[got.weights != 0].tolist(), mean, got.total])
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(0.97)
    state = {name: value.double().sum().item() for name, value in choose.state_dict().items()}
    return {"chosen": chosen, "state": state, "ended": choose.ended is not None}


def test_one_choice_among_all_is_the_same_on_any_number_of_ranks(tmp_path: Path) -> None:
    here = {"path": str(Path(__file__).parent), "arguments": {"folder": str(tmp_path)}}
    (done,) = forked.run({"function": "test_online_loader:together", **here})
    assert done.status == 0, done.stderr
    read = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert sorted(read) == ["1-0", "2-0", "2-1", "3-0", "3-1", "3-2"]
    assert read["1-0"]["hand-over"]["ended"]
    assert not read["1-0"]["rho-loss"]["ended"]
    for name in SELECTORS:
        alone = read["1-0"][name]
        for ranks in (2, 3):
            several = [read[f"{ranks}-{rank}"][name] for rank in range(ranks)]
            assert all(each["state"] == pytest.approx(alone["state"]) for each in several), name
            for step, (kept, mean, _) in enumerate(alone["chosen"]):
                parts = [each["chosen"][step] for each in several]
                assert sorted(row for part in parts for row in part[0]) == sorted(kept), name
                assert all(part[1] == pytest.approx(mean) for part in parts), name
                assert all(part[2] == len(kept) for part in parts), name
    empty = [part for part, _, _ in read["3-0"]["few"]["chosen"] if not part]
    assert empty  # a rank that holds nothing of the choice took the step with weight 0


@pytest.mark.parametrize("name", ["rho-loss", "part", "max-age", "importance", "random"])
def test_candidates_of_all_may_be_on_an_accelerator(name: str) -> None:
    draw = torch.Generator().manual_seed(2)
    batch = torch.randn(40, 3, generator=draw), torch.randint(4, (40,), generator=draw)
    ids = 2**53 + 1 + torch.arange(40)
    model = net().float()
    expected = SELECTORS[name]()(model, (*batch, ids))
    with Accelerator() as accelerator:
        choose, there = SELECTORS[name](), accelerator.model(model)
        parts = read_batch((batch[0].to(DEVICE), batch[1].to(DEVICE), ids))
        choice, total = choose._choose_together(there, parts)
        assert choice.rows.device == DEVICE
        assert choice.weights is not None
        assert choice.weights.device == DEVICE
        assert choice.rows.cpu().tolist() == expected.rows.tolist()
        torch.testing.assert_close(choice.weights.cpu(), expected.weights)
        assert total == len(expected.rows)


def test_models_beside_cannot_be_trained_by_each_rank() -> None:
    companion = keepers.Companion(net(), lr=0.1)
    with pytest.raises(ParameterError, match="stand_in: got together with among='all'"):
        selector("loss", stand_in=companion)
    with pytest.raises(ParameterError, match="among: got 'some', which is not known"):
        BatchSelector("loss", among="some")  # type: ignore[arg-type]


# Kills ----------------------------------------------------------------------------------------


def test_killed_trainings_go_on_with_another_number_of_ranks(tmp_path: Path) -> None:
    names = ["rho-loss", "infobatch"]
    job = {
        "function": "resume_kills:job",
        "path": str(ROOT / "benchmarks"),
        "arguments": {"names": names, "kills": 3, "epochs": 3, "folder": str(tmp_path)},
    }
    (done,) = forked.run(job)
    assert done.status == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result) == names
    for found in result.values():
        assert sum(found["kills"].values()) == 3
        assert (found["lost"], found["repeated"], found["other"]) == (0, 0, 0), found
        assert found["steps"] > 15
