"""The contract that every row of the table keeps."""

from __future__ import annotations

import dataclasses
from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from keepers import methods, plugins
from keepers.errors import KeepersError, ParameterError
from keepers.methods import METHODS, Floor, Method, choose
from keepers.types import Picks, Signals
from keepers.workflows.offered import CORESET_SIGNALS

N, CLASSES = 240, 5
DRAWN = {
    "random",
    "stratified",
    "ccs",
    "gradient-norm-is",
    "selective-backprop",
    "badge",
    "gradient-spread",
    "typiclust",
    "confident-learning",
}
BY_CLUSTERS = {
    "deita",
    "ccs",
    "cluster-margin",
    "confident-learning",
}  # their scores are not what they select by alone
ESTIMATES = {"probcover": {"delta": 1.5}}  # options without which k-means is drawn
SETS = {name: row for name, row in METHODS.items() if not row.replacement}
REPEATING = {name: row for name, row in METHODS.items() if row.replacement}
NEST = sorted(
    set(SETS)
    - {"stratified", "typiclust", "cluster-margin", "selective-backprop", "confident-learning"}
)
SCORED = {name for name, row in METHODS.items() if row.score is not None}
ON_DEVICE = sorted(SCORED - BY_CLUSTERS)
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
every_set = pytest.mark.parametrize("method", SETS.values(), ids=list(SETS))
every_repeating = pytest.mark.parametrize("method", REPEATING.values(), ids=list(REPEATING))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_signals(seed: int = 0, n: int = N) -> Signals:
    draw = generator(seed)
    log_probs = (2 * torch.randn(n, CLASSES, generator=draw)).log_softmax(-1)
    return Signals(
        log_probs=log_probs,
        out_of_fold_log_probs=torch.randn(n, CLASSES, generator=draw).log_softmax(-1),
        early_gradient_norms=torch.rand(n, 2, generator=draw),
        labels=torch.randint(CLASSES, (n,), generator=draw),
        losses=torch.rand(n, generator=draw),
        gradients=torch.randn(n, CLASSES, generator=draw),
        gradient_norms=torch.rand(n, generator=draw),
        features=torch.randn(n, 6, generator=draw),
        forgetting=torch.rand(n, generator=draw) * 5,  # no ties: they would go by position
        aum=torch.randn(n, generator=draw),
        posterior_log_probs=torch.randn(n, 4, CLASSES, generator=draw).log_softmax(-1),
        irreducible_losses=torch.rand(n, generator=draw),
        log_odds=torch.randn(n, 4, generator=draw),
        predictions=torch.randn(n, 2, generator=draw),
        posterior_predictions=torch.randn(n, 3, 2, generator=draw),
        answer_losses=torch.rand(n, generator=draw),
        qualities=torch.rand(n, generator=generator(9)),
        unconditional_losses=torch.rand(n, generator=draw) + 1,
        lengths=torch.rand(n, generator=draw),
        similarities=torch.randn(n, 3, generator=draw),
        gradient_similarities=torch.rand(n, 2, generator=draw),
    )


def pick(method: Method, k: int, seed: int = 0, **settings: Any) -> Tensor:
    return choose(method, [make_signals()], k, generator=generator(seed), **settings)[0].positions


LABEL_FREE = ("margin", "entropy", "least-confidence", "badge", "cluster-margin")


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("name", LABEL_FREE)
def test_a_row_out_of_fold_picks_by_what_other_models_predict(name: str, members: int) -> None:
    row = methods.get(name)
    given = [make_signals(seed) for seed in range(members)]
    told = [dataclasses.replace(each, log_probs=each.out_of_fold_log_probs) for each in given]
    without = [dataclasses.replace(each, log_probs=None) for each in given]
    other = methods.out_of_fold(row)
    assert "log_probs" not in other.needs
    as_told, _ = choose(row, told, 30, generator=generator())
    found, _ = choose(other, without, 30, generator=generator())
    assert torch.equal(found.positions, as_told.positions)
    by_its_own, _ = choose(row, given, 30, generator=generator())
    assert not torch.equal(found.positions, by_its_own.positions)


