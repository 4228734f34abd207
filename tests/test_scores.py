from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from torch import Tensor

from keepers import scores
from keepers.errors import ParameterError
from keepers.scores import label_noise

PROBABILITIES = torch.tensor(
    [[0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0]]
)
UNCERTAINTY = (scores.least_confidence, scores.margin, scores.entropy)


# Two draws for each of four examples: they agree, are sure and split, are both unsure, or differ.
POSTERIOR = torch.tensor(
    [
        [[0.8, 0.2], [0.8, 0.2]],
        [[1.0, 0.0], [0.0, 1.0]],
        [[0.5, 0.5], [0.5, 0.5]],
        [[1.0, 0.0], [0.5, 0.5]],
    ]
)
BAYESIAN = (scores.bald, scores.predictive_entropy, scores.conditional_entropy)


def binary_entropy(p: float) -> float:
    return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)


def log_probs(seed: int, n: int, classes: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(n, classes, generator=generator)).log_softmax(-1)


def test_least_confidence_by_hand() -> None:
    found = scores.least_confidence(PROBABILITIES.log())
    torch.testing.assert_close(found, torch.tensor([0.3, 0.0, 2 / 3, 0.5]))


def test_margin_by_hand() -> None:
    found = scores.margin(PROBABILITIES.log())
    torch.testing.assert_close(found, torch.tensor([0.5, 0.0, 1.0, 1.0]))


def test_entropy_by_hand_with_probabilities_of_zero() -> None:
    found = scores.entropy(PROBABILITIES.log())
    first = -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1))
    expected = torch.tensor([first, 0.0, math.log(3), math.log(2)])
    torch.testing.assert_close(found, expected)
    assert int(found.argsort(descending=True)[-1]) == 1  # the sure one comes last, not as NaN first


def test_least_confidence_tells_nearly_sure_predictions_apart() -> None:
    nearly = torch.tensor([[-1e-9, math.log(1e-9)], [-1e-10, math.log(1e-10)]])
    first, second = scores.least_confidence(nearly).tolist()
    assert first == pytest.approx(1e-9)
    assert second == pytest.approx(1e-10)


@pytest.mark.parametrize("score", UNCERTAINTY)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 20), classes=st.integers(2, 6))
@settings(max_examples=20, deadline=None)
def test_uncertainty_is_equivariant_and_leaves_its_input(
    score: Callable[[Tensor], Tensor], seed: int, n: int, classes: int
) -> None:
    given_probs = log_probs(seed, n, classes)
    before = given_probs.clone()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    classes_order = torch.randperm(classes, generator=torch.Generator().manual_seed(seed + 1))
    found = score(given_probs)
    assert torch.equal(given_probs, before)
    assert torch.equal(score(given_probs[order]), found[order])
    torch.testing.assert_close(score(given_probs[:, classes_order]), found)


@pytest.mark.parametrize("score", UNCERTAINTY)
def test_uncertainty_refuses_what_is_no_log_probability(score: Callable[[Tensor], Tensor]) -> None:
    broken = log_probs(0, 4, 3)
    broken[2, 1] = torch.nan
    with pytest.raises(ParameterError, match=r"log_probs: got NaN at 1 positions, the first is 2"):
        score(broken)
    with pytest.raises(ParameterError, match=r"log_softmax"):
        score(torch.tensor([[2.0, -1.0]]))  # logits
    with pytest.raises(ParameterError, match=r"log_softmax"):
        score(torch.tensor([[-2.0, -3.0]]))  # logits that are all negative
    with pytest.raises(ParameterError, match=r"log_softmax"):
        score(torch.tensor([[0.6, 0.4]]))  # probabilities
    with pytest.raises(ParameterError, match=r"at least 2 classes"):
        score(torch.zeros(3, 1))
    with pytest.raises(ParameterError, match=r"got shape \(3,\)"):
        score(torch.zeros(3))


@pytest.mark.parametrize("score", UNCERTAINTY)
def test_uncertainty_takes_half_precision(score: Callable[[Tensor], Tensor]) -> None:
    full = log_probs(1, 50, 10)
    found = score(full.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, score(full), atol=0.05, rtol=0.05)


def test_error_norm_and_el2n_by_hand() -> None:
    labels = torch.tensor([0, 0, 2, 1])
    expected = [
        math.sqrt(0.3**2 + 0.2**2 + 0.1**2),
        0.0,
        math.sqrt((2 / 3) ** 2 + 2 * (1 / 3) ** 2),
        math.sqrt(0.5),
    ]
    torch.testing.assert_close(
        scores.error_norm(PROBABILITIES.log(), labels), torch.tensor(expected)
    )
    runs = torch.stack([PROBABILITIES.log(), PROBABILITIES.roll(1, 0).log()], 1)
    other = scores.error_norm(PROBABILITIES.roll(1, 0).log(), labels)
    torch.testing.assert_close(scores.el2n(runs, labels), (torch.tensor(expected) + other) / 2)


