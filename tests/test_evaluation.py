"""The observer that measures a training on its way."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from keepers.ledger import Cost
from keepers.tasks import CLASSES, Measured
from keepers.training import Evaluation, Fitted, Point, Step

LABELS = torch.tensor([0, 0, 0, 1])


def signals(*right: bool, confidence: float = 0.9) -> Measured:
    """Four test examples, each predicted right or not with the same confidence."""
    probs = torch.full((4, 2), 1 - confidence)
    for row, good in enumerate(right):
        probs[row, LABELS[row] if good else 1 - LABELS[row]] = confidence
    return CLASSES.measure(probs.log(), LABELS)


def step(number: int, positions: list[int], right: list[bool], began: float = 0.0) -> Step:
    """A step on `positions`, all of class 0, each right or not before the update."""
    return Step(
        positions=torch.tensor(positions),
        labels=torch.zeros(len(positions), dtype=torch.int64),
        logits=torch.tensor([[1.0, 0.0] if good else [0.0, 1.0] for good in right]),
        number=number,
        epoch=number / 4,
        examples=10 * number,
        candidates=100 * number,
        flops=1e3 * number,
        began=began or time.perf_counter() - number,
    )


def fitted(module: nn.Module, steps: int) -> Fitted:
    cost = Cost(phase="training", seconds=9.5, examples=77, steps=steps, flops=5.0)
    return Fitted(
        module=module,
        losses=(),
        epochs=2.0,
        cost=cost,
        candidates=770,
        choosing_seconds=1.0,
    )


def test_a_point_says_what_was_reached_and_what_was_trained_on_since_the_last() -> None:
    said: list[tuple[Point, Mapping[str, float]]] = []
    noisy = torch.tensor([True, False, True, False, False])
    watched = Evaluation(
        lambda: signals(True, True, False, False),
        every=2,
        marks={"corrupted": noisy, "rare": ~noisy},
        say=lambda point, marks: said.append((point, marks)),
    )
    watched.after_step(step(1, [0, 1], [True, True]))
    assert watched.points == []
    watched.after_step(step(2, [2, 3], [True, False]))
    watched.after_step(step(3, [0, 2, 4], [False, False, False]))
    watched.after_step(step(4, [0], [False]))
    first, second = watched.points
    assert (first.step, first.epoch, first.examples, first.candidates) == (2, 0.5, 20, 200)
    assert first.flops == 2e3
    assert first.seconds == pytest.approx(2.0, abs=0.5)
    assert (first.accuracy, first.worst_class_accuracy) == (0.5, 0.0)
    right, wrong = -torch.tensor(0.9).log().item(), -torch.tensor(0.1).log().item()
    assert first.loss == pytest.approx((right + wrong) / 2)
    assert first.correct == 3 / 4
    assert watched.marked[0] == {"corrupted": 2 / 4, "rare": 2 / 4}
    assert second.correct == 0.0
    assert watched.marked[1] == {"corrupted": 3 / 4, "rare": 1 / 4}
    assert [point.step for point, _ in said] == [2, 4]
    assert watched.curve()[1] == {**vars(second), "corrupted": 0.75, "rare": 0.25}


def test_the_worst_class_is_not_the_mean() -> None:
    watched = Evaluation(lambda: signals(True, True, False, True))
    point = watched.at_end(fitted(nn.Identity(), 3))
    assert point.accuracy == 0.75
    assert point.worst_class_accuracy == pytest.approx(2 / 3)


def test_what_it_takes_is_not_charged() -> None:
    def slowly() -> Measured:
        time.sleep(0.05)
        return signals(True, True, True, True)

    watched = Evaluation(slowly, every=2)
    assert watched.after_step(step(1, [0], [True])) < 0.04
    began = time.perf_counter() - 5.0
    assert watched.after_step(step(2, [0], [True], began)) > 0.05
    assert watched.points[0].seconds == pytest.approx(5.0, abs=0.04)  # read before measuring


def test_the_end_is_measured_once_with_the_costs_of_the_training() -> None:
    calls = 0

    def measure() -> Measured:
        nonlocal calls
        calls += 1
        return signals(True, True, True, True)

    watched = Evaluation(measure, every=2)
    for number in (1, 2, 3):
        watched.after_step(step(number, [0], [True]))
    last = watched.at_end(fitted(nn.Identity(), 3))
    assert (last.step, last.seconds, last.examples, last.candidates) == (3, 9.5, 77, 770)
    assert calls == 2
    assert watched.at_end(fitted(nn.Identity(), 3)) is last
    assert calls == 2
    assert [point.step for point in watched.points] == [2, 3]


def test_nothing_trained_on_since_the_last_point_is_no_division_by_zero() -> None:
    watched = Evaluation(lambda: signals(True, True, True, True), marks={"rare": torch.ones(3) > 0})
    assert watched.at_end(fitted(nn.Identity(), 0)).correct == 0.0
    assert watched.marked == [{"rare": 0.0}]


def test_the_weights_of_the_lowest_loss_are_kept_and_not_those_of_the_best_accuracy() -> None:
    module = nn.Linear(1, 1, bias=False)
    found = iter(
        [
            (0.0, signals(True, True, True, False, confidence=0.6)),
            (1.0, signals(True, True, True, False, confidence=0.8)),
            (2.0, signals(True, True, True, True, confidence=0.51)),
        ]
    )

    def measure() -> Measured:
        value, said = next(found)
        module.weight.data.fill_(value)
        return said

    watched = Evaluation(measure, every=1, best_of=module)
    for number in (1, 2, 3):
        watched.after_step(step(number, [0], [True]))
    losses = [point.loss for point in watched.points]
    assert min(losses) == losses[1]
    assert max(point.accuracy for point in watched.points) == watched.points[2].accuracy
    assert module.weight.item() == 2.0
    assert watched.restore_best() is watched.points[1]
    assert module.weight.item() == 1.0


def test_another_continues_from_its_state_with_the_same_points_and_the_same_best() -> None:
    noisy = torch.tensor([True, False, True, False])

    def made(module: nn.Module) -> Evaluation:
        return Evaluation(
            lambda: signals(True, bool(module.weight.item() < 1.5), True, False),  # type: ignore[operator]
            every=2,
            marks={"corrupted": noisy},
            best_of=module,
        )

    def steps(watched: Evaluation, module: nn.Linear, numbers: range) -> None:
        for number in numbers:
            module.weight.data.fill_(number / 2)
            watched.after_step(step(number, [number % 4], [number % 3 == 0], began=1.0))

    whole_module, cut_module, new_module = (nn.Linear(1, 1, bias=False) for _ in range(3))
    whole, cut, new = made(whole_module), made(cut_module), made(new_module)
    steps(whole, whole_module, range(1, 8))
    steps(cut, cut_module, range(1, 4))  # between two points: one step is counted and not noted
    state: dict[str, Tensor] = {name: value.clone() for name, value in cut.state_dict().items()}
    new.load_state_dict(state)
    steps(new, new_module, range(4, 8))
    without_time = [{**entry, "seconds": 0.0} for entry in whole.curve()]
    assert [{**entry, "seconds": 0.0} for entry in new.curve()] == without_time
    assert [type(value) for value in vars(new.points[0]).values()] == [
        type(value) for value in vars(whole.points[0]).values()
    ]
    assert new.restore_best().step == whole.restore_best().step == 2
    assert new_module.weight.item() == whole_module.weight.item() == 1.0
