"""Rows made of other rows: bands, and a row that selects among what they let through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import keepers
from keepers import methods, selectors
from keepers.errors import ParameterError
from keepers.methods import Band, Floor, choose, compose, get
from keepers.online import Scoring
from keepers.online.scorer import InProcess
from keepers.online.selector import Selector
from keepers.training import Candidates
from test_methods import generator, make_signals

N = 240


def picked(name: str, k: int, **given: Any) -> Tensor:
    return choose(get(name), [make_signals()], k, generator=generator(), **given)[0].positions


def lowest(scores: Tensor, share: float) -> Tensor:
    return scores.argsort(stable=True)[: round(share * len(scores))].sort().values


def test_a_band_and_a_row_are_the_row_among_what_the_band_lets_through() -> None:
    signals = make_signals()
    inside = lowest(methods.score(get("el2n"), [signals]), 0.9)
    features = signals.get("features")[inside]
    expected = inside[selectors.k_center_greedy(features, 30, generator=generator())]
    picks, scores = choose(get("el2n:0-90%+k-center"), [signals], 30, generator=generator())
    assert torch.equal(picks.positions, expected)
    assert scores is None
    aside = set(range(N)) - set(inside.tolist())
    assert picks.excluded is not None
    assert set(picks.excluded.tolist()) == aside
    assert picks.why_excluded == "not among the lowest 90% by el2n"


def test_bands_come_one_after_the_other() -> None:
    signals = make_signals()
    entropy, loss = (methods.score(get(name), [signals]) for name in ("entropy", "loss"))
    upper = entropy.argsort(stable=True)[N // 2 :]
    inside = upper.sort().values
    rest = set(inside[lowest(loss[inside], 0.5)].tolist())
    found = picked("entropy:0.5-1+loss:0-0.5+random", 20)
    assert set(found.tolist()) <= rest
    assert len(rest) == N // 4


def test_a_band_of_all_changes_nothing() -> None:
    assert torch.equal(picked("loss:0-1+facility-location", 25), picked("facility-location", 25))


def test_bands_set_fewer_aside_where_too_little_would_be_left() -> None:
    picks, _ = choose(get("loss:90%-100%+random"), [make_signals()], 60, generator=generator())
    loss = make_signals().get("losses")
    assert set(picks.positions.tolist()) == set(loss.argsort()[-60:].tolist())
    assert "they would leave 24, but 60 are kept" in picks.how
    whole, _ = choose(get("loss:90%-100%+random"), [make_signals()], N, generator=generator())
    assert len(whole.positions.unique()) == N


def test_balance_and_floors_hold_with_bands() -> None:
    labels = make_signals().get("labels")
    counts = labels[picked("loss:0-0.5+k-center", 50, balance=labels)].bincount()
    assert counts.tolist() == [10] * 5
    # A class whose examples are all set aside gets them back, as far as its floor goes.
    signals = make_signals()
    losses = signals.get("losses").clone()
    losses[labels == 2] += 10
    given = [replace(signals, losses=losses)]
    floor = Floor(labels, 3)
    picks, _ = choose(get("loss:0-0.5+random"), given, 50, generator=generator(), floor=floor)
    assert labels[picks.positions].bincount()[2] == 3
    assert picks.floored is not None
    assert labels[picks.floored].unique().tolist() == [2]


def test_what_is_selected_stays_selected_and_no_quantile_counts_it() -> None:
    taken = torch.arange(0, 200)
    found = picked("loss:0-0.5+random", 20, selected=taken)
    loss = make_signals().get("losses")[200:]
    assert set((found - 200).tolist()) == set(lowest(loss, 0.5).tolist())


def test_members_of_an_ensemble_are_combined_for_bands_and_row_apart() -> None:
    members = [make_signals(seed) for seed in range(3)]
    row = get("loss:0-0.8+badge")
    picks, _ = choose(row, members, 30, generator=generator())
    combined = methods.score(get("loss"), members)
    assert set(picks.positions.tolist()) <= set(lowest(combined, 0.8).tolist())


def test_a_composed_row_says_what_it_is() -> None:
    row = get("el2n:0-90%+k-center")
    assert row.needs == {"early_gradient_norms", "features"}
    assert row.summary.endswith("of the lowest 90% by el2n")
    assert row.default_ensemble == 3
    assert not row.hard_first
    assert get("margin:0.5-1+random").hard_first
    assert methods.workflows(row) == ("core-set",)
    assert row.identity() != get("el2n:0-80%+k-center").identity()
    named = compose(Band(get("loss"), 0, 0.9), then=get("k-center"), name="mine")
    assert named.name == "mine"
    told = methods.out_of_fold(get("entropy:0-0.9+margin"))
    assert told.needs == {"out_of_fold_log_probs"}
    assert {told.bands[0].by.name, told.selecting.name} == {"entropy", "margin"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("el2n:0-0.9", "'el2n:0-0.9' without a method after it"),
        ("el2n:0-2+random", "LOW < HIGH"),
        ("el2n:0.5-0.2+random", "LOW < HIGH"),
        ("el2n+random", "'el2n' before a \\+"),
        ("eln:0-1+random", "'eln', which is not known. Did you mean 'el2n'"),
        ("random:0-.5+margin", "random gives no scores"),
        ("el2n:0,5-1+margin", "'el2n:0,5-1'"),
        ("el2n:0-nan+margin", "LOW < HIGH"),
        ("el2n:0-0.9+", "got ''"),
    ],
)
def test_what_composes_nothing_is_told_how(name: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        get(name)


def test_a_composed_row_is_refused_where_a_part_is() -> None:
    with pytest.raises(ParameterError, match="not offered here: it needs irreducible losses"):
        get("rho-loss:0-0.9+k-center", methods.signals_of(methods.CORESET))


def test_online_selection_takes_composed_rows() -> None:
    torch.manual_seed(0)
    model, x = torch.nn.Linear(6, 3), torch.randn(40, 6)
    y = torch.randint(3, (40,))
    candidates = Candidates(
        args=(x,), labels=y, positions=torch.arange(40), cut=lambda rows: ((x[rows],), {})
    )
    losses = torch.nn.functional.cross_entropy(model(x), y, reduction="none")
    inside = lowest(losses.detach(), 0.9)
    selector = Selector("loss:0-0.9+loss", keep=8)
    scorer = InProcess(module=model, scoring=Scoring())
    rows = selector.choose(candidates, scorer).rows
    assert rows.tolist() == inside[losses[inside].argsort(descending=True)[:8]].tolist()


def test_every_workflow_takes_them(tmp_path: Path) -> None:
    given: dict[str, Any] = {"limit": 400}
    name = "entropy:0-0.9+k-center"
    selection = keepers.coreset(
        "digits", keep=0.2, method=name, epochs=1, run=tmp_path / "a", **given
    )
    assert len(selection) == 80
    reasons = set(selection.table["reason"].to_pylist())
    assert "dropped: not among the lowest 90% by entropy" in reasons
    result = keepers.train(
        "digits",
        model="mlp",
        test=0.3,
        select="loss:0-0.9+gradient-norm",
        keep=0.5,
        epochs=1,
        run=tmp_path / "b",
        **given,
    )
    assert result.metadata["accuracy"] > 0.1


def test_craig_weights_each_pick_by_what_it_stands_for() -> None:
    signals = make_signals()
    gradients = signals.get("gradients")
    picks, _ = choose(get("craig"), [signals], 30, generator=generator())
    assert torch.equal(picks.positions, selectors.facility_location(gradients, 30))
    nearest = torch.cdist(gradients, gradients[picks.positions]).argmin(1)
    assert picks.weights is not None
    torch.testing.assert_close(picks.weights * N / 30, nearest.bincount(minlength=30).float())


def test_copies_of_a_pick_count_once_for_themselves() -> None:
    same = torch.zeros(5, 2)
    weights = selectors.cluster_weights(same, torch.tensor([3, 1]))
    torch.testing.assert_close(weights, torch.tensor([1.6, 0.4]))
    assert len(selectors.cluster_weights(same, torch.tensor([], dtype=torch.int64))) == 0
