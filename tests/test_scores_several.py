"""Uncertainty of several labels and of numbers, against naive formulas; selectors over numbers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from keepers import scores, selectors
from keepers.errors import ParameterError

ODDS = st.lists(
    st.lists(st.floats(-20, 20, width=32), min_size=3, max_size=3), min_size=1, max_size=6
)


def entropy(p: float) -> float:
    return -sum(q * math.log(q) for q in (p, 1 - p) if 0 < q < 1)


@given(ODDS)
def test_label_scores_are_those_of_the_formulas(rows: list[list[float]]) -> None:
    odds = torch.tensor(rows, dtype=torch.float64)
    likely = odds.sigmoid().tolist()
    entropies = [[entropy(p) for p in row] for row in likely]
    margins = [[1 - abs(2 * p - 1) for p in row] for row in likely]
    mean = [sum(row) / 3 for row in entropies]
    assert scores.label_entropy(odds).tolist() == pytest.approx(mean, abs=1e-6)
    assert scores.label_margin(odds).tolist() == pytest.approx([max(r) for r in margins], abs=1e-6)


@given(ODDS)
def test_mmc_is_the_least_of_all_sets_of_that_size(rows: list[list[float]]) -> None:
    odds = torch.tensor(rows, dtype=torch.float64)
    found = scores.maximal_confidence_loss(odds)
    for row, value in zip(odds.sigmoid().tolist(), found.tolist(), strict=True):
        size = round(sum(row))
        losses = [
            sum(1 - p if at in chosen else p for at, p in enumerate(row))
            for chosen in itertools.combinations(range(3), size)
        ]
        assert value == pytest.approx(min(losses), abs=1e-6)


def test_committee_variance_by_hand() -> None:
    said = torch.tensor([[[1.0], [3.0]], [[2.0], [2.0]]])
    assert scores.committee_variance(said).tolist() == pytest.approx([1 / 0.5, 0.0])
    with pytest.raises(ParameterError, match="2 models or more"):
        scores.committee_variance(said[:, :1])


@pytest.mark.parametrize(
    "formula", [scores.label_entropy, scores.label_margin, scores.maximal_confidence_loss]
)
def test_bad_log_odds_are_refused(formula: object) -> None:
    assert callable(formula)
    for bad in (torch.zeros(3), torch.tensor([[float("nan"), 0.0]])):
        with pytest.raises(ParameterError, match="log_odds"):
            formula(bad)


def naive_greedy(x: torch.Tensor, y: torch.Tensor, k: int, selected: list[int]) -> list[int]:
    chosen = list(selected)
    while len(chosen) < k + len(selected):
        if not chosen:
            chosen.append(int((x - x.mean(0)).square().sum(1).argmin()))
            continue
        products = [
            -1.0
            if i in chosen
            else min(float((x[i] - x[j]).norm() * (y[i] - y[j]).norm()) for j in chosen)
            for i in range(len(x))
        ]
        chosen.append(products.index(max(products)))
    return chosen[len(selected) :]


@pytest.mark.parametrize("seed", range(20))
def test_greedy_sampling_is_the_naive_one(seed: int) -> None:
    at = torch.Generator().manual_seed(seed)
    x, y = torch.randn(14, 3, generator=at), torch.randn(14, 1, generator=at)
    assert selectors.greedy_sampling(x, y, 6).tolist() == naive_greedy(x, y, 6, [])
    given_ = [2, 9]
    found = selectors.greedy_sampling(x, y, 5, selected=torch.tensor(given_))
    assert found.tolist() == naive_greedy(x, y, 5, given_)
