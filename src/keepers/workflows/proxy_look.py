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
from keepers.ledger import Ledger
from keepers.random import generator
from keepers.roles import Prepared
from keepers.workflows.pilot import Pilot, judged, trained
from keepers.workflows.second_look import of_another_kind
from keepers.workflows.settling import Finding, forecast, promising
from keepers.workflows.workplace import Workplace

Choices = tuple[Tensor, tuple[Tensor, ...]]
"""What judges in a piece, and choices from its members."""


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
    """The rows, those that would be taken with what `proxy` gains by its choices, and the cost.

    In each piece of the pilot the proxy is trained on the members, and the method chooses by it.
    The pilot's model, `judge`, and one of another kind are trained on the choice and held against
    random ones: the mean of both counts.
    """
    inner = replace(place, ledger=Ledger(), booked=set(), progress=None)
    another = of_another_kind(judge)
    judges = [judge] if another is None else [judge, another[1]]
    found: list[Finding] = []
    for row in rows:
        if row in promising(rows, keep) and row.likely:
            own, random = chosen_by(pilot, row, proxy, source, inner, seed)
            errors = _errors(own, judges, source, inner, seed)
            pair = errors, _errors(random, judges, source, inner, seed)
            row = replace(row, proxy=forecast(pilot, [pair])[0])
        found.append(row)
    return replace(pilot, costs=(*pilot.costs, *inner.ledger.by_phase())), found


def chosen_by(
    pilot: Pilot, row: Finding, proxy: Prepared, source: Source, place: Workplace, seed: int
) -> tuple[list[Choices], list[Choices]]:
    """What a method chooses by the proxy in each piece, and the pilot's random choices there."""
    method, strata = methods.get(row.method), proxy.strata
    own: list[Choices] = []
    random: list[Choices] = []
    for fold, piece in enumerate(pilot.pieces):
        members = piece.members
        made = trained(
            proxy, source, place, members, method.needs - {"labels"}, members, seed, fold
        )
        picks, _ = methods.choose(
            method,
            [replace(made.signals, labels=strata[members])],
            len(piece.chosen[row.method, row.keep][0]),
            generator=generator(seed, "pilot", fold, row.method),
            num_classes=len(proxy.task.strata_names),
            floor=methods.Floor(strata[members], 1),
        )
        own.append((piece.held, (members[picks.positions],)))
        random.append((piece.held, piece.chosen[RANDOM, row.keep]))
    return own, random


def _errors(
    pieces: Sequence[Choices],
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
                    judged(judge, source, place, chosen, held, seed, fold)[0].error
                    for judge in judges
                    for chosen in choices
                ]
            )
        )
        for fold, (held, choices) in enumerate(pieces)
    ]