def test_error_norm_refuses_labels_out_of_range() -> None:
    with pytest.raises(ParameterError, match=r"labels: got classes from 0 to 3"):
        scores.error_norm(PROBABILITIES.log(), torch.tensor([0, 1, 2, 3]))
    with pytest.raises(ParameterError, match=r"labels: got shape \(3,\)"):
        scores.error_norm(PROBABILITIES.log(), torch.tensor([0, 1, 2]))


def test_forgetting_puts_the_never_learnt_above_all() -> None:
    found = scores.forgetting(torch.tensor([2.0, torch.inf, 0.0]))
    assert found.argsort(descending=True).tolist() == [1, 0, 2]
    with pytest.raises(ParameterError, match=r"events: got -1"):
        scores.forgetting(torch.tensor([-1, 2]))
    with pytest.raises(ParameterError, match=r"events: got NaN"):
        scores.forgetting(torch.tensor([torch.nan]))


def test_area_under_margin_ranks_low_margins_first() -> None:
    assert scores.area_under_margin(torch.tensor([3.0, -2.0, 0.5])).tolist() == [-3.0, 2.0, -0.5]


@given(st.lists(st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0, math.inf]), max_size=30))
def test_ranks_agree_with_scipy(values: list[float]) -> None:
    found = scores.ranks(torch.tensor(values))
    np.testing.assert_array_equal(found.numpy(), rankdata(values) - 1)


def test_ensembles_are_combined_by_rank_and_not_by_size() -> None:
    huge = torch.tensor([1e6, 0.0, 1.0, 2.0])
    small = torch.tensor([0.0, 0.3, 0.2, 0.1])
    assert scores.combine_ranks([huge, small, small]).tolist() == [1.0, 2.0, 5 / 3, 4 / 3]
    with pytest.raises(ParameterError, match=r"members: got lengths \[1, 2\]"):
        scores.combine_ranks([torch.zeros(1), torch.zeros(2)])
    with pytest.raises(ParameterError, match="members: got none"):
        scores.combine_ranks([])


def test_cross_entropy_by_hand() -> None:
    found = scores.cross_entropy(PROBABILITIES.log(), torch.tensor([1, 0, 2, 2]))
    torch.testing.assert_close(found, torch.tensor([-math.log(0.2), 0.0, math.log(3), math.inf]))
    with pytest.raises(ParameterError, match="labels: got classes from 0 to 3"):
        scores.cross_entropy(PROBABILITIES.log(), torch.tensor([0, 1, 2, 3]))


def test_reducible_loss_by_hand() -> None:
    losses, irreducible = torch.tensor([3.0, 3.0, 0.1, torch.inf]), torch.tensor([0.5, 4.0, 0.1, 1])
    found = scores.reducible_loss(losses, irreducible)
    torch.testing.assert_close(found, torch.tensor([2.5, -1.0, 0.0, torch.inf]))
    # What is learnable and not yet learnt comes first; a wrong label, hard for both, last.
    assert found[:3].argsort(descending=True).tolist() == [0, 2, 1]


def test_reducible_loss_refuses_what_would_give_nan() -> None:
    fine = torch.zeros(3)
    with pytest.raises(ParameterError, match=r"^losses: got NaN at 1 positions, the first is 2"):
        scores.reducible_loss(torch.tensor([0, 0, torch.nan]), fine)
    with pytest.raises(ParameterError, match=r"irreducible_losses: got infinite values at 2 .* 0"):
        scores.reducible_loss(fine, torch.tensor([torch.inf, -torch.inf, 0]))
    with pytest.raises(ParameterError, match=r"irreducible_losses: got 2 of them. .* the 3 exam"):
        scores.reducible_loss(fine, torch.zeros(2))
    with pytest.raises(ParameterError, match=r"irreducible_losses: got shape \(3, 1\)"):
        scores.reducible_loss(fine, torch.zeros(3, 1))


def test_last_layer_gradient_norm_is_that_of_autograd() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(8, 5, generator=generator)
    labels = torch.randint(3, (8,), generator=generator)
    layer = torch.nn.Linear(5, 3)
    expected: list[float] = []
    for feature, label in zip(features, labels, strict=True):
        loss = torch.nn.functional.cross_entropy(layer(feature), label)
        (gradient,) = torch.autograd.grad(loss, layer.weight)
        expected.append(float(gradient.norm()))
    found = scores.last_layer_gradient_norm(layer(features).log_softmax(-1), labels, features)
    assert not found.requires_grad
    torch.testing.assert_close(found, torch.tensor(expected))


