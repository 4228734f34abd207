"""The draws of a pilot on conversations: which parts are chosen of, and which judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from keepers.baselines import LONGEST, RANDOM, SAFE
from keepers.data import Source
from keepers.errors import ParameterError
from keepers.experiments.held_out import HeldOut
from keepers.experiments.tuning_pool import TuningPool
from keepers.experiments.tuning_trials import BATCH_TOKENS, TuningBench
from keepers.options import cut
from keepers.random import generator
from keepers.statistics import ENOUGH_SEEDS, overlap_of
from keepers.types import TokenBudget
from keepers.words import counted
from keepers.workflows.options.advise import AdviseOptions
from keepers.workflows.options.compare import CompareOptions
from keepers.workflows.options.shared import HardwareOptions, Rows
from keepers.workflows.overlap import alike

DRAWS = ENOUGH_SEEDS
"""Parts that are drawn, each with held-out conversations of its own."""
TRIED = ("ifd", "facility-location")
"""The methods that are tried where nobody names any: by difficulty, and by coverage."""
KEEP = (0.1,)
STEPS = 8
"""Steps that a tuning has at least, where the pool is large enough: fewer show nothing."""
ROOM = 1.05
"""That much more is drawn, as the last conversation that would go over is left out."""
FEWEST_HELD = 20
"""Conversations that a draw holds out at least, where a fifth of all are as many."""
LARGEST_PART = 0.8
"""Of the pool, at most, in one draw."""
SEARCH = 4
"""Tunings on the smallest budget that finding a learning rate takes, about."""


def options_of(config: AdviseOptions, source: Source) -> CompareOptions:
    """The options of the comparison that each draw is."""
    named = config.methods or TRIED
    shared = vars(cut(config, HardwareOptions)) | vars(cut(config, Rows))
    return CompareOptions(
        test=None,
        methods=(SAFE, *named) if source.targets is not None else named,
        keep=config.keep or KEEP,
        proxy=config.proxy,
        target=config.target,
        similar_to=config.similar_to,
        seeds=1,
        **shared,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class TuningPilot:
    """The pool, and how large a part of it each draw looks at."""

    config: AdviseOptions
    pool: TuningPool

    @cached_property
    def fractions(self) -> tuple[float, ...]:
        """The budgets, as fractions of the tokens.

        Raises:
            ParameterError: a budget that is no part of the tokens.
        """
        found = [TokenBudget.parse(each).value for each in self.pool.options.keep]
        for each in found:
            if isinstance(each, int) or each >= 1:
                raise ParameterError(
                    "keep",
                    f"got {each}, but a pilot uses fractions of the tokens",
                    "Give fractions under 1, such as 0.1",
                )
        return tuple(sorted(set(map(float, found))))

    @cached_property
    def arms(self) -> int:
        """Tunings at each budget and draw."""
        names = {RANDOM, LONGEST, *self.pool.options.named}
        return len(names) + (self.pool.epochs > 1)

    @cached_property
    def part(self) -> int:
        """Tokens of the part that each draw looks at.

        As many as the share of the cost that the pilot may take allows; but enough for `STEPS`
        steps and for the longest conversation at the smallest budget, where the pool has them.
        """
        total, longest = int(self.pool.tokens.sum()), int(self.pool.tokens.max())
        affordable = self.config.pilot_share * total / self._tunings
        batch = int(self.pool.role.options.get("batch_tokens", BATCH_TOKENS))
        least = (
            ROOM * max(STEPS * max(batch, longest) / self.pool.epochs, longest) / self.fractions[0]
        )
        return min(int(LARGEST_PART * total), int(max(affordable, least)))

    @property
    def _tunings(self) -> float:
        """All tunings, in parts whose tokens are tuned on as often as the pool's would be."""
        search = 0 if self.pool.role.lr is not None else SEARCH * self.fractions[0]
        return DRAWS * self.arms * sum(self.fractions) + search

    @property
    def share(self) -> float:
        """The expected cost of all tunings, as a fraction of that of tuning on everything."""
        return self._tunings * self.part / int(self.pool.tokens.sum())

    @cached_property
    def batch_tokens(self) -> int:
        """Tokens of a step: as given, or few enough for `STEPS` steps."""
        given = self.pool.role.options.get("batch_tokens")
        fits = int(self.pool.epochs * self.fractions[0] * self.part / ROOM) // STEPS
        return int(given or min(BATCH_TOKENS, max(fits, int(self.pool.tokens.max()))))

    @property
    def draws(self) -> list[tuple[Tensor, Tensor]]:
        """Of each draw the positions that are chosen of (k,), and those that are held out (h,).

        What says nearly what a held-out conversation says is not chosen of.
        """
        return [(at[~copies], held) for at, held, copies in self._drawn]

    @property
    def copies(self) -> tuple[float, float]:
        """How many conversations of a draw are such, and how many there were; on average."""
        left_out = sum(int(copies.sum()) for _, _, copies in self._drawn)
        return left_out / DRAWS, sum(len(at) for at, _, _ in self._drawn) / DRAWS

    @cached_property
    def _drawn(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """The positions of `draws`, with marks of what is not chosen of.

        Draws share as few conversations as they can: each begins further on in one random order.
        """
        n = len(self.pool.sequences)
        order = torch.randperm(n, generator=generator(self.config.seed, "pilot"))
        budget = max(self.fractions) * self.part
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for draw in range(DRAWS):
            rolled = order.roll(-(draw * n // DRAWS))
            ahead = self.pool.tokens[rolled].cumsum(0)
            count = min(n // 5, max(FEWEST_HELD, int((ahead <= budget).sum())))
            held, rest = rolled[:count], rolled[count:]
            rest = rest[self.pool.tokens[rest].cumsum(0) <= self.part].sort().values
            copies = alike(self.pool.source.take(rest.numpy()), self.pool.source.take(held.numpy()))
            found.append((rest, held, torch.from_numpy(copies)))
        return found

    @property
    def overlap(self) -> float:
        """What draws that choose of the same conversations add to the variance of their mean.

        As for folds: see `keepers.statistics.overlap_of`.
        """
        return overlap_of([set(at.tolist()) for at, _ in self.draws])

    def benches(self) -> Iterator[TuningBench]:
        """The comparison of each draw; the learning rate is that of the first."""
        place = self.pool.place
        options = {**self.pool.role.options, "batch_tokens": self.batch_tokens}
        role = replace(self.pool.role, options=options)
        for at, held in self.draws:
            tokens = self.pool.tokens[at]
            budgets = [int(each * int(tokens.sum())) for each in self.fractions]
            if not len(at):
                raise ParameterError(
                    "data",
                    f"all conversations are near-copies of {counted(len(held), 'conversation')} "
                    "that a draw holds out",
                    "One of them is as good as all",
                )
            if budgets[0] < int(tokens.max()):
                raise ParameterError(
                    "keep",
                    f"got {self.fractions[0]:g} of the {int(tokens.sum()):,} tokens of a draw, "
                    f"but the longest conversation has {int(self.pool.tokens.max()):,}",
                    "Give a larger share, or cut conversations with "
                    "--set target.options.length=512",
                )
            judges = [self.pool.sequences[place] for place in held.tolist()]
            pool = replace(
                self.pool,
                place=place,
                role=role,
                source=self.pool.source.take(at.numpy()),
                sequences=[self.pool.sequences[each] for each in at.tolist()],
            )
            held_out = HeldOut.of(judges, choices=True)
            bench = TuningBench(pool=pool, held_out=held_out, budgets=tuple(budgets))
            role = replace(role, lr=bench.rate[0])  # it is the same in all draws
            place = place.saying(lambda _: None)  # and so is what is said
            yield bench
