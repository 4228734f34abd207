"""The trials of a comparison of conversations: a language model tuned on as many tokens of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from keepers.experiments.tuning_target import budgets_of, lowest, target_of
from keepers.ledger import Cost, Ledger
from keepers.models import LanguageModel, TokenSequence, language_model
from keepers.random import derived_seed, generator
from keepers.roles import Role
from keepers.runs import StageRecord
from keepers.training import TuningRecipe, tune
from keepers.types import Picks
from keepers.workflows.conversations import as_tokens, token_counts
from keepers.workflows.options.compare import CompareConfig, CompareOptions
from keepers.workflows.options.shared import AUTO
from keepers.workflows.workplace import Workplace

EPOCHS = 3
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
    """The pool and the held-out conversations as tokens of the target, and where stages run."""

    options: CompareOptions
    config: CompareConfig
    place: Workplace
    source: Source
    target: LanguageModel
    role: Role
    sequences: Sequence[TokenSequence]
    held_out: HeldOut
    budgets: tuple[int, ...]

    @classmethod
    def prepare(
        cls,
        source: Source,
        test: Source,
        options: CompareOptions,
        config: CompareConfig,
        place: Workplace,
    ) -> TuningBench:
        """Open the target, and write everything as its tokens.

        Raises:
            ParameterError: no target that is a causal language model, options that it does not
                take, or budgets that are no tokens.
            DataError: conversations that its template cannot write.
        """
        role = target_of(config)
        target = language_model(role.model, "target", length=role.options.get("length"))
        source, sequences = as_tokens(source, target, place.on_bad_row, place.say, "target")
        _, held = as_tokens(test, target, place.on_bad_row, place.say, "target")
        return cls(
            options=options,
            config=config,
            place=place,
            source=source,
            target=target,
            role=role,
            sequences=sequences,
            held_out=HeldOut.of(held, choices=True),
            budgets=budgets_of(config, token_counts(sequences)),
        )

    @cached_property
    def tokens(self) -> Tensor:
        """Of each conversation of the pool (n,)."""
        return token_counts(self.sequences)

    @property
    def epochs(self) -> int:
        """How often a choice that fills its budget is seen."""
        return self.role.epochs or EPOCHS

    @cached_property
    def batch_tokens(self) -> int:
        """Tokens of a step; no conversation has more."""
        wanted = int(self.role.options.get("batch_tokens", BATCH_TOKENS))
        return max(wanted, int(self.tokens.max()))

    @cached_property
    def chooser(self) -> TokenChooser:
        """What methods choose."""
        return TokenChooser(
            options=self.options,
            config=self.config,
            place=self.place,
            source=self.source,
            target=self.target,
            role=self.role,
            tokens=self.tokens,
        )

    @cached_property
    def named(self) -> tuple[str, ...]:
        """The methods beside the baselines; `auto` is what a core-set of conversations takes."""
        found = [SAFE if name == AUTO else name for name in self.config.methods]
        if self.source.targets is None and AUTO in self.config.methods:
            found.remove(SAFE)  # it is random
        return tuple(name for name in dict.fromkeys(found) if name not in (RANDOM, LONGEST))

    @cached_property
    def rate(self) -> tuple[float, dict[float, float]]:
        """The learning rate, and the losses of those that were tried.

        A random part of the smallest budget is tuned on, and other conversations of the pool are
        measured: the held-out ones have no say. One rate serves all trials.
        """
        if self.role.lr is not None:
            return self.role.lr, {}
        n = len(self.sequences)
        order = torch.randperm(n, generator=generator(0, "learning rate"))
        aside = min(len(self.held_out.sequences), max(1, n // 5))
        measured = HeldOut.of([self.sequences[at] for at in order[:aside].tolist()], choices=False)
        left = order[aside:]
        fit = int((self.tokens[left].cumsum(0) <= self.budgets[0]).sum())
        members = left[: max(1, fit)]

        def loss_at(lr: float) -> float:
            try:
                trial = self._tuned(members, self.epochs * self.budgets[0], 0, lr, measured)
            except KeepersError:
                return float("inf")
            return trial[0]["loss"]

        found = lowest(RATES, FIRST, loss_at)
        best = min(found, key=lambda rate: found[rate])
        tried = ", ".join(f"{rate:g} ({found[rate]:.3f})" for rate in sorted(found))
        self.place.say(
            f"Learning rate {best:g}: the best for a random part, by the loss on {aside} other "
            f"conversations of the pool: {tried}"
        )
        return best, found

    def before(self) -> Measure:
        """How good the target is as it is."""

        def compute(folder: Path) -> StageRecord:
            found = self.held_out.measure(self.target, self._runtime)
            return StageRecord(facts=asdict(found))

        inputs = {
            "model": self.target.fingerprint,
            "held out": self.held_out.fingerprint,
            "hardware": self.place.hardware.identity(gains_from_bf16=True),
        }
        _, record = self.place.run.stage("untuned", inputs, compute)
        return Measure(**record.facts)

    def trials(self) -> Iterator[TuningTrial]:
        """Every trial, seed by seed, so that an interrupted comparison has whole seeds."""
        for seed in range(self.config.seeds):
            for budget in self.budgets:
                for name in (RANDOM, LONGEST, *self.named):
                    picks, cost = self.chooser.choice(name, budget, seed)
                    yield self._trial(name, picks, budget, seed, selection=cost)
                if self.epochs > 1:  # in one pass it is random
                    yield self._trial(EVERYTHING, self._all, budget, seed)
            if self.config.with_everything:
                yield self._trial(WHOLE, self._all, int(self.tokens.sum()), seed)

    @property
    def _all(self) -> Picks:
        return Picks(positions=torch.arange(len(self.sequences)))

    def _trial(
        self, name: str, picks: Picks, budget: int, seed: int, *, selection: Cost = NO_COST
    ) -> TuningTrial:
        members = picks.positions.sort().values
        weights = None
        if picks.weights is not None:
            weights = torch.zeros(len(self.sequences), dtype=torch.float64)
            weights[picks.positions] = picks.weights.double()
        facts, cost = self._tuned(
            members,
            self.epochs * budget,
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
            keep=budget / int(self.tokens.sum()),
            rows=len(members),
            held=int(self.tokens[members].sum()),
            measure=Measure(**measure),
            selection=selection,
            **{key: facts[key] for key in names},
        )

    @property
    def _runtime(self) -> Any:
        return self.place.hardware.runtime(gains_from_bf16=True)

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
            weight_decay=self.role.weight_decay or 0.0,
        )

        def compute(folder: Path) -> StageRecord:
            ledger = Ledger()
            with ledger.phase("tuning the target") as tally:
                tuned = tune(
                    self.target,
                    self.sequences,
                    members,
                    total,
                    recipe,
                    seed=seed,
                    runtime=self._runtime,
                    weights=weights,
                    progress=self.place.progress,
                    what="tuning the target",
                )
                tally.examples, tally.steps = tuned.examples, tuned.steps
                tally.flops = tuned.flops
            facts = asdict(held_out.measure(tuned.model, self._runtime))
            facts |= {"tokens": tuned.tokens, "answer_tokens": tuned.answer_tokens}
            return StageRecord(costs=tuple(ledger.costs), facts=facts)

        inputs = {
            "data": self.source.content,
            "model": self.target.fingerprint,
            "members": members.tolist(),
            "weights": None if weights is None else weights[members].tolist(),
            "total": total,
            "recipe": asdict(recipe),
            "seed": seed,
            "held out": held_out.fingerprint,
            "hardware": self.place.hardware.identity(gains_from_bf16=True),
        }
        _, record = self.place.stage("tuning", inputs, compute)
        return record.facts, record.costs[0]
