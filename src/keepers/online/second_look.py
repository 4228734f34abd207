"""Scores by weights of earlier steps: which candidates they admit, and when they are no good."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from keepers.online.scorer import Scored
from keepers.training import Candidates
from keepers.types import Signals

EVERY = 16  # steps with older scores between two comparisons with fresh ones
WARM = 2  # first comparisons, which do not count: a young model changes much in any step
WINDOW = 4  # comparisons whose mean decides
LEAST = 0.7  # share of what fresh scores choose that older scores have to choose, too


@dataclass(frozen=True, kw_only=True)
class Drifted:
    """Why looking ahead ended after `step` steps: `overlap` of the choices by fresh scores."""

    step: int
    overlap: float

    def __str__(self) -> str:
        return (
            f"Scoring ahead ended after step {self.step:,}: of the choice of the current "
            f"weights, scores made ahead chose {self.overlap:.0%} (at least {LEAST:.0%} is "
            "required). From now on the current weights score the candidates of each step. To "
            "score ahead for longer, use a lower learning rate, a smaller max_staleness or a "
            "longer shortlist"
        )


def share_again(shortlist: float | None, keep: float) -> float:
    """The share of the candidates that is scored again where a share `keep` is kept.

    >>> share_again(None, 0.1), share_again(None, 0.5), share_again(0.3, 0.1)
    (0.2, 0.75, 0.3)
    """
    return min(2 * keep, (1 + keep) / 2) if shortlist is None else shortlist


@dataclass(frozen=True, kw_only=True, eq=False)
class Looked:
    """Signals of the candidates that are chosen among, at `rows` of them all (None for all).

    `everyone` are those of all candidates, by older weights where a shortlist was made.
    """

    signals: Signals
    everyone: Signals
    rows: Tensor | None = None


class SecondLook:
    """What is made of scores that are some steps old.

    They admit the best of the candidates, a share of `shortlist` of them (None for twice as many
    as are kept), and the weights of the step choose among those. With 0 they choose. Every few
    steps the weights of the step score all candidates, too: how many of those that they choose the
    older scores would have chosen, or admitted, says whether to go on.
    """

    def __init__(self, shortlist: float | None) -> None:
        self.shortlist = shortlist
        self.steps, self.overlaps = 0, torch.full((WINDOW,), torch.nan)
        self.ended: Drifted | None = None

    def look(
        self,
        candidates: Candidates,
        early: Scored,
        again: Callable[[Candidates], Scored],
        rank: Callable[[Candidates, Scored], Tensor],
        k: int,
    ) -> tuple[Tensor | None, Scored]:
        """The rows that are chosen among (None for all), and their scores."""
        order, n = rank(candidates, early), len(candidates)
        admitted = None
        if self.shortlist != 0:
            size = max(k, math.ceil(share_again(self.shortlist, k / n) * n - 1e-9))
            admitted = order.topk(min(n, size)).indices.sort().values
        self.steps += 1
        if (self.steps - 1) % EVERY == 0:
            fresh = again(candidates)
            best = rank(candidates, fresh).topk(k).indices
            old = order.topk(k).indices if admitted is None else admitted
            self.note(float(torch.isin(best, old).double().mean()), candidates.version)
            return None, fresh
        if admitted is None:
            return None, early
        return admitted, again(candidates.take(admitted))

    def note(self, overlap: float, version: int) -> None:
        """So much of a fresh choice is in the older one; too little of it ends looking ahead."""
        number = (self.steps - 1) // EVERY
        self.overlaps[number % WINDOW] = overlap if number >= WARM else torch.nan
        mean = float(self.overlaps.mean())  # NaN until the window is full
        if mean < LEAST:
            self.ended = Drifted(step=version + 1, overlap=mean)

    def state_dict(self) -> dict[str, Tensor]:
        """The last comparisons, and whether it is over."""
        ended = (0, 0.0) if self.ended is None else (self.ended.step, self.ended.overlap)
        return {
            "steps": torch.tensor(self.steps),
            "overlaps": self.overlaps.clone(),
            "ended": torch.tensor(ended, dtype=torch.float64),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.steps, self.overlaps = int(state["steps"]), state["overlaps"].clone()
        step, overlap = state["ended"].tolist()
        self.ended = Drifted(step=int(step), overlap=overlap) if step else None
