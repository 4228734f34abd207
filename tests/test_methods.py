"""The contract that every row of the table keeps."""

from __future__ import annotations

import dataclasses
from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch
from torch import Tensor

from keepers import methods
from keepers.errors import KeepersError, ParameterError
from keepers.methods import METHODS, Method, choose
from keepers.types import Picks, Signals

N, CLASSES = 240, 5
DRAWN = {"random", "stratified", "ccs"}
NEST = sorted(set(METHODS) - {"stratified"})
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_signals(seed: int = 0, n: int = N) -> Signals:
    draw = generator(seed)
    log_probs = (2 * torch.randn(n, CLASSES, generator=draw)).log_softmax(-1)
    return Signals(
        log_probs=log_probs,
        early_log_probs=torch.randn(n, 2, CLASSES, generator=draw).log_softmax(-1),
        labels=torch.randint(CLASSES, (n,), generator=draw),
        losses=torch.rand(n, generator=draw),
        features=torch.randn(n, 6, generator=draw),
        forgetting=torch.rand(n, generator=draw) * 5,  # no ties: they would go by position
        aum=torch.randn(n, generator=draw),
    )


def pick(method: Method, k: int, seed: int = 0, **settings: Any) -> Tensor:
    return choose(method, [make_signals()], k, generator=generator(seed), **settings)[0].positions


def test_the_table_holds_the_named_methods() -> None:
    assert list(METHODS) == [
        "random",
        "stratified",
        "least-confidence",
        "margin",
        "entropy",
        "forgetting",
        "el2n",
        "k-center",
        "facility-location",
        "ccs",
    ]
    fields = {field.name for field in dataclasses.fields(Signals)}
    for name, method in METHODS.items():
        assert method.name == name
        assert method.needs <= fields
        assert method.summary
        assert method.when
        assert method.paper or name == "random"


@every_method
@pytest.mark.parametrize("k", [0, 1, 37, N])
def test_exactly_k_without_repetition(method: Method, k: int) -> None:
    positions = pick(method, k)
    assert positions.dtype == torch.int64
    assert len(positions) == k
    assert len(positions.unique()) == k
    assert set(positions.tolist()) <= set(range(N))


@every_method
def test_the_same_generator_gives_the_same_picks(method: Method) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = pick(method, 50, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(pick(method, 50, seed=7), first)
    if method.name in DRAWN:
        assert not torch.equal(pick(method, 50, seed=8), first)


@every_method
def test_input_is_left_as_it_was(method: Method) -> None:
    signals, selected = make_signals(), torch.arange(0, N, 9)
    choose(
        method,
        [signals],
        40,
        generator=generator(),
        balance=signals.labels,
        selected=selected,
    )
    for name, value in make_signals().items():
        assert torch.equal(signals.get(name), value), name
    assert torch.equal(selected, torch.arange(0, N, 9))


@every_method
def test_picks_follow_a_permutation_of_the_examples(method: Method) -> None:
    signals = make_signals()
    order = torch.randperm(N, generator=generator(3))
    # One point is selected, so that k-center has nothing to draw.
    selected = torch.tensor([11])
    moved_selected = order.argsort()[selected]
    first, scores = choose(method, [signals], 40, generator=generator(), selected=selected)
    moved, moved_scores = choose(
        method, [signals.at(order)], 40, generator=generator(), selected=moved_selected
    )
    if scores is not None:
        assert moved_scores is not None
        assert torch.equal(moved_scores, scores[order])
    if method.name not in DRAWN:
        assert torch.equal(order[moved.positions], first.positions)
    if method.name == "ccs":
        assert first.excluded is not None
        assert moved.excluded is not None
        assert torch.equal(order[moved.excluded], first.excluded)


@every_method
@pytest.mark.parametrize("balanced", [False, True])
def test_what_is_selected_is_not_picked_again(method: Method, balanced: bool) -> None:
    selected = torch.arange(5, 105)
    labels = make_signals().labels if balanced else None
    positions = pick(method, N - 100, selected=selected, balance=labels)
    assert sorted([*positions.tolist(), *selected.tolist()]) == list(range(N))
    with pytest.raises(ParameterError, match="k: got 141, but there are 140"):
        pick(method, N - 99, selected=selected, balance=labels)


@every_method
def test_balance_gives_each_class_the_same_as_far_as_it_reaches(method: Method) -> None:
    labels = torch.tensor([0] * 150 + [1] * 80 + [2] * 10)
    positions = pick(method, 60, balance=labels)
    assert labels[positions].bincount().tolist() == [25, 25, 10]
    assert labels[positions[:6]].tolist() == [0, 1, 2, 0, 1, 2]
    if method.name in NEST:
        for k in (1, 2, 31):
            assert torch.equal(pick(method, k, balance=labels), positions[:k])


@pytest.mark.parametrize("name", NEST)
def test_picks_nest(name: str) -> None:
    positions = pick(METHODS[name], 150)
    for k in (0, 1, 2, 60):
        assert torch.equal(pick(METHODS[name], k), positions[:k])


@every_method
def test_nan_is_an_error(method: Method) -> None:
    floating = [name for name in method.needs if name != "labels"]
    for name in floating:
        value = make_signals().get(name).clone()
        value[17] = torch.nan
        broken = dataclasses.replace(make_signals(), **{name: value})
        with pytest.raises(ParameterError, match=r"NaN.* 17"):
            choose(method, [broken], 5, generator=generator())


@every_method
def test_a_missing_signal_is_named(method: Method) -> None:
    for name in method.needs:
        signals = dataclasses.replace(make_signals(), **{name: None})
        with pytest.raises(KeepersError, match=f"'{name}' is needed"):
            choose(method, [signals], 5, generator=generator())


@every_method
def test_unknown_options_are_refused(method: Method) -> None:
    with pytest.raises(ParameterError, match=f"options of {method.name}: got 'bta'"):
        pick(method, 5, options={"bta": 1})


@pytest.mark.parametrize("method", [m for m in METHODS.values() if m.score and m.name != "ccs"])
def test_the_highest_scores_come_first(method: Method) -> None:
    picks, scores = choose(method, [make_signals()], N, generator=generator())
    assert scores is not None
    assert torch.equal(scores[picks.positions], scores.sort(descending=True).values)


@every_method
def test_an_ensemble_of_one_model_repeated_is_that_model(method: Method) -> None:
    signals = make_signals()
    alone, scores = choose(method, [signals], 40, generator=generator())
    together, mean_ranks = choose(method, [signals] * 3, 40, generator=generator())
    assert torch.equal(together.positions, alone.positions) or method.name == "ccs"
    assert (scores is None) == (mean_ranks is None)


def test_an_ensemble_is_combined_by_rank() -> None:
    members = [make_signals(seed) for seed in range(3)]
    _, scores = choose(METHODS["entropy"], members, 5, generator=generator())
    assert scores is not None
    ranks = [
        choose(METHODS["entropy"], [member], 1, generator=generator())[1] for member in members
    ]
    expected = sum(
        rank.argsort().argsort().double() for rank in ranks if rank is not None
    ) / torch.tensor(3.0)
    torch.testing.assert_close(scores, expected)


def test_el2n_averages_the_runs_of_all_members() -> None:
    signals = make_signals()
    early = signals.get("early_log_probs")
    members = [dataclasses.replace(signals, early_log_probs=early[:, [run]]) for run in range(2)]
    _, together = choose(METHODS["el2n"], members, 5, generator=generator())
    _, alone = choose(METHODS["el2n"], [signals], 5, generator=generator())
    assert together is not None
    assert alone is not None
    assert torch.equal(together, alone)


def test_ccs_never_picks_what_it_sets_aside() -> None:
    signals = make_signals()
    picks, _ = choose(METHODS["ccs"], [signals], 100, generator=generator(), options={"beta": 0.25})
    assert picks.excluded is not None
    assert picks.excluded.tolist() == signals.get("aum").argsort()[:60].tolist()
    assert not set(picks.excluded.tolist()) & set(picks.positions.tolist())


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ParameterError, match="Did you mean 'entropy'"):
        methods.get("entrpy")