def test_badge_chooses_among_a_part_drawn_at_random() -> None:
    row, held = methods.get("badge"), torch.arange(0, N, 3)
    everything = pick(row, 8, selected=held)
    assert torch.equal(pick(row, 8, selected=held, options={"among": N}), everything)
    drawn = [
        set(pick(row, k, seed, selected=held, options={"among": 10}).tolist())
        for seed in range(20)
        for k in (4, 10)
    ]
    assert not set.union(*drawn) & set(held.tolist())
    for few, many in zip(drawn[::2], drawn[1::2], strict=True):
        assert len(few) == 4
        assert few <= many
        assert len(many) == 10
    assert len(set.union(*drawn)) > 100  # which others are drawn each time
    for among in (7, "some", None):
        with pytest.raises(ParameterError, match=f"among: got {among!r}. Give 8 or more, or all"):
            pick(row, 8, options={"among": among})


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
        "craig",
        "gradient-spread",
        "typiclust",
        "probcover",
        "badge",
        "cluster-margin",
        "loss",
        "rho-loss",
        "negative-il",
        "gradient-norm",
        "last-layer-gradient-norm",
        "bald",
        "batch-bald",
        "mc-entropy",
        "mc-conditional-entropy",
        "loss-minus-conditional-entropy",
        "ccs",
        "confident-learning",
        "gradient-norm-is",
        "selective-backprop",
        "label-entropy",
        "label-margin",
        "mmc",
        "committee",
        "greedy-sampling",
        "longest",
        "perplexity",
        "ifd",
        "deita",
        "rds",
        "less",
    ]
    assert list(REPEATING) == ["gradient-norm-is"]
    fields = {field.name for field in dataclasses.fields(Signals)}
    for name, method in METHODS.items():
        assert method.name == name
        assert method.needs <= fields
        assert method.summary
        assert method.when
        assert method.paper or name == "random"


@every_set
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
        balance=None if method.replacement else signals.labels,
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
    given: Any = {"generator": generator(), "options": ESTIMATES.get(method.name)}
    k = 30 if method.name == "craig" else 40  # later, two points that gain the same go by position
    first, scores = choose(method, [signals], k, selected=selected, **given)
    given["generator"] = generator()
    moved, moved_scores = choose(method, [signals.at(order)], k, selected=moved_selected, **given)
    if scores is not None:
        assert moved_scores is not None
        assert torch.equal(moved_scores, scores[order])
    if method.name not in DRAWN:
        assert torch.equal(order[moved.positions], first.positions)
    if method.name == "ccs":
        assert first.excluded is not None
        assert moved.excluded is not None
        assert torch.equal(order[moved.excluded], first.excluded)


@every_set
@pytest.mark.parametrize("balanced", [False, True])
def test_what_is_selected_is_not_picked_again(method: Method, balanced: bool) -> None:
    selected = torch.arange(5, 105)
    labels = make_signals().labels if balanced else None
    positions = pick(method, N - 100, selected=selected, balance=labels)
    assert sorted([*positions.tolist(), *selected.tolist()]) == list(range(N))
    with pytest.raises(ParameterError, match="k: got 141, but there are only 140"):
        pick(method, N - 99, selected=selected, balance=labels)


@every_set
def test_balance_gives_each_class_the_same_as_far_as_it_reaches(method: Method) -> None:
    labels = torch.tensor([0] * 150 + [1] * 80 + [2] * 10)
    positions = pick(method, 60, balance=labels)
    assert labels[positions].bincount().tolist() == [25, 25, 10]
    assert labels[positions[:6]].tolist() == [0, 1, 2, 0, 1, 2]
    if method.name in NEST:
        for k in (1, 2, 31):
            assert torch.equal(pick(method, k, balance=labels), positions[:k])


# Classes that are rare, hard, easy, and one that the method never comes to.
UNEVEN = torch.tensor([0] * 30 + [1] * 15 + [2] * 8 + [3] * 4 + [4] * 2 + [5])
SIZES = UNEVEN.bincount()


@every_set
@given(k=st.integers(0, 60), least=st.integers(0, 40), seed=st.integers(0, 5))
@settings(max_examples=8, deadline=None)
def test_a_floor_holds_for_every_class_and_changes_nothing_else(
    method: Method, k: int, least: int, seed: int
) -> None:
    signals = make_signals(seed, n=len(UNEVEN))
    free, scores = choose(method, [signals], k, generator=generator(seed))
    floor = Floor(UNEVEN, least)
    picks, again = (
        choose(method, [signals], k, generator=generator(seed), floor=floor)[0] for _ in range(2)
    )
    assert torch.equal(picks.positions, again.positions)
    assert len(picks.positions) == len(picks.positions.unique()) == k
    counts = UNEVEN[picks.positions].bincount(minlength=len(SIZES))
    reached = max(level for level in range(least + 1) if int(SIZES.clamp(max=level).sum()) <= k)
    assert bool((counts >= SIZES.clamp(max=reached)).all())
    if reached < least:  # as even as it goes
        assert bool((counts <= SIZES.clamp(max=reached + 1)).all())
    own = UNEVEN[free.positions].bincount(minlength=len(SIZES))
    if bool((own >= SIZES.clamp(max=least)).all()):
        assert torch.equal(picks.positions, free.positions)
        assert picks.floored is None
        return
    if picks.floored is None:
        assert torch.equal(picks.positions, free.positions)
        return
    # What stays is the method's own, in its order; what came in stands behind.
    stayed = picks.positions[: k - len(picks.floored)].tolist()
    order = free.positions.tolist()
    assert stayed == [one for one in order if one in set(stayed)]
    assert not set(picks.floored.tolist()) & set(stayed)
    if method.select is METHODS["entropy"].select:  # the best of its class that are left
        assert scores is not None
        for number in UNEVEN[picks.floored].unique():
            left = [one for one in range(60) if UNEVEN[one] == number and one not in set(stayed)]
            best = sorted(left, key=lambda one: (-float(scores[one]), one))
            added = [one for one in picks.floored.tolist() if UNEVEN[one] == number]
            assert added == best[: len(added)]


