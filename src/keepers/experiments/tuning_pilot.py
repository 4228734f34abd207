"""The draws of a pilot on conversations: which parts are chosen of, and which judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from keepers.baselines import LONGEST, RANDOM, SAFE
from keepers.data import Source
from keepers.errors import ParameterError
from keepers.experiments.held_out import HeldOut
from keepers.experiments.tuning_target import target_of
from keepers.experiments.tuning_trials import BATCH_TOKENS, EPOCHS, TuningBench
from keepers.models import LanguageModel, TokenSequence
from keepers.options import cut
from keepers.random import generator
from keepers.roles import Role
from keepers.statistics import ENOUGH_SEEDS, overlap_of
from keepers.types import TokenBudget
from keepers.words import counted
from keepers.workflows.conversations import token_counts
from keepers.workflows.options.advise import AdviseOptions
from keepers.workflows.options.compare import CompareOptions
from keepers.workflows.options.shared import HardwareOptions, Rows
from keepers.workflows.overlap import alike
from keepers.workflows.workplace import Workplace

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


@dataclass(frozen=True, kw_only=True, eq=False)
class TuningPilot:
    """The pool as tokens of the target, and how large a part of it each draw looks at."""

    config: AdviseOptions
    place: Workplace
    source: Source
    target: LanguageModel
    sequences: Sequence[TokenSequence]

    @cached_property
    def options(self) -> CompareOptions:
        """Those of the comparison that each draw is."""
        config = self.config
        named = config.methods or TRIED
        shared = vars(cut(config, HardwareOptions)) | vars(cut(config, Rows))
        return CompareOptions(
            test=None,
            methods=(SAFE, *named) if self.source.targets is not None else named,
            keep=config.keep or KEEP,
            proxy=config.proxy,
            target=config.target,
            similar_to=config.similar_to,
            seeds=1,
            **shared,
        )

    @cached_property
    def role(self) -> Role:
        """The target's."""
        return target_of(self.options)

    @cached_property
    def tokens(self) -> Tensor:
        """Of each conversation (n,)."""
        return token_counts(self.sequences)

    @cached_property
    def fractions(self) -> tuple[float, ...]:
        """The budgets, as fractions of the tokens.

        Raises:
            ParameterError: a budget that is no part of the tokens.
        """
        found = [TokenBudget.parse(each).value for each in self.options.keep]
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
        names = {RANDOM, LONGEST, *self.options.named}
        return len(names) + (self.epochs > 1)

    @property
    def epochs(self) -> int:
        """Passes of a tuning over its budget."""
        return self.role.epochs or EPOCHS

    @cached_property
    def part(self) -> int:
        """Tokens of the part that each draw looks at.

        As many as the share of the cost that the pilot may take allows; but enough for `STEPS`
        steps and for the longest conversation at the smallest budget, where the pool has them.
        """
        total, longest = int(self.tokens.sum()), int(self.tokens.max())
        affordable = self.config.pilot_share * total / self._tunings
        batch = int(self.role.options.get("batch_tokens", BATCH_TOKENS))
        least = ROOM * max(STEPS * max(batch, longest) / self.epochs, longest) / self.fractions[0]
        return min(int(LARGEST_PART * total), int(max(affordable, least)))

    @property
    def _tunings(self) -> float:
        """All tunings, in parts whose tokens are tuned on as often as the pool's would be."""
        search = 0 if self.role.lr is not None else SEARCH * self.fractions[0]
        return DRAWS * self.arms * sum(self.fractions) + search

    @property
    def share(self) -> float:
        """The expected cost of all tunings, as a fraction of that of tuning on everything."""
        return self._tunings * self.part / int(self.tokens.sum())

    @cached_property
    def batch_tokens(self) -> int:
        """Tokens of a step: those that were given; or so few that there are `STEPS` steps."""
        given = self.role.options.get("batch_tokens")
        fits = int(self.epochs * self.fractions[0] * self.part / ROOM) // STEPS
        return int(given or min(BATCH_TOKENS, max(fits, int(self.tokens.max()))))

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
        n = len(self.sequences)
        order = torch.randperm(n, generator=generator(self.config.seed, "pilot"))
        budget = max(self.fractions) * self.part
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for draw in range(DRAWS):
            rolled = order.roll(-(draw * n // DRAWS))
            ahead = self.tokens[rolled].cumsum(0)
            count = min(n // 5, max(FEWEST_HELD, int((ahead <= budget).sum())))
            held, rest = rolled[:count], rolled[count:]
            rest = rest[self.tokens[rest].cumsum(0) <= self.part].sort().values
            copies = alike(self.source.take(rest.numpy()), self.source.take(held.numpy()))
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
        place = self.place
        options = {**self.role.options, "batch_tokens": self.batch_tokens}
        role = replace(self.role, options=options)
        for at, held in self.draws:
            tokens = self.tokens[at]
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
                    f"but the longest conversation has {int(self.tokens.max()):,}",
                    "Give a larger share, or cut conversations with "
                    "--set target.options.length=512",
                )
            judges = [self.sequences[place] for place in held.tolist()]
            bench = TuningBench(
                options=self.options,
                config=self.options,
                place=place,
                source=self.source.take(at.numpy()),
                target=self.target,
                role=role,
                sequences=[self.sequences[place] for place in at.tolist()],
                held_out=HeldOut.of(judges, choices=True),
                budgets=tuple(budgets),
            )
            role = replace(role, lr=bench.rate[0])  # it is the same in all draws
            place = place.saying(lambda _: None)  # and so is what is said
            yield bench
