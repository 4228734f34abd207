"""What the agreement of proxy and target says of the proxy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from keepers.campaign import Planned
from keepers.words import counted

Judgement = Literal["largely", "in part", "hardly", "cannot be told"]

MISLEADING = 0.5
"""The proxy misleads where its agreement with the target is under this share of the ceiling."""

NEAR = 0.8
"""From this share of the ceiling on, proxy and target agree as well as can be expected."""

LUCK = 0.5
"""Where two halves of the passes share less of their picks, the masks' luck chooses."""


def latest(rounds: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    """The fact of a name of the latest round that has it.

    >>> latest([{"fidelity": {"k": 1}}, {"fidelity": None}, {}], "fidelity")
    {'k': 1}
    """
    found = (facts.get(name) for facts in reversed(rounds))
    return next((each for each in found if each is not None), None)


def said_of_halves(found: Mapping[str, int]) -> str:
    """How far two halves of the passes with dropout on choose the same, in a sentence.

    >>> said_of_halves({"shared": 41, "of": 50, "passes": 100})
    'Dropout: the two halves of the 100 passes share 41 of 50 picks'
    """
    share = f"the two halves of the {found['passes']} passes share {found['shared']} of "
    share += counted(found["of"], "pick")
    if found["shared"] >= LUCK * found["of"]:
        return f"Dropout: {share}"
    return (
        f"Warning: the choice depends on the dropout masks as much as on the model: {share}. "
        f"Start a campaign with more passes (--samples {4 * found['passes']}), or with an "
        "--ensemble"
    )


def said_of_balance(planned: Planned, classes: Sequence[str]) -> str | None:
    """Why a batch is not even over the classes by its proxy, in a sentence; None where it is.

    A class that has under half of an equal share is one that the proxy hardly finds.
    """
    expected = {item: label for item, label, _ in planned.facts["predictions"]}
    chosen = [each.item for each in planned.items if each.part != "control"]
    if not expected:
        return "This batch was chosen without a proxy, so --balance class has no effect"
    found = Counter(str(expected[item]) for item in chosen)
    order = sorted(classes, key=lambda name: found[name])
    if not chosen or 2 * len(classes) * found[order[0]] >= len(chosen):
        return None
    return (
        f"Warning: --balance class cannot balance this batch: of {len(chosen):,} selected items "
        f"the proxy predicts '{order[-1]}' for {found[order[-1]]:,} and '{order[0]}' for "
        f"{found[order[0]]:,}, of which it finds too few"
    )


def chance(sample: int) -> float:
    """The rank correlation below which the agreement of two models may be chance.

    Twice the standard error of a rank correlation of 0 on a sample of this size.

    >>> round(chance(2000), 3), round(chance(10), 3)
    (0.045, 0.667)
    """
    return 2 / math.sqrt(sample - 1)


def ceiling(found: Mapping[str, Any]) -> float:
    """How much two seeds of one model agree: the lower value of proxy and target."""
    return min(found["proxy_seeds"], found["target_seeds"])


def judged(found: Mapping[str, Any]) -> Judgement:
    """Whether the proxy ranks as the target does, as near as two seeds of one model do.

    `found` has the correlations `proxy_target`, `proxy_seeds` and `target_seeds` on a `sample`.
    Where a model agrees with its own second seed by chance only, it cannot be told.

    >>> found = {"sample": 2000, "proxy_target": 0.3, "proxy_seeds": 0.9, "target_seeds": 0.8}
    >>> judged(found), judged(found | {"proxy_seeds": 0.01})
    ('hardly', 'cannot be told')
    """
    most, value = ceiling(found), found["proxy_target"]
    if most < chance(found["sample"]):
        return "cannot be told"
    if value < MISLEADING * most:
        return "hardly"
    return "in part" if value < NEAR * most else "largely"


def about_ceiling(found: Mapping[str, Any]) -> str:
    """What the agreement of two seeds means for that of two models, as part of a sentence."""
    if judged(found) == "cannot be told":
        return "agreement with a model that ranks by chance means nothing"
    return "no model can be expected to agree better with another than that one's second seed does"
