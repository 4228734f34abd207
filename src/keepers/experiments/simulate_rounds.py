"""The rounds of a simulation: what a method picks, with an oracle that labels only that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers import methods, processes
from keepers.baselines import RANDOM
from keepers.experiments.simulate_budgets import Budgets
from keepers.experiments.simulate_oracle import Oracle, round_seed
from keepers.experiments.summary import Chooser
from keepers.files import hash_bytes
from keepers.ledger import Cost
from keepers.roles import Prepared, prepare
from keepers.runs import StageRecord
from keepers.signals import store
from keepers.tasks import Tags
from keepers.workflows.active import neighbour_index
from keepers.workflows.active.asking import Labelled
from keepers.workflows.active.auto import settled
from keepers.workflows.active.embedding import embedding
from keepers.workflows.active.measuring import fidelity
from keepers.workflows.active.planning import Proposal, propose
from keepers.workflows.auto import stand_in
from keepers.workflows.options.active import ActiveConfig
from keepers.workflows.options.simulate import SimulateConfig
from keepers.workflows.stages import Tested
from keepers.workflows.workplace import Workplace

AGREEMENT = "agreement"
"""The phase of what measures the agreement of proxy and target, which no selection is charged."""

AGREEMENT_SEEDS = 1
"""Seeds on whose labelled sets it is measured: each costs two more proxies and two targets."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlayedRound:
    """A round that was simulated.

    `positions` are its picks in their order, `members` all that is labelled after it. `stages`:
    what it cost, by the stage in which it was paid; rounds of several methods share trainings.
    `seen`: the test error and the cost of the target where the target itself was trained to
    select, on what was labelled before. `auto`: the method it took and why, where it was asked.
    """

    number: int
    positions: Tensor
    members: Tensor
    stages: Mapping[str, tuple[Cost, ...]]
    near_duplicates: int = 0
    seen: tuple[dict[str, float], Cost] | None = None
    agreement: dict[str, Any] | None = None
    auto: dict[str, Any] | None = None

    @property
    def selection(self) -> Cost:
        """What choosing cost: training, scoring and ranking."""
        costs = [cost for costs in self.stages.values() for cost in costs]
        return sum(
            (cost for cost in costs if cost.phase != AGREEMENT), start=Cost(phase="selection")
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Rounds:
    """The pool, its oracle, and the models that select.

    `column` (n, d): features that the data bring themselves, where a column was named.
    """

    config: SimulateConfig
    budgets: Budgets
    place: Workplace
    oracle: Oracle
    proxy: Prepared
    target: Prepared
    test: Tested
    column: npt.NDArray[np.float32] | None = None

    @cached_property
    def embedded(self) -> tuple[Tensor, Cost]:
        """Features that need no labels, and what they cost; all seeds and methods share them."""
        aside = self._aside()
        features = embedding(
            self.oracle.pool,
            self.config.choosing,
            aside,
            proxy=lambda: self.proxy,
            given=self.column,
        )
        return features, aside.ledger.total("features")

    @cached_property
    def simple(self) -> Prepared:
        """The model by which `auto` judges what a network can know."""
        cache = self.place.run.path / "encoded"
        return prepare(stand_in(self.oracle.pool), self.oracle.pool, cache=cache)[1]

    @cached_property
    def index(self) -> tuple[neighbour_index.Index | None, Cost]:
        """What neighbours are found by, in a large pool, and what it cost."""
        aside, choosing = self._aside(), self.config.choosing
        assert choosing.neighbours is not None
        features = self.embedded[0]
        made = neighbour_index.made(features, aside, choosing.seed, choosing.neighbours)
        return made, aside.ledger.total(neighbour_index.NEIGHBOURS)

    def _lists_searched(self, config: ActiveConfig) -> int | None:
        """How neighbours are found by the index; None where they are not."""
        index = None if config.neighbours is None else self.index[0]
        return index.lists if index is not None and index.serves else None

    def features_costs(self, method: str) -> dict[str, tuple[Cost, ...]]:
        """What a campaign by this method pays for them and their index."""
        config = self.config.of_method(method)
        found: dict[str, tuple[Cost, ...]] = {}
        if _uses_features(config):
            found["features"] = (self.embedded[1],)
        if config.neighbours is not None:
            found[neighbour_index.INDEX] = (self.index[1],)
        return found

    def steps(self, seed: int, method: str, selector: Chooser | None) -> list[PlayedRound]:
        """Every round of one campaign, from the initial labels on."""
        config = self.config.of_method(method)
        if _uses_features(config):
            _ = self.embedded  # made now, so that no round is charged for it
        if config.neighbours is not None:
            _ = self.index
        start = self.config.of_method(RANDOM) if config.cold == "random" else config
        members = torch.empty(0, dtype=torch.int64)
        found: list[PlayedRound] = []
        for number, k in enumerate((self.budgets.initial, *self.budgets.rounds)):
            step = self._step(
                seed,
                number,
                members,
                k - len(members),
                config if number else start,
                selector if number else None,
            )
            members = step.members
            found.append(step)
        return found

    def _step(
        self,
        seed: int,
        number: int,
        members: Tensor,
        k: int,
        config: ActiveConfig,
        selector: Chooser | None,
    ) -> PlayedRound:
        known, judging = self.oracle.label(members), self._aside()
        config, why = settled(
            known,
            config,
            judging,
            proxy=lambda: self.proxy,
            simple=lambda: self.simple,
            seed=round_seed(seed, number),
            k=k,
        )
        method = methods.get(config.method)
        prepared = self.target if selector == "target" else self.proxy
        alone = (config.ensemble or method.default_ensemble) == 1
        test = None
        if selector == "target" and alone and len(members) in self.budgets.measured:
            test = self.test
        agreement = selector == "proxy" and self.config.with_target and seed < AGREEMENT_SEEDS

        def compute(folder: Path) -> StageRecord:
            aside = self._aside()
            proposal = propose(
                known,
                k,
                config,
                aside,
                prepared=lambda: prepared,
                features=lambda: self.embedded[0],
                index=lambda: self.index[0],
                seed=round_seed(seed, number),
                test=test,
            )
            stages = {
                name: [_of_selector(cost, selector) for cost in costs]
                for name, costs in aside.ledger.stages.items()
            }
            facts: dict[str, Any] = {
                "near_duplicates": proposal.near_duplicates,
                "seen": _seen(proposal, test),
                "agreement": None,
            }
            if agreement:
                facts["agreement"], more = self._agreement(proposal, known, config, seed, number)
                stages |= more
            facts["stages"] = {name: list(map(asdict, costs)) for name, costs in stages.items()}
            if processes.rank() == 0:
                store.clear(folder)
                store.write(folder, {"positions": proposal.positions})
            return StageRecord(facts=facts, costs=aside.ledger.own)

        inputs: dict[str, Any] = {
            "pool": self.oracle.pool.fingerprint,
            "labels": hash_bytes(
                known.labels.numpy() if isinstance(known.labels, Tags) else known.labels
            ),
            "k": k,
            "seed": round_seed(seed, number),
            "choosing": self._identity(config, selector),
            "facts": 2,  # the form of what is written down
            "role": prepared.role.identity() if selector else None,
            "model": prepared.fingerprint if selector else None,
            "test": test.fingerprint if test else None,
            "agreement": self.target.role.identity() if agreement else None,
            "hardware": self.place.hardware.identity(gains_from_bf16=prepared.recipe.bf16),
        }
        folder, record = self.place.run.stage("round", inputs, compute)
        positions = store.read(folder)["positions"]
        seen = record.facts["seen"]
        stages = {
            name: tuple(Cost(**cost) for cost in costs)
            for name, costs in record.facts["stages"].items()
        }
        return PlayedRound(
            number=number,
            positions=positions,
            members=torch.cat([members, positions]),
            stages={**judging.ledger.stages, **stages, folder.name: record.costs},
            near_duplicates=record.facts["near_duplicates"],
            seen=None if seen is None else (seen, _training(stages)),
            agreement=record.facts["agreement"],
            auto=None if why is None else {"method": method.name, "why": why},
        )

    def _identity(self, config: ActiveConfig, selector: Chooser | None) -> dict[str, Any]:
        """What a pick depends on, beside the data and the model."""
        names = ["cold", "distinct", "neighbours", "balance"]
        names += ["ensemble", "samples"] if selector else []
        method = methods.get(config.method)
        found: dict[str, Any] = {name: getattr(config, name) for name in names}
        return found | {
            "method": method.identity(),
            "options": methods.settings(method, config.method_options),
            "selector": selector,
            "features": self._embedding(config),
            "indexed": self._lists_searched(config),
        }

    def _embedding(self, config: ActiveConfig) -> str | None:
        """The model of the features, or a hash of given features; None if no method reads any."""
        if not _uses_features(config):
            return None
        return config.features if self.column is None else hash_bytes(self.column)

    def _agreement(
        self, proposal: Proposal, known: Labelled, config: ActiveConfig, seed: int, number: int
    ) -> tuple[dict[str, Any] | None, dict[str, list[Cost]]]:
        aside = self._aside()
        found = fidelity(
            proposal.opinion,
            known,
            config,
            aside,
            proxy=self.proxy,
            target=lambda: self.target,
            seed=round_seed(seed, number),
        )
        return found, {
            name: [replace(cost, phase=AGREEMENT) for cost in costs]
            for name, costs in aside.ledger.stages.items()
        }

    def _aside(self) -> Workplace:
        """The same place with a ledger of its own."""
        return self.place.aside()


def _uses_features(config: ActiveConfig) -> bool:
    """Whether a campaign looks at features that need no labels."""
    filtered = config.distinct not in (None, 1.0)
    return filtered or config.neighbours is not None or config.cold != "random"


def _of_selector(cost: Cost, selector: Chooser | None) -> Cost:
    """A phase by the name of the role that selected."""
    if selector == "target" and cost.phase == "proxy training":
        return replace(cost, phase="target training")
    return cost


def _training(stages: Mapping[str, tuple[Cost, ...]]) -> Cost:
    """The one training of a target that selected alone."""
    costs = (cost for costs in stages.values() for cost in costs)
    return next(cost for cost in costs if cost.phase == "target training")


def _seen(proposal: Proposal, test: Tested | None) -> dict[str, float] | None:
    """Errors of the target that selected, where it was tested."""
    if test is None or not proposal.opinion.trained:
        return None
    facts = proposal.opinion.trained[0].facts
    return {name: facts[name] for name in ("test_error", "worst_class_error")}
