"""The ledger: every phase books what it cost."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one phase cost: wall-clock seconds, examples seen, optimiser steps, FLOPs."""

    phase: str
    seconds: float = 0.0
    examples: int = 0
    steps: int = 0
    flops: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            phase=self.phase,
            seconds=self.seconds + other.seconds,
            examples=self.examples + other.examples,
            steps=self.steps + other.steps,
            flops=self.flops + other.flops,
        )


@dataclass
class Tally:
    """What a running phase counts; `Ledger.phase` turns it into a `Cost`."""

    examples: int = 0
    steps: int = 0
    flops: float = 0.0
    seconds_before: float = 0.0  # of an interrupted attempt that this one continues


@dataclass
class Ledger:
    """The costs of one run, in the order they were booked.

    `stages` holds, by name, those that came from a finished stage: runs that share a stage can
    tell that they paid for it together.
    """

    costs: list[Cost] = field(default_factory=list[Cost])
    stages: dict[str, tuple[Cost, ...]] = field(default_factory=dict[str, tuple[Cost, ...]])

    @contextlib.contextmanager
    def phase(self, phase: str) -> Generator[Tally]:
        """Time a block and book it under `phase`.

        >>> ledger = Ledger()
        >>> with ledger.phase("scoring") as tally:
        ...     tally.examples += 100
        >>> ledger.total("scoring").examples
        100
        """
        tally = Tally()
        start = time.perf_counter()
        yield tally
        seconds = time.perf_counter() - start + tally.seconds_before
        self.costs.append(
            Cost(
                phase=phase,
                seconds=seconds,
                examples=tally.examples,
                steps=tally.steps,
                flops=tally.flops,
            )
        )

    def book(self, costs: Iterable[Cost], stage: str | None = None) -> None:
        """Add costs that were booked elsewhere, in a finished `stage` if it is named."""
        found = tuple(costs)
        self.costs.extend(found)
        if stage is not None:
            self.stages[stage] = found

    @property
    def own(self) -> tuple[Cost, ...]:
        """The costs that came from no stage."""
        theirs = {id(cost) for costs in self.stages.values() for cost in costs}
        return tuple(cost for cost in self.costs if id(cost) not in theirs)

    def total(self, *phases: str) -> Cost:
        """The sum over the named phases, or over all of them."""
        total = Cost(phase=" + ".join(phases) if phases else "total")
        for cost in self.costs:
            if not phases or cost.phase in phases:
                total = total + cost
        return total

    def by_phase(self) -> list[Cost]:
        """One sum for each phase, in the order of first booking."""
        return [self.total(phase) for phase in dict.fromkeys(c.phase for c in self.costs)]


def peak_memory_mib() -> float:
    """Peak resident memory of this process, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024**2