def test_last_layer_gradient_norm_refuses_odd_features() -> None:
    given_probs, labels = PROBABILITIES.log(), torch.zeros(4, dtype=torch.int64)
    broken = torch.zeros(4, 2)
    broken[3, 1] = torch.inf
    with pytest.raises(ParameterError, match=r"features: got infinite values at 1 .* is 3"):
        scores.last_layer_gradient_norm(given_probs, labels, broken)
    with pytest.raises(ParameterError, match=r"features: got shape \(4,\)"):
        scores.last_layer_gradient_norm(given_probs, labels, torch.zeros(4))
    with pytest.raises(ParameterError, match=r"features: got shape \(5, 2\). Give 4 rows"):
        scores.last_layer_gradient_norm(given_probs, labels, torch.zeros(5, 2))


def test_bayesian_scores_by_hand() -> None:
    log2, h8, h75 = math.log(2), binary_entropy(0.8), binary_entropy(0.75)
    predictive = torch.tensor([h8, log2, log2, h75])
    conditional = torch.tensor([h8, 0.0, log2, log2 / 2])
    posterior = POSTERIOR.log()
    torch.testing.assert_close(scores.predictive_entropy(posterior), predictive)
    torch.testing.assert_close(scores.conditional_entropy(posterior), conditional)
    torch.testing.assert_close(scores.bald(posterior), predictive - conditional)
    found = scores.loss_minus_conditional_entropy(posterior, torch.tensor([0, 1, 0, 1]))
    losses = torch.tensor([-math.log(0.8), log2, log2, -math.log(0.25)])
    torch.testing.assert_close(found, losses - conditional)


def test_the_loss_is_of_the_mean_prediction_and_not_the_mean_of_the_losses() -> None:
    # One draw gives the label no chance: the mean of the losses would be infinite.
    found = scores.loss_minus_conditional_entropy(POSTERIOR[1:2].log(), torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([math.log(2)]))


