"""Online selection in a training loop written by hand."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset

import keepers
from emulated import DEVICE, Accelerator
from keepers.errors import KeepersError, ParameterError, RunError
from keepers.online import (
    BatchSelector,
    Companion,
    IrreducibleLosses,
    Parts,
    RhoLoss,
    Scoring,
    WithIds,
)

N, CLASSES, FEATURES = 60, 4, 5
START = 2**53 + 1  # ids that no floating-point number holds


def data(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, IrreducibleLosses]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(N, FEATURES, generator=draw)
    y = torch.randint(CLASSES, (N,), generator=draw)
    ids = START + torch.randperm(N, generator=draw)
    return x, y, ids, IrreducibleLosses.given(ids, torch.rand(N, generator=draw) * 2)


class Net(nn.Module):
    """Counts the rows that it sees."""

    def __init__(self, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Linear(FEATURES, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, CLASSES)
            )
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return self.body(x)


def weights(module: nn.Module) -> list[Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def same(left: nn.Module, right: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(left), weights(right), strict=True))


def naive(method: str, model: nn.Module, x: Tensor, y: Tensor, irreducible: Tensor) -> Tensor:
    """The score of each example, from its definition, one at a time."""
    scores: list[float] = []
    model.eval()
    for i in range(len(x)):
        with torch.no_grad():
            p = model(x[i : i + 1]).double().softmax(1)[0]
        loss = -p[y[i]].log()
        if method == "rho-loss":
            score = loss - irreducible[i]
        elif method == "loss":
            score = loss
        elif method == "negative-il":
            score = -irreducible[i]
        elif method == "entropy":
            score = -(p * p.log()).sum()
        elif method == "gradient-norm":
            p[y[i]] -= 1
            score = p.square().sum().sqrt()
        elif method == "last-layer-gradient-norm":
            p[y[i]] -= 1
            hidden = model.body[1](model.body[0](x[i : i + 1])).double()  # type: ignore[index,operator]
            score = p.square().sum().sqrt() * hidden.square().sum().sqrt()
        else:
            raise AssertionError(method)
        scores.append(float(score.detach()))
    model.train()
    return torch.tensor(scores)


@pytest.mark.parametrize(
    "method",
    [
        "rho-loss",
        "loss",
        "negative-il",
        "entropy",
        "gradient-norm",
        "last-layer-gradient-norm",
    ],
)
def test_the_chosen_are_those_of_a_naive_loop(method: str) -> None:
    x, y, ids, losses = data()
    model = Net(dropout=0.5).train()
    choose = BatchSelector(method, losses, keep=0.25)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for rows in torch.randperm(N, generator=torch.Generator().manual_seed(5)).split(20):
        scores = naive(method, model, x[rows], y[rows], losses.values[rows])
        expected = scores.argsort(descending=True)[:5].tolist()
        chosen = choose(model, (x[rows], y[rows], ids[rows]))
        assert chosen.rows.tolist() == expected
        assert chosen.ids.tolist() == ids[rows][expected].tolist()
        assert torch.equal(chosen.batch[0], x[rows][expected])
        assert torch.equal(chosen.labels, y[rows][expected])
        assert chosen.weights.tolist() == [1.0] * 5
        F.cross_entropy(model(chosen.batch[0]), chosen.labels).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_a_tensor_batch_with_labels_and_ids_beside_it() -> None:
    x, y, ids, losses = data()
    model = Net()
    by_tuple = RhoLoss(losses, keep=6)(model, (x, y, ids))
    by_tensor = RhoLoss(losses, keep=6)(model, x, labels=y, ids=ids)
    assert isinstance(by_tensor.batch, Tensor)
    assert torch.equal(by_tensor.batch, by_tuple.batch[0])
    assert torch.equal(by_tensor.labels, by_tuple.batch[1])
    assert torch.equal(by_tensor.ids, by_tuple.ids)


def test_batches_of_another_form() -> None:
    x, y, ids, losses = data()
    batch = {"meta": {"key": ids.tolist()}, "inputs": {"x": x}, "class": y}

    def read(batch: Any) -> Parts:
        return Parts(ids=batch["meta"]["key"], labels=batch["class"], args=(batch["inputs"]["x"],))

    choose = RhoLoss(losses, keep=6, read=read)
    chosen = choose(Net(), batch)
    expected = RhoLoss(losses, keep=6)(Net(), (x, y, ids))
    assert chosen.ids == chosen.batch["meta"]["key"] == expected.ids.tolist()
    assert torch.equal(chosen.batch["inputs"]["x"], expected.batch[0])
    with pytest.raises(ParameterError, match="read: labels or ids were given beside the batch"):
        choose(Net(), batch, ids=ids)


def test_only_what_read_names_is_cut() -> None:
    x, y, ids, losses = data()
    n = len(y)
    batch = {"x": x, "y": y, "key": ids, "class_weights": torch.ones(n), "other": (x + 1, [0] * n)}

    def read(batch: Any) -> Parts:
        also = (batch["other"][1],)
        return Parts(ids=batch["key"], labels=batch["y"], args=(batch["x"],), also=also)

    chosen = RhoLoss(losses, keep=6, read=read)(Net(), batch)
    assert chosen.batch["class_weights"] is batch["class_weights"]
    assert chosen.batch["other"][0] is batch["other"][0]
    assert [len(chosen.batch[name]) for name in ("x", "y", "key")] == [6, 6, 6]
    assert chosen.batch["other"][1] == [0] * 6


def test_a_model_called_by_keyword() -> None:
    class Two(Net):
        def forward(self, left: Tensor, right: Tensor) -> Any:  # type: ignore[override]
            return {"logits": super().forward(left + right)}

    x, y, ids, losses = data()
    choose = RhoLoss(losses, keep=6)
    chosen = choose(Two(), {"left": x, "right": x, "labels": y, "id": ids})
    expected = RhoLoss(losses, keep=6)(Net(), (2 * x, y, ids))
    assert torch.equal(chosen.rows, expected.rows)


def _per_label(output: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(output, labels, reduction="none").mean(1)


def _per_token(output: Tensor, labels: Tensor) -> Tensor:
    logits = output.reshape(len(labels), CLASSES // 2, 2).transpose(1, 2)
    return F.cross_entropy(logits, labels, reduction="none").mean(1)


def _squared(output: Tensor, labels: Tensor) -> Tensor:
    return (output[:, 0] - labels).square()


OTHER_LABELS: dict[str, tuple[Any, Callable[[Tensor], Tensor]]] = {
    "several labels": (_per_label, lambda y: F.one_hot(y, CLASSES).float()),
    "tokens": (_per_token, lambda y: torch.stack([y % 2, y // 2], 1)),
    "a number": (_squared, lambda y: y.double() / 2),
}


@pytest.mark.parametrize("reading", [False, True])
@pytest.mark.parametrize("kind", OTHER_LABELS)
def test_labels_of_other_shapes_with_a_loss_of_their_own(kind: str, reading: bool) -> None:
    loss, make = OTHER_LABELS[kind]
    x, y, ids, losses = data()
    labels, model = make(y), Net()

    def read(batch: Any) -> Parts:
        return Parts(ids=batch[2], labels=batch[1], args=(batch[0],))

    choose = RhoLoss(losses, keep=6, loss=loss, read=read if reading else None)
    chosen = choose(model, (x, labels, ids))
    with torch.no_grad(), keepers.online.scoring_mode(model, batch_norm="batch"):
        each = loss(model(x), labels).float() - losses.values[losses.numbering.lookup(ids)[0]]
    assert chosen.rows.tolist() == each.argsort(descending=True)[:6].tolist()
    assert torch.equal(chosen.labels, labels[chosen.rows])
    assert torch.equal(chosen.batch[1], chosen.labels)
    cost = choose.step_cost(model, (x, labels, ids))
    assert (cost.candidates, cost.kept) == (N, 6)
    with pytest.raises(ParameterError, match=r"labels: got .*or loss= for labels of another kind"):
        RhoLoss(losses, keep=6)(model, (x, labels, ids))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda output, labels: F.cross_entropy(output, labels), r"got \(\) for 60 examples"),
        (lambda output, labels: output, r"got \(60, 4\) for 60 examples, not \(60,\)"),
        (lambda output, labels: 1.0, "got float for 60 examples"),
    ],
)
def test_other_than_one_loss_for_each_is_refused(loss: Any, message: str) -> None:
    x, y, ids, losses = data()
    with pytest.raises(ParameterError, match=f"loss: {message}.*Return one loss for each"):
        RhoLoss(losses, keep=6, loss=loss)(Net(), (x, y, ids))


def test_text_ids() -> None:
    x, y, _, given = data()
    names = [f"row {i}" for i in range(N)]
    losses = IrreducibleLosses.given(names, given.values)
    chosen = RhoLoss(losses, keep=6)(Net(), (x, y, names))
    scores = naive("rho-loss", Net(), x, y, given.values)
    assert chosen.ids == [names[i] for i in scores.argsort(descending=True)[:6]]


def test_ids_stay_exact_beside_a_bf16_model() -> None:
    x, y, _, _ = data()
    ids = torch.stack([2**24 + torch.arange(N // 2), 2**53 + torch.arange(N // 2)]).flatten()
    irreducible = torch.full((N,), 50.0)
    irreducible[[3, 31, 40]] = 0.0  # only the exact ids find these
    choose = RhoLoss(IrreducibleLosses.given(ids, irreducible), keep=3)
    chosen = choose(Net().to(torch.bfloat16), (x.to(torch.bfloat16), y, ids))
    assert sorted(chosen.ids.tolist()) == sorted(ids[[3, 31, 40]].tolist())
    assert chosen.ids.dtype == torch.int64


# Bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (lambda x, y, ids: (x, y), "batch: got 2 parts, so there is no place for the ids"),
        (lambda x, y, ids: {"x": x, "labels": y}, "batch: got keys 'x', 'labels', but none "),
        (lambda x, y, ids: (x, y, ids[:-1]), f"ids: got {N - 1} for {N} labels"),
        (lambda x, y, ids: (x[:-1], y, ids), rf"model: got an output of shape \({N - 1}, 4\)"),
        (lambda x, y, ids: (x, y, ids.double()), r"ids: got torch.float64 of shape"),
        (lambda x, y, ids: (x, y + 1, ids), "model: got logits of 4 classes, but a label is 4"),
        (lambda x, y, ids: (x[:0], y[:0], ids[:0]), "batch: got no example"),
        (
            lambda x, y, ids: (x, y, torch.cat([ids[:-2], torch.tensor([5, 6])])),
            r"ids: 2 of the batch have no irreducible loss, such as \[5, 6\]. Compute the losses",
        ),
        (
            lambda x, y, ids: (x, y, [*ids[:-1].tolist(), "five"]),
            r"ids: 1 of the batch have no irreducible loss, such as \['five'\]",
        ),
    ],
)
def test_batches_that_cannot_be_used(batch: Callable[..., Any], message: str) -> None:
    x, y, ids, losses = data()
    with pytest.raises(ParameterError, match=message):
        RhoLoss(losses, keep=6)(Net(), batch(x, y, ids))


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (0, "keep: got 0, which keeps nothing"),
        (0.0, "keep: got 0.0, which keeps nothing"),
        (-3, "keep: got -3"),
        (1.5, "keep: got the fraction 1.5, which is over 1"),
        (N + 1, f"keep: got the count {N + 1}, but there are only {N} examples"),
        (True, "keep: got True"),
    ],
)
def test_n_b_out_of_range(keep: Any, message: str) -> None:
    x, y, ids, losses = data()
    with pytest.raises(ParameterError, match=message):
        RhoLoss(losses, keep=keep)(Net(), (x, y, ids))


def test_losses_that_are_nan_are_named_by_id() -> None:
    x, y, ids, losses = data()
    x[7], x[9] = float("nan"), float("inf")
    choose, model = RhoLoss(losses, keep=6), Net()
    choose(model, (x[20:], y[20:], ids[20:]))
    message = rf"losses: step 2 scores NaN for 2 .* \[{ids[7]}, {ids[9]}\]. Look for a model"
    with pytest.raises(KeepersError, match=message):
        choose(model, (x, y, ids))
    names = [f"row {i}" for i in range(N)]
    with pytest.raises(KeepersError, match=r"such as \['row 7', 'row 9'\]"):
        BatchSelector("gradient-norm-is", keep=6)(model, (x, y, names))
    part = BatchSelector("loss", keep=0.05, scoring=Scoring(part=0.9))
    with pytest.raises(KeepersError, match=r"such as \['row [79]'"):
        part(model, (x, y, names))


def test_an_infinite_loss_is_the_highest() -> None:
    x, y, ids, losses = data()

    def first_infinite(output: Tensor, labels: Tensor) -> Tensor:
        found = F.cross_entropy(output, labels, reduction="none")
        return found.index_fill(0, torch.tensor([4]), torch.inf)

    chosen = RhoLoss(losses, keep=2, loss=first_infinite)(Net(), (x, y, ids))
    assert int(chosen.rows[0]) == 4


@pytest.mark.parametrize(("keep", "expected"), [(0.2, [4, 4, 2]), (5, [5, 5, 3]), (20, [20] * 3)])
def test_a_short_last_batch_keeps_the_same_share(keep: float, expected: list[int]) -> None:
    x, y, ids, losses = data()
    choose, model = RhoLoss(losses, keep=keep), Net()
    sizes = (20, 20, 10) if keep != 20 else (20, 20, 20)
    kept = [len(choose(model, (x[:n], y[:n], ids[:n])).rows) for n in sizes]
    assert kept == expected
    if keep == 5:
        assert len(choose(model, (x[:1], y[:1], ids[:1])).rows) == 1
        assert len(choose(model, (x[:24], y[:24], ids[:24])).rows) == 5


@pytest.mark.parametrize("keep", [0.1, 4])
def test_batch_normalisation_gets_two_of_the_last_short_batch(keep: float) -> None:
    x, y, ids, losses = data()
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    choose = RhoLoss(losses, keep=keep)
    loader = DataLoader(TensorDataset(x, y, ids), batch_size=40 if keep < 1 else 57)
    kept: list[int] = []
    for batch in loader:
        chosen = choose(model.train(), batch)
        F.cross_entropy(model(chosen.batch[0]), chosen.labels).backward()
        kept.append(len(chosen.rows))
    assert kept == [4, 2]
    alone = RhoLoss(losses, keep=1)
    for n in (N, 9):
        assert len(alone(Net(), (x[:n], y[:n], ids[:n])).rows) == 1
    with pytest.raises(ParameterError, match=r"batch: got one example, .* \(drop_last=True\)"):
        choose(model, (x[:1], y[:1], ids[:1]))


@pytest.mark.parametrize("label", [-100, -1, CLASSES, 77])
@pytest.mark.parametrize(
    "method",
    ["rho-loss", "gradient-norm", "gradient-norm-is", "loss-minus-conditional-entropy"],
)
@pytest.mark.parametrize("num_classes", [CLASSES, 40])  # losses are computed in two ways
def test_labels_out_of_range_are_refused_in_any_step(
    method: str, label: int, num_classes: int
) -> None:
    x, y, ids, losses = data()
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(0.5), nn.Linear(8, num_classes))
    choose = BatchSelector(method, losses, keep=6)
    choose(model, (x, y, ids))
    label = label - CLASSES + num_classes if label == CLASSES else label
    wrong = y.index_fill(0, torch.tensor([3]), label)
    with pytest.raises(ParameterError, match=rf"(labels: got|but a label is) {label}\b"):
        choose(model, (x, wrong, ids))


def test_a_part_of_a_short_batch_is_as_large_as_what_is_kept() -> None:
    x, y, ids, losses = data()
    choose = RhoLoss(losses, keep=0.1, scoring=Scoring(part=0.2))
    kept = [len(choose(Net(), (x[:n], y[:n], ids[:n])).rows) for n in (40, 7)]
    assert kept == [4, 2]


def test_what_is_chosen_of_a_part_is_cut_alike_from_tensors_arrays_and_lists() -> None:
    x, y, ids, losses = data()
    choose = RhoLoss(losses, keep=0.1, scoring=Scoring(part=0.5))
    chosen = choose(Net(), (x, y, ids.tolist()))
    assert chosen.ids == ids[chosen.rows].tolist()
    assert torch.equal(chosen.batch[0], x[chosen.rows])
    by_array = choose(Net(), x, labels=y, ids=ids.numpy())
    assert by_array.ids.tolist() == ids[by_array.rows].tolist()


def test_a_refused_batch_leaves_no_trace() -> None:
    x, y, ids, losses = data()
    choose = RhoLoss(losses, keep=4)
    with pytest.raises(ParameterError, match="ids: 60 of the batch"):
        choose(Net(), (x, y, ids + N))
    assert len(choose(Net(), (x[:10], y[:10], ids[:10])).rows) == 4
    assert choose.steps == 1


def test_a_row_of_the_table_is_as_good_as_its_name() -> None:
    x, y, ids, losses = data()
    row = BatchSelector(keepers.methods.get("loss", replacement=True), losses, keep=6)
    named = BatchSelector("loss", losses, keep=6)
    assert torch.equal(row(Net(), (x, y, ids)).rows, named(Net(), (x, y, ids)).rows)


def test_errors_of_the_model_itself_pass_through() -> None:
    class Inner(Net):
        def forward(self, input: Any, other: Any) -> Any:  # type: ignore[override]
            return self.body(input) + other

    x, y, ids, losses = data()
    batch = {"input": x.tolist(), "other": x[:, :1], "labels": y, "id": ids}
    with pytest.raises(TypeError, match=r"argument 'input' \(position 1\) must be Tensor"):
        RhoLoss(losses, keep=6)(Inner(), batch)


def test_another_backend_scores_no_stand_in() -> None:
    def backend(**given: Any) -> Any:
        raise AssertionError(given)

    with pytest.raises(ParameterError, match="backend: got together with stand_in"):
        RhoLoss(data()[3], stand_in=Companion(Net()), backend=backend)


def test_a_model_with_nothing_to_train_has_no_step_cost() -> None:
    x, y, ids, losses = data()
    with pytest.raises(ParameterError, match="model: it has no parameter to train"):
        RhoLoss(losses, keep=6).step_cost(Net().requires_grad_(False), (x, y, ids))


def test_fields_that_the_model_does_not_take_are_named() -> None:
    class Two(Net):
        def forward(self, left: Tensor, right: Tensor) -> Any:  # type: ignore[override]
            return super().forward(left + right)

    x, y, ids, losses = data()
    batch = {"left": x, "right": x, "labels": y, "id": ids, "name": ["?"] * N}
    with pytest.raises(ParameterError, match=r"batch: the model has no argument 'name'.*read="):
        RhoLoss(losses, keep=6)(Two(), batch)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"losses": "il.parquet"}, "losses: got str. Give what keepers.irreducible_losses"),
        ({"scoring": "bf16"}, r"scoring: got str. Give a keepers.Scoring, such as"),
        ({"stand_in": nn.Linear(2, 2)}, "stand_in: got Linear. Give a keepers.Companion"),
        ({"updated": "mlp"}, "updated: got str. Give a keepers.Companion"),
        ({"method": "uniform"}, "method: got 'uniform'. Choose 'random'"),
        ({"method": "infobatch"}, r"method: got 'infobatch'. .* keepers.train\(select='infobatch'"),
        ({"method": "rho-loss-original"}, "method: got .* as updated="),
    ],
)
def test_arguments_of_another_kind_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        BatchSelector(**{"losses": data()[3], **given})


# Weights -----------------------------------------------------------------------------------


def test_importance_weights_are_unbiased() -> None:
    x, y, ids, _ = data()
    model = Net()
    with torch.no_grad():
        expected = float(F.cross_entropy(model(x), y))
    choose = BatchSelector("gradient-norm-is", keep=8, seed=3)
    means: list[float] = []
    repeats = 0
    for _ in range(1500):
        chosen = choose(model, (x, y, ids))
        with torch.no_grad():
            each = F.cross_entropy(model(chosen.batch[0]), chosen.labels, reduction="none")
        means.append(float((chosen.weights * each).mean()))
        repeats += len(set(chosen.ids.tolist())) < 8
    error = np.std(means) / len(means) ** 0.5
    assert abs(np.mean(means) - expected) < 3 * error
    assert error < 0.02 * expected
    assert repeats > 100  # with replacement


def test_draws_follow_the_seed_and_the_step() -> None:
    x, y, ids, _ = data()
    model = Net(dropout=0.5)

    def rows(method: str, seed: int, calls: int) -> list[list[int]]:
        choose = BatchSelector(method, keep=8, seed=seed)
        return [choose(model, (x, y, ids)).rows.tolist() for _ in range(calls)]

    for method in ("random", "selective-backprop", "gradient-norm-is", "bald"):
        assert rows(method, 1, 3) == rows(method, 1, 3)
        assert rows(method, 1, 2)[0] != rows(method, 1, 2)[1]
        assert rows(method, 1, 1) != rows(method, 2, 1)


def test_a_random_choice_asks_nothing_of_the_model() -> None:
    x, y, ids, losses = data()
    model = Net()
    for method in ("random", "negative-il"):
        BatchSelector(method, losses, keep=8)(model, (x, y, ids))
    assert not model.seen


# What a selector leaves alone ---------------------------------------------------------------


def test_a_uniform_run_is_the_same_to_the_bit_with_a_selector_beside_it() -> None:
    x, y, ids, losses = data()

    def run(*, select: str | None) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            model = nn.Sequential(
                nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4)
            ).train()
            optimizer = torch.optim.AdamW(model.parameters())
            loader = DataLoader(TensorDataset(x, y, ids), batch_size=20, shuffle=True)
            choose = BatchSelector(select, losses, keep=0.2) if select else None
            for _ in range(3):
                for batch in loader:
                    if choose is not None:
                        choose(model, batch)
                    F.cross_entropy(model(batch[0]), batch[1]).backward()
                    optimizer.step()
                    optimizer.zero_grad()
            return model

    plain = run(select=None)
    for method in ("rho-loss", "bald", "gradient-norm-is", "random"):
        assert same(plain, run(select=method)), method


@pytest.mark.parametrize(
    "method",
    [
        "rho-loss",
        "loss",
        "negative-il",
        "entropy",
        "gradient-norm",
        "gradient-norm-is",
        "last-layer-gradient-norm",
        "bald",
        "loss-minus-conditional-entropy",
        "selective-backprop",
        "random",
    ],
)
@pytest.mark.parametrize("ids_there", [False, True])
def test_a_step_waits_for_the_accelerator_once(method: str, ids_there: bool) -> None:
    x, y, ids, losses = data()
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4)
    )
    here = BatchSelector(method, losses, keep=6)
    expected = [here(model, (x, y, ids)).rows.tolist() for _ in range(3)]
    with Accelerator() as accelerator:
        choose, there = BatchSelector(method, losses, keep=6), accelerator.model(model)
        batch = (x.to(DEVICE), y.to(DEVICE), ids.to(DEVICE) if ids_there else ids)
        for step, rows in enumerate(expected):
            accelerator.waits.clear()
            chosen = choose(there, batch)
            if step:  # the first also looks at the labels
                on_host = method == "random" and not ids_there
                assert accelerator.waits == ([] if on_host else ["_to_copy"])
            assert {chosen.batch[0].device, chosen.labels.device, chosen.weights.device} == {DEVICE}
            assert chosen.rows.cpu().tolist() == rows


def test_what_is_wrong_on_an_accelerator_is_named_all_the_same() -> None:
    x, y, ids, losses = data()
    broken = x.clone()
    broken[7] = torch.nan
    with Accelerator() as accelerator:
        choose, model = RhoLoss(losses, keep=6), accelerator.model(Net())
        with pytest.raises(KeepersError, match=rf"step 1 scores NaN for 1 .* \[{ids[7]}\]"):
            choose(model, (broken.to(DEVICE), y.to(DEVICE), ids))
        with pytest.raises(ParameterError, match=r"ids: 1 of the batch .* such as \[5\]"):
            choose(model, (x.to(DEVICE), y.to(DEVICE), torch.cat([ids[:-1], torch.tensor([5])])))
        assert choose.steps == 0
        choose(model, (x.to(DEVICE), y.to(DEVICE), ids))
        wrong = y.index_fill(0, torch.tensor([3]), -100)
        message = rf"NaN for 1 .* \[{ids[3]}\].* labels out of range"
        with pytest.raises(KeepersError, match=message):
            choose(model, (x.to(DEVICE), wrong.to(DEVICE), ids))
        assert choose.steps == 1


def test_losses_that_are_used_again_cost_one_wait_more() -> None:
    x, y, ids, losses = data()
    with Accelerator() as accelerator:
        choose = RhoLoss(losses, keep=6, scoring=Scoring(max_age=1))
        model, batch = accelerator.model(Net()), (x.to(DEVICE), y.to(DEVICE), ids)
        for step in range(4):
            accelerator.waits.clear()
            choose(model, batch)
            if step:
                assert accelerator.waits == ["nonzero", "_to_copy"]


def test_the_irreducible_losses_are_not_copied_at_each_step() -> None:
    x, y, ids, losses = data()
    with Accelerator() as accelerator:
        choose, model = RhoLoss(losses, keep=6), accelerator.model(Net())
        sent: list[list[int]] = []
        for _ in range(3):
            accelerator.sent.clear()
            choose(model, (x[:40].to(DEVICE), y[:40].to(DEVICE), ids[:40]))
            sent.append(sorted(accelerator.sent))
    assert sent[0].count(N) == 1  # the losses, once
    assert sent[1] == sent[2]
    assert N not in sent[1]
    choose = RhoLoss(losses, keep=6)
    before = choose.selector.irreducible
    choose(Net(), (x, y, ids))
    assert choose.selector.irreducible is before is losses.values


# Cheap scoring, one saving at a time --------------------------------------------------------


def test_bf16_scoring_chooses_nearly_the_same() -> None:
    x, y, ids, losses = data()
    full = RhoLoss(losses, keep=20)(Net(), (x, y, ids))
    cheap = RhoLoss(losses, keep=20, scoring=Scoring(precision="bf16"))(Net(), (x, y, ids))
    assert len(set(full.ids.tolist()) & set(cheap.ids.tolist())) >= 18


def test_only_a_part_is_scored() -> None:
    x, y, ids, losses = data()
    model = Net()
    choose = RhoLoss(losses, keep=6, scoring=Scoring(part=0.5), seed=4)
    chosen = choose(model, (x, y, ids))
    assert model.seen == [N // 2]
    scores = naive("rho-loss", model, x, y, losses.values)
    best = scores.argsort(descending=True).tolist()
    drawn = [i for i in best if i in chosen.rows.tolist()]
    assert chosen.rows.tolist() == drawn  # in the order of their scores
    assert chosen.rows.tolist() != best[:6]
    other = choose(model, (x, y, ids))
    assert other.rows.tolist() != chosen.rows.tolist()  # another part
    with pytest.raises(
        ParameterError,
        match=r"part: got 0\.1, which scores only 6 of 60 .* 12 "
        r"are kept",
    ):
        RhoLoss(losses, keep=12, scoring=Scoring(part=0.1))(model, (x, y, ids))


def test_losses_are_used_again_until_they_are_too_old() -> None:
    x, y, ids, losses = data()
    model = Net()
    choose = RhoLoss(losses, keep=2, scoring=Scoring(max_age=2))
    batches = [range(10), range(10), range(5, 15), range(10), range(15)]
    # Scored at step: 0-9 at 0; 10-14 at 2; at 3 those of 0 are 3 old; at 4 none is over 2.
    expected = [10, None, 5, 10, None]
    for rows, forwarded in zip(batches, expected, strict=True):
        model.seen.clear()
        part = torch.tensor(list(rows))
        choose(model, (x[part], y[part], ids[part]))
        assert model.seen == ([] if forwarded is None else [forwarded])


def test_an_old_loss_is_the_one_that_was_seen() -> None:
    x, y, ids, losses = data()
    choose = RhoLoss(losses, keep=6, scoring=Scoring(max_age=5))
    first = choose(Net(), (x, y, ids))
    again = choose(Net(seed=1), (x, y, ids))  # other weights, which nobody asks
    assert torch.equal(first.rows, again.rows)


def test_a_batch_that_is_refused_leaves_no_loss_behind() -> None:
    x, y, ids, losses = data()
    choose = RhoLoss(losses, keep=6, scoring=Scoring(max_age=5))
    choose(Net(), (x, y, ids))
    before = {name: value.clone() for name, value in choose.state_dict().items()}
    choose.steps = 9  # all that was noted is too old by then
    with pytest.raises(ParameterError, match="ids: 2 of the batch have no irreducible loss"):
        choose(Net(seed=1), (x, y, torch.cat([ids[:-2], torch.tensor([-5, 2**40])])))
    choose.steps = 1
    assert all(torch.equal(value, before[name]) for name, value in choose.state_dict().items())


def test_batch_statistics_of_a_few_are_refused() -> None:
    x, y, ids, losses = data()
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    with pytest.raises(ParameterError, match="max_age: got 2 and batch_norm 'batch', whose"):
        RhoLoss(losses, keep=2, scoring=Scoring(max_age=2))(model, (x, y, ids))
    scoring = Scoring(max_age=2, batch_norm="eval")
    assert len(RhoLoss(losses, keep=2, scoring=scoring)(model, (x, y, ids)).rows) == 2


def test_a_stand_in_is_scored_and_learns_what_is_chosen() -> None:
    x, y, ids, losses = data()
    model, small, twin = Net(seed=0), Net(seed=1), Net(seed=1)
    choose = RhoLoss(losses, keep=6, stand_in=Companion(small, lr=0.1))
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.1, fused=True)
    random = torch.get_rng_state()
    for _ in range(4):
        scores = naive("rho-loss", twin, x, y, losses.values)
        chosen = choose(model, (x, y, ids))
        assert chosen.rows.tolist() == scores.argsort(descending=True)[:6].tolist()
        F.cross_entropy(twin(chosen.batch[0]), chosen.labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not model.seen
    assert same(small, twin)
    assert torch.equal(random, torch.get_rng_state())


def test_the_original_function_goes_on_learning() -> None:
    x, y, ids, _ = data()
    model, held_out, twin = Net(seed=0), Net(seed=1), Net(seed=1)
    choose = BatchSelector("rho-loss", keep=6, updated=Companion(held_out, lr=1e-2))
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-2, fused=True)  # rounds its own way
    for _ in range(4):
        irreducible = naive("loss", twin, x, y, torch.zeros(N))
        scores = naive("loss", model, x, y, torch.zeros(N)) - irreducible
        chosen = choose(model, (x, y, ids))
        assert chosen.rows.tolist() == scores.argsort(descending=True)[:6].tolist()
        F.cross_entropy(twin(chosen.batch[0]), chosen.labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert same(held_out, twin)


@pytest.mark.parametrize("part", ["stand_in", "updated"])
def test_a_companion_scores_each_candidate_by_running_statistics(part: str) -> None:
    x, y, ids, losses = data()
    small = nn.Sequential(nn.BatchNorm1d(FEATURES), Net(seed=1))
    companion = Companion(small, lr=0.1)
    held_out = losses if part == "stand_in" else None
    choose = BatchSelector("rho-loss", held_out, keep=6, **{part: companion})  # type: ignore[arg-type]
    model = Net(seed=0)
    for _ in range(3):
        known = naive("loss", small, x, y, torch.zeros(N))
        if part == "stand_in":
            scores = known - losses.values
        else:
            scores = naive("loss", model, x, y, torch.zeros(N)) - known
        before = small[0].num_batches_tracked.item()  # type: ignore[operator,union-attr]
        chosen = choose(model, (x, y, ids))
        assert chosen.rows.tolist() == scores.argsort(descending=True)[:6].tolist()
        # Statistics move with the step on what was chosen, never with the scoring.
        assert small[0].num_batches_tracked.item() == before + 1  # type: ignore[operator,union-attr]


def test_a_companion_inside_autocast_never_sees_old_weights() -> None:
    x, y, ids, losses = data()

    def rows(autocast: bool) -> list[list[int]]:
        choose = RhoLoss(losses, keep=6, stand_in=Companion(Net(seed=1), lr=0.3))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return [choose(Net(), (x, y, ids)).rows.tolist() for _ in range(5)]

    assert rows(True) == rows(False)


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("bald", {"stand_in": Companion(Net())}, "stand_in: it gives losses, but bald needs"),
        ("negative-il", {"stand_in": Companion(Net())}, "stand_in: .* needs nothing of the model"),
        ("loss", {"updated": Companion(Net())}, "updated: loss does not use irreducible losses"),
        (
            "rho-loss",
            {"stand_in": Companion(Net()), "scoring": Scoring(max_age=1)},
            "max_age: the losses of a stand-in are not kept",
        ),
    ],
)
def test_savings_that_a_method_cannot_use(method: str, given: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        BatchSelector(method, data()[3], **given)


# Resume ------------------------------------------------------------------------------------


def selectors() -> dict[str, Callable[[], BatchSelector]]:
    losses = data()[3]
    return {
        "rho-loss": lambda: RhoLoss(losses, keep=6),
        "count": lambda: RhoLoss(losses, keep=5),
        "max-age": lambda: RhoLoss(losses, keep=6, scoring=Scoring(max_age=3)),
        "part": lambda: RhoLoss(losses, keep=6, scoring=Scoring(part=0.6)),
        "stand-in": lambda: RhoLoss(losses, keep=6, stand_in=Companion(Net(2, 0.3), lr=0.05)),
        "updated": lambda: RhoLoss(losses, keep=6, updated=Companion(Net(3), lr=0.05)),
        "importance": lambda: BatchSelector("gradient-norm-is", keep=6),
        "backprop": lambda: BatchSelector("selective-backprop", keep=6, options={"beta": 2.0}),
        "bald": lambda: BatchSelector("bald", keep=6, scoring=Scoring(samples=3)),
    }


@pytest.mark.parametrize("name", selectors())
def test_a_selector_restored_goes_on_with_the_same_choices(name: str) -> None:
    x, y, ids, _ = data()
    make = selectors()[name]

    def steps(choose: BatchSelector, model: nn.Module, first: int, last: int) -> list[list[int]]:
        chosen: list[list[int]] = []
        for step in range(first, last):
            n = 40 if step % 3 else 25
            rows = torch.randperm(N, generator=torch.Generator().manual_seed(step))[:n]
            picked = choose(model, (x[rows], y[rows], ids[rows]))
            chosen.append(picked.ids.tolist())
            with torch.no_grad():  # weights that change
                for parameter in model.parameters():
                    parameter.mul_(0.9)
        return chosen

    whole = steps(make(), Net(dropout=0.4), 0, 9)
    first, model = make(), Net(dropout=0.4)
    before = steps(first, model, 0, 4)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = make()
    second.load_state_dict(torch.load(file, weights_only=True))
    assert before + steps(second, model, 4, 9) == whole


def test_a_state_of_another_selector_is_refused() -> None:
    made = {name: make() for name, make in selectors().items()}
    losses = data()[3]
    made |= {
        "keep": RhoLoss(losses, keep=7),
        "seed": RhoLoss(losses, keep=6, seed=1),
        "losses": RhoLoss(data(seed=1)[3], keep=6),
        "method": BatchSelector("loss", losses, keep=6),
        "beta": BatchSelector("selective-backprop", keep=6, options={"beta": 1.0}),
        "ids": RhoLoss(IrreducibleLosses.given(losses.ids[::-1].copy(), losses.values), keep=6),
        "lr": RhoLoss(losses, keep=6, stand_in=Companion(Net(2, 0.3), lr=0.01)),
    }
    pairs = [("backprop", "beta"), ("stand-in", "lr"), ("rho-loss", "ids")]
    others = ["keep", "seed", "losses", "method", "max-age", "part", "stand-in", "updated"]
    for left, right in [("rho-loss", name) for name in others] + pairs:
        for one, other in ((left, right), (right, left)):
            with pytest.raises(RunError, match="state: it is of a selector with other data"):
                made[one].load_state_dict(made[other].state_dict())
    state = made["rho-loss"].state_dict()
    for missing in state:
        less = {name: value for name, value in state.items() if name != missing}
        with pytest.raises(RunError, match="state: it is of a selector with other data"):
            made["rho-loss"].load_state_dict(less)


@pytest.mark.parametrize("name", selectors())
def test_what_a_checkpoint_holds_does_not_grow_with_the_steps(name: str) -> None:
    x, y, ids, _ = data()
    choose, model = selectors()[name](), Net(dropout=0.4)
    sizes: list[dict[str, torch.Size]] = []
    for _ in range(2):
        for _ in range(5):
            choose(model, (x, y, ids))
        sizes.append({key: value.shape for key, value in choose.state_dict().items()})
    assert sizes[0] == sizes[1]


# DataLoader workers -------------------------------------------------------------------------


class Pairs(Dataset[tuple[Tensor, int]]):
    """A map-style data set at the top of a module, so that spawned workers can unpickle it."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        draw = torch.Generator().manual_seed(index)
        return torch.randn(FEATURES, generator=draw), index % CLASSES


