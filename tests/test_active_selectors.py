"""Selectors made for labelling, beside naive versions of themselves."""

from __future__ import annotations

import importlib
import itertools
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.selectors import (
    badge,
    batch_bald,
    cluster_margin,
    distinct,
    gradient_spread,
    probcover,
    top_k,
    typiclust,
)

badge_module = importlib.import_module("keepers.selectors.badge")
batch_module = importlib.import_module("keepers.selectors.batch_bald")
cluster_module = importlib.import_module("keepers.selectors.cluster_margin")
clusters_module = importlib.import_module("keepers.selectors._clusters")
probcover_module = importlib.import_module("keepers.selectors.probcover")
typiclust_module = importlib.import_module("keepers.selectors.typiclust")
distinct_module = importlib.import_module("keepers.selectors.distinct")

Select = Callable[..., Tensor]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(seed: int, n: int, d: int = 4) -> Tensor:
    return torch.randn(n, d, generator=generator(seed))


def predictions(seed: int, n: int, classes: int = 3) -> Tensor:
    return (2 * torch.randn(n, classes, generator=generator(seed))).log_softmax(-1)


def posterior(seed: int, n: int, samples: int = 4, classes: int = 3) -> Tensor:
    return (2 * torch.randn(n, samples, classes, generator=generator(seed))).log_softmax(-1)


def groups(sizes: list[int], seed: int = 0) -> Tensor:
    """Tight groups of points, far apart."""
    centres = 50 * torch.eye(len(sizes))
    rows = [
        c + 0.1 * points(seed + i, s, len(sizes))
        for i, (c, s) in enumerate(zip(centres, sizes, strict=True))
    ]
    return torch.cat(rows)


def squared_distances(features: Tensor) -> Tensor:
    exact = features.double()
    return (exact[:, None] - exact[None]).square().sum(-1)


# What all of them keep


def by_badge(features: Tensor, k: int, **settings: Any) -> Tensor:
    settings.setdefault("generator", generator())
    return badge(predictions(9, len(features)), features, k, **settings)


def by_posterior(features: Tensor, k: int, **settings: Any) -> Tensor:
    settings.setdefault("generator", generator())
    log_probs = torch.stack([features, features.flip(1)], 1).log_softmax(-1)
    return batch_bald(log_probs, k, **settings)


def by_typiclust(features: Tensor, k: int, **settings: Any) -> Tensor:
    settings.setdefault("generator", generator())
    return typiclust(features, k, **settings)


def by_probcover(features: Tensor, k: int, **settings: Any) -> Tensor:
    settings.setdefault("generator", generator())
    return probcover(features, k, **settings)


def by_cluster_margin(features: Tensor, k: int, **settings: Any) -> Tensor:
    return cluster_margin(features.flatten(1).sum(1), features, k, **settings)


ALL = (by_badge, by_posterior, by_typiclust, by_probcover, by_cluster_margin)
OVER_FEATURES = (by_badge, by_typiclust, by_probcover, by_cluster_margin)
every_selector = pytest.mark.parametrize("select", ALL)


@every_selector
def test_what_is_selected_is_never_picked_again(select: Select) -> None:
    features, selected = points(0, 40), torch.tensor([3, 39, 0, 17, 8])
    before = features.clone(), selected.clone()
    picks = select(features, 35, selected=selected)
    assert sorted([*picks.tolist(), *selected.tolist()]) == list(range(40))
    assert torch.equal(features, before[0])
    assert torch.equal(selected, before[1])
    assert select(features, 0, selected=selected).tolist() == []


@every_selector
def test_the_same_generator_gives_the_same_picks_and_global_state_is_left(select: Select) -> None:
    features = points(1, 80)
    state = torch.get_rng_state()
    first = select(features, 12)
    torch.manual_seed(5)
    assert torch.equal(select(features, 12), first)
    torch.set_rng_state(state)
    select(features, 12)
    assert torch.equal(torch.get_rng_state(), state)


@every_selector
def test_bad_input_is_refused_by_name(select: Select) -> None:
    features = points(0, 8)
    with pytest.raises(ParameterError, match="k: got 9, but there are only 8 to pick from"):
        select(features, 9)
    with pytest.raises(ParameterError, match="k: got -1"):
        select(features, -1)
    with pytest.raises(ParameterError, match="selected: got a position twice"):
        select(features, 2, selected=torch.tensor([1, 1]))
    with pytest.raises(ParameterError, match="selected: got positions from 2 to 8"):
        select(features, 2, selected=torch.tensor([2, 8]))
    broken = features.clone()
    broken[5, 1] = torch.nan
    with pytest.raises(ParameterError, match=r"NaN.* 1 .* is 5"):
        select(broken, 2)