def test_members_of_different_length_are_refused() -> None:
    with pytest.raises(ParameterError, match="members: got lengths"):
        choose(
            METHODS["entropy"],
            [make_signals(), make_signals(n=10)],
            5,
            generator=generator(),
        )
    with pytest.raises(ParameterError, match="members: got none"):
        choose(METHODS["entropy"], [], 5, generator=generator())


def _first_positions(signals: Signals, scores: None, k: int, **_: Any) -> Picks:
    return Picks(positions=torch.arange(k))


FIRST = Method(
    name="first",
    needs=frozenset({"labels"}),
    select=_first_positions,
    summary="the first k",
    when="never",
    paper="none",
)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Entry points of an installed package; each test says which."""

    def install(*values: str) -> None:
        entries = [EntryPoint(value, value, methods.ENTRY_POINT_GROUP) for value in values]
        monkeypatch.setattr(methods, "entry_points", lambda group: entries)  # pyright: ignore
        methods.table.cache_clear()

    yield install
    methods.table.cache_clear()


def test_another_package_adds_a_row(installed: Any) -> None:
    installed(f"{__name__}:FIRST")
    assert methods.names() == (*METHODS, "first")
    assert pick(methods.get("first"), 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("keepers.methods:get", "got function"),
        ("keepers.nowhere:ROW", "does not load"),
        ("keepers.methods:_ROWS", "got tuple"),
    ],
)
def test_a_broken_entry_point_is_named(installed: Any, value: str, message: str) -> None:
    installed(value)
    with pytest.raises(KeepersError, match=message):
        methods.get("entropy")


def test_a_row_cannot_replace_another(installed: Any) -> None:
    installed(f"{__name__}:FIRST", f"{__name__}:FIRST")
    with pytest.raises(KeepersError, match="the name 'first' is in use"):
        methods.names()


def test_a_method_that_breaks_the_contract_is_named() -> None:
    with pytest.raises(KeepersError, match="first: its select broke the contract"):
        pick(FIRST, 3, selected=torch.tensor([0]))


def test_ccs_averages_the_margins_of_its_members_rather_than_their_ranks() -> None:
    ccs = METHODS["ccs"]
    members = [make_signals(seed) for seed in (1, 2, 3)]
    margins = torch.stack([signals.get("aum") for signals in members]).mean(0)
    joined = dataclasses.replace(members[0], aum=margins)
    assert torch.equal(methods.score(ccs, members), methods.score(ccs, [joined]))
