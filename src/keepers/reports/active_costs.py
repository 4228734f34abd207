"""What a campaign took: seconds of selection by phase, of measuring, and of labelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from keepers.campaign import Id, Item, State
from keepers.workflows.active.standing import Standing

ORDER = ("reading", "features", "encoding", "proxy training", "scoring", "selecting")
SELECTING = "selecting"
"""The phase that only the planning of a batch has."""


@dataclass(frozen=True, kw_only=True)
class Expense:
    """What one round took: seconds by phase of selection, of measuring and of labelling."""

    name: str
    phases: Mapping[str, float]
    measuring: float
    labelling: float

    @property
    def machine(self) -> float:
        """Seconds of the machine in all."""
        return sum(self.phases.values()) + self.measuring


def costs(state: State, standing: Standing) -> list[Expense]:
    """What every round took; labels that no round asked for stand at the end."""
    measured: dict[int, float] = {}
    planned = {each.round: _seconds(each.costs) for each in state.rounds}
    for facts in standing.trained:
        phases = _seconds(facts.get("costs", ()))
        number = facts["round"] + 1 if SELECTING in phases else facts["round"]
        before = planned.get(number, {}) if SELECTING in phases else {}
        spent = sum(max(0.0, phases[name] - before.get(name, 0.0)) for name in phases)
        measured[number] = measured.get(number, 0.0) + spent
    items: dict[int | None, dict[Id, Item]] = {}
    for item in state.items.values():
        items.setdefault(item.round, {})[item.id] = item
    labelling = {number: replace(state, items=held).seconds for number, held in items.items()}
    found: list[Expense] = []
    if 0 in measured:
        found.append(Expense(name="before", phases={}, measuring=measured[0], labelling=0.0))
    found += [
        Expense(
            name=str(each.round),
            phases=planned[each.round],
            measuring=measured.get(each.round, 0.0),
            labelling=labelling.get(each.round, 0.0),
        )
        for each in state.rounds
    ]
    if unasked := labelling.get(None, 0.0):
        found.append(Expense(name="not asked for", phases={}, measuring=0.0, labelling=unasked))
    return found


def phases(expenses: Sequence[Expense]) -> list[str]:
    """The phases of selection, in the order in which they come; others after those."""
    names = dict.fromkeys(name for each in expenses for name in each.phases)
    return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def _seconds(entries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {entry["phase"]: entry["seconds"] for entry in entries}


def total(expenses: Sequence[Expense]) -> Expense:
    """The sum over all rounds."""
    return Expense(
        name="total",
        phases={
            name: sum(each.phases.get(name, 0.0) for each in expenses) for name in phases(expenses)
        },
        measuring=sum(each.measuring for each in expenses),
        labelling=sum(each.labelling for each in expenses),
    )
