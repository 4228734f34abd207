"""The seam of scoring: every front takes its scores from the backend that it was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepers.data import DensePool, open_source
from keepers.errors import KeepersError
from keepers.models import Recipe
from keepers.online import (
    Backend,
    BatchSelector,
    InProcess,
    IrreducibleLosses,
    Scored,
    Scorer,
    Scoring,
    Selecting,
    Selector,
)
from keepers.roles import Role, prepare
from keepers.runs import Run
from keepers.training import Candidates, Hardware, Length, fit
from keepers.types import Signals, TrainView
from keepers.workflows.expected import expected_cost
from keepers.workflows.online import OnlineTraining, train_online
from keepers.workflows.options.training import SelectionConfig
from keepers.workflows.workplace import Workplace

N, CLASSES, STEPS = 48, 3, 4
HARDWARE = Hardware(device="cpu", precision="fp32")
KEYS = [f"key {number}" for number in range(N)]
METHODS = ["rho-loss", "entropy", "gradient-norm-is", "bald", "loss-minus-conditional-entropy"]

Front = Callable[[Backend, nn.Module, str], list[Any]]


class Recording:
    """Scores in the process, and notes the ids that were asked for and what was scored."""

    def __init__(self) -> None:
        self.made = 0
        self.noted: list[tuple[list[Any], Scored]] = []

    def __call__(self, **given: Any) -> Scorer:
        self.made += 1
        return _Noting(InProcess(**given), self.noted)


class _Noting(Scorer):
    def __init__(self, scorer: Scorer, noted: list[tuple[list[Any], Scored]]) -> None:
        self.scorer, self.noted = scorer, noted

    def score(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        scored = self.scorer.score(candidates, needs)
        self.noted.append(([candidates.name(row) for row in range(len(candidates))], scored))
        return scored


class Ahead(Scorer):
    """Knows the signals of each example under each version of the weights; asks no model."""

    def __init__(self, noted: list[tuple[list[Any], Scored]]) -> None:
        self.known: dict[tuple[int, Any], dict[str, Tensor]] = {}
        for ids, scored in noted:
            for row, one in enumerate(ids):
                signals = {name: value[row] for name, value in scored.signals.items()}
                self.known[scored.version, one] = signals

    def __call__(self, **_: Any) -> Scorer:
        return self

    def score(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        rows = [
            self.known[candidates.version, candidates.name(row)] for row in range(len(candidates))
        ]
        signals = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        return Scored(
            positions=candidates.positions, version=candidates.version, signals=Signals(**signals)
        )


class Watched(nn.Module):
    """A classifier that counts the calls that are not of training."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, CLASSES)
            )
        self.looked = 0

    def forward(self, x: Tensor) -> Tensor:
        self.looked += not torch.is_grad_enabled()
        return self.layers(x)


def inputs() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(N, 4, generator=draw), torch.randint(CLASSES, (N,), generator=draw)


def by_loop(backend: Backend, model: nn.Module, method: str) -> list[Any]:
    """The ids that each step of a loop trains on."""
    x, y = inputs()
    losses = IrreducibleLosses.given(KEYS, np.linspace(0, 1, N))
    needed = losses if method == "rho-loss" else None
    choose = BatchSelector(method, needed, keep=0.25, backend=backend)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    taken: list[Any] = []
    for step in range(STEPS):
        rows = (torch.arange(16) + 8 * step) % N
        chosen = choose(model, (x[rows], y[rows], [KEYS[row] for row in rows.tolist()]))
        with torch.random.fork_rng():
            torch.manual_seed(step)
            each = F.cross_entropy(model(chosen.batch[0]), chosen.labels, reduction="none")
        optimizer.zero_grad()
        (chosen.weights * each).mean().backward()
        optimizer.step()
        taken.append(list(chosen.ids))
    return taken


def by_policy(backend: Backend, model: nn.Module, method: str) -> list[Any]:
    """The losses of a training by `fit`, and its last weights."""
    x, y = inputs()

    def make(module: nn.Module, runtime: Any) -> Selector:
        return Selector(method, keep=0.25, irreducible=torch.linspace(0, 1, N))

    fitted = fit(
        model,
        TrainView(pool=DensePool(x), labels=y, positions=torch.arange(N)),
        Recipe(epochs=1, batch_size=4, lr=0.01, optimizer="adamw"),
        runtime=HARDWARE.runtime(gains_from_bf16=False),
        seed=3,
        policy=Selecting(make, keep=0.25, ids=KEYS, backend=backend),
        length=Length(steps=STEPS),
    )
    return [fitted.losses, {name: value.tolist() for name, value in model.state_dict().items()}]


