"""Whether the targets of an experiment had converged, by the same training for longer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from keepers.statistics import Verdict
from keepers.workflows.options.shared import Say
from keepers.workflows.stages import Training, train
from keepers.workflows.workplace import Workplace

LONGER = 2
"""Times as long, by epochs."""

GAIN = 0.01
"""The error that may be gained by that; see docs/benchmarks.md for how often this is right."""

ROLE = "longer-target"
UNTOLD: Verdict = "cannot tell"


@dataclass(frozen=True, kw_only=True)
class Check:
    """A target on `k` examples, and the same for `LONGER` times as many epochs."""

    k: int
    epochs: int
    error: float
    longer_epochs: int
    longer_error: float

    @property
    def converged(self) -> bool:
        """Whether training for longer gains no more than `GAIN`."""
        return is_little(self.error - self.longer_error)


def is_little(gain: float) -> bool:
    """Whether training for longer gains no more than `GAIN`."""
    return round(gain, 9) <= GAIN  # a hundredth is one of a hundred


def convergence(place: Workplace, trainings: Mapping[int, Training]) -> list[Check]:
    """Checks of the targets by the number of examples they are trained on.

    The smallest and the largest are checked first, since they have the fewest steps and the fewest
    epochs; where both had converged, so had the others. None of what scikit-learn fits.
    """
    counts = sorted(trainings)
    ends = {counts[0], counts[-1]}
    found = {k: _check(place, k, trainings[k]) for k in sorted(ends) if trainings[k].in_steps}
    if not all(check.converged for check in found.values()):
        found |= {k: _check(place, k, trainings[k]) for k in counts if k not in ends}
    return [found[k] for k in sorted(found)]


def _check(place: Workplace, k: int, training: Training) -> Check:
    epochs = training.whole_epochs
    role = replace(training.prepared.role, epochs=LONGER * epochs, min_steps=0)
    prepared = replace(training.prepared, role=role, recipe=role.recipe())
    once = train(place, training)
    longer = train(place, replace(training, prepared=prepared, role=ROLE, wanted=frozenset()))
    return Check(
        k=k,
        epochs=epochs,
        error=once.facts["test_error"],
        longer_epochs=LONGER * epochs,
        longer_error=longer.facts["test_error"],
    )


def withheld(
    rows: Sequence[dict[str, Any]], checks: Sequence[Check], *names: str
) -> list[dict[str, Any]]:
    """The rows, without a verdict in their differences `names` where targets had not converged."""
    learning = {check.k for check in checks if not check.converged}

    def told(row: dict[str, Any], name: str) -> Any:
        found = row[name]
        return found and replace(found, verdict=UNTOLD) if row["k"] in learning else found

    return [{**row, **{name: told(row, name) for name in names}} for row in rows]


def noted(checks: Sequence[Check], n: int, say: Say) -> list[dict[str, Any]]:
    """The checks as JSON values; those that speak against a verdict are said."""
    for check in checks:
        if not check.converged:
            say(
                f"Warning: on {check.k:,} of {n:,} examples the target was still learning: "
                f"{check.longer_epochs} epochs instead of {check.epochs} change its test error "
                f"from {check.error:.2%} to {check.longer_error:.2%}. There is no verdict for "
                f"this budget; use --target-epochs {check.longer_epochs} or more"
            )
    return [{**asdict(check), "converged": check.converged} for check in checks]