def test_a_floor_counts_what_is_selected_already_and_leaves_its_input_alone() -> None:
    signals = Signals(losses=torch.arange(8).float())  # the class of the first four comes last
    classes, selected = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), torch.tensor([0])
    given: Any = {"generator": generator(), "selected": selected}
    for least, expected in ((0, [7, 6, 5]), (1, [7, 6, 5]), (2, [7, 6, 3]), (3, [7, 6, 3])):
        picks, _ = choose(METHODS["loss"], [signals], 3, floor=Floor(classes, least), **given)
        assert picks.positions.tolist() == expected, least
    assert (classes.tolist(), selected.tolist()) == ([0] * 4 + [1] * 4, [0])


def test_a_budget_under_the_floors_is_shared_evenly_by_whom_the_method_comes_to() -> None:
    signals = Signals(losses=torch.tensor([9.0, 8, 7, 6, 5, 4, 3, 2]))
    classes = torch.tensor([3, 3, 1, 1, 1, 0, 2, 2])
    expected = {1: [0], 2: [0, 2], 3: [0, 2, 6], 4: [0, 2, 6, 5], 5: [0, 1, 2, 6, 5]}
    for k, positions in expected.items():
        floor = Floor(classes, 2)
        picks, _ = choose(METHODS["loss"], [signals], k, generator=generator(), floor=floor)
        assert sorted(picks.positions.tolist()) == sorted(positions), k
    every = torch.arange(8)  # a class for each example: the method decides
    picks, _ = choose(METHODS["loss"], [signals], 3, generator=generator(), floor=Floor(every, 1))
    assert picks.positions.tolist() == [0, 1, 2]


def test_what_ccs_sets_aside_comes_in_only_where_a_class_has_nothing_else() -> None:
    margins = torch.cat([torch.linspace(0, 1, 80), torch.full((10,), -5.0), torch.full((10,), 2.0)])
    classes = torch.tensor([0] * 80 + [1] * 10 + [2] * 10)
    signals = Signals(aum=margins)
    picks, _ = choose(METHODS["ccs"], [signals], 20, generator=generator(), floor=Floor(classes, 3))
    counts = classes[picks.positions].bincount()
    assert int(counts[1]) == 3  # all ten were among the hardest tenth
    assert picks.excluded is not None
    assert not set(picks.excluded.tolist()) & set(picks.positions.tolist())
    assert len(picks.excluded) == 7
    classes[80] = 0
    classes[0] = 1  # one of class 1 is easy
    one, _ = choose(METHODS["ccs"], [signals], 20, generator=generator(), floor=Floor(classes, 1))
    assert [position for position in one.positions.tolist() if classes[position] == 1] == [0]


def test_floored_picks_nest_where_the_method_ranks() -> None:
    signals, floor = make_signals(n=60), Floor(UNEVEN, 3)
    before: set[int] = set()
    for k in range(13, 61):  # from where the floors are reached
        given: Any = {"generator": generator(), "floor": floor}
        picks = set(choose(METHODS["entropy"], [signals], k, **given)[0].positions.tolist())
        assert before < picks
        before = picks


@every_repeating
def test_picks_with_replacement_have_no_floor(method: Method) -> None:
    with pytest.raises(ParameterError, match=r"floor: got classes, but .* with replacement"):
        pick(method, 5, floor=Floor(UNEVEN, 1))


def test_a_floor_that_is_none_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"floor: got -1\. Give a count of 0 or more"):
        pick(METHODS["entropy"], 5, floor=Floor(torch.zeros(N).long(), -1))
    with pytest.raises(ParameterError, match=r"floor: got shape \(3,\)"):
        pick(METHODS["entropy"], 5, floor=Floor(UNEVEN[:3], 1))


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
        with pytest.raises(KeepersError, match=f"'{name}' is missing"):
            choose(method, [signals], 5, generator=generator())


