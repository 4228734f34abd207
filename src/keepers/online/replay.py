"""Looking ahead in one process: a recorded run again, or what an age of the weights does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from keepers.errors import ParameterError
from keepers.online.ahead import AheadBackend, Answer, Versions
from keepers.online.pieces import Piece
from keepers.online.scorer import InProcess
from keepers.online.scorers import check_count
from keepers.training import Feed


@dataclass(frozen=True, kw_only=True)
class Replay(AheadBackend):
    """A backend that repeats a run with `scorers` in this process, with the same choices.

    `schedule` is that of the run: pieces that the trainer scored there are scored by the trainer
    here, too. Without a schedule no piece is lost, so you can try `Scoring(max_staleness=...)`
    without Ray. Scores are computed when they are requested, with the weights of that time.
    """

    scorers: int = 1
    schedule: Iterable[tuple[int, Versions]] | None = None

    def __post_init__(self) -> None:
        check_count(self.scorers)
        if self.schedule is not None:
            try:
                object.__setattr__(self, "schedule", tuple(dict(self.schedule).items()))
            except (TypeError, ValueError):
                raise ParameterError(
                    "schedule",
                    f"got {type(self.schedule).__name__}",
                    "Give the schedule of the run: choose.schedule, or the content of "
                    "schedule.json",
                ) from None

    def workers(self) -> InTurn:
        """Those of one training."""
        return InTurn(self.scorers, None if self.schedule is None else dict(self.schedule))


class InTurn:
    """Scores each piece when it is submitted, with the model that is being trained."""

    def __init__(self, count: int, schedule: dict[int, Versions] | None) -> None:
        self.count, self.schedule = count, schedule
        self.notes: list[str] = []
        self.here: InProcess | None = None
        self.feed: Feed | None = None
        self.version = 0

    def begin(self, here: InProcess, feed: Feed | None) -> None:
        """Nothing goes anywhere."""
        self.here, self.feed = here, feed

    def publish(self, module: nn.Module, version: int) -> None:
        """The weights of now are those of the model."""
        self.version = version

    def submit(self, place: int, step: int, piece: Piece, needs: frozenset[str]) -> Any | None:
        """The answer itself; None where the schedule says that the weights of the step scored."""
        assert self.here is not None
        if self.schedule is not None:
            recorded = self.schedule.get(step)  # none of a step that was announced and not made
            if recorded is not None and place >= len(recorded):
                raise ParameterError(
                    "scorers",
                    f"got {self.count}, but the schedule has {len(recorded)} pieces of step {step}",
                    "Give as many as the run had, and its keep, scoring and batches",
                )
            if recorded is None or recorded[place] != self.version:
                return None
        scored = self.here.score(piece.candidates(self.feed), needs)
        return Answer(signals=dict(scored.signals.items()))

    def redeem(self, ticket: Any, now: int) -> Answer | None:
        """It was answered at once."""
        return ticket

    def close(self) -> None:
        """Nothing is elsewhere."""
