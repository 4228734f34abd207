"""Iterative stratification: every label has its share in every part."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from keepers.errors import ParameterError
from keepers.selectors import folds, iterative_stratification, stratified, stratified_units
from keepers.tasks import Labels, Tags
from keepers.types import Signals
from keepers.workflows.teaching import folds_of

LABELS = 6
ROWS = st.lists(st.lists(st.integers(0, LABELS - 1), max_size=4), min_size=1, max_size=30)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(n: int, width: int, each: int, seed: int = 0) -> Tags:
    """Labels of which the first are in many examples, and the last in few."""
    at = np.random.default_rng(seed)
    found = (width * at.random((n, each)) ** 3).astype(int)
    return Tags.of([row[: at.integers(0, each + 1)].tolist() for row in found], width)


def off(tags: Tags, picks: torch.Tensor) -> torch.Tensor:
    """How many examples each label is off its share."""
    return (tags.take(picks).counts() - tags.counts() * len(picks) / len(tags)).abs()


def naive(tags: Tags, sizes: list[int], draw: torch.Generator) -> list[int]:
    """The definition, over a table of 0 and 1, with the same draws."""
    n, table = len(tags), tags[torch.arange(len(tags))].long()
    order = torch.randperm(n, generator=draw).tolist()
    start = torch.rand(tags.num_labels, generator=draw, dtype=torch.float64)
    ends = torch.tensor([0, *np.cumsum(sizes).tolist()])
    wanted = (tags.counts()[:, None] * ends / n + start[:, None]).floor().diff(dim=1)
    room, part = list(sizes), [-1] * n

    def give(row: int, to: int) -> None:
        part[row] = to
        room[to] -= 1
        wanted[:, to] -= table[row]

    while any(part[row] < 0 and bool(table[row].any()) for row in range(n)):
        rest = [row for row in order if part[row] < 0]
        left = table[rest].sum(0)
        label = min((int(c), at) for at, c in enumerate(left) if c)[1]
        for row in rest:
            if table[row, label]:
                give(
                    row,
                    max(
                        (to for to in range(len(sizes)) if room[to]),
                        key=lambda to: (
                            bool(wanted[label, to] > 0),
                            float((wanted[:, to] * table[row]).sum()) / max(1, sizes[to]),
                            -to,
                        ),
                    ),
                )
    for row in order:
        if part[row] < 0:
            give(row, next(to for to in range(len(sizes)) if room[to]))
    return part


@pytest.mark.parametrize("seed", range(8))
def test_by_hand(seed: int) -> None:
    # Label 0 has the fewest: rows 0 and 1 part. Label 1 then wants one more beside row 0 and two
    # beside row 1, so that only there is room for the row without a label.
    tags = Tags.of([[0, 1], [0], [1], [1], [1], []], 2)
    part = iterative_stratification(tags, [3, 3], generator=generator(seed))
    assert part[0] != part[1]
    assert part[5] == part[0]
    for each in (0, 1):
        assert tags.take((part == each).nonzero()[:, 0]).counts().tolist() == [1, 2]


@given(ROWS, st.integers(1, 4), st.integers(0, 99), st.data())
@settings(max_examples=150, deadline=None)
def test_it_is_the_definition(
    rows: list[list[int]], count: int, seed: int, data: st.DataObject
) -> None:
    tags = Tags.of(rows, LABELS)
    ends = sorted(data.draw(st.integers(0, len(rows))) for _ in range(count - 1))
    sizes = np.diff([0, *ends, len(rows)]).tolist()
    part = iterative_stratification(tags, sizes, generator=generator(seed))
    assert part.bincount(minlength=count).tolist() == sizes
    assert part.tolist() == naive(tags, sizes, generator(seed))
    again = iterative_stratification(tags, sizes, generator=generator(seed))
    assert torch.equal(part, again)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_shares_are_nearer_than_at_random_and_by_the_rarest_label(share: float) -> None:
    tags = drawn(2000, 40, 6)
    task = Labels.fitted(tuple(map(str, range(40))), tags)
    k = round(2000 * share)
    found: list[list[torch.Tensor]] = []
    for seed in range(10):
        ways = [
            stratified(tags, k, generator=generator(seed)),
            stratified(task.strata(tags), k, generator=generator(seed)),
            torch.randperm(2000, generator=generator(seed))[:k],
        ]
        found.append([off(tags, picks).mean() for picks in ways])
    by_all, by_rarest, at_random = torch.tensor(found).mean(0).tolist()
    assert by_all < 0.5
    assert by_all < by_rarest / 3 < at_random / 3


def test_a_label_of_one_example_is_drawn_as_often_as_others() -> None:
    tags = Tags.of([[0], *[[1]] * 9], 2)
    drawn = [0 in stratified(tags, 3, generator=generator(seed)).tolist() for seed in range(400)]
    assert 0.24 < np.mean(drawn) < 0.36  # three of ten, within 2.6 standard errors


def test_every_beginning_of_the_picks_has_about_the_shares() -> None:
    tags = drawn(3000, 10, 3)
    picks = stratified(tags, 1500, generator=generator())
    assert len(picks.unique()) == 1500
    first = off(tags, picks[:500])
    at_random = off(tags, torch.randperm(3000, generator=generator())[:500])
    assert first.mean() < at_random.mean()


def test_what_is_selected_is_not_picked_again_and_does_not_count() -> None:
    tags = Tags.of([[0]] * 8 + [[1]] * 8, 2)
    picks = stratified(tags, 4, generator=generator(), selected=torch.arange(8))
    assert sorted(picks.tolist())[0] >= 8
    whole = stratified(tags, 16, generator=generator())
    assert sorted(whole.tolist()) == list(range(16))
    assert not len(stratified(tags, 0, generator=generator()))


def test_examples_without_labels_fill_the_parts() -> None:
    tags = Tags.of([[]] * 7 + [[0]], 1)
    part = iterative_stratification(tags, [3, 5], generator=generator())
    assert part.bincount().tolist() == [3, 5]


def test_units_stay_whole_in_parts_and_folds() -> None:
    tags, units = drawn(600, 12, 3), torch.arange(600) // 4
    for seed in range(5):
        held = stratified_units(tags, units, 150, generator=generator(seed))
        assert 145 <= len(held) <= 150
        assert held.tolist() == sorted(held.tolist())
        inside = torch.isin(units, units[held]).nonzero()[:, 0]
        assert torch.equal(inside, held)
        assert off(tags, held).mean() < 3
        fold = folds(tags, units, 3, generator=generator(seed))
        assert (fold.view(150, 4) == fold.view(150, 4)[:, :1]).all()
        assert all(196 <= size <= 204 for size in fold.bincount().tolist())


def test_units_larger_than_a_part() -> None:
    tags, units = Tags.of([[0]] * 4 + [[1]] * 6, 2), torch.tensor([0] * 4 + [1] * 6)
    for seed in range(5):
        held = stratified_units(tags, units, 9, generator=generator(seed))
        assert 0 < len(held) <= 9
        assert stratified_units(tags, units, 2, generator=generator(seed)).tolist() == [0, 1, 2, 3]


def test_folds_of_irreducible_losses_spread_the_labels() -> None:
    tags = drawn(1500, 30, 4)
    parts, checked = folds_of(tags, 2, seed=3)
    assert sum(map(len, parts)) + len(checked) == 1500
    both = [tags.take(part).counts() for part in parts]
    assert (both[0] - both[1]).abs().max() <= 3


def test_signals_take_the_labels_with_them() -> None:
    tags = Tags.of([[0], [0, 1], [1], []], 2)
    task = Labels.fitted(("a", "b"), tags)
    signals = Signals().knowing(task, tags)
    assert len(signals) == 4
    some = signals.at(torch.tensor([1, 3])).proportions
    assert isinstance(some, Tags)
    assert some[torch.arange(2)].tolist() == [[1, 1], [0, 0]]
    assert dict(signals.items()).keys() == {"labels"}


def test_sizes_must_sum_to_the_examples() -> None:
    with pytest.raises(ParameterError, match=r"got \[1, 2\] for 2 examples. Give counts that sum"):
        iterative_stratification(Tags.of([[0], []], 1), [1, 2], generator=generator())


def test_many_rare_labels_take_memory_by_what_is_there() -> None:
    at = np.random.default_rng(0)
    found = at.integers(0, 1000, (100_000, 3))
    tags = Tags.of(found.tolist(), 1000)
    tracemalloc.start()
    began = time.process_time()
    part = iterative_stratification(tags, [20_000, 80_000], generator=generator())
    seconds = time.process_time() - began
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 30  # traced, about three
    assert most < 100_000 * 1000  # a table of 0 and 1 in bytes
    assert off(tags, (part == 0).nonzero()[:, 0]).mean() < 0.5
