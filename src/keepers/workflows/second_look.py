"""A second look at what a pilot would take: does another kind of model gain by it, too?

Who selects with `auto` has not said what will be trained on the choice. What is best for the
pilot's model can harm another kind: on diamonds, rows that a linear model is unsure of made trees
worse by four points (benchmarks/by_default.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from keepers.baselines import RANDOM
from keepers.data import Source
from keepers.files import hash_bytes
from keepers.ledger import Ledger
from keepers.models import CLASSIFIERS, another_kind
from keepers.roles import Prepared
from keepers.workflows.pilot import Pilot, judged
from keepers.workflows.settling import Finding, forecast, likely
from keepers.workflows.workplace import Workplace


def second_look(
    pilot: Pilot,
    rows: Sequence[Finding],
    prepared: Prepared,
    source: Source,
    place: Workplace,
    *,
    keep: Sequence[float],
    seed: int,
) -> tuple[Pilot, list[Finding]]:
    """The rows, those that are `likely` with `other`, and the pilot with what that cost.

    A model of another kind is trained on the pilot's choices and random ones. There is no second
    look where a person named the kind of model, or where there is no other kind for the task.

    Args:
        rows: what the pilot found at the fractions `keep`.
        prepared: the pilot's model, joined with what it looked at, `source`.
    """
    assert prepared.classifier is not None
    found = another_kind(prepared.classifier, prepared.info)
    asked = [row for fraction in keep for row in likely(rows, fraction)]
    if prepared.role.model not in CLASSIFIERS or found is None or not asked:
        return pilot, [*rows]
    name, classifier = found
    mark = hash_bytes(f"{prepared.fingerprint} {name}".encode())
    other = replace(prepared, classifier=classifier, fingerprint=mark)
    inner = replace(place, ledger=Ledger(), booked=set(), progress=None)

    @cache
    def errors(method: str, fraction: float) -> list[float]:
        return [
            float(
                np.mean(
                    [
                        judged(other, source, inner, chosen, piece.held, seed, fold)[0].error
                        for chosen in piece.chosen[method, fraction]
                    ]
                )
            )
            for fold, piece in enumerate(pilot.pieces)
        ]

    seen: list[Finding] = []
    for row in rows:
        if row in asked:
            pair = errors(row.method, row.keep), errors(RANDOM, row.keep)
            row = replace(row, other=forecast(pilot, [pair])[0])
        seen.append(row)
    return replace(pilot, other=name, costs=(*pilot.costs, *inner.ledger.by_phase())), seen