@pytest.mark.parametrize("select", OVER_FEATURES)
def test_features_have_to_be_rows_and_finite(select: Select) -> None:
    broken = points(0, 8)
    broken[6, 0] = torch.inf
    with pytest.raises(ParameterError, match=r"features: got NaN or infinite values at 1 .* is 6"):
        select(broken, 2)
    with pytest.raises(ParameterError, match=r"features: got shape \(8, 4, 1\)"):
        select(points(0, 8)[..., None], 2)


@pytest.mark.parametrize("select", [by_badge, by_posterior, by_probcover])
def test_picks_nest(select: Select) -> None:
    features = points(2, 60)
    long = select(features, 40)
    for k in (0, 1, 2, 13):
        assert torch.equal(select(features, k), long[:k])


# BADGE


def explicit_embeddings(log_probs: Tensor, features: Tensor) -> Tensor:
    errors = log_probs.double().exp()
    errors[torch.arange(len(errors)), errors.argmax(1)] -= 1
    return (errors[:, :, None] * features.double()[:, None]).flatten(1)


def naive_badge(
    log_probs: Tensor, features: Tensor, k: int, selected: list[int], draws: torch.Generator
) -> list[int]:
    embeddings = explicit_embeddings(log_probs, features)
    free = [i for i in range(len(embeddings)) if i not in selected]
    picks = [max(free, key=lambda i: (float(embeddings[i].norm()), -i))]
    while len(picks) < k:
        nearest = torch.cdist(embeddings, embeddings[picks]).amin(1).square()
        nearest[[*picks, *selected]] = 0
        drawn = float(torch.rand((), dtype=torch.float64, generator=draws)) * float(nearest.sum())
        picks.append(int((nearest.cumsum(0) > drawn).byte().argmax()))
    return picks


@pytest.mark.parametrize("seed", range(6))
def test_badge_is_the_seeding_of_k_means_over_the_explicit_embeddings(seed: int) -> None:
    n, selected = 60, [0, 7, 31] if seed % 2 else []
    log_probs, features = predictions(seed, n, 2 + seed), points(seed, n, 5) + 3
    given = torch.tensor(selected, dtype=torch.int64)
    found = badge(log_probs, features, 20, selected=given, generator=generator(seed))
    assert found.tolist() == naive_badge(log_probs, features, 20, selected, generator(seed))


@pytest.mark.parametrize("outputs", [1, 3])
def test_gradient_spread_is_the_seeding_of_k_means_over_the_outer_products(outputs: int) -> None:
    gradients, features = points(1, 50, outputs), points(2, 50, 4) + 3
    found = gradient_spread(gradients, features, 20, generator=generator(5))
    explicit = (gradients[:, :, None] * features[:, None]).flatten(1).double()
    draw, picks = generator(5), [int(explicit.norm(dim=1).argmax())]
    while len(picks) < 20:
        nearest = torch.cdist(explicit, explicit[picks]).square().amin(1)
        nearest[picks] = 0
        ends = nearest.cumsum(0)
        drawn = float(torch.rand((), dtype=torch.float64, generator=draw))
        picks.append(int(torch.searchsorted(ends, drawn * float(ends[-1]), right=True)))
    assert found.tolist() == picks
    with pytest.raises(ParameterError, match=r"gradients: got shape \(50,\)"):
        gradient_spread(gradients[:, 0], features, 2, generator=generator())
    with pytest.raises(ParameterError, match="gradients: got infinite"):
        gradient_spread(gradients / 0, features, 2, generator=generator())