@pytest.mark.parametrize("front", [by_loop, by_policy])
@pytest.mark.parametrize("method", METHODS)
def test_scores_that_were_made_before_give_the_same_training(front: Front, method: str) -> None:
    plain, watched, recording = Watched(), Watched(), Recording()
    expected = front(InProcess, plain, method)
    assert front(recording, watched, method) == expected
    assert watched.looked == plain.looked > 0
    ahead = Watched()
    assert front(Ahead(recording.noted), ahead, method) == expected
    assert ahead.looked == (2 if front is by_policy else 0)  # FLOPs of a step and of a score


@pytest.mark.parametrize(("front", "made"), [(by_loop, 1), (by_policy, 1)])
def test_ids_and_the_version_of_the_weights_travel_with_each_score(front: Front, made: int) -> None:
    recording = Recording()
    front(recording, Watched(), "rho-loss")
    assert recording.made == made
    assert [scored.version for _, scored in recording.noted] == list(range(STEPS))
    for ids, scored in recording.noted:
        assert len(ids) == len(scored.positions) == len(scored.signals.get("losses")) == 16
        assert ids == [KEYS[position] for position in scored.positions.tolist()]


def test_a_training_and_its_expected_cost_go_through_the_seam(tmp_path: Path) -> None:
    x, y = inputs()
    columns = {f"x{i}": x[:, i].numpy() for i in range(4)}
    table = pa.table({**columns, "label": [f"class {c}" for c in y.tolist()], "key": KEYS})
    role = Role.parse({"model": "logistic", "batch_size": 4}, "logistic")
    source, prepared = prepare(role, open_source(table, id="key"))
    recording = Recording()
    training = OnlineTraining(
        prepared=prepared,
        source=source,
        members=torch.arange(N),
        selection=SelectionConfig(select="loss", keep=0.25),
        length=Length(steps=STEPS),
        seed=0,
        backend=recording,
    )
    with Run(tmp_path, {}, resume=True) as run:
        said: list[str] = []
        place = Workplace(run=run, hardware=HARDWARE, say=said.append)
        assert expected_cost(training, place) is not None
        assert (recording.made, len(said)) == (1, 1)
        assert {scored.version for _, scored in recording.noted} == {0}
        recording.noted.clear()
        train_online(place, training)
    assert recording.made == 2
    assert [scored.version for _, scored in recording.noted] == list(range(STEPS))
    assert all(set(ids) < set(KEYS) for ids, _ in recording.noted)


class Changed(Scorer):
    """A backend whose answers are changed on their way."""

    def __init__(self, change: Callable[[Scored], Scored]) -> None:
        self.change = change

    def __call__(self, **given: Any) -> Scorer:
        self.scorer = InProcess(**given)
        return self

    def score(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        return self.change(self.scorer.score(candidates, needs))


def reversed_order(scored: Scored) -> Scored:
    rows = torch.arange(len(scored.positions)).flip(0)
    return replace(scored, positions=scored.positions[rows], signals=scored.signals.at(rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (reversed_order, "step 1 asked for 16 candidates, but it scored 16, of other positions"),
        (lambda scored: replace(scored, positions=scored.positions[:-1]), "of other positions"),
        (
            lambda scored: replace(scored, signals=scored.signals.at(torch.arange(15))),
            "asked for 16 candidates, but it scored 15",
        ),
        (lambda scored: replace(scored, version=7), "weights of version 7, which do not exist"),
        (
            lambda scored: replace(scored, version=-3),
            "weights 3 steps old, but only 0 are",
        ),
    ],
)
@pytest.mark.parametrize("front", [by_loop, by_policy])
def test_scores_of_other_examples_or_other_weights_are_refused(
    front: Front, change: Callable[[Scored], Scored], message: str
) -> None:
    with pytest.raises(KeepersError, match=f"backend: .*{message}"):
        front(Changed(change), Watched(), "entropy")


def test_scores_by_older_weights_are_noted_where_they_are_allowed() -> None:
    x, y = inputs()
    old = Changed(lambda scored: replace(scored, version=max(0, scored.version - 2)))
    choose = BatchSelector("loss", keep=4, backend=old, scoring=Scoring(max_staleness=2))
    batches = [choose(Watched(), (x, y, KEYS)) for _ in range(4)]
    assert [chosen.staleness for chosen in batches] == [0, 1, 2, 2]
    assert BatchSelector("random", keep=4)(Watched(), (x, y, KEYS)).staleness == 0
    choose = BatchSelector("loss", keep=4, backend=old, scoring=Scoring(max_staleness=1))
    for _ in range(2):
        choose(Watched(), (x, y, KEYS))
    with pytest.raises(KeepersError, match=r"2 steps old, but only 1 are allowed.*max_staleness"):
        choose(Watched(), (x, y, KEYS))
