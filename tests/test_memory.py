"""n × classes is mapped from disk, and nothing of its size is held beside it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from keepers import tasks
from keepers.data import DensePool, memory
from keepers.methods import choose, get, score
from keepers.processes import Runtime
from keepers.signals import extract
from keepers.types import EvalView, Signals
from keepers.workflows.predictions import predictions

N, CLASSES = 20_000, 400
BADGE = importlib.import_module("keepers.selectors.badge")


class Largest(TorchFunctionMode):
    """Notes the bytes of the largest storage that an operation makes."""

    def __init__(self, signals: Signals) -> None:
        super().__init__()
        self.most = 0
        self.given = {value.untyped_storage().data_ptr() for _, value in signals.items()}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else (made,):
            if isinstance(each, Tensor) and each.untyped_storage().data_ptr() not in self.given:
                self.most = max(self.most, each.untyped_storage().nbytes())
        return made


@pytest.fixture(scope="module")
def signals() -> Signals:
    draw = torch.Generator().manual_seed(0)
    log_probs = torch.randn(N, CLASSES, generator=draw).log_softmax(1)
    return Signals(
        log_probs=log_probs,
        labels=torch.randint(CLASSES, (N,), generator=draw),
        features=torch.randn(N, 4, generator=draw),
        posterior_log_probs=log_probs.view(N, 4, CLASSES // 4).log_softmax(2),
    )


def _choose(method: str) -> Callable[[Signals], Any]:
    return lambda signals: choose(get(method), [signals], 5, generator=torch.Generator())


WORK: dict[str, Callable[[Signals], Any]] = {
    **{name: _choose(name) for name in ("entropy", "badge")},
    **{
        name: lambda signals, name=name: score(get(name), [signals])
        for name in (
            *("margin", "least-confidence"),
            *("bald", "mc-entropy", "mc-conditional-entropy"),
        )
    },
    "predictions": lambda signals: predictions([signals]),
    "gradient norms": lambda signals: tasks.gradients_of(
        tasks.CLASSES, signals.get("log_probs"), signals.get("labels"), norms=True
    ),
}


@pytest.mark.parametrize("name", WORK)
def test_nothing_as_large_as_the_predictions_is_made(
    signals: Signals, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BADGE, "HELD", 1 << 20)
    with Largest(signals) as largest:
        WORK[name](signals)
    assert largest.most < 0.3 * 4 * N * CLASSES


def test_predictions_are_those_of_the_whole(signals: Signals) -> None:
    first = signals.at(torch.arange(2000))
    members = [first, replace(first, log_probs=first.get("log_probs").flip(0))]
    found = predictions(members)
    mean = sum(each.get("log_probs").double().exp() for each in members) / 2
    assert isinstance(mean, Tensor)
    assert torch.equal(found.predicted, mean.argmax(1))
    labels = first.get("labels")
    assert torch.equal(found.label_probability, mean.gather(1, labels[:, None])[:, 0])


@pytest.mark.parametrize("estimate", [0, 8, 10**15])
def test_blocks_are_joined_whatever_was_expected(estimate: int) -> None:
    blocks = [(np.arange(n, dtype=np.int32), np.array([n, 0])) for n in (3, 0, 5, 1)]
    values, lengths = memory.appended(iter(blocks), np.dtype(np.int32), estimate, None)
    np.testing.assert_array_equal(values, np.concatenate([block for block, _ in blocks]))
    assert lengths.tolist() == [3, 0, 0, 0, 5, 0, 1, 0]


def test_a_process_that_keeps_nothing_makes_no_array() -> None:
    module = torch.nn.Linear(3, 4)
    view = EvalView(pool=DensePool(torch.randn(30, 3)), labels=torch.arange(30) % 4)
    found = extract(
        module,
        view,
        runtime=Runtime(device=torch.device("cpu")),
        wanted=("log_probs", "losses", "features"),
        keep=False,
    )
    assert [name for name, _ in found.items()] == ["labels"]