def test_distances_of_embeddings_are_those_of_the_explicit_ones_near_and_far() -> None:
    embeddings = badge_module._GradientEmbeddings
    log_probs, features = predictions(0, 40, 4), points(0, 40, 6) + 100
    # Rows that differ by little, in one factor or both, and one that is a copy.
    features[1:4] = features[0] + 1e-3 * points(1, 3, 6)
    log_probs[2:5] = (log_probs[0] + 1e-3 * points(2, 3, 4)).log_softmax(-1)
    features[5], log_probs[5] = features[0], log_probs[0]
    explicit = explicit_embeddings(log_probs.double(), features)
    expected = (explicit - explicit[0]).square().sum(1)
    made = badge_module._likeliest(log_probs, features)
    found = embeddings(made, log_probs.shape[1], features).to_point(0)
    torch.testing.assert_close(found.double(), expected, rtol=0.02, atol=1e-12)
    assert found[0] == found[5] == 0


def test_many_predictions_are_drawn_by_the_same_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(badge_module, "HELD", 0)
    monkeypatch.setattr(badge_module, "PATIENCE", 2)
    n, draws = 5, 400
    log_probs, features = predictions(3, n), points(3, n, 2)
    features[2:4], log_probs[2:4] = features[1] + 0.1 * points(0, 2, 2), log_probs[1]
    embeddings = explicit_embeddings(log_probs, features)
    squared = torch.cdist(embeddings, embeddings).square()
    first = int(embeddings.norm(dim=1).argmax())
    draw, counts = generator(), Counter[tuple[int, ...]]()
    for _ in range(draws):
        counts[tuple(badge(log_probs, features, 3, generator=draw).tolist())] += 1
    for second, third in itertools.permutations(set(range(n)) - {first}, 2):
        nearest = torch.minimum(squared[first], squared[second])
        chance = squared[first, second] / squared[first].sum() * nearest[third] / nearest.sum()
        expected, found = float(chance) * draws, counts[first, second, third]
        assert abs(found - expected) < 4 * max(1.0, expected**0.5), (second, third)


def test_many_predictions_have_picks_that_nest_and_copies_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(badge_module, "HELD", 0)
    log_probs, features = predictions(4, 40).repeat(3, 1), points(4, 40).repeat(3, 1)
    picks = badge(log_probs, features, 110, generator=generator(), selected=torch.arange(10))
    assert len((picks[:40] % 40).unique()) == 40
    assert picks[40:].tolist() == sorted(picks[40:].tolist())
    few = badge(log_probs, features, 17, generator=generator(), selected=torch.arange(10))
    assert few.tolist() == picks[:17].tolist()
    certain = torch.tensor([[0.0, -torch.inf]]).expand(6, 2)
    assert badge(certain, points(0, 6), 3, generator=generator()).tolist() == [0, 1, 2]


def test_badge_prefers_uncertain_examples_of_large_features() -> None:
    sure = torch.tensor([[0.999, 0.001]]).log().expand(200, 2)
    unsure = torch.tensor([[0.55, 0.45]]).log().expand(10, 2)
    log_probs, features = torch.cat([sure, unsure]), points(3, 210, 16)
    picks = badge(log_probs, features, 10, generator=generator())
    assert int((picks >= 200).sum()) >= 9


def test_copies_come_last_and_by_position() -> None:
    log_probs, features = predictions(4, 10).repeat(3, 1), points(4, 10).repeat(3, 1)
    picks = badge(log_probs, features, 30, generator=generator())
    assert len((picks[:10] % 10).unique()) == 10
    assert picks[10:].tolist() == sorted(picks[10:].tolist())
    # No gradient anywhere: every prediction is certain.
    certain = torch.tensor([[0.0, -torch.inf]]).expand(6, 2)
    assert badge(certain, points(0, 6), 3, generator=generator()).tolist() == [0, 1, 2]


def test_badge_refuses_what_it_cannot_use() -> None:
    features = points(0, 6)
    with pytest.raises(ParameterError, match=r"log_probs: .*log_softmax"):
        badge(predictions(0, 6) - 3, features, 2, generator=generator())
    with pytest.raises(ParameterError, match=r"log_probs: got shape \(6,\)"):
        badge(predictions(0, 6)[:, 0], features, 2, generator=generator())
    with pytest.raises(ParameterError, match="features: got 6 rows for 5 predictions"):
        badge(predictions(0, 5), features, 2, generator=generator())


