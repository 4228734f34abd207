"""What a method of another package returns reaches all that is made of it."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import keepers
from keepers import methods
from keepers.data import DensePool
from keepers.errors import KeepersError
from keepers.ledger import Cost
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


def test_picks_of_a_floor_keep_their_weights() -> None:
    signals = Signals(losses=torch.zeros(6))
    floor = methods.Floor(torch.tensor([0, 0, 0, 0, 1, 1]), 2)
    draw = torch.Generator().manual_seed(0)
    picks, _ = choose(row(), [signals], 4, generator=draw, floor=floor)
    assert picks.positions.tolist() == [0, 1, 4, 5]
    assert picks.weights is not None
    assert picks.weights.tolist() == [1, 3, 1, 3]  # those of the class as it weighs them


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
        runtime=Hardware(device="cpu", precision="fp32").runtime(gains_from_bf16=False),
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


# Identity -----------------------------------------------------------------------------------


def top(sign: float) -> Method:
    """The highest losses, or the lowest."""
    return row(
        score=lambda signals: sign * signals.get("losses"), select=methods.get("loss").select
    )


class Power:
    """A score with an option of its own."""

    def __init__(self, exponent: int) -> None:
        self.exponent = exponent

    def __call__(self, signals: Signals) -> Tensor:
        return signals.get("losses") ** self.exponent

    def scaled(self, signals: Signals) -> Tensor:
        return self.exponent * signals.get("losses")


def power(signals: Signals, exponent: int = 1) -> Tensor:
    return signals.get("losses") ** exponent


def minus(members: Any) -> Signals:
    return members[-1]


def in_notebook(source: str) -> Callable[..., Any]:
    """The function `score` of a module that no file holds."""
    module = type(sys)("notebook")
    sys.modules["notebook"] = module
    try:
        exec(source, vars(module))
        return module.score
    finally:
        del sys.modules["notebook"]


NOTEBOOK = """
SCALE = {scale}
def helper(x): return {body}
def score(signals): return SCALE * helper(signals.get("losses"))
"""
VARIANTS: dict[str, Callable[[], Method]] = {
    "as it is": row,
    "another score": lambda: row(score=power),
    "a closure": lambda: top(1.0),
    "another value in the closure": lambda: top(-1.0),
    "a partial": lambda: row(score=functools.partial(power, exponent=2)),
    "another argument": lambda: row(score=functools.partial(power, exponent=3)),
    "a lambda": lambda: row(score=lambda signals: signals.get("losses")),
    "another lambda": lambda: row(score=lambda signals: -signals.get("losses")),
    "an object": lambda: row(score=Power(2)),
    "another attribute": lambda: row(score=Power(3)),
    "its method": lambda: row(score=Power(2).scaled),
    "a method of another": lambda: row(score=Power(3).scaled),
    "a merge": lambda: row(merge=minus),
    "another merge": lambda: row(merge=methods.get("k-center").merge),
    "a default option": lambda: row(options={"beta": 1}),
    "another default": lambda: row(options={"beta": 2}),
    "a function as an option": lambda: row(options={"beta": power}),
    "more signals": lambda: row(needs=frozenset({"losses", "labels"})),
    "an ensemble": lambda: row(default_ensemble=3),
    "a notebook": lambda: row(score=in_notebook(NOTEBOOK.format(scale=1, body="x"))),
    "another value there": lambda: row(score=in_notebook(NOTEBOOK.format(scale=2, body="x"))),
    "another helper there": lambda: row(score=in_notebook(NOTEBOOK.format(scale=1, body="-x"))),
}


def test_whatever_decides_the_picks_is_in_the_identity_of_a_method() -> None:
    found = {name: json.dumps(make().identity()) for name, make in VARIANTS.items()}
    assert found == {name: json.dumps(make().identity()) for name, make in VARIANTS.items()}
    by_identity: dict[str, list[str]] = {}
    for name, identity in found.items():
        by_identity.setdefault(identity, []).append(name)
    assert [names for names in by_identity.values() if len(names) > 1] == []
    built_in = [json.dumps(method.identity()) for method in METHODS.values()]
    assert len(set(built_in)) == len(METHODS)


def test_an_identity_is_that_of_any_process() -> None:
    code = "import test_picks as t; print([m().identity() for m in t.VARIANTS.values()])"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        cwd=Path(__file__).parent,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert said == f"{[make().identity() for make in VARIANTS.values()]}\n"


def test_another_score_is_not_served_from_the_stages_of_the_first(
    installed: Install, table: pa.Table, tmp_path: Path
) -> None:
    def errors(sign: float, folder: str) -> list[list[float]]:
        installed(top(sign))
        found = keepers.compare(
            table,
            test=0.25,
            methods=["odd"],
            keep=[6],
            seeds=1,
            run=tmp_path / folder,
            proxy=ROLE,
            target=ROLE,
            epochs=3,
            target_epochs=5,
        )
        stages = sorted((tmp_path / folder / "stages").glob("selection-*/positions.npy"))
        assert [row["method"] for row in found.result["rows"]].count("odd") == 1
        return [np.load(stage).tolist() for stage in stages]

    highest, lowest = errors(1, "fresh"), errors(-1, "other")
    assert highest != lowest
    assert sorted(errors(-1, "fresh")) == sorted([*highest, *lowest])
    assert sorted(errors(-1, "fresh")) == sorted([*highest, *lowest])  # found again


def test_another_score_is_another_online_training(
    installed: Install, table: pa.Table, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"select": "odd", "keep": 0.5, "model": ROLE, "epochs": 1}
    weights: list[bytes] = []
    for sign in (1, -1, 1):
        installed(top(sign))
        result = keepers.train(table, test=0.25, run=tmp_path, **given)
        weights.append(Path(result.weights).read_bytes())
    assert weights[0] == weights[2]
    assert weights[0] != weights[1]


# Options that follow the data and the budget ------------------------------------------------


def test_selective_backprop_is_as_selective_as_the_paper_at_its_budget() -> None:
    draw = torch.Generator().manual_seed(0)
    method = methods.get("selective-backprop")
    for keep, expected in ((32, 10 / 11), (160, 2 / 3), (320, 0.5)):  # E[u^(1 + beta)] / E[u^beta]
        found: list[Tensor] = []
        for _ in range(60):
            losses = torch.rand(320, generator=draw)
            picks, _ = choose(method, [Signals(losses=losses)], keep, generator=draw)
            percentile = losses.argsort().argsort() / 320
            found.append(percentile[picks.positions].mean())
        # Drawn without replacement, so that what is left for late picks is lower.
        assert expected - 0.05 < float(torch.stack(found).mean()) < expected + 0.03, keep
    selected = torch.arange(160)
    one, two = (
        choose(
            method,
            [Signals(losses=losses)],
            40,
            generator=torch.Generator().manual_seed(1),
            selected=selected,
            options=options,
        )[0].positions
        for options in ({}, {"beta": 160 / 40 - 1})
    )
    assert torch.equal(one, two)


@pytest.mark.parametrize("value", ["high", -1, float("nan")])
def test_a_beta_that_is_none_is_refused(value: Any) -> None:
    method, signals = methods.get("selective-backprop"), Signals(losses=torch.rand(9))
    with pytest.raises(
        KeepersError, match=r"beta: got .*Give a finite number of 0 or more, or auto"
    ):
        choose(method, [signals], 3, generator=torch.Generator(), options={"beta": value})


def test_probcover_has_the_radius_of_the_classes_there_are_in_every_workflow(
    table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("keepers.selectors.probcover")
    seen: list[int] = []
    whole = module._pure_radius

    def noting(points: Tensor, num_classes: int, *others: Any) -> float:
        seen.append(num_classes)
        return whole(points, num_classes, *others)

    monkeypatch.setattr(module, "_pure_radius", noting)
    labels = np.arange(N) % 3
    data = table.set_column(2, "label", pa.array([f"class {c}" for c in labels]))
    one: dict[str, Any] = {"epochs": 1, "run": tmp_path / "coreset"}
    keepers.coreset(data, keep=5, method="probcover", proxy=ROLE, **one)
    keepers.compare(
        data,
        test=0.25,
        methods=["probcover"],
        keep=[5],
        seeds=1,
        proxy=ROLE,
        target=ROLE,
        epochs=1,
        target_epochs=1,
        run=tmp_path / "compare",
    )
    keepers.train(
        data, test=0.25, select="probcover", keep=0.5, model=ROLE, epochs=1, run=tmp_path / "train"
    )
    assert len(seen) > 3
    assert set(seen) == {3}
    method, signals = methods.get("probcover"), Signals(features=torch.rand(9, 2))
    options = {"num_classes": "many"}
    with pytest.raises(KeepersError, match=r"num_classes: got 'many'\. Give 2 or more, or auto"):
        choose(method, [signals], 3, generator=torch.Generator(), options=options)


# Pairing and cost ---------------------------------------------------------------------------


def test_targets_of_one_seed_begin_with_the_same_weights_and_encoding_is_charged(
    table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = importlib.import_module("keepers.workflows.stages")
    trials = importlib.import_module("keepers.experiments.trials")
    first: dict[str, set[bytes]] = {}
    whole, prepare = stages.fit, trials.Bench.prepare.__func__

    def noting(module: Any, *arguments: Any, **others: Any) -> Any:
        weights = [value.numpy().tobytes() for value in module.state_dict().values()]
        first.setdefault(others["phase"], set()).add(b"".join(weights))
        return whole(module, *arguments, **others)

    def dear(cls: Any, *arguments: Any) -> Any:
        bench = prepare(cls, *arguments)
        return dataclasses.replace(bench, encoding=Cost(phase="encoding", seconds=1000.0))

    monkeypatch.setattr(stages, "fit", noting)
    monkeypatch.setattr(trials.Bench, "prepare", classmethod(dear))
    found = keepers.compare(
        table,
        test=0.25,
        methods=["entropy", "stratified"],
        keep=[6, 12],
        seeds=2,
        proxy=ROLE,
        target=ROLE,
        epochs=1,
        target_epochs=1,
        run=tmp_path,
    ).result
    assert len(first["target training"]) == 2  # one for each seed, whatever is trained on
    for one in found["rows"]:
        charged = one["selection_seconds"] > 999
        assert charged == (one["selector"] == "proxy"), one["method"]


def test_validation_rows_come_from_each_class_in_its_share(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    label = ["common"] * 90 + ["rare"] * 10
    data = pa.table({"x": draw.normal(size=100), "y": draw.normal(size=100), "label": label})
    for seed in range(3):
        selection = keepers.coreset(
            data, keep=0.5, method="random", val=0.2, seed=seed, run=tmp_path / str(seed)
        )
        held = selection.table.filter(
            pc.equal(selection.table["reason"], "held out for validation")
        )
        assert held["label"].to_pylist().count("rare") == 2
        assert held.num_rows == 20