@every_method
def test_unknown_options_are_refused(method: Method) -> None:
    with pytest.raises(ParameterError, match=f"options of {method.name}: got 'bta'"):
        pick(method, 5, options={"bta": 1})


@pytest.mark.parametrize("name", sorted(set(ON_DEVICE) - DRAWN))
def test_the_highest_scores_come_first(name: str) -> None:
    picks, scores = choose(METHODS[name], [make_signals()], N, generator=generator())
    assert scores is not None
    assert torch.equal(scores[picks.positions], scores.sort(descending=True).values)


@every_set
def test_an_ensemble_of_one_model_repeated_is_that_model(method: Method) -> None:
    signals = make_signals()
    alone, scores = choose(method, [signals], 40, generator=generator())
    together, mean_ranks = choose(method, [signals] * 3, 40, generator=generator())
    # Both draw: ccs from mean ranks, batch-bald a multiple of the samples.
    drawn = method.name in {"ccs", "batch-bald"}
    assert torch.equal(together.positions, alone.positions) or drawn
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


def test_every_member_of_an_ensemble_is_checked() -> None:
    member = make_signals()
    logits = dataclasses.replace(member, log_probs=member.get("log_probs") - 3)
    with pytest.raises(ParameterError, match="log_softmax"):
        choose(METHODS["entropy"], [member, logits], 5, generator=generator())


def test_el2n_averages_the_runs_of_all_members() -> None:
    signals = make_signals()
    early = signals.get("early_gradient_norms")
    members = [
        dataclasses.replace(signals, early_gradient_norms=early[:, [run]]) for run in range(2)
    ]
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


def _weighing_nothing(signals: Signals, scores: None, k: int, **_: Any) -> Picks:
    return Picks(positions=torch.zeros(k, dtype=torch.int64), weights=torch.zeros(k))


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
        monkeypatch.setattr(plugins, "entry_points", lambda group: entries)  # pyright: ignore
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
        ("keepers.methods.rows:_ROWS", "got tuple"),
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


@every_repeating
@pytest.mark.parametrize("k", [0, 1, 37, 2 * N])
def test_picks_with_replacement_repeat_and_carry_weights(method: Method, k: int) -> None:
    selected = torch.arange(5, 105)
    picks, _ = choose(
        method, [make_signals()], k, generator=generator(), selected=selected if k < N else None
    )
    assert picks.weights is not None
    assert picks.positions.shape == picks.weights.shape == (k,)
    assert bool((picks.weights.isfinite() & (picks.weights > 0)).all())
    if k < N:
        assert not set(picks.positions.tolist()) & set(selected.tolist())
    else:
        assert len(picks.positions.unique()) < N


@every_repeating
def test_picks_with_replacement_cannot_be_balanced(method: Method) -> None:
    with pytest.raises(ParameterError, match=r"balance: got classes, but .* with replacement"):
        pick(method, 5, balance=make_signals().labels)
    with pytest.raises(ParameterError, match="k: got 1, but there are only 0 to pick from"):
        pick(method, 1, selected=torch.arange(N))


def test_a_method_that_repeats_without_weights_is_named() -> None:
    repeating = dataclasses.replace(FIRST, replacement=True)
    with pytest.raises(KeepersError, match=r"first: .* picks that may repeat carry weights"):
        pick(repeating, 3)
    weighted = dataclasses.replace(repeating, select=_weighing_nothing)
    with pytest.raises(KeepersError, match=r"first: .* one positive and finite weight for each"):
        pick(weighted, 2)


@pytest.mark.parametrize("name", ON_DEVICE)
def test_a_training_loop_that_calls_the_row_gets_what_choose_gives(name: str) -> None:
    method, signals = METHODS[name], make_signals()
    assert method.score is not None
    expected, scores = choose(method, [signals], 40, generator=generator(3))
    direct = method.score(signals)
    picks = method.select(signals, direct, 40, generator=generator(3), **method.options)
    assert scores is not None
    assert torch.equal(direct, scores)
    assert torch.equal(picks.positions, expected.positions)


@pytest.mark.parametrize("name", ON_DEVICE)
def test_a_training_loop_never_waits_for_the_device(name: str) -> None:
    # Tensors on `meta` have no values: to read one back is an error.
    method = METHODS[name]
    signals = Signals(**{name: value.to("meta") for name, value in make_signals().items()})
    assert method.score is not None
    scores = method.score(signals)
    picks = method.select(
        signals, scores, 40, selected=None, generator=generator(), **method.options
    )
    assert picks.positions.shape == (40,)
    assert scores.shape == (N,)


