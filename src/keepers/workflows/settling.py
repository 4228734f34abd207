"""What a pilot says of each method: better, no difference or worse than random, or cannot tell.

Pure functions of the results of the folds: `auto` acts on them, `advise` tells them in sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from keepers.baselines import EVERYTHING, FRESH, RANDOM, SAFE
from keepers.statistics import Difference, forecasts
from keepers.workflows.pilot import Pilot

Told = Literal["better", "no difference", "worse", "cannot tell"]

ALIKE = 0.01
"""Points of accuracy within which an interval has to lie for two choices to be called alike."""

PART = 0.2
"""The same, as a part of what always naming the largest class gets wrong: where that is a point,
no choice could differ by more, not even one without any other class."""

TAKEN = 0.9
"""The probability of being better from which on `auto` takes a method: on ten data sets it was then
never clearly worse than random by half a point, and at 0.8 it was (benchmarks/pilot.py)."""

AGREED = 0.8
"""The same where another kind of model gained by the method, too: none of 182 such choices on ten
data sets was worse than random by half a point (benchmarks/second_look.py)."""

HARDLY_ANY = 0.3
"""Part of a class that a choice keeps, over what a random one keeps of it, under which `auto` does
not take that choice."""

SPREAD = 1.25
"""What is true of other training sets and targets was this many times as far from what a pilot says
as its folds tell (540 differences on five data sets, benchmarks/pilot.py)."""

FARTHER = 1.6
"""The same where the pilot's pieces are smaller than the data: of 540 differences on five data sets
of 6,000, nine answers in ten were right by it, and by `SPREAD` five in six."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One method at one fraction kept: differences in error and log loss, and what they say.

    A difference is that of the method less random (less stratified, less a fresh random subset
    every epoch, less everything), in the pilot, below 0 where the method is better. None is what
    there is nothing to be said of. `probability` (of being better) and `told` are about random.
    `other` is the difference from random of another kind of model, where there was a second look;
    `proxy` that of what the proxy would choose, where it is not the pilot's model that chooses.
    `least` is the class of which it leaves out most, and how much it keeps of it over a random
    choice's part.
    """

    method: str
    keep: float
    error: Difference
    probability: float
    loss: Difference
    stratified: Difference | None
    fresh: Difference | None
    everything: Difference
    told: Told
    least: tuple[str, float]
    other: Difference | None = None
    proxy: Difference | None = None

    @property
    def no_gain_by_proxy(self) -> bool:
        """Whether what the proxy would choose is no better than a random choice."""
        return no_gain(self.proxy and self.proxy.mean)

    @property
    def no_gain_for_another(self) -> bool:
        """Whether another kind of model did no better by this choice than by a random one."""
        return no_gain(self.other and self.other.mean)

    @property
    def is_lopsided(self) -> bool:
        """Whether it keeps hardly any of a class."""
        return self.least[1] < HARDLY_ANY

    @property
    def likely(self) -> bool:
        """Whether it is likely to be better than a random choice, for each kind of model asked."""
        if self.no_gain_by_proxy:
            return False
        if self.other is None:
            return self.probability >= TAKEN
        return self.probability >= AGREED and not self.no_gain_for_another


def no_gain(error: float | None) -> bool:
    """Whether a difference in error of another kind of model, if it was asked, is no gain.

    None at all is that of a model that names one class whatever it was trained on: it agrees with
    nothing.
    """
    return error is not None and error >= 0


def findings(pilot: Pilot, methods: Sequence[str], keep: Sequence[float]) -> list[Finding]:
    """Every method at every fraction, with the probability that it is better.

    Better or worse takes a probability of `SURE`; alike are two whose interval lies within `alike`.
    Log loss is told beside it and decides nothing: a choice without wrong labels makes surer
    predictions, whose log loss was worse where they were right more often.
    """
    rows: list[Finding] = []
    for fraction in keep:
        errors = _against(pilot, methods, (RANDOM, fraction), fraction)
        losses = _against(pilot, methods, (RANDOM, fraction), fraction, "loss")
        everything = _against(pilot, methods, (EVERYTHING, 1.0), fraction)
        others = [name for name in methods if name != SAFE]
        stratified = _against(pilot, others, (SAFE, fraction), fraction)
        fresh = _against(pilot, methods, (FRESH, fraction), fraction)
        rows += [
            Finding(
                method=name,
                keep=fraction,
                error=errors[name],
                probability=errors[name].probability,
                loss=losses[name],
                stratified=stratified.get(name),
                fresh=fresh.get(name),
                everything=everything[name],
                told=told(errors[name], same=alike(pilot)),
                least=pilot.least.get((name, fraction), ("", 1.0)),
            )
            for name in methods
        ]
    return rows


def promising(rows: Sequence[Finding], keep: float) -> list[Finding]:
    """The methods with a chance of `AGREED` to be better than random at a fraction, best first.

    They must have done better than stratified in the pilot, too, and keep some of every class: on
    what is left of a class, a model of the pilot's kind may be right, and another one far from it.
    """
    good = [
        row
        for row in rows
        if row.keep == keep
        and row.method != SAFE
        and row.probability >= AGREED
        and not row.is_lopsided
        and (row.stratified is None or row.stratified.mean < 0)
    ]
    return sorted(good, key=lambda row: row.error.mean)


def settle(rows: Sequence[Finding], keep: float) -> Finding | None:
    """The method to take at a fraction: the best that is likely to be better, for each model asked.

    None where there is none: then `fallback` is taken.
    """
    return next((row for row in promising(rows, keep) if row.likely), None)


def fallback(rows: Sequence[Finding], keep: float) -> str:
    """What is taken where no method is likely to be better: `SAFE`, or random if it did worse."""
    worse = any(row.keep == keep and row.method == SAFE and row.told == "worse" for row in rows)
    return RANDOM if worse else SAFE


def _against(
    pilot: Pilot,
    methods: Sequence[str],
    baseline: tuple[str, float],
    keep: float,
    what: str = "error",
) -> dict[str, Difference]:
    """The differences of the methods at a fraction from a baseline, where the pilot has it."""
    if not methods or baseline not in pilot.found:
        return {}

    def values(key: tuple[str, float]) -> list[float]:
        return [getattr(held, what) for held in pilot.found[key]]

    pairs = [(values((name, keep)), values(baseline)) for name in methods]
    return dict(zip(methods, forecast(pilot, pairs), strict=True))


def forecast(
    pilot: Pilot, pairs: Sequence[tuple[Sequence[float], Sequence[float]]]
) -> list[Difference]:
    """What the pieces of a pilot, errors of methods and of baselines, say of other data."""
    spread = FARTHER if pilot.smaller else SPREAD
    return forecasts(pairs, overlap=pilot.overlap, spread=spread)


def alike(pilot: Pilot) -> float:
    """Points of error within which an interval has to lie for two choices to be called alike."""
    return min(ALIKE, PART * pilot.guessing)


def told(error: Difference, *, same: float = ALIKE) -> Told:
    """What a difference is called; within `same` of nothing it is none."""
    assert error.low is not None
    assert error.high is not None
    if error.verdict != "inconclusive":
        return error.verdict
    if error.low >= -same and error.high <= same:
        return "no difference"
    return "cannot tell"
