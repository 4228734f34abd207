"""What a pilot says of each method: better, no difference or worse than random, or cannot tell.

Pure functions of the results of the folds: `advise` tells them, `auto` acts on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from keepers.statistics import Difference, forecasts
from keepers.words import listed
from keepers.workflows.pilot import EVERYTHING, FRESH, RANDOM, Pilot
from keepers.workflows.scoring import CLEAN, SAFE

Told = Literal["better", "no difference", "worse", "cannot tell"]

ALIKE = 0.01
"""Points of accuracy within which an interval has to lie for two choices to be called alike."""

TAKEN = 0.9
"""The probability of being better from which on `auto` takes a method: on ten data sets it was then
never clearly worse than random by half a point, and at 0.8 it was (benchmarks/pilot.py)."""

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


def findings(pilot: Pilot, methods: Sequence[str], keep: Sequence[float]) -> list[Finding]:
    """Every method at every fraction, with the probability that it is better.

    Better or worse takes a probability of `SURE`; alike are two whose interval lies within `ALIKE`.
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
                told=told(errors[name]),
            )
            for name in methods
        ]
    return rows


def settle(rows: Sequence[Finding], keep: float) -> Finding | None:
    """The method to take at a fraction: of those likely to be better, the one with the least error.

    It must have done better than stratified in the pilot, too. None where there is none: then
    `SAFE` is taken.
    """
    good = [
        row
        for row in rows
        if row.keep == keep
        and row.method != SAFE
        and row.probability >= TAKEN
        and (row.stratified is None or row.stratified.mean < 0)
    ]
    return min(good, key=lambda row: row.error.mean, default=None)


def said_of_cleaning(rows: Sequence[Finding]) -> str:
    """What a pilot says of leaving out labels that look wrong, in a sentence; "" where untried."""
    found: dict[Told, list[str]] = {}
    for row in rows:
        if row.method == CLEAN:
            found.setdefault(row.told, []).append(f"{row.keep:.0%}")
    words = {
        "better": "was better than a random choice",
        "worse": "was worse than a random choice",
        "no difference": "made no difference",
        "cannot tell": "could not be told from a random choice",
    }
    parts = [f"{words[each]} at {listed(kept, 5)} kept" for each, kept in found.items()]
    return f"In the pilot, leaving them out ({CLEAN}) {'; it '.join(parts)}" if parts else ""


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
    found = forecasts(pairs, overlap=pilot.overlap, spread=FARTHER if pilot.smaller else SPREAD)
    return dict(zip(methods, found, strict=True))


def told(error: Difference) -> Told:
    """What a difference in error is called."""
    assert error.low is not None
    assert error.high is not None
    if error.verdict != "inconclusive":
        return error.verdict
    if error.low >= -ALIKE and error.high <= ALIKE:
        return "no difference"
    return "cannot tell"
