"""Scoring that is shared out with scorers elsewhere, at once or ahead of the training."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from keepers.errors import ParameterError
from keepers.models.mode import uses_batch_statistics
from keepers.online.pieces import Asked, Piece, Shares
from keepers.online.scorer import InProcess, Scored, Scorer
from keepers.online.second_look import share_again
from keepers.training import Candidates, Feed
from keepers.types import Signals

Versions = tuple[int, ...]
"""By which weights each piece of a step was scored."""
AHEAD = "ahead."
"""Of the state of a scorer in the states of what uses it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What a scorer says of a piece, and the seconds that it took."""

    signals: dict[str, Tensor]
    seconds: float = 0.0


class Workers(Protocol):
    """Scorers elsewhere: they have a copy of the model, and score pieces by weights sent to them.

    What is lost (a scorer dies, or does not answer) is said by None: it is scored by the trainer.
    """

    count: int
    notes: list[str]

    def begin(self, here: InProcess, feed: Feed | None) -> None:
        """Copies of the model go out, and the data, where scorers can gather them by themselves."""
        ...

    def publish(self, module: nn.Module, version: int) -> None:
        """The weights of now, by which is scored what is submitted from here on."""
        ...

    def submit(self, place: int, step: int, piece: Piece, needs: frozenset[str]) -> Any | None:
        """A ticket for piece `place` of a step; None where no scorer can take it."""
        ...

    def redeem(self, ticket: Any, now: int) -> Answer | None:
        """The answer; waits for it."""
        ...

    def close(self) -> None:
        """No more is asked."""
        ...


@dataclass(kw_only=True, eq=False)
class _Batch:
    """The candidates of one step on their way, by the weights of `version`.

    `age` counts how often the weights changed since.
    """

    positions: Tensor
    version: int
    age: int = 0
    bounds: list[int]
    parts: list[Any] = field(default_factory=list[Any])  # tickets, answers, None where it is lost


class Ahead(Scorer):
    """Scores with the help of scorers elsewhere.

    The candidates of a step are shared out between them and the trainer, by the weights of the
    step (exact), unless they were announced before: then older weights scored them, at most
    `lookahead` steps old. What is not answered is scored here, by the weights of the step.
    `schedule` says of every step which weights scored each of its pieces.
    """

    def __init__(self, here: InProcess, workers: Workers, lookahead: int = 0) -> None:
        self.here, self.workers, self.lookahead = here, workers, lookahead
        self.feed: Feed | None = None
        self.needs: frozenset[str] = frozenset()
        self.shares, self.exact = Shares.exact(workers.count), Shares.exact(workers.count)
        self.waiting: dict[int, _Batch] = {}
        self.schedule: list[tuple[int, Versions]] = []
        self.seconds = 0.0
        self.now: int | None = None  # the weights that were seen last
        self.published: int | None = None

    def begin(self, *, needs: frozenset[str], keep: float | None, feed: Feed | None = None) -> None:
        """A training begins.

        Raises:
            ParameterError: scores of the model depend on the other candidates, or on draws.
        """
        check_scoring(self.here, needs, ahead=self.lookahead > 0)
        self.needs, self.feed = needs, feed
        if self.lookahead:
            again = 0.0 if keep is None else share_again(self.here.scoring.shortlist, keep)
            self.shares = Shares.ahead(self.workers.count, keep, again)
            if uses_batch_statistics(self.here.module, self.here.scoring.batch_norm):
                self.shares = Shares(scorers=self.workers.count, own=0.0, whole=True)
        self.workers.begin(self.here, feed)

    def announce(self, positions: Tensor, step: int, now: int, of: Candidates | None) -> None:
        """These are the candidates of a step to come: they are scored by the weights of `now`."""
        if not self.lookahead or step in self.waiting or step <= now:
            return
        self._see(now)
        self.waiting[step] = self._send(self._asked(positions, step, of), self.shares, now)

    def score(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        """As `Scorer.score`: the oldest weights that scored one of them are its version.

        Scores by weights that changed more often since than `lookahead` are made again.
        """
        step = candidates.version
        now = step if candidates.weights is None else candidates.weights
        self._see(now)
        batch = self.waiting.pop(step, None)
        for old in [number for number in self.waiting if number < step]:
            del self.waiting[old]
        good = batch is not None and batch.age <= self.lookahead
        if batch is None or not (good and torch.equal(batch.positions, candidates.positions.cpu())):
            if uses_batch_statistics(self.here.module, self.here.scoring.batch_norm):
                self.schedule.append((step, (now,)))
                return self.here.score(candidates, needs)
            asked = self._asked(candidates.positions, step, candidates)
            batch = self._send(asked, self.exact, now)
        pieces: list[Mapping[str, Tensor]] = []
        versions: list[int] = []
        for place, (lo, hi) in enumerate(itertools.pairwise(batch.bounds)):
            answer = self._redeem(batch.parts[place], step)
            versions.append(now if answer is None else batch.version)
            if answer is None:
                rows = torch.arange(lo, hi, device=candidates.positions.device)
                scored = self.here.score(candidates.take(rows), needs)
                pieces.append(dict(scored.signals.items()))
            else:
                pieces.append(answer.signals)
        self.schedule.append((step, tuple(versions)))
        device = candidates.positions.device
        joined = {
            name: torch.cat([piece[name].to(device, non_blocking=True) for piece in pieces])
            for name in pieces[0]
        }
        age = batch.age if min(versions) < now else 0
        return Scored(positions=candidates.positions, version=step - age, signals=Signals(**joined))

    def again(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        """Here, by the weights of now."""
        return self.here.score(candidates, needs)

    def _see(self, now: int) -> None:
        if self.now is not None and now != self.now:
            for batch in self.waiting.values():
                batch.age += 1
        self.now = now

    def _send(self, asked: Asked, shares: Shares, now: int) -> _Batch:
        if self.published != now:
            self.workers.publish(self.here.module, now)
            self.published = now
        bounds = shares.bounds(len(asked.positions))
        batch = _Batch(positions=asked.positions, version=now, bounds=bounds)
        pairs, own = list(itertools.pairwise(bounds)), shares.has_own(len(asked.positions))
        for place, (lo, hi) in list(enumerate(pairs))[own:]:
            piece = asked.piece(lo, hi)
            batch.parts.append(self.workers.submit(place, asked.step, piece, self.needs))
        if own:  # while the scorers are at theirs
            found = self.here.score(asked.take(*pairs[0]), self.needs)
            batch.parts.insert(0, Answer(signals=dict(found.signals.items())))
        return batch

    def _asked(self, positions: Tensor, step: int, of: Candidates | None) -> Asked:
        if self.feed is not None:
            return Asked.of_feed(self.feed, positions, step)
        assert of is not None
        return Asked.in_hand(of)

    def _redeem(self, part: Any, now: int) -> Answer | None:
        if part is None or isinstance(part, Answer):
            return part
        answer = self.workers.redeem(part, now)
        if answer is not None:
            self.seconds += answer.seconds
        return answer

    def state_dict(self) -> dict[str, Tensor]:
        """What is on its way, answered: it was scored by weights that are gone after a restart."""
        state = {
            "schedule.steps": torch.tensor([step for step, _ in self.schedule]),
            "schedule.pieces": torch.tensor([len(versions) for _, versions in self.schedule]),
            "schedule.versions": torch.tensor([one for _, every in self.schedule for one in every]),
        }
        if self.now is not None:
            state["schedule.now"] = torch.tensor(self.now)
        for step, batch in self.waiting.items():
            batch.parts = [self._redeem(part, batch.version) for part in batch.parts]
            state[f"{step}.positions"] = batch.positions
            state[f"{step}.bounds"] = torch.tensor(batch.bounds)
            state[f"{step}.version"] = torch.tensor([batch.version, batch.age])
            for place, part in enumerate(batch.parts):
                signals = {} if part is None else part.signals
                state |= {f"{step}.{place}.{name}": value for name, value in signals.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.waiting, self.published = {}, None
        if not state:  # of a training that had no scorers so far
            return
        self.schedule = schedule_of(state)
        self.now = int(state["schedule.now"]) if "schedule.now" in state else None
        waiting = {name.partition(".")[0] for name in state} - {"schedule"}
        for step in sorted(map(int, waiting)):
            bounds = [int(at) for at in state[f"{step}.bounds"]]
            parts: list[Any] = []
            for place in range(len(bounds) - 1):
                prefix = f"{step}.{place}."
                found = {
                    n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)
                }
                parts.append(Answer(signals=found) if found else None)
            version, age = state[f"{step}.version"].tolist()
            self.waiting[step] = _Batch(
                positions=state[f"{step}.positions"].cpu(),
                version=version,
                age=age,
                bounds=bounds,
                parts=parts,
            )

    @property
    def notes(self) -> list[str]:
        """What happened to scorers, in sentences."""
        return self.workers.notes

    def close(self) -> None:
        """No more is asked of the scorers."""
        self.waiting.clear()
        self.workers.close()


def schedule_of(state: Mapping[str, Tensor]) -> list[tuple[int, Versions]]:
    """The schedule in the state of an `Ahead`; empty in that of another scorer."""
    if not state:
        return []
    parts_of = iter(state["schedule.versions"].tolist())
    return [
        (int(step), tuple(int(next(parts_of)) for _ in range(int(pieces))))
        for step, pieces in zip(state["schedule.steps"], state["schedule.pieces"], strict=True)
    ]


class AheadBackend:
    """A backend whose scorer shares work out with workers elsewhere."""

    def workers(self) -> Workers:
        """Those of one training."""
        raise NotImplementedError

    def __call__(self, **given: Any) -> Ahead:
        """As `Backend`: what it is given is that of `InProcess`."""
        here = InProcess(**given)
        return Ahead(here, self.workers(), here.scoring.max_staleness)


def check_scoring(here: InProcess, needs: frozenset[str], *, ahead: bool) -> None:
    """Refuse what cannot be scored in pieces, by anyone, with the same result.

    Raises:
        ParameterError: a saving that has scores depend on what was scored before or is drawn.
    """
    scoring = here.scoring
    drawn = scoring.dropout or "posterior_log_probs" in needs
    for name, given, why in (
        ("max_age", scoring.max_age, "the losses that are used again are with the trainer"),
        ("part", scoring.part < 1, "the part is drawn at the step"),
        ("dropout", drawn, "each piece would draw a mask of its own"),
        (
            "batch_norm 'batch-and-update'",
            scoring.batch_norm == "batch-and-update",
            "the running statistics are with the trainer",
        ),
    ):
        if given:
            raise ParameterError(
                "scorers", f"got together with {name}, but {why}", "Leave one of them out"
            )
    if not ahead and uses_batch_statistics(here.module, scoring.batch_norm):
        raise ParameterError(
            "scorers",
            f"the model has batch normalisation, and with batch_norm '{scoring.batch_norm}' "
            "scorers cannot share the candidates of a step: statistics would be those of a part",
            "Give batch_norm 'eval', or max_staleness 1, where one scorer gets all of them",
        )
