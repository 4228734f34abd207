"""A look at what a pilot found by the proxy that will choose, where that is not the pilot's model.

What a linear model is unsure of is worth training on more often than what a network is unsure of:
that has learnt wrong labels by heart, and its margins put them first. On digits with a fifth of the
labels wrong, a linear model's margins gained and a perceptron's lost (benchmarks/auto_shards.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from keepers import methods
from keepers.baselines import RANDOM
from keepers.roles import Prepared
from keepers.workflows.judge import Judge, mean_error
from keepers.workflows.pilot import Piece, Pilot
from keepers.workflows.second_look import of_another_kind
from keepers.workflows.settling import Finding, forecast, promising

Choices = tuple[Tensor, ...]
"""Choices from the members of a piece: of random ones several."""


def proxy_look(
    pilot: Pilot,
    rows: Sequence[Finding],
    proxy: Prepared,
    judge: Judge,
    keep: float,
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
    inner = judge.place.aside(progress=None)
    first = replace(judge, place=inner)
    another = of_another_kind(first)
    judges = [first] if another is None else [first, another[1]]
    chooser = replace(first, prepared=proxy)
    found: dict[str, Finding] = {}
    with judge.place.under_way("pilot") as report:
        at_random = [piece.chosen[RANDOM, keep] for piece in pilot.pieces]
        random = _errors(at_random, pilot.pieces, judges)
        for row in asked:
            own = list[Choices]()
            for fold in range(len(pilot.pieces)):
                report(f"choices by {proxy.role.model}", fold, len(pilot.pieces))
                own.append(chosen_by(pilot, row, fold, chooser))
            gain = forecast(pilot, [(_errors(own, pilot.pieces, judges), random)])[0]
            found[row.method] = replace(row, proxy=gain)
            if found[row.method].likely:
                break
    costs = (*pilot.costs, *inner.ledger.by_phase())
    return replace(pilot, costs=costs), [found.get(row.method, row) for row in rows]


def chosen_by(pilot: Pilot, row: Finding, fold: int, proxy: Judge) -> Choices:
    """What a method chooses by the proxy in a piece."""
    method, piece = methods.get(row.method), pilot.pieces[fold]
    wanted, members = method.needs - {"labels"}, piece.members
    made = proxy.trained(members, fold, wanted=wanted, scored=members)
    k = len(piece.chosen[row.method, row.keep][0])
    return (proxy.chosen(method, made.signals, members, k, fold),)


def _errors(
    choices: Sequence[Choices], pieces: Sequence[Piece], judges: Sequence[Judge]
) -> list[float]:
    """The error in each piece, of models that are trained on its choices."""
    return [
        mean_error(judges, of_piece, piece.held, fold)
        for fold, (piece, of_piece) in enumerate(zip(pieces, choices, strict=True))
    ]
