"""Candidates in pieces that travel: what a scorer elsewhere is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from keepers.training import Arguments, Candidates, Feed

ALIGNED = 16
"""Rows by which pieces are cut: kernels take rows in blocks, and no block is torn."""
BACKWARD = 3
"""What a training step costs for an example, in passes that score one."""


class Piece(Protocol):
    """Some of the candidates of a step, without a model."""

    def candidates(self, feed: Feed | None) -> Candidates:
        """They with their inputs."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Named:
    """Rows `lo` to `hi` of the examples at `positions` (n,), whose inputs the scorer has."""

    positions: Any  # as an array, which travels faster
    step: int
    lo: int
    hi: int

    def candidates(self, feed: Feed | None) -> Candidates:
        """They, gathered where the scorer is; what is augmented is augmented with all others."""
        assert feed is not None
        positions = torch.tensor(self.positions, device=feed.pool.device)
        if feed.augment is None:
            return feed.candidates(positions[self.lo : self.hi], self.step)
        rows = torch.arange(self.lo, self.hi, device=positions.device)
        return feed.candidates(positions, self.step).take(rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sent:
    """Candidates that are sent with their inputs, in the memory of the host."""

    positions: Tensor
    labels: Tensor
    step: int
    args: tuple[Any, ...]
    keywords: dict[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of(cls, candidates: Candidates) -> Sent:
        """These, off their device."""
        return cls(
            positions=candidates.positions.cpu(),
            labels=candidates.labels.cpu(),
            step=candidates.version,
            args=tuple(_moved(value, "cpu") for value in candidates.args),
            keywords={name: _moved(value, "cpu") for name, value in candidates.keywords.items()},
        )

    def candidates(self, feed: Feed | None) -> Candidates:
        """They as they were sent."""
        return Candidates(
            positions=self.positions,
            labels=self.labels,
            args=self.args,
            keywords=self.keywords,
            cut=_whole,
            version=self.step,
        )

    def to(self, device: torch.device) -> Sent:
        """The same on the device of a scorer."""
        return Sent(
            positions=self.positions.to(device),
            labels=self.labels.to(device),
            step=self.step,
            args=tuple(_moved(value, device) for value in self.args),
            keywords={name: _moved(value, device) for name, value in self.keywords.items()},
        )


def _moved(value: Any, device: torch.device | str) -> Any:
    return value.to(device) if hasattr(value, "to") else value


def _whole(rows: Tensor) -> Arguments:
    raise AssertionError(f"a piece is scored whole, not {len(rows)} rows of it")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The candidates of one step: rows `lo` to `hi` of them for here, or as a piece to send."""

    positions: Tensor
    step: int
    take: Callable[[int, int], Candidates]
    piece: Callable[[int, int], Piece]

    @classmethod
    def of_feed(cls, feed: Feed, positions: Tensor, step: int) -> Asked:
        """Examples that every scorer can gather by itself."""
        positions = positions.cpu()
        array = positions.numpy()

        def piece(lo: int, hi: int) -> Named:
            return Named(positions=array, step=step, lo=lo, hi=hi)

        def take(lo: int, hi: int) -> Candidates:
            return piece(lo, hi).candidates(feed)

        return cls(positions=positions, step=step, take=take, piece=piece)

    @classmethod
    def in_hand(cls, candidates: Candidates) -> Asked:
        """Examples whose inputs are here alone."""

        def take(lo: int, hi: int) -> Candidates:
            return candidates.take(torch.arange(lo, hi, device=candidates.positions.device))

        return cls(
            positions=candidates.positions.cpu(),
            step=candidates.version,
            take=take,
            piece=lambda lo, hi: Sent.of(take(lo, hi)),
        )


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How n candidates are shared out: the trainer's own part of them first, then the scorers'.

    A function of nothing that is measured, so that a rerun shares out alike. Of a `whole` batch,
    whose scores depend on each other, one scorer has all.
    """

    scorers: int
    own: float
    whole: bool = False

    @classmethod
    def exact(cls, scorers: int) -> Shares:
        """Equal parts: all wait for each other."""
        return cls(scorers=scorers, own=1 / (scorers + 1))

    @classmethod
    def ahead(cls, scorers: int, keep: float | None, again: float = 0.0) -> Shares:
        """What makes trainer and scorers end together.

        A share `keep` of the candidates is trained on, and `again` is scored again by the trainer.

        >>> Shares.ahead(1, 0.1).own, Shares.ahead(1, 0.1, 0.2).own, Shares.ahead(2, 0.2).own
        (0.35, 0.25, 0.0)
        """
        if keep is None:
            return cls(scorers=scorers, own=0.0)
        each = 1 / scorers
        own = (each - BACKWARD * keep - again) / (1 + each)
        return cls(scorers=scorers, own=round(max(0.0, own), 6))

    def has_own(self, n: int) -> bool:
        """Whether the first piece is the trainer's: a share of less than two rows is none."""
        each, by = (1 - self.own) / self.scorers, self._by(n)
        return self.own > 0 and (self.own >= each - 1e-9 or round(self.own * n / by) * by >= 2)

    def _by(self, n: int) -> int:
        return ALIGNED if n >= 2 * ALIGNED * (self.scorers + (self.own > 0)) else 1

    def bounds(self, n: int) -> list[int]:
        """Where the pieces begin, and n: ⌈own⌉ + scorers pieces at most, none of a single row.

        >>> Shares.exact(1).bounds(320), Shares.ahead(2, 0.2).bounds(10), Shares.exact(2).bounds(2)
        ([0, 160, 320], [0, 5, 10], [0, 2])
        """
        if self.whole:
            return [0, n]
        own = self.own if self.has_own(n) else 0.0
        shares = [own] if own else []
        shares += [(1 - own) / self.scorers] * self.scorers
        by = self._by(n)
        cuts, done = [0], 0.0
        for share in shares[:-1]:
            done += share
            at = round(done * n / by) * by
            if at - cuts[-1] >= 2 and n - at >= 2:  # one row alone takes another kernel
                cuts.append(at)
        return [*cuts, n]