def loop(workers: int, context: str | None) -> list[list[int]]:
    dataset = WithIds(Pairs())
    losses = IrreducibleLosses.given(dataset.numbers, torch.linspace(0, 2, len(dataset)))
    choose, model = RhoLoss(losses, keep=0.25), Net()
    loader = DataLoader(
        dataset,
        batch_size=8,
        sampler=RandomSampler(dataset, generator=torch.Generator().manual_seed(0)),
        num_workers=workers,
        multiprocessing_context=context,
        persistent_workers=workers > 0,
    )
    return [choose(model, batch).ids.tolist() for _ in range(2) for batch in loader]


def test_epochs_end_and_choices_agree_whatever_the_workers() -> None:
    alone = loop(0, None)
    assert [len(ids) for ids in alone] == [2] * 6
    assert loop(1, "fork") == alone
    assert loop(1, "spawn") == alone


# What a step costs --------------------------------------------------------------------------


@pytest.mark.parametrize("batch_norm", ["batch", "batch-and-update"])
@pytest.mark.parametrize("name", ["rho-loss", "max-age", "stand-in"])
def test_measuring_a_step_leaves_everything_as_it_was(name: str, batch_norm: Any) -> None:
    x, y, ids, losses = data()
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 4))
    if name == "max-age":
        model = nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(), nn.Linear(8, 4))
    F.cross_entropy(model(x), y).backward()
    choose = selectors()[name]()
    choose = RhoLoss(
        losses,
        keep=6,
        scoring=Scoring(batch_norm=batch_norm, max_age=3 if name == "max-age" else 0),
        stand_in=Companion(Net(2)) if name == "stand-in" else None,
    )
    before = copy.deepcopy((weights(model), [p.grad for p in model.parameters()]))
    state = {key: value.clone() for key, value in choose.state_dict().items()}
    random, modes = torch.get_rng_state(), [part.training for part in model.modules()]
    said: list[str] = []
    cost = choose.step_cost(model, (x, y, ids), said.append)
    assert (cost.candidates, cost.kept) == (N, 6)
    assert cost.ratio > 1
    assert said == [str(cost)]
    assert f"A selecting step costs {cost.ratio:.1f} plain steps" in said[0]
    after = (weights(model), [p.grad for p in model.parameters()])
    for left, right in zip(before, after, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))
    assert choose.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in choose.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert [part.training for part in model.modules()] == modes


def test_a_restored_companion_has_the_moments_it_had() -> None:
    x, y, ids, losses = data()

    def rows(measured: bool) -> list[list[int]]:
        choose = RhoLoss(losses, keep=6, stand_in=Companion(Net(seed=1), lr=0.2))
        if measured:
            choose.step_cost(Net(), (x, y, ids))
        return [choose(Net(), (x, y, ids)).rows.tolist() for _ in range(4)]

    assert rows(True) == rows(False)


def test_the_public_names() -> None:
    assert keepers.RhoLoss is RhoLoss
    assert keepers.BatchSelector is BatchSelector
    assert keepers.IrreducibleLosses is IrreducibleLosses
    assert keepers.with_ids is WithIds
    assert keepers.Scoring is Scoring
