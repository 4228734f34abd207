"""Where the stages of a workflow run, and what tells how far they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

from keepers.ledger import Ledger
from keepers.runs import Run, StageRecord
from keepers.training import Hardware
from keepers.types import Progress


@dataclass(frozen=True, kw_only=True, eq=False)
class Workplace:
    """Where the stages of one workflow run: directory, hardware, ledger and progress."""

    run: Run
    hardware: Hardware
    ledger: Ledger
    progress: Progress | None = None
    checkpoint_every: float = 30.0
    booked: set[Path] = field(default_factory=set[Path])

    @contextlib.contextmanager
    def under_way(self, what: str) -> Generator[Callable[[str, int, int], None]]:
        """Say that something takes a while; what can say how far it is calls what is given."""
        if self.progress is None:
            yield lambda part, done, total: None
            return
        progress, current = self.progress, ("", 0)
        progress.start(what, 0)

        def report(part: str, done: int, total: int) -> None:
            nonlocal current
            if current != (part, total):
                current = (part, total)
                progress.start(f"{what}: {part}", total)
            progress.advance(done)

        try:
            yield report
        finally:
            progress.finish()

    def book(self, folder: Path, record: StageRecord) -> None:
        """Book what a stage cost, once, however often it is asked for."""
        if folder not in self.booked:
            self.booked.add(folder)
            self.ledger.book(record.costs, folder.name)
