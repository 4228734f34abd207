"""The trials of a simulation: the targets that are trained on what each campaign labelled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
from torch import Tensor

from keepers import methods
from keepers.baselines import RANDOM
from keepers.data import Source
from keepers.experiments.convergence import Check, convergence
from keepers.experiments.simulate_budgets import Budgets
from keepers.experiments.simulate_oracle import Oracle, round_seed
from keepers.experiments.simulate_rounds import PlayedRound, Rounds
from keepers.experiments.summary import ChoiceTrial, Chooser
from keepers.ledger import Cost, Ledger
from keepers.random import derived_seed
from keepers.roles import encode_like, prepare
from keepers.runs import StageRecord
from keepers.workflows.active.asking import training_of
from keepers.workflows.active.brought import feature_column
from keepers.workflows.options.simulate import SimulateConfig
from keepers.workflows.stages import Tested, Training, train
from keepers.workflows.workplace import Workplace


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """Where the campaigns of a simulation run, and what they leave: picks, agreement, costs,
    and what `auto` took.

    `costs` are by the stage in which they were paid.
    """

    rounds: Rounds
    encoding: Cost
    costs: dict[str, tuple[Cost, ...]] = field(default_factory=dict[str, tuple[Cost, ...]])
    picks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    agreement: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    auto: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @classmethod
    def prepare(
        cls,
        data: Any,
        source: Source,
        test: Source,
        config: SimulateConfig,
        place: Workplace,
    ) -> Bench:
        """Encode everything once, for the proxy and for the target.

        `data` is what the pool was read from: a column of features is read there, too.
        """
        oracle = Oracle.of(source)
        cache = place.run.path / "encoded"
        aside = place.aside()
        pool, proxy = aside.encode(config.choosing.role(source.info()), oracle.pool)
        inputs = {"pool": pool.fingerprint, "role": proxy.role.identity()}
        _, encoded = place.run.stage(  # found again, it is charged what it took the first time
            "encoding", inputs, lambda _: StageRecord(costs=tuple(aside.ledger.costs))
        )
        if len(pool) < len(source):
            kept = {position: row for row, position in enumerate(source.rows.tolist())}
            oracle = Oracle.of(source.take([kept[row] for row in pool.rows.tolist()]))
        _, target = prepare(
            config.target_role(pool.info()),
            pool,
            parameter="target",
            cache=cache,
            progress=place.progress,
        )
        view = encode_like(target, test, on_bad_row=place.on_bad_row, cache=cache / "test")
        rounds = Rounds(
            config=config,
            budgets=Budgets.resolve(config, len(pool)),
            place=place,
            oracle=replace(oracle, pool=pool),
            proxy=proxy,
            target=target,
            test=Tested(view=view, fingerprint=test.fingerprint),
            column=feature_column(config.choosing.features, pool, (pool, data)),
        )
        return cls(rounds=rounds, encoding=encoded.costs[0], costs={"encoding": encoded.costs})

    @property
    def pool(self) -> Source:
        """The pool, without labels."""
        return self.rounds.oracle.pool

    def trials(self, seeds: Iterable[int]) -> Iterator[ChoiceTrial]:
        """Every trial, seed by seed, so that an interrupted simulation has whole seeds."""
        config = self.rounds.config
        for seed in seeds:
            yield from self._campaign(seed, RANDOM, None)
            for name in config.methods:
                if name == RANDOM:
                    continue
                selector = self.selector(name)
                yield from self._campaign(seed, name, selector)
                if selector and config.with_target:
                    yield from self._campaign(seed, name, "target")

    def selector(self, name: str) -> Chooser | None:
        """Who selects by a method; None where it asks no model."""
        needs = methods.get(self.rounds.config.of_method(name).asking).needs
        return "proxy" if needs else None

    def _campaign(self, seed: int, method: str, selector: Chooser | None) -> Iterator[ChoiceTrial]:
        budgets = self.rounds.budgets
        steps = self.rounds.steps(seed, method, selector)
        self._keep(seed, method, selector, steps)
        before = self.rounds.features_costs(method)
        self.costs.update(before)
        spent = sum((cost for costs in before.values() for cost in costs), Cost(phase="selection"))
        if selector == "proxy":
            spent = spent + self.encoding
        repeated = 0
        for number, step in enumerate(steps):
            after = steps[number + 1] if number + 1 < len(steps) else None
            spent = spent + step.selection
            repeated += step.near_duplicates
            self.costs.update(step.stages)
            k = len(step.members)
            if k not in budgets.measured:
                continue
            facts, cost = after.seen if after and after.seen else self._target(seed, step)
            yield ChoiceTrial(
                method=method,
                selector=selector,
                keep=k / len(self.pool),
                k=k,
                seed=seed,
                test_error=facts["test_error"],
                worst_class_error=facts["worst_class_error"],
                selection=spent,
                target=cost,
                near_duplicates=repeated,
            )

    def convergence(self) -> list[Check]:
        """Whether the targets of the first seed had converged, on what random labelled."""
        steps = self.rounds.steps(0, RANDOM, None)
        measured = [step for step in steps if len(step.members) in self.rounds.budgets.measured]
        trainings = {len(step.members): self._target_training(0, step) for step in measured}
        return convergence(self.rounds.place, trainings)

    def _target(self, seed: int, step: PlayedRound) -> tuple[dict[str, float], Cost]:
        """The target, trained from scratch on what is labelled, and tested."""
        trained = train(self.rounds.place, self._target_training(seed, step))
        return trained.facts, trained.costs[0]

    def _target_training(self, seed: int, step: PlayedRound) -> Training:
        """The training of the target on what is labelled.

        Its seed is that with which the next round would train it as a selector: then one training
        serves both.
        """
        rounds = self.rounds
        return training_of(
            rounds.target,
            rounds.oracle.label(step.members),
            seed=derived_seed(round_seed(seed, step.number + 1), "proxy", 0),
            test=rounds.test,
            role="target",
        )

    def _keep(
        self, seed: int, method: str, selector: Chooser | None, steps: list[PlayedRound]
    ) -> None:
        labelled = 0
        for step in steps:
            about = {"seed": seed, "method": method, "selector": selector, "round": step.number}
            if step.auto is not None:
                self.auto.append(about | {"k": labelled} | {"taken": step.auto})
            if step.agreement is not None:
                self.agreement.append(about | {"k": labelled} | step.agreement)
            labelled = len(step.members)
            self.picks.append(about | {"positions": step.positions})

    def picks_table(self) -> Any:
        """Every pick of every campaign: seed, method, selector, round, rank and id."""
        ids = self.pool.ids
        columns: dict[str, list[Any]] = {
            name: [] for name in ("seed", "method", "selector", "round", "rank", "id")
        }
        for pick in self.picks:
            positions: Tensor = pick["positions"]
            count = len(positions)
            for name in ("seed", "method", "selector", "round"):
                columns[name] += [pick[name]] * count
            columns["rank"] += list(range(count))
            columns["id"] += ids[positions.numpy()].tolist()
        selectors = pa.array(columns["selector"], pa.string())
        return pa.table({**columns, "selector": selectors})

    def by_phase(self) -> list[Cost]:
        """What the simulation took; a training that several campaigns share counts once."""
        stages = self.costs | self.rounds.place.ledger.stages  # there: the targets
        return Ledger([cost for costs in stages.values() for cost in costs]).by_phase()
