"""The desk: all that a labelling front is given of a campaign."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from keepers.campaign.events import External, Id, Sent
from keepers.campaign.journal import Journal
from keepers.campaign.recording import Delivery, Recorded, record
from keepers.campaign.state import State
from keepers.data import Source
from keepers.errors import DataError
from keepers.sealed import read_note, recalled, write_note
from keepers.types import Kind


class Desk:
    """A campaign as a labelling front sees it: what to show, and where answers go.

    Threads may share one. Each look at `state` takes in what other processes have added since.
    `memory` is a file in which is kept what was shown, so that the same few examples of a large
    pool can be shown again without reading it.
    """

    def __init__(self, journal: Journal, source: Source, memory: Path | None = None) -> None:
        self.journal = journal
        self.source = source
        self._memory = memory
        self._shown: dict[Id, str | bytes] = {}
        self._mutex = threading.RLock()
        self._state = State.empty()
        self._seen = 0

    @property
    def kind(self) -> Kind:
        """What an example is: `text`, `image` or `vector`."""
        return self.source.kind

    @property
    def state(self) -> State:
        """The campaign as it stands at this moment."""
        with self._mutex:
            events = self.journal.read(self._seen)
            if events:
                self._state = self._state.after(event for _, event in events)
                self._seen = events[-1][0]
            return self._state

    def content(self, item: Id) -> str | bytes:
        """What a person is shown of an example: its text, or a PNG of its picture.

        Raises:
            DataError: the pool does not hold it (any more).
        """
        position = self.source.examples.position(item)
        if position is None:
            raise DataError(f"item: the pool has no example with the id {item!r}")
        if self._memory is None or self.kind == "image":  # one picture is read without the others
            return self.source.preview(position)
        if item not in self._shown:
            kept = self._kept.get(item)
            self._shown[item] = self.source.preview(position) if kept is None else kept
        return self._shown[item]

    @cached_property
    def _kept(self) -> dict[Id, str]:
        memory = self._memory
        assert memory is not None
        note = recalled(lambda: read_note(memory, "campaign", "It was made again"))
        return {} if note is None or note["pool"] != self._pool else dict(note["shown"])

    @property
    def _pool(self) -> list[str]:
        return [self.source.identity, *self.source.columns.input]

    def remember(self) -> None:
        """Keep what was shown, in place of what was kept before."""
        if self._memory is not None and self._shown and self._shown != self._kept:
            note = {"pool": self._pool, "shown": list(self._shown.items())}
            with suppress(OSError):  # a disk that is full or cannot be written to
                write_note(self._memory, note)

    def record(
        self, votes: Iterable[Delivery], partial: bool = False, unsure: str | None = None
    ) -> Recorded:
        """Take votes on examples of the pool; see `keepers.campaign.record`."""
        with self._mutex:
            known = self.source.examples
            return record(
                self.journal, self.state, votes, known=known, partial=partial, unsure=unsure
            )

    def send(self, round: int, channel: str, tasks: Mapping[Id, External]) -> bool:
        """Note that items went to a channel; False where the same ones had gone there before."""
        return self.journal.append([Sent(round=round, channel=channel, tasks=tasks)])[0]
