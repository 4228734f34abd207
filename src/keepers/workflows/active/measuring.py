"""What a campaign knows of itself: accuracy, agreement, selection against random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from keepers.methods import get
from keepers.random import derived_seed, generator
from keepers.roles import Prepared
from keepers.statistics import ENOUGH_SEEDS, paired_difference, spearman
from keepers.tasks import labels_at
from keepers.workflows.active.asking import (
    Labelled,
    Opinion,
    preference,
    training_of,
)
from keepers.workflows.active.judging import ceiling, chance, judged
from keepers.workflows.options.active import ActiveConfig
from keepers.workflows.options.shared import AUTO
from keepers.workflows.stages import Tested, train
from keepers.workflows.workplace import Workplace

ENOUGH_CONTROL = 100
"""Control labels from which on a model trained on them is compared with one on selected ones."""

ENOUGH_FOR_A_POINT = 30
"""Control labels from which on their accuracy is a point of the learning curve."""

SAMPLE = 2000
"""Examples of the pool on which the ranks of proxy and target are compared."""


def control_accuracy(opinion: Opinion, known: Labelled, control: Tensor) -> dict[str, Any] | None:
    """The score of the proxy on the control labels, which it never trained on, and its interval.

    They are a uniform sample of the pool but for what was labelled before the campaign, so this
    estimates the accuracy on the rest of it.
    """
    if not len(control) or not opinion.trained:
        return None
    task, truth = known.task, labels_at(known.targets, control)
    said = task.together(opinion.of(control, task))
    low, high = task.interval(said, truth)
    count, score = len(control), task.measure(said, truth).score
    if task.is_share:
        return {"correct": round(score * count), "labels": count, "low": low, "high": high}
    return {"score": score, "labels": count, "low": low, "high": high}


def control_score(control: Mapping[str, Any]) -> float:
    """The score that `control_accuracy` found; that of classes is written as a count."""
    return control["score"] if "score" in control else control["correct"] / control["labels"]


def selection_against_random(
    known: Labelled,
    control: Tensor,
    selected: Tensor,
    prepared: Prepared,
    place: Workplace,
    *,
    test: Tested | None,
    seed: int,
) -> dict[str, Any] | None:
    """A proxy trained on selected labels against one trained on as many control labels.

    Five times, four fifths of the control labels against as many of the selected ones, with other
    weights each time. Both are measured on the test set or, without one, on the fifth of the
    control labels that is left out. The five share most of their training labels, and the interval
    is widened for that. None under `ENOUGH_CONTROL` control labels, or while few are selected.

    Args:
        known: the labels; `control` (c,) and `selected` (s,) are positions of labelled examples
            that were drawn at random, and chosen by the campaign's method.
    """
    if len(control) < ENOUGH_CONTROL:
        return None
    shuffled = control[_order(len(control), seed, "control")]
    parts = [shuffled[k::ENOUGH_SEEDS].sort().values for k in range(ENOUGH_SEEDS)]
    size = min(len(control) - len(parts[0]), len(selected))
    if size < ENOUGH_CONTROL // 2:
        return None
    errors: dict[str, list[float]] = {"selected": [], "random": []}
    for number, part in enumerate(parts):
        away = shuffled[~torch.isin(shuffled, part)]
        drawn = {
            "random": away[_order(len(away), seed, "random", number)[:size]],
            "selected": selected[_order(len(selected), seed, "same", number)[:size]],
        }
        for name, members in drawn.items():
            training = training_of(
                prepared,
                known,
                members=members,
                seed=derived_seed(seed, "against random", number),
                wanted=frozenset({known.task.said}),
                scored=part,
                test=test,
                role="control",
            )
            errors[name].append(_error(train(place, training), known, part, test))
    overlap = len(parts[0]) / size
    difference = paired_difference(errors["selected"], errors["random"], overlap=overlap)
    return {
        "labels": size,
        "control": len(control),
        "measured_on": "test" if test is not None else "control",
        "errors": errors,
        "difference": asdict(difference),
    }


def _error(trained: Any, known: Labelled, part: Tensor, test: Tested | None) -> float:
    if test is not None:
        return float(trained.facts["test_error"])
    task = known.task
    return task.measure(trained.signals.get(task.said), labels_at(known.targets, part)).error


def _order(n: int, seed: int, *purpose: str | int) -> Tensor:
    return torch.randperm(n, generator=generator(seed, *purpose))


def fidelity(
    opinion: Opinion,
    known: Labelled,
    config: ActiveConfig,
    place: Workplace,
    *,
    proxy: Prepared,
    target: Callable[[], Prepared],
    seed: int,
) -> dict[str, Any] | None:
    """Rank correlation of what proxy and target would select, on a sample of the pool.

    Beside it stand the correlations of two seeds of each model: no other model can be asked to
    agree more with one than its own second seed does.
    """
    if not opinion.trained:
        return None
    left = known.open
    sample = left[_order(len(left), seed, "sample")[:SAMPLE]].sort().values
    if len(sample) < 10:
        return None
    task, method = known.task, opinion.method
    wanted = (method.needs | {task.said}) - {"posterior_log_probs", "posterior_predictions"}
    if method.score is None and task.doubts([torch.zeros(1, max(2, task.num_outputs))]) is None:
        return None
    if "posterior_log_probs" in method.needs:
        method = get("entropy")  # one model without samples: what it is unsure of
    names = ("proxy", "proxy again", "target", "target again")
    ranked: list[Any] = []
    for name in names:
        prepared = proxy if name.startswith("proxy") else target()
        training = training_of(
            prepared,
            known,
            seed=derived_seed(seed, "fidelity", name),
            wanted=frozenset(wanted),
            scored=sample,
            role=name.partition(" ")[0],
            samples=config.samples,
        )
        signals = train(place, training).signals
        preferred = preference(method, [signals], task)
        assert preferred is not None
        ranked.append(preferred.double().numpy())
    matrix = spearman(ranked)
    return {
        "sample": len(sample),
        "proxy_target": float(matrix[:2, 2:].mean()),
        "proxy_seeds": float(matrix[0, 1]),
        "target_seeds": float(matrix[2, 3]),
    }


_REMEDIES = {
    "proxy": "train it for longer (--epochs), or use another --proxy",
    "target": "it is not known yet whether the proxy selects well for it",
}


def warnings(facts: dict[str, Any], method: str) -> list[str]:
    """Sentences on what should make a person stop and think, in a campaign by a method."""
    found: list[str] = []
    agreement = facts.get("fidelity")
    if agreement is not None:
        judgement = judged(agreement)
        if judgement == "cannot be told":
            found += [
                f"the rank agreement of two seeds of the {name} is "
                f"{agreement[f'{name}_seeds']:.2f}, which is chance: {remedy}"
                for name, remedy in _REMEDIES.items()
                if agreement[f"{name}_seeds"] < chance(agreement["sample"])
            ]
        elif judgement == "hardly":
            found.append(
                "the proxy misleads: its rank agreement with the target is "
                f"{agreement['proxy_target']:.2f}, but that of two seeds of one model is "
                f"{ceiling(agreement):.2f}. Use a --proxy closer to the target"
            )
    against = facts.get("against_random")
    if against is not None and against["difference"]["verdict"] == "worse":
        found.append(
            "selected labels train a worse proxy than as many random labels"
            + (", so auto takes random ones" if method == AUTO else ". Consider --method random")
        )
    return found


def accuracies(rounds: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """Labels and accuracy of each training, on the test set or else on the control labels."""
    found: list[tuple[int, float]] = []
    for facts in rounds:
        control = facts.get("control")
        if facts.get("test_accuracy") is not None:
            found.append((facts["labels"], facts["test_accuracy"]))
        elif control is not None and control["labels"] >= ENOUGH_FOR_A_POINT:
            found.append((facts["labels"], control_score(control)))
    return found
