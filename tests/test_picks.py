"""What a method of another package returns reaches all that is made of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import keepers
from keepers import methods
from keepers.data import DensePool
from keepers.errors import KeepersError
from keepers.methods import METHODS, Method, choose
from keepers.models import Recipe
from keepers.online import BatchSelector
from keepers.selection import Selection
from keepers.training import Hardware, Weighted, fit
from keepers.types import Picks, Signals, TrainView

N = 40
ROLE = {"model": "logistic", "batch_size": 8}
Install = Callable[[Method], None]


def odd_weights(signals: Signals, scores: Any, k: int, *, selected: Any, **_: Any) -> Picks:
    """The first that are free, of weights 1, 3, 5, ..."""
    free = torch.ones(len(signals), dtype=torch.bool)
    if selected is not None:
        free[selected] = False
    return Picks(positions=free.nonzero().squeeze(1)[:k], weights=2 * torch.arange(k).double() + 1)


def row(**others: Any) -> Method:
    about = {"name": "odd", "summary": "odd weights", "when": "never", "paper": "none"}
    return Method(**{**about, "needs": frozenset({"losses"}), "select": odd_weights, **others})


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Adds a row to the table, as an installed package does."""
    module = importlib.import_module("keepers.methods.table")

    def install(method: Method) -> None:
        monkeypatch.setattr(module, "METHODS", {**METHODS, method.name: method})
        methods.table.cache_clear()

    yield install
    methods.table.cache_clear()


@pytest.fixture(scope="module")
def table() -> pa.Table:
    draw = np.random.default_rng(0)
    label = np.arange(N) % 2
    return pa.table(
        {
            "x": draw.normal(size=N) + 3 * label,
            "y": draw.normal(size=N),
            "label": [f"class {c}" for c in label],
            "key": [f"{number:03}" for number in range(N)],
        }
    )


# Weights ------------------------------------------------------------------------------------


def test_weights_of_a_core_set_reach_the_selection_and_its_file(
    installed: Install, table: pa.Table, tmp_path: Path
) -> None:
    installed(row())
    said: list[str] = []
    selection = keepers.coreset(
        table, id="key", keep=5, method="odd", proxy=ROLE, epochs=1, run=tmp_path, say=said.append
    )
    assert selection.weights.tolist() == [1, 3, 5, 7, 9]
    again = Selection.read_parquet(selection.to_parquet(tmp_path / "kept.parquet"))
    assert again.weights.tolist() == [1, 3, 5, 7, 9]
    assert again.subset(table)["key"].to_pylist() == again.ids
    weight = dict(
        zip(again.table["id"].to_pylist(), again.table["weight"].to_pylist(), strict=True)
    )
    assert [weight[one] for one in again.ids] == [1, 3, 5, 7, 9]
    assert sum(value == 0 for value in weight.values()) == N - 5
    assert "odd weights its picks, from 1 to 9" in "\n".join(said)


def test_picks_without_weights_weigh_one_and_nothing_is_said(
    table: pa.Table, tmp_path: Path
) -> None:
    said: list[str] = []
    selection = keepers.coreset(table, keep=3, method="random", run=tmp_path, say=said.append)
    assert selection.weights.tolist() == [1, 1, 1]
    assert "weight" not in "\n".join(said)


def test_balanced_picks_keep_their_weights() -> None:
    signals = Signals(losses=torch.zeros(6), labels=torch.tensor([0, 0, 0, 0, 1, 1]))
    draw = torch.Generator().manual_seed(0)
    picks, _ = choose(row(), [signals], 4, generator=draw, balance=signals.labels)
    assert picks.positions.tolist() == [0, 4, 1, 5]  # the classes take turns, each from its first
    assert picks.weights is not None
    assert picks.weights.tolist() == [1, 1, 3, 3]


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("wrong", [torch.ones(1), torch.tensor([1.0, -1.0])])
def test_weights_that_break_the_contract_are_refused(wrong: Tensor, balanced: bool) -> None:
    def select(signals: Signals, scores: Any, k: int, **_: Any) -> Picks:
        return Picks(positions=torch.arange(k), weights=wrong)

    signals = Signals(losses=torch.zeros(4), labels=torch.tensor([0, 0, 0, 0]))
    balance = signals.labels if balanced else None
    with pytest.raises(KeepersError, match="odd: its select broke the contract: one positive"):
        choose(row(select=select), [signals], 2, generator=torch.Generator(), balance=balance)


def test_a_weighted_training_minimises_the_weighted_loss() -> None:
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 3, generator=draw), torch.randint(2, (8,), generator=draw)
    weights = torch.linspace(0.2, 1.8, 8)
    module = torch.nn.Linear(3, 2)
    expected = torch.nn.Linear(3, 2)
    expected.load_state_dict(module.state_dict())
    fit(
        module,
        TrainView(pool=DensePool(x), labels=y, positions=torch.arange(8)),
        Recipe(epochs=1, batch_size=8, lr=0.5, optimizer="sgd", momentum=0, weight_decay=0),
        fabric=Hardware(device="cpu", precision="fp32").fabric(gains_from_bf16=False),
        seed=0,
        policy=Weighted(weights),
    )
    loss = (weights * F.cross_entropy(expected(x), y, reduction="none")).mean()
    gradient = torch.autograd.grad(loss, expected.weight)[0]
    moved = (module.weight - expected.weight).detach()
    assert float(moved.norm()) > 0
    cosine = F.cosine_similarity(moved.flatten(), -gradient.flatten(), dim=0)
    assert float(cosine) == pytest.approx(1, abs=1e-5)


def test_compare_trains_its_target_with_the_weights(
    installed: Install, table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = importlib.import_module("keepers.workflows.stages")
    seen: list[tuple[list[int], list[float]]] = []
    whole = stages.fit

    def noting(module: Any, view: TrainView, *arguments: Any, **others: Any) -> Any:
        if isinstance(others["policy"], Weighted):
            found = others["policy"].weights(view.positions)
            seen.append((view.positions.tolist(), found.tolist()))
        return whole(module, view, *arguments, **others)

    monkeypatch.setattr(stages, "fit", noting)
    installed(row())
    given: dict[str, Any] = {"proxy": ROLE, "target": ROLE, "epochs": 1, "target_epochs": 1}
    for _ in range(2):  # the second time from what the first wrote
        keepers.compare(
            table, test=0.25, id="key", methods=["odd"], keep=[5], seeds=1, run=tmp_path, **given
        )
    assert seen == [([0, 1, 2, 3, 4], [1, 3, 5, 7, 9])]


def test_a_loop_is_told_that_there_are_weights() -> None:
    batch = (torch.randn(8, 3), torch.zeros(8, dtype=torch.int64), torch.arange(8))
    model = torch.nn.Linear(3, 2)
    chosen = BatchSelector(row(), keep=3)(model, batch)
    assert (chosen.weights.tolist(), chosen.weighted) == ([1, 3, 5], True)
    chosen = BatchSelector("loss", keep=3)(model, batch)
    assert (chosen.weights.tolist(), chosen.weighted) == ([1, 1, 1], False)


def test_a_loop_refuses_picks_that_break_the_contract() -> None:
    def select(signals: Signals, scores: Any, k: int, **_: Any) -> Picks:
        return Picks(positions=torch.arange(k), weights=torch.ones(k + 1))

    batch = (torch.randn(8, 3), torch.zeros(8, dtype=torch.int64), torch.arange(8))
    choose = BatchSelector(row(select=select), keep=3)
    with pytest.raises(KeepersError, match=r"3 positions were asked .* weights of shape \(4,\)"):
        choose(torch.nn.Linear(3, 2), batch)
