"""Noise, long tails and duplicates made on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from keepers.data import (
    corrupt_confused,
    corrupt_labels,
    corrupt_targets,
    duplicate,
    most_confused,
    relevance_subset,
)
from keepers.errors import ParameterError
from keepers.tasks import Tags

LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 0, 0])
CONFUSION = torch.tensor(
    [
        [90, 2, 0, 7, 0],
        [1, 80, 9, 0, 0],
        [0, 3, 70, 8, 0],
        [6, 0, 4, 60, 1],
        [0, 5, 0, 0, 50],
    ]
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rounded(fraction: float, n: int) -> int:
    return int(fraction * n + 0.5)


labellings = st.lists(st.integers(0, 4), max_size=40).map(
    lambda numbers: torch.tensor(numbers, dtype=torch.int64)
)


def test_a_seed_gives_the_same_noise_and_another_one_other_noise() -> None:
    labels = torch.zeros(200, dtype=torch.int64)
    makers: list[Callable[[torch.Generator], tuple[Tensor, Tensor]]] = [
        lambda draw: corrupt_labels(labels, 3, 0.3, generator=draw),
        lambda draw: corrupt_confused(labels, {0: 1}, 0.5, generator=draw),
        lambda draw: relevance_subset(labels, 2, [1], 0.5, generator=draw),
        lambda draw: duplicate(200, 0.5, generator=draw),
    ]
    for make in makers:
        first, again, other = make(seeded(1)), make(seeded(1)), make(seeded(2))
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert not torch.equal(first[0], other[0])


def test_uniform_noise_is_drawn_as_before() -> None:
    """The recorded results stand on these draws."""
    noisy, flipped = corrupt_labels(torch.arange(10), 10, 0.3, generator=seeded())
    order = torch.randperm(10, generator=(draw := seeded()))[:3]
    shift = torch.randint(1, 10, (3,), generator=draw)
    assert sorted(order.tolist()) == flipped.nonzero().flatten().tolist()
    assert torch.equal(noisy[order], (order + shift) % 10)


def test_the_most_confused_classes_are_paired_greedily_by_both_directions() -> None:
    # Sums: 0 with 3: 13; 1 with 2: 12; 2 with 3: 12; 1 with 4: 5; 0 with 1: 3; 3 with 4: 1.
    assert most_confused(CONFUSION, 2) == {0: 3, 3: 0}
    assert most_confused(CONFUSION, 4) == most_confused(CONFUSION) == {0: 3, 3: 0, 1: 2, 2: 1}


def test_equal_confusions_go_to_the_lower_class_numbers() -> None:
    confusion = torch.ones(5, 5)
    assert most_confused(confusion, 4) == {0: 1, 1: 0, 2: 3, 3: 2}


@given(
    counts=st.lists(st.integers(1, 50), min_size=36, max_size=36), count=st.sampled_from([2, 4, 6])
)
def test_pairing_is_that_of_a_naive_search(counts: list[int], count: int) -> None:
    confusion = torch.tensor(counts).view(6, 6)
    expected: dict[int, int] = {}
    while len(expected) < count:
        free = [number for number in range(6) if number not in expected]
        pairs = [(a, b) for a in free for b in free if a < b]
        a, b = max(pairs, key=lambda p: int(confusion[p[0], p[1]] + confusion[p[1], p[0]]))
        expected |= {a: b, b: a}
    partner = most_confused(confusion, count)
    assert partner == expected
    assert all(partner[partner[number]] == number for number in partner)


@given(labels=labellings, fraction=st.floats(0, 1), seed=st.integers(0, 9))
def test_confused_classes_flip_exactly_and_the_others_never(
    labels: Tensor, fraction: float, seed: int
) -> None:
    partner, before = {3: 0, 0: 3, 1: 2}, labels.clone()
    noisy, flipped = corrupt_confused(labels, partner, fraction, generator=seeded(seed))
    assert torch.equal(labels, before)
    assert torch.equal(noisy != labels, flipped)
    for number in range(5):
        members = labels == number
        expected = rounded(fraction, int(members.sum())) if number in partner else 0
        assert int((flipped & members).sum()) == expected
        assert set(noisy[flipped & members].tolist()) <= {partner.get(number)}


def test_pairs_that_flip_whole_change_places() -> None:
    noisy, flipped = corrupt_confused(LABELS, {0: 1, 1: 0}, 1.0, generator=seeded())
    assert noisy.tolist() == [1, 0, 2, 1, 0, 2, 1, 0, 1, 1]
    assert flipped.tolist() == [number < 2 for number in LABELS.tolist()]


def test_the_order_of_the_pairs_changes_nothing() -> None:
    one = corrupt_confused(LABELS, {0: 1, 1: 0, 2: 1}, 0.5, generator=seeded())[0]
    other = corrupt_confused(LABELS, {2: 1, 1: 0, 0: 1}, 0.5, generator=seeded())[0]
    assert torch.equal(one, other)


def test_relevant_classes_are_kept_whole_and_the_rest_thinned() -> None:
    labels = torch.arange(5).repeat(100)
    kept, low = relevance_subset(labels, 5, [1, 3], 0.06, generator=seeded())
    assert torch.equal(kept, kept.sort().values)
    assert len(kept.unique()) == len(kept)
    assert torch.bincount(labels[kept]).tolist() == [6, 100, 6, 100, 6]
    assert torch.equal(low, (labels[kept] != 1) & (labels[kept] != 3))
    assert relevance_subset(labels, 5, [1, 3], generator=seeded())[0].tolist() == kept.tolist()


@given(
    labels=labellings,
    relevant=st.integers(1, 5),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_drawn_relevant_classes_are_as_many_as_asked_for(
    labels: Tensor, relevant: int, fraction: float, seed: int
) -> None:
    labels = torch.cat([labels, torch.arange(5)])
    kept, low = relevance_subset(labels, 5, relevant, fraction, generator=seeded(seed))
    whole = set(labels[kept[~low]].tolist())
    assert len(whole) == relevant
    for number in range(5):
        n = int((labels == number).sum())
        expected = n if number in whole else rounded(fraction, n)
        assert int((labels[kept] == number).sum()) == expected


def test_every_class_can_be_drawn_as_relevant() -> None:
    labels = torch.arange(4)
    drawn = {
        int(relevance_subset(labels, 4, 1, 0.0, generator=seeded(seed))[0]) for seed in range(40)
    }
    assert drawn == {0, 1, 2, 3}


@given(
    n=st.integers(0, 30), fraction=st.floats(0, 1), times=st.integers(1, 5), seed=st.integers(0, 9)
)
def test_duplicates_are_exact_and_every_original_stays(
    n: int, fraction: float, times: int, seed: int
) -> None:
    positions = 3 * torch.arange(n).flip(0)
    repeated, copies = duplicate(positions, fraction, times, generator=seeded(seed))
    assert torch.equal(repeated[~copies], positions)
    counts = torch.bincount(repeated, minlength=3 * n)[positions]
    assert int((counts == times).sum()) == (n if times == 1 else rounded(fraction, n))
    assert int((counts == 1).sum()) == n - (0 if times == 1 else rounded(fraction, n))
    behind = copies.nonzero().flatten()
    assert torch.equal(repeated[behind], repeated[behind - 1])


def test_duplicates_of_a_count_and_of_all_examples() -> None:
    repeated, copies = duplicate(3, 1.0, 2, generator=seeded())
    assert repeated.tolist() == [0, 0, 1, 1, 2, 2]
    assert copies.tolist() == [False, True] * 3
    given_positions, _ = duplicate(torch.tensor([7, 4]), 1.0, 3, generator=seeded())
    assert given_positions.tolist() == [7, 7, 7, 4, 4, 4]


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (corrupt_labels, (LABELS, 3, 1.5), r"fraction: got 1\.5\. Give a share in \[0, 1\]"),
        (corrupt_labels, (LABELS, 3, float("nan")), "fraction: got nan"),
        (corrupt_labels, (LABELS, 1, 0.5), "num_classes: got 1. Give at least 2"),
        (corrupt_labels, (LABELS, 2, 0.5), "labels: got the class 2. Give classes from 0 to 1"),
        (corrupt_labels, (LABELS - 1, 3, 0.5), "labels: got the class -1"),
        (corrupt_confused, (LABELS, {0: 1}, -0.1), r"fraction: got -0\.1"),
        (corrupt_confused, (LABELS, {}, 0.5), "partner: got no classes"),
        (corrupt_confused, (LABELS, {1: 1}, 0.5), "partner: got 1 for class 1. Give each class an"),
        (corrupt_confused, (LABELS, {1: -1}, 0.5), "partner: got -1 for class 1"),
        (relevance_subset, (LABELS, 3, 1, 6.0), r"rest_fraction: got 6\.0"),
        (relevance_subset, (LABELS, 1, 1), "num_classes: got 1"),
        (relevance_subset, (LABELS, 3, 4), "relevant: got 4 of 3 classes"),
        (relevance_subset, (LABELS, 3, -1), "relevant: got -1 of 3 classes"),
        (relevance_subset, (LABELS, 3, []), "relevant: got no classes"),
        (relevance_subset, (LABELS, 3, [0, 3]), "relevant: got the class 3. Give classes from 0 "),
        (relevance_subset, (LABELS + 1, 3, 1), "labels: got the class 3"),
        (duplicate, (5, 2.0), r"fraction: got 2\.0"),
        (duplicate, (5, 0.5, 0), "times: got 0. Give 1 or more"),
        (duplicate, (-5, 0.5), "positions: got -5"),
        (duplicate, (torch.tensor([3, -2]), 0.5), "positions: got -2"),
        (duplicate, (torch.tensor([3, 4, 3]), 0.5), "positions: got 3 more than once"),
        (duplicate, (torch.ones(3), 0.5), r"positions: got torch.float32 of shape \(3,\)"),
    ],
)
def test_what_cannot_be_corrupted_is_named(
    function: Callable[..., Any], arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        function(*arguments, generator=seeded())


@pytest.mark.parametrize(
    ("confusion", "count", "message"),
    [
        (torch.ones(2, 3), 2, r"confusion: got the shape \(2, 3\)"),
        (torch.ones(1, 1), 2, "confusion: got 1 class. Give at least 2"),
        (-torch.ones(3, 3), 2, "confusion: got a negative count"),
        (torch.full((3, 3), float("nan")), 2, "confusion: got a negative count or NaN"),
        (CONFUSION, 3, "count: got 3 of 5 classes. Give an even number"),
        (CONFUSION, 0, "count: got 0"),
        (CONFUSION, -2, "count: got -2"),
        (CONFUSION, 6, "count: got 6 of 5"),
        (
            torch.eye(4),
            2,
            "count: got 2, but only 0 classes were confused with each other",
        ),
        (
            torch.tensor([[5, 1, 0, 0], [0, 5, 0, 0], [0, 0, 5, 0], [0, 0, 0, 5]]),
            4,
            "but only 2 classes were confused with each other. Give a smaller number",
        ),
    ],
)
def test_a_confusion_that_names_no_pairs_is_refused(
    confusion: Tensor, count: int, message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        most_confused(confusion, count)


def test_corrupted_targets_are_those_of_other_examples() -> None:
    rows = [[at % 3] if at % 4 else [] for at in range(200)]
    tags = Tags.of(rows, 3)
    noisy, changed = corrupt_targets(tags, 0.3, generator=torch.Generator().manual_seed(0))
    assert isinstance(noisy, Tags)
    everyone = torch.arange(200)
    assert int(changed.sum()) == 60
    differs = (noisy[everyone] != tags[everyone]).any(1)
    assert torch.equal(differs, changed)
    assert set(noisy.kinds().tolist()) <= {0, 1, 2, 3}
    numbers = torch.arange(50.0)[:, None]
    other, changed = corrupt_targets(numbers, 1.0, generator=torch.Generator().manual_seed(0))
    assert isinstance(other, torch.Tensor)
    assert bool((other != numbers).all())
    assert set(other[:, 0].tolist()) <= set(range(50))
    with pytest.raises(ParameterError, match="nearly all targets are the same"):
        corrupt_targets(torch.zeros(5, 1), 0.4, generator=torch.Generator())
    with pytest.raises(ParameterError, match="fraction: got 2"):
        corrupt_targets(numbers, 2, generator=torch.Generator())
