"""Scorers on the workers of Ray."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import time
import weakref
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from keepers import processes
from keepers.cluster import (
    OBJECT_STORE,
    check_answers,
    connected,
    first_line,
    is_running,
    is_shared,
)
from keepers.errors import KeepersError, MissingExtraError, ParameterError, RunError
from keepers.online.ahead import AheadBackend, Answer
from keepers.online.copies import copied
from keepers.online.pieces import Piece, Sent
from keepers.online.scorer import InProcess
from keepers.online.weights import Attributes, Packet, Packing, WeightsAs, tensors_of, unpack
from keepers.training import Feed

STARTS_WITHIN = 120.0
"""Seconds in which the first scorer has to be there."""
MOST_HELD = 8 * 1024**3
"""Bytes of shared memory for data and models at most; Ray puts what does not fit on disk."""
SLOW = 20.0
"""A scorer is given up after this many times the duration of the longest answer so far."""
LOOKED_AFTER = 1.0
"""Seconds between two looks whether a lost scorer is back."""


@dataclass(frozen=True, kw_only=True)
class _Ticket:
    scorer: int
    step: int
    answer: Any  # a reference of Ray


class Scorers(AheadBackend):
    """A backend that shares scoring out with scorers on Ray.

    Each has a copy of the model, and gets the weights of each step. By default the scorers and the
    trainer share the candidates of a step, and the choice is the same as with one process. With
    `Scoring(max_staleness=1)` they score the candidates of the next step during the current one,
    with weights that are then one step old.

    If a scorer dies or does not answer, the trainer scores its candidates until a new one starts;
    `notes` says so.

    Args:
        count: the number of scorers, with one CPU each; on this machine at most one for each
            core. If a cluster has no place for some of them yet, they join later.
        address: of a Ray cluster (HOST:PORT, or `auto`); by default Ray is started on this machine.
        gpus: GPUs of each scorer; may be a fraction.
        weights: how weights are sent; `bf16` halves the bytes, and rounds scores.
        patience: the longest time in seconds to wait for an answer.

    Raises:
        ParameterError: no scorer, more than this machine has cores, a value of another type, or
            several training processes.
        MissingExtraError: Ray is not installed.
        RunError: the cluster does not answer, has no keepers or another version, or starts no
            scorer.
    """

    def __init__(
        self,
        count: int = 1,
        *,
        address: str | None = None,
        gpus: float = 0,
        weights: WeightsAs = "same",
        patience: float = 60.0,
    ) -> None:
        check_count(count)
        if weights not in ("same", "bf16"):
            raise ParameterError("weights", f"got '{weights}'", "Give 'same' or 'bf16'")
        if not (_is_number(patience) and patience > 0):
            raise ParameterError("patience", f"got {patience!r}", "Give seconds, such as 60")
        if not (_is_number(gpus) and 0 <= gpus < math.inf):
            raise ParameterError("gpus", f"got {gpus!r}", "Give a number, such as 1 or 0.5")
        if address is not None and type(address) is not str:
            remedy = "Give HOST:PORT, auto, or leave it out"
            raise ParameterError("address", f"got {address!r}", remedy)
        self.count, self.address, self.gpus = count, address, gpus
        self.weights: WeightsAs = weights
        self.patience = patience

    def check(self) -> None:
        """Say at once what would be found when the training begins.

        Raises:
            MissingExtraError: Ray is not installed.
            ParameterError: more scorers than this machine has cores.
            RunError: nobody answers at the address.
        """
        if importlib.util.find_spec("ray") is None:
            raise MissingExtraError("--scorers", "ray")
        cores = os.cpu_count() or 1
        if self.address is None and not is_running() and self.count > cores:
            raise ParameterError(
                "scorers",
                f"got {self.count}, but this machine has {cores} cores",
                f"Give at most {cores}, or the address of a Ray cluster",
            )
        if self.address is not None and self.address != "auto":
            check_answers(self.address)

    def workers(self) -> OnRay:
        """Those of one training, started when it begins."""
        if processes.count() > 1:
            raise ParameterError(
                "scorers",
                f"got {self.count} together with {processes.count()} training processes, which "
                "already share the scoring",
                "Leave it out, or train in one process",
            )
        self.check()
        return OnRay(self)


def check_count(count: Any) -> None:
    """Refuse what is no number of scorers.

    Raises:
        ParameterError: it is another kind of value, or under 1.
    """
    if type(count) is not int or count < 1:
        raise ParameterError("scorers", f"got {count!r}", "Give 1 or more, or leave it out")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


class OnRay:
    """The scorers of one training: actors of Ray. In the place of one that dies comes another."""

    def __init__(self, given: Scorers) -> None:
        self.given, self.count = given, given.count
        self.notes: list[str] = []
        self._stack = contextlib.ExitStack()
        weakref.finalize(self, self._stack.close)  # of a selector that nobody closes
        self._ray: Any = None
        self._actors: list[Any] = []
        self._away: dict[int, Any] = {}  # scorers that are not there, and what says that they are
        self._looked, self._longest, self._answers, self._step = 0.0, 0.0, 0, 0
        self._held: list[Any] = []
        self._packing: Packing | None = None
        self._sent: tuple[Any, int] | None = None

    def begin(self, here: InProcess, feed: Feed | None) -> None:
        """Start them, with a copy of the model and of the data.

        Raises:
            ParameterError: the model, or the loss function, cannot be sent.
        """
        asked = "--scorers" if self.given.address is None else "--ray"
        held = 0 if feed is None else 2 * getattr(feed.pool, "nbytes", 0)
        held += 3 * sum(each.nbytes for each in tensors_of(here.module).values())
        ray = self._ray = self._stack.enter_context(
            connected(
                self.count,
                self.given.address,
                asked,
                OBJECT_STORE + min(held, MOST_HELD),
                awaited=True,
            )
        )
        try:
            sent = [ray.put(copied(here)), ray.put(None if feed is None else feed.to("cpu"))]
        except Exception as error:
            self.close()
            raise ParameterError(
                "scorers",
                f"the model cannot be sent to them ({first_line(error)})",
                "Leave out what cannot be pickled (open files, locks, handles) from the model, "
                "the loss and the task, or score without scorers",
            ) from error
        self._packing = Packing(here.module, self.given.weights)
        self._held = sent  # for scorers that are started again
        self._actors = [None] * self.count
        for number in range(self.count):
            self._start(number)
        self._wait()

    def _start(self, number: int) -> None:
        """Start a scorer, or another one in its place; it is away until it is there."""
        cpus = 0 if is_shared() else 1  # other selectors may have scorers there, too
        kind = self._ray.remote(_Scorer).options(num_cpus=cpus, num_gpus=self.given.gpus)
        actor = kind.remote(self._held, "cuda" if self.given.gpus else "cpu")
        self._actors[number], self._away[number] = actor, actor.ready.remote()

    def _wait(self) -> None:
        """Until the first of them is there; others may come later."""
        first, _ = self._ray.wait(list(self._away.values()), timeout=STARTS_WITHIN)
        if not first:
            self.close()
            raise RunError(
                f"scorers: none of {self.count} started within {STARTS_WITHIN:g} s. 'ray status' "
                "shows the free resources of the cluster"
            )
        try:
            self._ray.get(first[0])
        except self._ray.exceptions.RayError as error:
            self.close()
            reason = str(getattr(error, "cause", None) or error).strip().splitlines()[-1]
            raise RunError(f"scorers: a scorer could not start ({reason[:200]})") from None
        self._look(now=0, quietly=True)

    def publish(self, module: nn.Module, version: int) -> None:
        """Send the weights of now."""
        assert self._packing is not None
        packing = self._packing
        self._sent = self._ray.put((packing.pack(module), packing.pack_attributes(module))), version

    def submit(self, place: int, step: int, piece: Piece, needs: frozenset[str]) -> Any | None:
        """Ask a scorer that is there; they take turns at the pieces."""
        assert self._sent is not None
        self._step = max(self._step, step)
        if self._away and time.monotonic() - self._looked > LOOKED_AFTER:
            self._look(now=step)
        there = [number for number in range(self.count) if number not in self._away]
        if not there:
            return None
        number = there[(place + step) % len(there)]
        packet, version = self._sent
        casts = [
            (kind, torch.get_autocast_dtype(kind))
            for kind in ("cpu", "cuda")
            if torch.is_autocast_enabled(kind)
        ]
        try:
            answer = self._actors[number].score.remote(packet, version, piece, sorted(needs), casts)
        except self._ray.exceptions.RayError as error:
            self._give_up(number, step, first_line(error))
            return None
        return _Ticket(scorer=number, step=step, answer=answer)

    def redeem(self, ticket: Any, now: int) -> Answer | None:
        """Wait for an answer; None where its scorer died or takes too long.

        Raises:
            KeepersError: the scorer failed at what the trainer does not fail at.
        """
        number, errors = ticket.scorer, self._ray.exceptions
        limit = self.given.patience
        if self._answers >= 3:
            limit = min(limit, max(2.0, SLOW * self._longest))
        if number in self._away:
            limit = 0.0
        began = time.monotonic()
        try:
            signals, seconds = self._ray.get(ticket.answer, timeout=limit)
        except errors.GetTimeoutError:
            if number not in self._away:
                self._away[number] = ticket.answer
                self._note(number, now, f"did not answer within {limit:.2g} s")
            return None
        except errors.RayTaskError as error:
            if isinstance(getattr(error, "cause", None), KeepersError):
                return None  # said here, with the ids of the examples
            raise KeepersError(
                f"scorers: scorer {number} failed at step {now + 1} "
                f"({str(error).strip().splitlines()[-1][:200]})"
            ) from None
        except errors.RayError as error:
            self._give_up(number, now, first_line(error))
            return None
        self._longest = max(self._longest, time.monotonic() - began, seconds)
        self._answers += 1
        found = {name: torch.tensor(value) for name, value in signals.items()}
        return Answer(signals=found, seconds=seconds)

    def _give_up(self, number: int, step: int, why: str) -> None:
        if number not in self._away:
            self._start(number)
            self._note(number, step, f"died ({why[:80]})")

    def _note(self, number: int, step: int, what: str) -> None:
        self.notes.append(
            f"Scorer {number} {what} at step {step + 1:,}; what it held was scored by the trainer"
        )

    def _look(self, now: int, *, quietly: bool = False) -> None:
        """Which of those that were away are there."""
        self._looked = time.monotonic()
        back, _ = self._ray.wait(list(self._away.values()), num_returns=len(self._away), timeout=0)
        for number in [place for place, answer in self._away.items() if answer in back]:
            try:
                self._ray.get(self._away[number])
            except self._ray.exceptions.RayTaskError:
                pass  # it answered
            except self._ray.exceptions.RayError:
                self._start(number)
                continue
            del self._away[number]
            if not quietly:
                self.notes.append(f"Scorer {number} is there from step {now + 1:,} on")

    def close(self) -> None:
        """End the scorers, and a Ray that was started for them."""
        for actor in self._actors:
            with contextlib.suppress(Exception):
                self._ray.kill(actor)
        self._actors, self._held, self._sent = [], [], None
        self._stack.close()


class _Scorer:
    """What runs in the process of a scorer."""

    def __init__(self, sent: list[Any], device: str) -> None:
        import ray

        torch.set_num_threads(1)
        here, feed = ray.get(sent)
        self.device = torch.device(device)
        self.here: InProcess = replace(here, module=here.module.to(device))
        self.feed: Feed | None = None if feed is None else feed.to(device)
        self.version: int | None = None

    def ready(self) -> bool:
        """It has begun."""
        return True

    def score(
        self,
        packet: tuple[Packet, Attributes],
        version: int,
        piece: Piece,
        needs: list[str],
        casts: list[tuple[str, torch.dtype]],
    ) -> tuple[dict[str, Any], float]:
        """The signals of a piece by the weights of a version, and the seconds that they took."""
        began = time.perf_counter()
        if version != self.version:
            weights, attributes = packet
            unpack(weights, self.here.module, attributes)
            self.version = version
        if isinstance(piece, Sent):
            piece = piece.to(self.device)
        with contextlib.ExitStack() as around:
            for kind, dtype in casts:
                if kind == self.device.type:
                    around.enter_context(torch.autocast(kind, dtype=dtype))
            scored = self.here.score(piece.candidates(self.feed), frozenset(needs))
        signals = {name: _array(value) for name, value in scored.signals.items()}
        return signals, time.perf_counter() - began


def _array(value: torch.Tensor) -> Any:
    """For the way back: as an array, which travels faster, where numpy has the type."""
    value = value.cpu()
    return value if value.dtype == torch.bfloat16 else value.numpy()
