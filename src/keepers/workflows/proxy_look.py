"""A look at what a pilot found by the proxy that will choose, where that is not the pilot's model.

What a linear model is unsure of is worth training on more often than what a network is unsure of:
that has learnt wrong labels by heart, and its margins put them first. On digits with a fifth of the
labels wrong, a linear model's margins gained and a perceptron's lost (benchmarks/auto_shards.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from keepers import methods
from keepers.baselines import RANDOM
from keepers.data import Source
from keepers.random import generator
from keepers.roles import Prepared
from keepers.tasks import labels_at
from keepers.workflows.pilot import Piece, Pilot, judged, trained
from keepers.workflows.second_look import of_another_kind
from keepers.workflows.settling import Finding, forecast, promising
from keepers.workflows.workplace import Workplace

Choices = tuple[Tensor, ...]
"""Choices from the members of a piece: of random ones several."""


def proxy_look(
    pilot: Pilot,
    rows: Sequence[Finding],
    proxy: Prepared,
    judge: Prepared,
    source: Source,
    place: Workplace,
    *,
    keep: float,
    seed: int,
) -> tuple[Pilot, list[Finding]]:
    """The rows, the best that are likely with what `proxy` gains by its choices, and the cost.

    In each piece of the pilot the proxy is trained on the members, and the method chooses by it.
    The pilot's model, `judge`, and one of another kind are trained on the choice and held against
    random ones: the mean of both counts. The first method that gains so is taken, and those after
    it are not looked at: a training of the proxy may be long.
    """
    asked = [row for row in promising(rows, keep) if row.likely]
    if not asked:
        return pilot, [*rows]
    inner = place.aside(progress=None)
    another = of_another_kind(judge)
    judges = [judge] if another is None else [judge, another[1]]

    def errors_of(choices: Sequence[Choices]) -> list[float]:
        return _errors(choices, pilot.pieces, judges, source, inner, seed)

    found: dict[str, Finding] = {}
    with place.under_way("pilot") as report:
        random = errors_of([piece.chosen[RANDOM, keep] for piece in pilot.pieces])
        for row in asked:
            own = list[Choices]()
            for fold in range(len(pilot.pieces)):
                report(f"choices by {proxy.role.model}", fold, len(pilot.pieces))
                own.append(chosen_by(pilot, row, fold, proxy, source, inner, seed))
            gain = forecast(pilot, [(errors_of(own), random)])[0]
            found[row.method] = replace(row, proxy=gain)
            if found[row.method].likely:
                break
    costs = (*pilot.costs, *inner.ledger.by_phase())
    return replace(pilot, costs=costs), [found.get(row.method, row) for row in rows]


def chosen_by(
    pilot: Pilot,
    row: Finding,
    fold: int,
    proxy: Prepared,
    source: Source,
    place: Workplace,
    seed: int,
) -> Choices:
    """What a method chooses by the proxy in a piece."""
    method, strata, piece = methods.get(row.method), proxy.strata, pilot.pieces[fold]
    members = piece.members
    made = trained(proxy, source, place, members, method.needs - {"labels"}, members, seed, fold)
    picks, _ = methods.choose(
        method,
        [made.signals.knowing(proxy.task, labels_at(proxy.labels, members))],
        len(piece.chosen[row.method, row.keep][0]),
        generator=generator(seed, "pilot", fold, row.method),
        num_classes=len(proxy.task.strata_names),
        floor=methods.Floor(strata[members], 1),
    )
    return (members[picks.positions],)


def _errors(
    choices: Sequence[Choices],
    pieces: Sequence[Piece],
    judges: Sequence[Prepared],
    source: Source,
    place: Workplace,
    seed: int,
) -> list[float]:
    """The error in each piece, of models that are trained on its choices."""
    return [
        float(
            np.mean(
                [
                    judged(judge, source, place, chosen, piece.held, seed, fold)[0].error
                    for judge in judges
                    for chosen in of_piece
                ]
            )
        )
        for fold, (piece, of_piece) in enumerate(zip(pieces, choices, strict=True))
    ]
