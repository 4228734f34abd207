"""What a pilot says of each method: better, no difference or worse than random, or cannot tell.

Pure functions of the results of the folds: `advise` tells them, `auto` acts on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from keepers.statistics import Difference, judged, paired_difference
from keepers.words import listed
from keepers.workflows.pilot import EVERYTHING, FRESH, RANDOM, Held, Pilot
from keepers.workflows.scoring import CLEAN, SAFE

Told = Literal["better", "no difference", "worse", "cannot tell"]

ALIKE = 0.01
"""Points of accuracy within which an interval has to lie for two choices to be called alike."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One method at one fraction kept: differences in error and log loss, and what they say.

    A difference is that of the method less random (less stratified, less a fresh random subset
    every epoch, less everything), in the pilot, below 0 where the method is better. None is what
    there is nothing to be said of. `told` is about random.
    """

    method: str
    keep: float
    error: Difference
    loss: Difference
    stratified: Difference | None
    fresh: Difference | None
    everything: Difference
    told: Told


def findings(pilot: Pilot, methods: Sequence[str], keep: Sequence[float]) -> list[Finding]:
    """Every method at every fraction; what is said against one baseline is a family (Holm).

    Better or worse takes a difference in error that holds up in the family; alike are two whose
    interval lies within `ALIKE`. Log loss is told beside it and decides nothing: a choice without
    wrong labels makes surer predictions, whose log loss was worse where they were right more often.
    """
    cells = [(name, fraction) for fraction in keep for name in methods]
    errors = [_difference(pilot, cell, (RANDOM, cell[1]), "error") for cell in cells]
    losses = [_difference(pilot, cell, (RANDOM, cell[1]), "loss") for cell in cells]
    stratified, fresh = (_against(pilot, cells, other) for other in (SAFE, FRESH))
    rows: list[Finding] = []
    for (name, fraction), error, loss in zip(cells, judged(errors), losses, strict=True):
        rows.append(
            Finding(
                method=name,
                keep=fraction,
                error=error,
                loss=loss,
                stratified=stratified.get((name, fraction)),
                fresh=fresh.get((name, fraction)),
                everything=_difference(pilot, (name, fraction), (EVERYTHING, 1.0), "error"),
                told=told(error),
            )
        )
    return rows


def settle(rows: Sequence[Finding], keep: float) -> Finding | None:
    """The method to take at a fraction: of those that are better, the one with the least error.

    Better is here what its own interval says, without the family: on 60 cells this kept two
    thirds of the gain of the best method in hindsight, the verdicts of the family a third, and
    neither was below random (benchmarks/pilot.py). It must be better than stratified, too. None
    where there is none: then `SAFE` is taken.
    """
    good = [
        row
        for row in rows
        if row.keep == keep
        and row.method != SAFE
        and row.error.high is not None
        and row.error.high < 0
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
    pilot: Pilot, cells: Sequence[tuple[str, float]], baseline: str
) -> dict[tuple[str, float], Difference]:
    """The differences in error from a baseline, where the pilot has it; one family."""
    there = [cell for cell in cells if cell[0] != baseline and (baseline, cell[1]) in pilot.found]
    found = [_difference(pilot, cell, (baseline, cell[1]), "error") for cell in there]
    return dict(zip(there, judged(found), strict=True))


def told(error: Difference) -> Told:
    """What a difference in error is called; its verdict holds in its family."""
    assert error.low is not None
    assert error.high is not None
    if error.verdict != "inconclusive":
        return error.verdict
    if error.low >= -ALIKE and error.high <= ALIKE:
        return "no difference"
    return "cannot tell"


def _difference(
    pilot: Pilot, cell: tuple[str, float], other: tuple[str, float], what: str
) -> Difference:
    found: Mapping[tuple[str, float], Sequence[Held]] = pilot.found
    ours, theirs = ([getattr(held, what) for held in found[key]] for key in (cell, other))
    return paired_difference(ours, theirs, overlap=pilot.overlap)
