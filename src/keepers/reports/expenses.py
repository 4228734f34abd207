"""What a comparison cost, phase by phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Expense:
    """One line of the cost table."""

    phase: str
    seconds: float | None
    flops: float | None


def expenses(costs: Any) -> list[Expense]:
    """Costs by phase: a list of ledger entries, or a mapping of phases to entries or seconds."""
    if isinstance(costs, Mapping):
        costs = [
            {"phase": phase, **entry}
            if isinstance(entry, Mapping)
            else {"phase": phase, "seconds": entry}
            for phase, entry in costs.items()
        ]
    return [
        Expense(
            phase=str(entry.get("phase", "")).replace("_", " "),
            seconds=entry.get("seconds"),
            flops=entry.get("flops"),
        )
        for entry in costs or []
    ]
