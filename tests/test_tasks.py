"""What targets are and mean: each formula against scikit-learn or torch, on small data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from torch import nn

from keepers.errors import ParameterError
from keepers.tasks import Classes, Labels, Number, Tags, Task, gradients_of, labels_at
from keepers.tasks.labels import average_precision

NO_MEAN: Any = None
ROWS = st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=1, max_size=12)


def labels_task(tags: Tags) -> Labels:
    names = tuple(f"label {number}" for number in range(tags.num_labels))
    return Labels(names=names, counts=tuple(tags.counts().tolist()), total=len(tags))


def drawn(n: int = 60, width: int = 5) -> tuple[Tags, torch.Tensor]:
    at = np.random.default_rng(0)
    tags = Tags.of([np.flatnonzero(row).tolist() for row in at.random((n, width)) < 0.3], width)
    return tags, torch.from_numpy(at.normal(size=(n, width))).float().round(decimals=1)


@given(ROWS)
def test_tags_are_the_table_of_zeros_and_ones(rows: list[list[int]]) -> None:
    tags = Tags.of(rows, 5)
    dense = torch.zeros(len(rows), 5)
    for row, members in enumerate(rows):
        dense[row, members] = 1
    everyone = torch.arange(len(rows))
    assert torch.equal(tags[everyone], dense)
    assert torch.equal(tags.counts(), dense.sum(0).long())
    assert (tags.sparse().toarray() == dense.numpy()).all()
    order = everyone.flip(0)
    assert torch.equal(tags.take(order)[everyone], dense[order])
    assert torch.equal(tags[order.numpy()], dense[order])
    for label in range(5):
        assert torch.equal(tags.having(label), dense[:, label] > 0)


def test_tags_take_memory_by_what_is_there() -> None:
    tags = Tags.of([[row % 1000] for row in range(10_000)], 1000)
    assert tags.members.nbytes + tags.offsets.nbytes < 200_000 < 10_000 * 1000


def test_the_same_tags_have_the_same_numbers() -> None:
    one, other = Tags.of([[0], [1, 2]], 3), Tags.of([[0, 1], [2]], 3)
    assert (one.numpy() == Tags.of([[0], [2, 1, 1]], 3).numpy()).all()
    assert not np.array_equal(one.numpy(), other.numpy())


def test_labels_are_measured_as_scikit_learn_does() -> None:
    tags, said = drawn()
    truth = tags.sparse().toarray()
    found = labels_task(tags).measure(said, tags)
    by_label: Any = metrics.average_precision_score(truth, said, average=NO_MEAN)
    named = (said > 0).numpy()
    assert found.score == pytest.approx(
        metrics.average_precision_score(truth, said, average="micro")
    )
    assert found.others["mean_average_precision"] == pytest.approx(by_label.mean())
    assert found.worst_score == pytest.approx(by_label.min())
    assert found.others["micro_f1"] == pytest.approx(
        metrics.f1_score(truth, named, average="micro")
    )
    assert found.others["macro_f1"] == pytest.approx(
        metrics.f1_score(truth, named, average="macro")
    )
    assert found.error == pytest.approx(1 - found.score)
    assert found.loss == pytest.approx(
        float(F.binary_cross_entropy_with_logits(said, torch.from_numpy(truth).float())), rel=1e-6
    )


def test_average_precision_counts_equal_values_together() -> None:
    values = torch.tensor([0.5, 0.5, 0.5, 0.1, 0.9])
    truth = torch.tensor([True, False, True, True, False])
    expected = metrics.average_precision_score(truth, values)
    assert average_precision(values, truth) == pytest.approx(expected)
    assert average_precision(values, torch.zeros(5, dtype=torch.bool)) == 0.0


def test_a_label_that_no_example_has_is_in_no_mean() -> None:
    tags = Tags.of([[0], [1], [0, 1], []], 3)
    said = torch.tensor([[3.0, -3, 9], [-3, 3, 9], [3, 3, 9], [-3, -3, 9]])
    found = labels_task(tags).measure(said, tags)
    assert found.others["macro_f1"] == found.worst_score == 1.0


def test_numbers_are_measured_as_scikit_learn_does() -> None:
    at = np.random.default_rng(1)
    truth = torch.from_numpy(at.normal(5, 3, (50, 2))).float()
    said = truth + torch.from_numpy(at.normal(0, 1, (50, 2))).float()
    found = Number.of(("a", "b"), truth).measure(said, truth)
    assert found.score == pytest.approx(metrics.r2_score(truth, said), rel=1e-5)
    assert found.others["mae"] == pytest.approx(metrics.mean_absolute_error(truth, said), rel=1e-5)
    by_number = metrics.mean_squared_error(truth, said, multioutput="raw_values") ** 0.5
    assert found.others["rmse"] == pytest.approx(by_number.mean(), rel=1e-5)
    assert found.worst_error >= found.error


def test_the_loss_of_a_number_does_not_depend_on_its_units() -> None:
    truth = torch.randn(40, 1, generator=torch.Generator().manual_seed(0))
    said = truth + 0.3
    plain = Number.of(("x",), truth)
    cents = Number.of(("x",), 100 * truth + 7)
    apart = plain.losses(said, truth) - cents.losses(100 * said + 7, 100 * truth + 7)
    assert float(apart.abs().max()) < 1e-4
    assert plain.losses(said, truth)[0] == pytest.approx(0.09 / float(truth.var(correction=0)))


def test_strata_of_numbers_are_parts_of_about_equal_size() -> None:
    truth = torch.arange(100, dtype=torch.float32)[:, None]
    task = Number.of(("x",), truth)
    strata = task.strata(truth)
    assert strata.bincount().tolist() == [10] * 10
    assert len(task.strata_names) == 10
    assert task.strata(torch.tensor([[float("nan")], [1e9]])).tolist() == [-1, 9]


def test_nan_among_the_numbers_of_a_batch_is_named() -> None:
    task, said = Number(names=("x",), mean=(0.0,), std=(1.0,)), torch.zeros(3, 1)
    truth = torch.tensor([[1.0], [float("nan")], [2.0]])
    with pytest.raises(ParameterError, match=r"labels: got NaN\. Give a number for each example"):
        task.check(said, truth)
    assert task.check(said, truth, version=1) is said


def test_many_equal_numbers_make_fewer_strata() -> None:
    truth = torch.tensor([[0.0]] * 95 + [[1.5]] * 5)
    task = Number.of(("x",), truth)
    assert len(task.strata_names) == int(task.strata(truth).max()) + 1
    with pytest.raises(ParameterError, match="'x' is the same number in all rows"):
        Number.of(("x",), truth[:90])


def test_the_stratum_of_several_labels_is_the_rarest() -> None:
    tags = Tags.of([[0, 1], [0], [0, 2], [2], [], [0, 1, 2]], 3)  # 1 is in two, 2 in three
    task = labels_task(tags)
    assert task.strata(tags).tolist() == [1, 0, 2, 2, 3, 1]
    assert task.strata_names[3] == "no label"


TARGETS: list[tuple[Task, torch.Tensor, torch.Tensor]] = [
    (Classes(("a", "b", "c")), torch.tensor([0, 2, 1]), torch.randn(3, 3)),
    (labels_task(drawn(3, 4)[0]), drawn(3, 4)[0][torch.arange(3)], torch.randn(3, 4)),
    (Number.of(("x",), torch.randn(9, 1)), torch.randn(3, 1), torch.randn(3, 1)),
]


@pytest.mark.parametrize(("task", "targets", "output"), TARGETS, ids=lambda each: str(type(each)))
def test_what_every_task_keeps(task: Task, targets: torch.Tensor, output: torch.Tensor) -> None:
    losses = task.losses(output, targets)
    assert losses.shape == (3,)
    assert bool((losses >= 0).all())
    assert float(task.loss(output, targets)) == pytest.approx(float(losses.mean()), rel=1e-5)
    weights = torch.tensor([1.0, 2.0, 0.0])
    weighted = float((losses * weights).mean())
    assert float(task.loss(output, targets, weights)) == pytest.approx(weighted, rel=1e-5)
    right = task.right(output, targets).float()
    assert right.shape == (3,)
    assert 0 <= float(right.min()) <= float(right.max()) <= 1
    assert torch.equal(task.check(output, targets), output)
    assert task.say(output).dtype == torch.float32
    assert task.said in task.signals
    with pytest.raises(ParameterError):
        task.check(output[:2], targets)
    with pytest.raises(ParameterError):
        task.check(output[:, :, None], targets)
    assert task.facts()["task"] == task.name
    steep = output.clone().requires_grad_()
    (expected,) = torch.autograd.grad(task.losses(steep, targets).sum(), steep)
    std = torch.tensor(task.scale[1] or [1.0])  # of what a network gives before it is stretched
    found = task.gradients(task.say(output), targets)
    torch.testing.assert_close(found, expected * std)
    norms = gradients_of(task, task.say(output), targets, norms=True)
    torch.testing.assert_close(norms, found.norm(dim=1))
    assert len(task.names) == task.num_outputs


def test_losses_of_all_are_those_of_the_output() -> None:
    tags, said = drawn()
    task = labels_task(tags)
    everyone = torch.arange(len(tags))
    assert torch.allclose(task.losses_of(said, tags), task.losses(said, tags[everyone]))
    norms = gradients_of(task, said, tags, norms=True)
    torch.testing.assert_close(norms, task.gradients(said, tags[everyone]).norm(dim=1))
    part = torch.tensor([5, 1, 7])
    assert torch.equal(labels_at(tags, part)[torch.arange(3)], tags[part])


def test_a_network_of_labels_begins_with_how_rare_they_are() -> None:
    tags = Tags.of([[0]] * 3 + [[]] * 27, 2)
    task = labels_task(tags)
    module = task.begin(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    bias = module.get_parameter("2.bias").sigmoid()
    assert bias.tolist() == pytest.approx([3.5 / 31, 0.5 / 31], rel=1e-4)
    other = nn.Linear(4, 3)
    before = other.bias.detach().clone()
    task.begin(other)  # of another width: not the layer that names the labels
    assert torch.equal(other.bias, before)


def test_targets_are_shown_in_words() -> None:
    tags = Tags.of([[0, 1], []], 2)
    assert Labels(("sad", "glad"), (1, 1), 2).show(tags, [0, 1]) == ["sad, glad", ""]
    numbers = torch.tensor([[1.5], [float("nan")]])
    assert Number.of(("x",), torch.randn(9, 1)).show(numbers, [0, 1]) == ["1.5", None]
    assert Classes(("a", "b")).show(torch.tensor([1, -1]), [0, 1]) == ["b", None]