@pytest.mark.parametrize("method", [m for m in METHODS.values() if m.score is not None])
def test_what_a_score_reads_is_checked_once_for_all(method: Method) -> None:
    signals = make_signals()
    for name in method.needs - {"labels"}:
        value = signals.get(name)
        wrong_shape = dataclasses.replace(signals, **{name: value[..., None]})
        with pytest.raises(ParameterError, match=rf"{name}: got shape"):
            choose(method, [wrong_shape], 5, generator=generator())
        if name.endswith("log_probs"):
            logits = dataclasses.replace(signals, **{name: value - 3})
            with pytest.raises(ParameterError, match=rf"{name}: .*log_softmax"):
                methods.score(method, [logits])
    if "labels" in method.needs:
        outside = dataclasses.replace(signals, labels=torch.full((N,), CLASSES))
        with pytest.raises(ParameterError, match="labels: got classes from 5 to 5"):
            methods.score(method, [outside])


def test_infinite_values_are_refused_where_they_would_make_nan() -> None:
    for name, row in (
        ("irreducible_losses", "rho-loss"),
        ("features", "last-layer-gradient-norm"),
    ):
        value = make_signals().get(name).clone()
        value[17] = torch.inf
        broken = dataclasses.replace(make_signals(), **{name: value})
        with pytest.raises(ParameterError, match=f"{name}: got infinite values at 1 .* is 17"):
            methods.score(METHODS[row], [broken])


def test_a_selection_that_is_out_of_range_is_refused() -> None:
    with pytest.raises(ParameterError, match="selected: got positions from 240 to 240"):
        pick(METHODS["entropy"], 5, selected=torch.tensor([N]))


# Who offers what


def test_a_workflow_offers_what_its_signals_suffice_for() -> None:
    assert list(methods.offered({"losses"}, replacement=False)) == [
        "random",
        "loss",
        "selective-backprop",
    ]
    with_norms = methods.offered({"gradient_norms", "labels"}, replacement=True)
    assert "gradient-norm-is" in with_norms
    assert "el2n" not in with_norms
    assert "gradient-norm-is" not in methods.offered({"gradient_norms"}, replacement=False)


def test_core_set_selection_offers_what_the_table_says_of_it() -> None:
    found = methods.offered(CORESET_SIGNALS, replacement=False)
    assert list(found) == [n for n, row in METHODS.items() if "core-set" in methods.workflows(row)]
    assert {"loss", "gradient-norm", "last-layer-gradient-norm", "selective-backprop"} <= set(found)
    for method in METHODS.values():
        assert methods.workflows(method), f"{method.name} is offered nowhere"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rho-loss", r"irreducible losses, which 'keepers train --select rho-loss' has\."),
        (
            "bald",
            r"with dropout, which 'keepers train --select bald' or "
            r"'keepers active start --method bald' has\.",
        ),
        ("gradient-norm-is", r"with replacement.* 'keepers train --select gradient-norm-is' takes"),
    ],
)
def test_a_method_that_is_not_offered_says_what_is_missing_and_who_has_it(
    name: str, message: str
) -> None:
    with pytest.raises(
        ParameterError, match=f"method: got '{name}', .* not offered here: .*{message}"
    ):
        methods.get(name, CORESET_SIGNALS)
    assert methods.get(name).name == name


def test_online_selection_is_told_where_margins_are() -> None:
    online = {"log_probs", "labels", "losses", "gradient_norms"}
    with pytest.raises(
        ParameterError, match="margins over training, which 'keepers coreset --method ccs' has"
    ):
        methods.get("ccs", online, replacement=True)
    assert methods.get("gradient-norm-is", online, replacement=True).replacement
    # Both workflows have features; this caller does not.
    with pytest.raises(
        ParameterError, match=r"'keepers coreset .*' or 'keepers train --select k-c"
    ):
        methods.get("k-center", online, replacement=True)


def test_an_unknown_name_gives_the_nearest_that_is_offered() -> None:
    with pytest.raises(ParameterError, match="Known: loss, random, selective-backprop"):
        methods.get("rho-los", {"losses"})


def test_a_row_of_another_package_may_need_what_nobody_has_a_name_for(installed: Any) -> None:
    installed(f"{__name__}:NEEDY")
    with pytest.raises(ParameterError, match=r"it needs curvature\. Offered here"):
        methods.get("needy", CORESET_SIGNALS)


NEEDY = dataclasses.replace(FIRST, name="needy", needs=frozenset({"curvature"}))
