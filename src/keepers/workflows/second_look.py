"""A second look at what a pilot found: does another kind of model find the same?

Who selects with `auto` has not said what will be trained on the choice. What is best for the
pilot's model can harm another kind: on diamonds, rows that a linear model is unsure of made trees
worse by four points (benchmarks/by_default.py). And what one kind of model cannot predict may be
easy for another: it is not a wrong label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from torch import Tensor

from keepers.baselines import RANDOM
from keepers.files import hash_bytes
from keepers.models import CLASSIFIERS, another_kind
from keepers.scores.noise import FEW, LabelNoise
from keepers.workflows.judge import Judge, mean_error
from keepers.workflows.pilot import Pilot, wrong_labels
from keepers.workflows.settling import Finding, forecast, promising


def second_look(
    pilot: Pilot,
    rows: Sequence[Finding],
    judge: Judge,
    keep: Sequence[float],
) -> tuple[Pilot, list[Finding]]:
    """The rows, those that are `promising` with `other`, and the pilot with what that cost.

    A model of another kind is trained on the pilot's choices and random ones; and on everything,
    where labels may be wrong: their share is told by the model that is right more often
    (benchmarks/label_noise.py). There is no second look where a person named the kind of model, or
    where there is no other kind for the task.

    Args:
        rows: what the pilot found at the fractions `keep`.
        judge: the pilot's model.
    """
    inner = judge.place.aside(progress=None)
    found = of_another_kind(replace(judge, place=inner))
    if found is None:
        return pilot, [*rows]
    name, other = found
    seen = looked_at_again(pilot, rows, other, keep)
    noise = pilot.noise
    if noise is not None and noise.high > FEW:
        again = _noise(pilot, other)
        noise = min(noise, again, key=lambda each: each.disagreement)
    costs = (*pilot.costs, *inner.ledger.by_phase())
    return replace(pilot, other=name, costs=costs, noise=noise), seen


def of_another_kind(judge: Judge) -> tuple[str, Judge] | None:
    """A model of another kind than the pilot's, and what it is called; None where there is none."""
    prepared = judge.prepared
    assert prepared.classifier is not None
    found = another_kind(prepared.classifier, prepared.info)
    if prepared.role.model not in CLASSIFIERS or found is None:
        return None
    name, classifier = found
    mark = hash_bytes(f"{prepared.fingerprint} {name}".encode())
    other = replace(prepared, classifier=classifier, fingerprint=mark)
    return name, replace(judge, prepared=other)


def looked_at_again(
    pilot: Pilot,
    rows: Sequence[Finding],
    other: Judge,
    keep: Sequence[float],
) -> list[Finding]:
    """The rows, those that are `promising` with what `other` gains by the pilot's choices."""
    asked = [row for fraction in keep for row in promising(rows, fraction)]

    @cache
    def errors(method: str, fraction: float) -> list[float]:
        return [
            mean_error([other], piece.chosen[method, fraction], piece.held, fold)
            for fold, piece in enumerate(pilot.pieces)
        ]

    seen: list[Finding] = []
    for row in rows:
        if row in asked:
            pair = errors(row.method, row.keep), errors(RANDOM, row.keep)
            row = replace(row, other=forecast(pilot, [pair])[0])
        seen.append(row)
    return seen


def _noise(pilot: Pilot, other: Judge) -> LabelNoise:
    """The share of wrong labels by another kind of model, as the pilot's own is estimated."""
    said = other.prepared.task.said
    unseen: list[tuple[Tensor, Tensor]] = []
    for fold, each in enumerate(pilot.pieces):
        told = other.trained(each.members, fold, wanted=frozenset({said}), scored=each.held)
        unseen.append((other.prepared.strata[each.held], told.signals.get(said)))
    return wrong_labels(unseen)
