"""What each seed of an online comparison trains on: members, irreducible losses, core-sets."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from keepers import methods, processes
from keepers.baselines import SVP
from keepers.data import Source
from keepers.errors import renamed
from keepers.experiments.corruption import duplicated
from keepers.ledger import Cost
from keepers.models import default_proxy
from keepers.random import derived_seed, generator
from keepers.roles import Role, prepare
from keepers.runs import StageRecord
from keepers.signals import store
from keepers.types import Budget
from keepers.workflows.irreducible import Irreducible, cost_of, make_losses
from keepers.workflows.options.compare_online import CompareOnlineConfig
from keepers.workflows.options.irreducible import OF_IRREDUCIBLE
from keepers.workflows.stages import Training, train
from keepers.workflows.workplace import Workplace

NOTHING = Cost(phase="preparation")


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """What one seed trains on: the members, and the irreducible losses where they are needed.

    `size` is what a pass over the data is counted by, also where only a part is trained on.
    `cost` is that of the irreducible losses, None where it is not known.
    """

    seed: int
    members: Tensor
    size: int
    irreducible: Irreducible | None
    values: Tensor | None
    cost: Cost | None
    marks: dict[str, Tensor]

    def without_losses(self) -> Given:
        """The same for a method that has no use for them: its stages do not hang on them."""
        return replace(self, irreducible=None, values=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Supply:
    """The data as they are trained on, and where irreducible losses come from."""

    config: CompareOnlineConfig
    place: Workplace
    source: Source
    marks: dict[str, Tensor]
    losses: Irreducible | None
    holdout: Any

    def given(self, seed: int) -> Given:
        """The members of one seed; its irreducible losses are made, or those given are used."""
        irreducible, values, cost = None, None, NOTHING
        members = torch.arange(len(self.source))
        if self.config.with_irreducible:
            irreducible, cost = self._irreducible(seed)
            members = irreducible.members
            values = irreducible.by_position(self.source)
        marks = {**self.marks}
        repeated, copied = duplicated(members, self.config.corruption())
        if len(repeated) > len(members):
            marks["duplicated"] = torch.zeros(len(self.source), dtype=torch.bool)
            marks["duplicated"][members] = copied
        return Given(
            seed=seed,
            members=repeated,
            size=len(repeated),
            irreducible=irreducible,
            values=values,
            cost=cost,
            marks=marks,
        )

    def _irreducible(self, seed: int) -> tuple[Irreducible, Cost | None]:
        if self.losses is not None:
            return self.losses, cost_of(self.losses.losses.metadata)
        own = self.place.aside()
        with renamed(OF_IRREDUCIBLE):
            made = make_losses(self.source, self.holdout, self.config.irreducible(seed), own)
        self.place.ledger.book(own.ledger.costs)
        return made, cost_of(made.losses.metadata)

    def core_set(self, given: Given) -> tuple[Given, Cost]:
        """The members of the highest entropy under a proxy, chosen once, and what it cost."""
        method = methods.get("entropy")
        role = Role.parse(self.config.proxy, default_proxy(self.source.info(), in_steps=True))
        _, prepared = prepare(
            role, self.source, cache=self.place.run.path / "encoded", progress=self.place.progress
        )
        training = Training(
            prepared=prepared,
            source=self.source,
            members=given.members,
            seed=derived_seed(given.seed, "proxy"),
            wanted=frozenset({"log_probs"}),
        )
        trained = train(self.place, training)
        k = Budget.parse(self.config.keep).resolve(len(given.members))

        def compute(folder: Path) -> StageRecord:
            start = time.perf_counter()
            signals = trained.signals.at(given.members)
            draw = generator(given.seed, "select", SVP)
            picks, _ = methods.choose(method, [signals], k, generator=draw)
            cost = Cost(phase="selecting", seconds=time.perf_counter() - start, examples=k)
            if processes.rank() == 0:
                store.clear(folder)
                store.write(folder, {"positions": given.members[picks.positions]})
            return StageRecord(costs=(cost,))

        inputs = {**training.inputs(self.place.hardware), "method": method.identity(), "k": k}
        folder, record = self.place.stage("selection", inputs, compute)
        chosen = store.read(folder)["positions"].sort().values
        return replace(given, members=chosen), sum((*trained.costs, *record.costs), NOTHING)