PEAK = """
import resource, torch
from keepers.selectors import badge
torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
log_probs = torch.randn(20_000, 10, generator=draw).log_softmax(-1)
features = torch.randn(20_000, 512, generator=draw)
badge(log_probs[:600], features[:600], 2, generator=draw)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
badge(log_probs, features, 20, generator=draw)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_badge_holds_no_embeddings() -> None:
    # 20,000 × 10 × 512 numbers would be 410 MB; the batch of 200 differs in time alone.
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60_000, f"{done.stdout} KiB"


# BatchBALD


def naive_joint_information(log_probs: Tensor, chosen: list[int]) -> float:
    """I(y_S; w) = H(y_S) − E_k H(y_S | w_k), over every configuration of labels."""
    probs = log_probs.double().exp()
    samples, classes = probs.shape[1:]
    whole = 0.0
    for labels in itertools.product(range(classes), repeat=len(chosen)):
        joint = torch.ones(samples, dtype=torch.float64)
        for position, label in zip(chosen, labels, strict=True):
            joint = joint * probs[position, :, label]
        chance = float(joint.mean())
        whole -= chance * math.log(chance) if chance else 0.0
    given = torch.special.entr(probs[chosen]).sum(-1).mean(1).sum()
    return whole - float(given)


def naive_batch_bald(log_probs: Tensor, k: int, selected: list[int]) -> list[int]:
    picks: list[int] = []
    for _ in range(k):
        free = [i for i in range(len(log_probs)) if i not in picks and i not in selected]
        picks.append(max(free, key=lambda i: naive_joint_information(log_probs, [*picks, i])))
    return picks


@pytest.mark.parametrize("seed", range(5))
def test_batch_bald_is_the_brute_force_one(seed: int) -> None:
    log_probs, selected = posterior(seed, 9, samples=5, classes=2 + seed % 2), [2] if seed else []
    given = torch.tensor(selected, dtype=torch.int64)
    found = batch_bald(log_probs, 4, selected=given, generator=generator())
    assert found.tolist() == naive_batch_bald(log_probs, 4, selected)


def test_gains_after_draws_come_near_the_exact_ones() -> None:
    log_probs = posterior(7, 12, samples=6, classes=3)
    scores = batch_module._bald(log_probs)
    batch = batch_module._Batch(log_probs, scores, 60_000, generator())
    for pick in (4, 9):
        batch.picks.append(pick)
    batch._draw_configurations()
    found = batch._gains(torch.arange(12), *batch._posterior())
    base = naive_joint_information(log_probs, [4, 9])
    expected = [naive_joint_information(log_probs, [4, 9, i]) - base for i in range(12)]
    # For 4 and 9 themselves, it is what a copy of them would add.
    torch.testing.assert_close(found, torch.tensor(expected), atol=0.01, rtol=0.0)


def test_lazy_bounds_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    log_probs = posterior(3, 200, samples=8, classes=2)
    expected = batch_bald(log_probs, 8, generator=generator(), num_samples=300)
    monkeypatch.setattr(batch_module, "WIDEST", 10_000)
    assert torch.equal(batch_bald(log_probs, 8, generator=generator(), num_samples=300), expected)
    monkeypatch.setattr(batch_module, "BLOCK_ELEMENTS", 1)
    assert torch.equal(batch_bald(log_probs, 8, generator=generator(), num_samples=300), expected)


@pytest.mark.parametrize("num_samples", [1, 4, 1000])
def test_copies_are_not_picked_where_bald_would(num_samples: int) -> None:
    samples = 8
    bits = torch.tensor([[k >> bit & 1 for k in range(samples)] for bit in range(3)])
    sure = torch.where(bits == 1, 0.97, 0.03)
    sure[1] = torch.where(bits[1] == 1, 0.95, 0.05)
    sure[2] = torch.where(bits[2] == 1, 0.93, 0.07)
    rows = sure[[0, 0, 0, 1, 1, 2]]
    log_probs = torch.stack([rows, 1 - rows], -1).log()
    bald = batch_module._bald(log_probs)
    assert top_k(bald, 3).tolist() == [0, 1, 2]
    found = batch_bald(log_probs, 3, generator=generator(), num_samples=num_samples)
    assert sorted([0, 3, 5]) == sorted(found.tolist())


def test_candidates_are_those_of_the_highest_bald_and_others_follow() -> None:
    log_probs = posterior(5, 30)
    bald = batch_module._bald(log_probs)
    picks = batch_bald(log_probs, 30, generator=generator(), num_candidates=6).tolist()
    ranking = top_k(bald, 30).tolist()
    assert sorted(picks[:6]) == sorted(ranking[:6])
    assert picks[6:] == ranking[6:]
    assert batch_bald(log_probs, 4, generator=generator(), num_candidates=6).tolist() == picks[:4]


def test_samples_that_agree_leave_the_order_to_the_scores() -> None:
    same = predictions(0, 7)[:, None].expand(7, 5, 3)
    assert batch_bald(same, 7, generator=generator()).sort().values.tolist() == list(range(7))


def test_impossible_labels_are_no_nan() -> None:
    log_probs = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [1.0, 0.0]]]).log()
    for num_samples in (1, 1000):
        picks = batch_bald(log_probs, 2, generator=generator(), num_samples=num_samples)
        assert picks.tolist() == [0, 1]


def test_batch_bald_refuses_odd_options() -> None:
    for name in ("num_candidates", "num_samples"):
        with pytest.raises(ParameterError, match=f"{name}: got 0"):
            by_posterior(points(0, 4), 2, **{name: 0})
    with pytest.raises(ParameterError, match=r"posterior_log_probs: got shape \(4, 3\)"):
        batch_bald(predictions(0, 4), 2, generator=generator())


# TypiClust


def naive_typicality(features: Tensor, num_neighbours: int) -> Tensor:
    distances = squared_distances(features).sqrt()
    near = distances.sort(1).values[:, 1 : num_neighbours + 1]
    return 1 / near.mean(1)


def test_typiclust_takes_the_typical_point_of_each_group_the_largest_first() -> None:
    sizes = [12, 30, 20]
    features = groups(sizes)
    picks = typiclust(features, 3, generator=generator(), num_neighbours=4).tolist()
    expected: list[int] = []
    for group in (1, 2, 0):
        start = sum(sizes[:group])
        own = features[start : start + sizes[group]]
        expected.append(start + int(naive_typicality(own, 4).argmax()))
    assert picks == expected


def test_typiclust_leaves_groups_with_a_label_for_later() -> None:
    features = groups([30, 20, 10, 8])
    labelled = torch.tensor([4, 33])  # of the two largest groups
    picks = typiclust(features, 2, generator=generator(), selected=labelled)
    assert 50 <= int(picks[0]) < 60
    assert int(picks[1]) >= 60


def test_small_clusters_come_when_the_others_are_empty() -> None:
    features = groups([9, 3, 7])
    picks = typiclust(features, 18, generator=generator(), max_clusters=3)
    where = torch.bucketize(picks, torch.tensor([9, 12]), right=True).tolist()
    assert where[:14] == [0, 2] * 7
    assert where[14:16] == [0, 0]
    assert where[16:] == [1, 1]


def test_typicality_over_a_sample_of_a_large_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typiclust_module, "REFERENCES", 100)
    features = points(0, 1000, 2)  # densest in the middle
    pick = typiclust(features, 1, generator=generator())
    assert float(features[pick].norm()) < 0.8
    assert torch.equal(typiclust(features, 1, generator=generator()), pick)


def test_centres_of_many_points_are_fitted_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters_module, "FITTED_ON", 60)
    features = groups([100, 80, 60])
    clusters = clusters_module.k_means(features, 3, generator())
    assert [len(part.unique()) for part in clusters.split([100, 80, 60])] == [1, 1, 1]
    assert len(clusters.unique()) == 3
    assert torch.equal(clusters, clusters_module.k_means(features, 3, generator()))


def test_copies_do_not_stop_the_clusters() -> None:
    features = torch.zeros(30, 3)
    features[20:] = 1
    picks = typiclust(features, 10, generator=generator())
    assert len(picks.unique()) == 10
    assert {int(picks[0]) >= 20, int(picks[1]) >= 20} == {True, False}


def test_typiclust_refuses_odd_options() -> None:
    for name in ("num_neighbours", "max_clusters"):
        with pytest.raises(ParameterError, match=f"{name}: got 0"):
            by_typiclust(points(0, 6), 2, **{name: 0})


# ProbCover


def naive_probcover(features: Tensor, k: int, delta: float, selected: list[int]) -> list[int]:
    """Greedy maximum coverage over the dense graph."""
    distances = squared_distances(features)
    within = distances < delta * delta
    chosen = list(selected)
    for _ in range(k):
        covered = within[:, chosen].any(1) if chosen else torch.zeros(len(features)).bool()
        nearest = distances[:, chosen].amin(1) if chosen else torch.full((len(features),), math.inf)
        free = [i for i in range(len(features)) if i not in chosen]
        gains = {c: int((within[c] & ~covered).sum()) for c in free}
        chosen.append(max(free, key=lambda c: (gains[c], float(nearest[c]), -c)))
    return chosen[len(selected) :]


@pytest.mark.parametrize("seed", range(8))
def test_probcover_is_the_dense_greedy(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probcover_module, "COLUMNS", 7)
    n, delta = 30 + 5 * seed, 0.5 + 0.2 * seed
    features, selected = points(seed, n, 3), [1, 4, 20] if seed % 2 else []
    given = torch.tensor(selected, dtype=torch.int64)
    found = probcover(features, n // 2, delta=delta, selected=given, generator=generator())
    assert found.tolist() == naive_probcover(features, n // 2, delta, selected)


def test_probcover_breaks_ties_by_position() -> None:
    for seed in range(60):
        drawn = generator(seed)
        n, delta = 8 + seed % 25, 1.0 + seed % 3
        features = torch.randint(4, (n, 1 + seed % 4), generator=drawn).float()
        if seed % 4 == 3:
            features = torch.eye(9)[torch.randint(9, (n,), generator=drawn)]
        found = probcover(
            features, n - 1, delta=delta, selected=torch.tensor([seed % 5]), generator=drawn
        )
        assert found.tolist() == naive_probcover(features, n - 1, delta, [seed % 5]), seed


def test_the_estimated_radius_is_the_largest_with_pure_balls() -> None:
    features = points(3, 120, 2)
    radius = probcover_module._pure_radius(features, 4, 0.9, generator())
    classes = clusters_module.k_means(features, 4, generator())
    distances = squared_distances(features).sqrt()

    def purity(delta: float) -> float:
        balls = distances < delta
        pure = [len(classes[ball].unique()) == 1 for ball in balls]
        return sum(pure) / len(pure)

    assert purity(radius) >= 0.9
    assert purity(radius * 1.002) < 0.9


def test_one_class_covers_all_with_one_pick() -> None:
    features = torch.zeros(9, 2)
    features[8] = 1e-3
    copies = probcover(torch.zeros(5, 2), 5, generator=generator())
    assert copies.tolist() == [0, 1, 2, 3, 4]
    assert probcover(features, 2, generator=generator()).tolist() == [0, 8]


def test_a_large_pool_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probcover_module, "MOST", 60)
    monkeypatch.setattr(probcover_module, "QUERIES", 30)
    features = groups([100, 80, 60])
    selected = torch.tensor([5])
    run = partial(probcover, features, delta=5.0, selected=selected)
    picks = run(2, generator=generator())
    assert 100 <= int(picks[0]) < 180 <= int(picks[1])
    many = run(200, generator=generator())
    assert len(many.unique()) == 200
    assert 5 not in many.tolist()
    estimated = probcover(features, 3, num_classes=3, generator=generator())
    assert sorted((estimated >= 100).int().add((estimated >= 180).int()).tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"delta": 0.0}, "delta: got 0.0"),
        ({"delta": math.inf}, "delta: got inf"),
        ({"num_classes": 1}, "num_classes: got 1"),
        ({"purity": 0}, "purity: got 0"),
        ({"purity": 1.5}, "purity: got 1.5"),
    ],
)
def test_probcover_refuses_odd_options(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        probcover(points(0, 6), 2, generator=generator(), **given)


# Cluster-margin


def test_clusters_of_the_candidates_take_turns_the_smallest_first() -> None:
    features = groups([6, 2, 3])
    scores = torch.linspace(1, 0, 11)
    picks = cluster_margin(scores, features, 6, oversampling=2, clusters_per_pick=0.5)
    # The groups are {0…5}, {6, 7}, {8, 9, 10}; each gives its highest score first.
    assert picks.tolist() == [6, 8, 0, 7, 9, 1]


def test_only_the_highest_scores_are_candidates() -> None:
    features, scores = points(0, 50), points(1, 50)[:, 0]
    best = top_k(scores, 20).tolist()
    assert set(cluster_margin(scores, features, 5, oversampling=4).tolist()) <= set(best)
    assert cluster_margin(scores, features, 5, oversampling=1).sort().values.tolist() == sorted(
        best[:5]
    )
    one = cluster_margin(scores, features, 5, oversampling=4, clusters_per_pick=0.01)
    assert one.tolist() == best[:5]


def test_large_batches_are_picked_by_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "MOST", 20)
    features, scores = points(2, 90), points(3, 90)[:, 0]
    selected = torch.arange(0, 30)
    picks = cluster_margin(scores, features, 60, selected=selected)
    assert sorted(picks.tolist()) == list(range(30, 90))
    ranking = top_k(scores, 20, selected=selected).tolist()
    assert set(picks[:10].tolist()) <= set(ranking)


def test_cluster_margin_refuses_odd_options() -> None:
    scores, features = torch.rand(6), points(0, 6)
    with pytest.raises(ParameterError, match=r"oversampling: got 0\.5"):
        cluster_margin(scores, features, 2, oversampling=0.5)
    with pytest.raises(ParameterError, match="clusters_per_pick: got 0"):
        cluster_margin(scores, features, 2, clusters_per_pick=0)
    with pytest.raises(ParameterError, match="features: got 6 rows for 5 scores"):
        cluster_margin(scores[:5], features, 2)
    with pytest.raises(ParameterError, match="scores: got NaN at 1"):
        cluster_margin(torch.tensor([0.0, torch.nan]), points(0, 2), 1)


# Without near-duplicates


def naive_distinct(
    order: list[int], near: Tensor, k: int, selected: list[int]
) -> tuple[list[int], int]:
    kept: list[int] = []
    for row in order:
        if len(kept) < k and not near[row, [*selected, *kept]].any():
            kept.append(row)
    left = [row for row in order if row not in kept]
    return [*kept, *left][:k], k - len(kept)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("seed", range(4))
def test_distinct_is_the_naive_walk(
    seed: int, metric: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distinct_module, "BLOCK", 8)
    features = points(seed, 60, 3)
    features[30:40] = features[:10]
    exact = features.double()
    if metric == "cosine":
        unit = exact / exact.norm(dim=1, keepdim=True)
        threshold, near = 0.1, 1 - unit @ unit.T <= 0.1
    else:
        threshold, near = 0.8, squared_distances(features) <= 0.8**2
    order = torch.randperm(60, generator=generator(seed))
    selected, order = order[:seed], order[seed:50]
    for k in (0, 1, 9, 40):
        found = distinct(order, features, k, threshold=threshold, metric=metric, selected=selected)
        expected = naive_distinct(order.tolist(), near, k, selected.tolist())
        assert (found.positions.tolist(), found.num_relaxed) == expected


def test_a_threshold_of_zero_leaves_out_exact_copies_alone() -> None:
    features = points(0, 20, 50) + 1000
    features[3] = features[0]
    features[4] = features[1] + 1e-3  # in float32, a product could not tell them apart
    found = distinct(torch.arange(20), features, 19, threshold=0)
    assert found.positions.tolist() == [0, 1, 2, *range(4, 20)]
    assert found.num_relaxed == 0


def test_distinct_stops_when_it_has_enough_and_says_what_it_relaxed() -> None:
    features = torch.tensor([[0.0], [0.2], [0.4], [9.0]])
    assert distinct(torch.tensor([1, 0, 3, 2]), features, 2, threshold=0.5).positions.tolist() == [
        1,
        3,
    ]
    all_near = distinct(torch.tensor([2, 1, 0]), features, 3, threshold=0.5)
    assert all_near.positions.tolist() == [2, 1, 0]
    assert all_near.num_relaxed == 2


def test_distinct_refuses_bad_input() -> None:
    features, order = points(0, 6), torch.arange(5)
    run = partial(distinct, order, features, 2)
    with pytest.raises(ParameterError, match="threshold: got -1"):
        run(threshold=-1)
    with pytest.raises(ParameterError, match=r"metric: got 'cosin'.* Did you mean 'cosine'"):
        run(threshold=1, metric="cosin")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError, match="order: got positions that are selected"):
        run(threshold=1, selected=torch.tensor([2]))
    with pytest.raises(ParameterError, match="order: got a position twice"):
        distinct(torch.tensor([1, 1]), features, 1, threshold=1)
    with pytest.raises(ParameterError, match="k: got 6, but there are only 5 to pick from"):
        distinct(order, features, 6, threshold=1)
    broken = features.clone()
    broken[3] = torch.nan
    with pytest.raises(ParameterError, match=r"features: got NaN .* is 3"):
        distinct(order, broken, 1, threshold=1)
