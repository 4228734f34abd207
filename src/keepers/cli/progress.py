"""Progress on stderr: a bar for a person at a terminal, a line now and then for a log."""

from __future__ import annotations

import sys
import threading
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

SHOW_AFTER = 1.0
REFRESH = 0.1
LINE_EVERY = 30.0


class TerminalProgress:
    """Shows a phase once it has taken a second."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar: Bar | None = None
        self._what, self._total = "", 0
        self._start = self._shown = 0.0
        self._first: tuple[float, int] | None = None
        self._timer: threading.Timer | None = None

    def start(self, what: str, total: int) -> None:
        """A phase begins; with a total of 0 it does not say how far it is."""
        self.finish()
        self._what, self._total = what, total
        self._start = self._shown = time.monotonic()
        self._first = None
        if not total:
            terminal = self._console.is_terminal
            self._timer = threading.Timer(SHOW_AFTER if terminal else LINE_EVERY, self._show_pulse)
            self._timer.daemon = True
            self._timer.start()

    def advance(self, done: int) -> None:
        """So far."""
        now = time.monotonic()
        if self._first is None:  # what was done before a phase was resumed tells no speed
            self._first = now, done
        if self._console.is_terminal:
            if now - self._shown > REFRESH and now - self._start > SHOW_AFTER:
                self._show_bar(done)
                self._shown = now
        elif now - self._shown > LINE_EVERY:
            since, before = self._first
            left = (now - since) / max(done - before, 1) * (self._total - done)
            sys.stderr.write(f"{self._what}: {done:,} of {self._total:,}, {left:.0f} s left\n")
            self._shown = now

    def _show_bar(self, done: int) -> None:
        if self._bar is None:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._bar.add_task(self._what, total=self._total, completed=done)
        self._bar.update(self._bar.task_ids[0], completed=done)

    def _show_pulse(self) -> None:
        if not self._console.is_terminal:
            sys.stderr.write(f"{self._what}: under way\n")
            return
        bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        bar.add_task(self._what, total=None)
        bar.start()
        self._bar = bar

    def finish(self) -> None:
        """The phase is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
            self._timer = None
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