@given(
    seed=st.integers(0, 2**31),
    samples=st.integers(1, 6),
    classes=st.integers(2, 6),
    scale=st.sampled_from([0.01, 1.0, 30.0]),
)
@settings(max_examples=40, deadline=None)
def test_bald_is_the_difference_and_never_negative(
    seed: int, samples: int, classes: int, scale: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    posterior = (scale * torch.randn(9, samples, classes, generator=generator)).log_softmax(-1)
    before, order = posterior.clone(), torch.randperm(samples, generator=generator)
    difference = scores.predictive_entropy(posterior) - scores.conditional_entropy(posterior)
    found = scores.bald(posterior)
    torch.testing.assert_close(found, difference, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scores.bald(posterior[:, order]), found, atol=1e-6, rtol=1e-5)
    assert bool((found >= 0).all())
    assert bool((found <= math.log(min(samples, classes)) + 1e-5).all())
    assert torch.equal(posterior, before)


def test_bald_of_draws_that_nearly_agree_survives_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    common = 3 * torch.randn(20, 1, 1000, generator=generator)
    logits = common + 1e-3 * torch.randn(20, 10, 1000, generator=generator)
    exact = scores.bald(logits.double().log_softmax(-1))
    assert float(exact.max()) < 1e-6
    # The difference of the entropies, both near 6, is off by more than all of it.
    torch.testing.assert_close(
        scores.bald(logits.log_softmax(-1)).double(), exact, atol=1e-7, rtol=0
    )
    same = common.log_softmax(-1).expand(-1, 10, -1)
    assert float(scores.bald(same).max()) < 1e-6


@pytest.mark.parametrize("score", BAYESIAN)
def test_bayesian_scores_refuse_what_is_no_log_probability(
    score: Callable[[Tensor], Tensor],
) -> None:
    with pytest.raises(ParameterError, match=r"got shape \(4, 3\). Give \(n, samples, classes\)"):
        score(PROBABILITIES.log())
    with pytest.raises(ParameterError, match=r"posterior_log_probs: got .*log_softmax"):
        score(POSTERIOR)
    broken = POSTERIOR.log().clone()
    broken[2, 1, 0] = torch.nan
    with pytest.raises(ParameterError, match=r"posterior_log_probs: got NaN at 1 .* is 2"):
        score(broken)
    with pytest.raises(ParameterError, match="labels: got classes from 0 to 2"):
        scores.loss_minus_conditional_entropy(POSTERIOR.log(), torch.tensor([0, 1, 2, 0]))


# Label noise --------------------------------------------------------------------------------


def out_of_fold(
    n: int, classes: int, noise: float, slope: float, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Given labels, and log-probabilities of a model that is right as often as it is sure."""
    draw = torch.Generator().manual_seed(seed)
    right = torch.randint(classes, (n,), generator=draw)
    logits = slope * torch.randn(n, generator=draw).abs()
    chance = (logits.exp() / (logits.exp() + 1)).clamp(1 / classes)
    hit = torch.rand(n, generator=draw) < chance
    other = (right + torch.randint(1, classes, (n,), generator=draw)) % classes
    predicted = torch.where(hit, right, other)
    log_probs = ((1 - chance) / (classes - 1)).log()[:, None].repeat(1, classes)
    log_probs[torch.arange(n), predicted] = chance.log()
    wrong = torch.rand(n, generator=draw) < noise
    moved = (right + torch.randint(1, classes, (n,), generator=draw)) % classes
    return torch.where(wrong, moved, right), log_probs


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.1, 0.2, 0.4])
def test_the_interval_of_label_noise_holds_the_truth(classes: int, noise: float) -> None:
    found = label_noise(*out_of_fold(4000, classes, noise, slope=4.0))
    assert found.low <= noise <= found.high
    assert found.high - found.low < 0.06 if noise < 0.4 else found.high < 0.5
    if noise == 0:
        assert found.low == 0
        assert str(found) == f"at most {found.high:.1%} of the labels are wrong"
    if 0 < noise < 0.4:
        assert found.low > 0
        assert abs(found.rate - noise) < 0.02
    assert found.disagreement > noise  # which is why it is no estimate


def test_few_examples_do_not_tell_how_many_labels_are_wrong() -> None:
    """A bound of a half is no news; from a quarter down, and wherever many are wrong, it is."""
    few = label_noise(*out_of_fold(99, 10, 0.0, slope=1.0))
    assert str(few) == f"the share of wrong labels is unknown (up to {few.high:.1%})"
    assert not dataclasses.replace(few, high=0.25).vague
    assert (
        str(dataclasses.replace(few, low=0.06))
        == f"6.0% to {few.high:.1%} of the labels are wrong or too hard to predict"
    )


def test_label_noise_is_only_bounded_where_no_example_is_easy() -> None:
    draw = torch.Generator().manual_seed(0)
    labels = (torch.rand(3000, generator=draw) < 0.7).long()
    guess = torch.rand(3000, generator=draw)
    log_probs = torch.stack([0.3 + 0.1 * guess, 0.7 - 0.1 * guess], 1).log()
    found = label_noise(labels, log_probs)  # the largest class, whatever the example
    assert found.low == 0
    assert found.high > 0.25


def test_a_model_that_always_names_the_largest_class_tells_nothing_of_labels() -> None:
    labels = (
        torch.arange(2000) % 20 == 0
    ).long()  # a tenth of another class, half of it relabelled
    log_probs = torch.tensor([[0.95, 0.05]]).log().expand(2000, 2)
    assert str(label_noise(labels, log_probs)) == "the share of wrong labels is unknown"


def test_label_noise_does_not_depend_on_the_order_and_leaves_its_input_alone() -> None:
    labels, log_probs = out_of_fold(1000, 3, 0.1, slope=3.0)
    before, order = log_probs.clone(), torch.randperm(1000)
    found, other = (
        label_noise(*each) for each in ((labels, log_probs), (labels[order], log_probs[order]))
    )
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(other))
    assert torch.equal(log_probs, before)


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("classes", [2, 3])
def test_label_noise_of_few_examples_is_wide(n: int, classes: int) -> None:
    found = label_noise(torch.zeros(n).long(), torch.eye(classes)[torch.zeros(n).long()].log())
    assert found.low == 0
    assert found.high > 0.15


def test_label_noise_refuses_what_is_no_prediction() -> None:
    labels, log_probs = out_of_fold(20, 3, 0.1, slope=3.0)
    for bad, what in (
        ((labels, log_probs[:, :1] * 0), "2 classes"),
        ((labels[:0], log_probs[:0]), "Give examples"),
        ((labels[:9], log_probs), "labels: got shape"),
        ((labels + 1, log_probs), "labels: got classes"),
        ((labels, log_probs * torch.nan), "NaN"),
        ((labels, log_probs.exp()), "log_probs"),
    ):
        with pytest.raises(ParameterError, match=what):
            label_noise(*bad)
