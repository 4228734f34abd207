"""What is known of online selection before anything is trained by it: does it pay?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from keepers.online.losses import Origin, weaknesses

FORWARD = 1 / 3  # of a training step, where nothing was measured
WRONG = 0.05  # of the labels, from which on steps without them are worth more than they save
NEAR, FAR = 0.9, 0.25  # of the ceiling: what is learnt anyway, and what cannot be
CLOSE = 1.1  # a step's time is known no better: cost and bound within it are not told apart
FEW_PASSES = 3
"""How often uniform training may see each example in as many steps, for losses by folds."""
OTHERS_MAY = (
    "Losses by a model of other data (--holdout other.parquet) may pay; rho-loss by name selects"
)
AGAIN = (
    "the losses are by folds of the data themselves, and in this many steps uniform training sees "
    "each example often, or it is not known how often. There rho-loss ended below it in most "
    f"trainings. A training of few --steps may pay. {OTHERS_MAY}"
)
PART = (
    "the losses are by a part of the data, which rho-loss is then not trained on. It ended below "
    f"uniform training on all of them in most trainings. {OTHERS_MAY}"
)
UNKNOWN = (
    "the quality of these losses is unknown: the file does not have it (keepers il writes it). "
    "Name rho-loss to select by them anyway"
)

OTHERS = (
    "for several labels and for numbers the losses do not tell that beforehand. Where targets were "
    "right rho-loss was no better than uniform training, or worse by up to 5 points; where many "
    "were wrong it was often better. keepers compare --online measures it on your data"
)

Outlook = Literal["can pay", "can pay in accuracy", "does not pay", "cannot tell"]


@dataclass(frozen=True, kw_only=True)
class OnlineFacts:
    """Does RHO-LOSS pay with these irreducible losses?

    `redundant` is the share of examples whose label the irreducible-loss model finds nearly as
    likely as any (at least 0.9 of the 95th percentile), `unlearnable` of those to which it gives
    less than a quarter of that: wrong labels, or what is beyond it. `speedup` bounds what
    a step on the rest alone could save, `ratio` is what a selecting step costs, both in plain
    steps. `weak` says what is wrong with the losses.
    """

    redundant: float
    unlearnable: float
    speedup: float
    ratio: float
    weak: tuple[str, ...] = ()

    @property
    def outlook(self) -> Outlook:
        """What can be said beforehand: these are bounds, so selecting never more than *can* pay.

        In 450 trainings on three data sets, with up to 40% wrong labels, it ended above uniform at
        equal steps in 234 of the 271 where it can pay, and in 107 of the 179 where it cannot be
        told: there losses were weak (benchmarks/online_handover.py).
        """
        if self.weak:
            return "cannot tell"
        if self.speedup > CLOSE * self.ratio:
            return "can pay"
        if self.unlearnable >= WRONG:
            return "can pay in accuracy"
        return "does not pay" if CLOSE * self.speedup < self.ratio else "cannot tell"

    @property
    def pays(self) -> bool:
        """The losses are good, and a step can save more than it costs or spare wrong labels."""
        return self.outlook in ("can pay", "can pay in accuracy")

    def sentences(self) -> list[str]:
        """The facts in words, the answer last."""
        said = [
            f"{self.redundant:.0%} of the examples are redundant to the irreducible-loss model, "
            f"and {self.unlearnable:.0%} have labels that are wrong or too hard for it: a step "
            f"on the rest is worth at most {self.speedup:.1f} plain steps",
        ]
        return [*said, f"{self.why[0].upper()}{self.why[1:]}"]

    @property
    def why(self) -> str:
        """The answer, in a clause."""
        untold = "whether selecting pays cannot be told"
        if self.weak:
            return f"{untold}: {self.weak[0]}"
        lead = {
            "can pay in accuracy": "selecting can pay in accuracy, by leaving out labels that seem "
            "wrong",
            "cannot tell": untold,
        }.get(self.outlook, f"selecting {self.outlook}")
        return (
            f"{lead}: a selecting step costs {self.ratio:.1f} plain steps and saves at most "
            f"{self.speedup:.1f}"
        )


def shares(values: Tensor) -> tuple[Tensor, Tensor]:
    """Which examples are redundant and which unlearnable, (n,) of bool, by their losses (n,)."""
    likely = (-values.double()).exp()
    ceiling = float(np.quantile(likely.numpy(force=True), 0.95))  # torch's has a limit of 2²⁴
    return likely >= NEAR * ceiling, likely < FAR * ceiling


def doubt(origin: Origin, *, few_passes: bool) -> str:
    """Why `auto` does not select by losses of this origin; empty where they may be good.

    >>> doubt("folds", few_passes=True), doubt("others", few_passes=False)
    ('', '')
    """
    if origin == "part":
        return PART
    return AGAIN if origin == "folds" and not few_passes else ""


def online_facts(
    values: Tensor,
    quality: Mapping[str, Any],
    *,
    keep: float,
    ratio: float | None = None,
    doubted: str = "",
) -> OnlineFacts:
    """What irreducible losses `values` (n,) and the `quality` of their model say beforehand.

    A selector cannot do better than to train on nothing but what is neither redundant nor
    unlearnable: a step on the share u of the rest is worth 1 / u plain ones, and no more than
    1 / keep. Where many labels seem wrong, steps without them are worth more than that: uniform
    training may never get as far. `ratio` is m, what a selecting step costs in plain ones
    (`StepCost.ratio`); where it was not measured it is taken as 1 + 1 / (3 keep), a forward pass
    being a third of a step. Losses without a `quality` are not trusted: that is weak, and so is
    what is `doubted` about them.

    >>> import torch
    >>> sure, unsure, wrong = torch.full((80,), 0.1), torch.full((10,), 0.5), torch.full((10,), 4.0)
    >>> good = {"accuracy": 0.9, "majority": 0.1, "calibration_error": 0.02, "confidence": 0.9}
    >>> found = online_facts(torch.cat([sure, unsure, wrong]), good, keep=0.1)
    >>> found.redundant, found.unlearnable, round(found.speedup), round(found.ratio, 1), found.pays
    (0.8, 0.1, 10, 4.3, True)
    """
    redundant, unlearnable = (float(part.double().mean()) for part in shares(values))
    useful = max(keep, 1 - redundant - unlearnable)
    unfinished = {**quality, "checked_losses": ()}  # which may be good all the same
    return OnlineFacts(
        redundant=round(redundant, 4),
        unlearnable=round(unlearnable, 4),
        speedup=1 / useful,
        ratio=assumed_ratio(keep) if ratio is None else ratio,
        weak=((doubted,) if doubted else ()) + _weak(unfinished),
    )


def _weak(quality: Mapping[str, Any]) -> tuple[str, ...]:
    if "majority" not in quality:
        return (UNKNOWN,)
    untold = (OTHERS,) if "score" in quality else ()
    return (*untold, *weaknesses(dict(quality)))


def assumed_ratio(keep: float) -> float:
    """What a selecting step costs in plain ones where that was not measured.

    >>> round(assumed_ratio(0.1), 2), round(assumed_ratio(0.5), 2)
    (4.33, 1.67)
    """
    return 1 + FORWARD / keep
