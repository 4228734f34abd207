"""Where the stages of a workflow run, who hears of them, and what tells how far they are."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from keepers import processes
from keepers.choices import OnBadRow
from keepers.data import Source
from keepers.errors import KeepersWarning
from keepers.ledger import Ledger
from keepers.roles import Prepared, Role, prepare
from keepers.runs import Run, StageRecord
from keepers.training import Hardware
from keepers.types import Progress
from keepers.workflows.options.shards import Sharded
from keepers.workflows.options.shared import Say, Shared

WARNING = "Warning: "  # how a sentence begins that nobody should miss


def say_or_not(say: Say | None) -> Say:
    """`say` in the first process; where there is none, only warnings are heard, as Python's."""

    def speak(sentence: str) -> None:
        if processes.rank():
            return
        if say is not None:
            say(sentence)
        elif sentence.startswith(WARNING):
            warnings.warn(sentence.removeprefix(WARNING), KeepersWarning, stacklevel=3)

    return speak


@dataclass(frozen=True, kw_only=True, eq=False)
class Workplace:
    """Where the stages of one workflow run, and what it is told once for all of them.

    `say` hears what a person should know; `on_bad_row` is what becomes of rows that cannot be read.
    """

    run: Run
    hardware: Hardware
    ledger: Ledger = field(default_factory=Ledger)
    say: Say = field(default_factory=lambda: say_or_not(None))
    on_bad_row: OnBadRow = "error"
    progress: Progress | None = None
    checkpoint_every: float = 30.0
    booked: set[Path] = field(default_factory=set[Path])

    @classmethod
    def of(cls, run: Run, options: Shared | Sharded) -> Self:
        """A place in a run directory, as the options say."""
        return cls(
            run=run,
            hardware=options.hardware,
            say=say_or_not(options.say),
            on_bad_row=options.on_bad_row,
            progress=options.progress,
        )

    def aside(self, **changes: Any) -> Self:
        """The same place with a ledger of its own, and other `changes`."""
        return replace(self, ledger=Ledger(), booked=set(), **changes)

    def saying(self, say: Say) -> Self:
        """The same place, with another that hears."""
        return replace(self, say=say)

    def stage(
        self, name: str, inputs: Any, compute: Callable[[Path], StageRecord]
    ) -> tuple[Path, StageRecord]:
        """The folder and record of a stage of the run, whose cost is booked.

        That is once, however often the stage is asked for.
        """
        folder, record = self.run.stage(name, inputs, compute)
        if folder not in self.booked:
            self.booked.add(folder)
            self.ledger.book(record.costs, folder.name)
        return folder, record

    def prepare(
        self, role: Role, source: Source, *, parameter: str = "proxy", cache: str = "encoded"
    ) -> tuple[Source, Prepared]:
        """`roles.prepare` as this place was told; encodings are kept in the run directory."""
        return prepare(
            role,
            source,
            parameter=parameter,
            on_bad_row=self.on_bad_row,
            cache=self.run.path / cache,
            progress=self.progress,
        )

    def encode(
        self, role: Role, source: Source, *, parameter: str = "proxy"
    ) -> tuple[Source, Prepared]:
        """The same, booked as encoding."""
        with self.ledger.phase("encoding") as tally:
            source, prepared = self.prepare(role, source, parameter=parameter)
            tally.examples = len(source)
        return source, prepared

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
