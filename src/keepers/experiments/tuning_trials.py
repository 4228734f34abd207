"""The trials of a comparison of conversations: a language model tuned on as many tokens of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from keepers.baselines import EVERYTHING, LONGEST, RANDOM, SAFE, WHOLE
from keepers.data import Source
from keepers.errors import KeepersError
from keepers.experiments.held_out import HeldOut, Measure
from keepers.experiments.trial import ChosenTrial
from keepers.experiments.tuning_choices import TokenChooser
from keepers.experiments.tuning_pool import TuningPool
from keepers.experiments.tuning_target import budgets_of, lowest
from keepers.ledger import Cost, Ledger
from keepers.random import derived_seed, generator
from keepers.runs import StageRecord
from keepers.training import TuningRecipe, tune
from keepers.types import Picks
from keepers.workflows.conversations import as_tokens
from keepers.workflows.options.compare import CompareOptions
from keepers.workflows.options.shared import AUTO
from keepers.workflows.workplace import Workplace

BATCH_TOKENS = 4096
RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
FIRST = 1e-4
"""The learning rates, and the one that is tried first."""
NO_COST = Cost(phase="selection")


@dataclass(frozen=True, kw_only=True)
class TuningTrial(ChosenTrial):
    """A target tuned on one choice of `budget` tokens, of which it is `keep` of the pool.

    `rows` and `held` are the conversations and the tokens of the choice, `tokens` those that the
    target was tuned on, `answer_tokens` those of them that it learnt.
    """

    budget: int
    keep: float
    rows: int
    held: int
    tokens: int
    answer_tokens: int
    measure: Measure

    @property
    def way(self) -> tuple[Any, ...]:
        """Method and budget."""
        return (self.method, self.budget)


@dataclass(frozen=True, kw_only=True, eq=False)
class TuningBench:
    """The pool, the held-out conversations as tokens of the target, and the budgets in tokens."""

    pool: TuningPool
    held_out: HeldOut
    budgets: tuple[int, ...]

    @classmethod
    def prepare(
        cls, source: Source, test: Source, options: CompareOptions, place: Workplace
    ) -> TuningBench:
        """Open the target, and write everything as its tokens.

        Raises:
            ParameterError: as `TuningPool.open`, or budgets that are no tokens.
            DataError: conversations that its template cannot write.
        """
        pool = TuningPool.open(source, options, place)
        _, held = as_tokens(test, pool.target, place.on_bad_row, place.say, "target")
        budgets = budgets_of(options, pool.tokens)
        return cls(pool=pool, held_out=HeldOut.of(held, choices=True), budgets=budgets)

    @cached_property
    def batch_tokens(self) -> int:
        """Tokens of a step; no conversation has more."""
        wanted = int(self.pool.role.options.get("batch_tokens", BATCH_TOKENS))
        return max(wanted, int(self.pool.tokens.max()))

    @cached_property
    def chooser(self) -> TokenChooser:
        """What methods choose."""
        return TokenChooser(pool=self.pool)

    @cached_property
    def named(self) -> tuple[str, ...]:
        """The methods beside the baselines; `auto` is what a core-set of conversations takes."""
        found = [SAFE if name == AUTO else name for name in self.pool.options.methods]
        if self.pool.source.targets is None and AUTO in self.pool.options.methods:
            found.remove(SAFE)  # it is random
        return tuple(name for name in dict.fromkeys(found) if name not in (RANDOM, LONGEST))

    @cached_property
    def rate(self) -> tuple[float, dict[float, float]]:
        """The learning rate, and the losses of those that were tried.

        A random part of the smallest budget is tuned on, and other conversations of the pool are
        measured: the held-out ones have no say. One rate serves all trials.
        """
        if self.pool.role.lr is not None:
            return self.pool.role.lr, {}
        n = len(self.pool.sequences)
        order = torch.randperm(n, generator=generator(0, "learning rate"))
        aside = min(len(self.held_out.sequences), max(1, n // 5))
        measured = HeldOut.of(
            [self.pool.sequences[at] for at in order[:aside].tolist()], choices=False
        )
        left = order[aside:]
        fit = int((self.pool.tokens[left].cumsum(0) <= self.budgets[0]).sum())
        members = left[: max(1, fit)]

        def loss_at(lr: float) -> float:
            try:
                trial = self._tuned(members, self.pool.epochs * self.budgets[0], 0, lr, measured)
            except KeepersError:
                return float("inf")
            return trial[0]["loss"]

        found = lowest(RATES, FIRST, loss_at)
        best = min(found, key=lambda rate: found[rate])
        tried = ", ".join(f"{rate:g} ({found[rate]:.3f})" for rate in sorted(found))
        self.pool.place.say(
            f"Learning rate {best:g}: the best for a random part, by the loss on {aside} other "
            f"conversations of the pool: {tried}"
        )
        return best, found

    def before(self) -> Measure:
        """How good the target is as it is."""

        def compute(folder: Path) -> StageRecord:
            found = self.held_out.measure(self.pool.target, self._runtime)
            return StageRecord(facts=asdict(found))

        inputs = {
            "model": self.pool.target.fingerprint,
            "held out": self.held_out.fingerprint,
            "hardware": self.pool.place.hardware.identity(gains_from_bf16=True),
        }
        _, record = self.pool.place.run.stage("untuned", inputs, compute)
        return Measure(**record.facts)

    def trials(self) -> Iterator[TuningTrial]:
        """Every trial, seed by seed, so that an interrupted comparison has whole seeds."""
        for seed in range(self.pool.options.seeds):
            for budget in self.budgets:
                for name in (RANDOM, LONGEST, *self.named):
                    picks, cost = self.chooser.choice(name, budget, seed)
                    yield self._trial(name, picks, budget, seed, selection=cost)
                if self.pool.epochs > 1:  # in one pass it is random
                    yield self._trial(EVERYTHING, self._all, budget, seed)
            if self.pool.options.with_everything:
                yield self._trial(WHOLE, self._all, int(self.pool.tokens.sum()), seed)

    @property
    def _all(self) -> Picks:
        return Picks(positions=torch.arange(len(self.pool.sequences)))

    def _trial(
        self, name: str, picks: Picks, budget: int, seed: int, *, selection: Cost = NO_COST
    ) -> TuningTrial:
        members = picks.positions.sort().values
        weights = None
        if picks.weights is not None:
            weights = torch.zeros(len(self.pool.sequences), dtype=torch.float64)
            weights[picks.positions] = picks.weights.double()
        facts, cost = self._tuned(
            members,
            self.pool.epochs * budget,
            derived_seed(seed, "target"),
            self.rate[0],
            self.held_out,
            weights,
        )
        names = ("tokens", "answer_tokens")
        measure = {key: value for key, value in facts.items() if key not in names}
        return TuningTrial(
            method=name,
            seed=seed,
            target=cost,
            budget=budget,
            keep=budget / int(self.pool.tokens.sum()),
            rows=len(members),
            held=int(self.pool.tokens[members].sum()),
            measure=Measure(**measure),
            selection=selection,
            **{key: facts[key] for key in names},
        )

    @property
    def _runtime(self) -> Any:
        return self.pool.place.hardware.runtime(gains_from_bf16=True)

    def _tuned(
        self,
        members: Tensor,
        total: int,
        seed: int,
        lr: float,
        held_out: HeldOut,
        weights: Tensor | None = None,
    ) -> tuple[dict[str, Any], Cost]:
        """What a target that is tuned on the members is worth, found out once, and its cost."""
        recipe = TuningRecipe(
            lr=lr,
            batch_tokens=self.batch_tokens,
            weight_decay=self.pool.role.weight_decay or 0.0,
        )

        def compute(folder: Path) -> StageRecord:
            ledger = Ledger()
            with ledger.phase("tuning the target") as tally:
                tuned = tune(
                    self.pool.target,
                    self.pool.sequences,
                    members,
                    total,
                    recipe,
                    seed=seed,
                    runtime=self._runtime,
                    weights=weights,
                    progress=self.pool.place.progress,
                    what="tuning the target",
                )
                tally.examples, tally.steps = tuned.examples, tuned.steps
                tally.flops = tuned.flops
            facts = asdict(held_out.measure(tuned.model, self._runtime))
            facts |= {"tokens": tuned.tokens, "answer_tokens": tuned.answer_tokens}
            return StageRecord(costs=tuple(ledger.costs), facts=facts)

        inputs = {
            "data": self.pool.source.content,
            "model": self.pool.target.fingerprint,
            "members": members.tolist(),
            "weights": None if weights is None else weights[members].tolist(),
            "total": total,
            "recipe": asdict(recipe),
            "seed": seed,
            "held out": held_out.fingerprint,
            "hardware": self.pool.place.hardware.identity(gains_from_bf16=True),
        }
        _, record = self.pool.place.stage("tuning", inputs, compute)
        return record.facts, record.costs[0]
