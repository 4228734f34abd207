"""What methods choose of conversations within a number of tokens, and what that took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from keepers import methods, processes
from keepers.data import Source
from keepers.experiments.tuning_pool import TuningPool
from keepers.files import hash_bytes
from keepers.ledger import Cost, Ledger
from keepers.models import PROBE, LanguageModel, language_model
from keepers.roles import Role
from keepers.runs import StageRecord
from keepers.signals import store
from keepers.types import Picks, TokenBudget
from keepers.workflows.coreset import choose
from keepers.workflows.options.coreset import CoresetOptions
from keepers.workflows.readings import COMPARED
from keepers.workflows.scoring import Scored, score_source
from keepers.workflows.token_budgets import within_tokens


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenChooser:
    """What methods choose of a pool, and the model that they ask."""

    pool: TuningPool

    def choice(self, name: str, budget: int, seed: int) -> tuple[Picks, Cost]:
        """What a method picks within the budget, and what that took, the proxy included."""
        pool = self.pool
        scored, cost = self._scored(name)
        positions = _positions(scored.source, pool.source)
        given = self._chosen_by(name, seed)

        def compute(folder: Path) -> StageRecord:
            start = time.perf_counter()
            with pool.place.under_way(f"selecting by {name}") as report:
                picks, _ = within_tokens(
                    lambda k: choose(scored, given, k, report),
                    pool.tokens[positions[scored.candidates]],
                    TokenBudget(budget),
                )
            took = Cost(phase="selecting", seconds=time.perf_counter() - start)
            if processes.rank() == 0:
                store.clear(folder)
                weights = {} if picks.weights is None else {"weights": picks.weights}
                at = positions[scored.candidates[picks.positions]]
                store.write(folder, {"positions": at, **weights})
            return StageRecord(costs=(took,))

        inputs = {
            "data": pool.source.fingerprint,
            "method": scored.method.identity(),
            "options": methods.settings(scored.method, given.method_options),
            "read": {key: hash_bytes(value.numpy()) for key, value in scored.members[0].items()},
            "tokens": hash_bytes(pool.tokens.numpy()),
            "min_per_class": given.least(pool.source.task.floor),
            "balance": given.balance,
            "budget": budget,
            "seed": seed,
        }
        folder, record = pool.place.stage("selection", inputs, compute)
        arrays = store.read(folder)
        picks = Picks(positions=arrays["positions"], weights=arrays.get("weights"))
        return picks, Cost(phase="selection") + cost.total() + record.costs[0]

    def proxy_of(self, names: Sequence[str]) -> str | None:
        """The model that is read, None where none of the methods asks one."""
        return self._proxy.model if any(map(_asks, names)) else None

    @cached_property
    def _proxy(self) -> Role:
        """What reads for methods that ask a model: the target as it is, unless one is named."""
        return Role.parse(self.pool.options.proxy, self.pool.role.model)

    @cached_property
    def _reader(self) -> LanguageModel:
        """The proxy, opened once; the target itself where no other is named."""
        if self.pool.options.proxy is None:
            return self.pool.target
        role = self._proxy
        return language_model(role.model, "proxy", length=role.options.get("length"))

    def _chosen_by(self, name: str, seed: int) -> CoresetOptions:
        """The options of a core-set by a method."""
        options, role, target = self.pool.options, self._proxy, self.pool.role
        if options.proxy is None and "length" in target.options:
            role = replace(role, options={"length": target.options["length"]})
        asks = _asks(name)
        return CoresetOptions(
            method=name,
            method_options=options.method_options.get(name),
            proxy=role if asks else None,
            balance=options.balance,
            min_per_class=options.min_per_class,
            similar_to=options.similar_to if asks & COMPARED else None,
            on_bad_row=options.on_bad_row,
            device=options.device,
            precision=options.precision,
            seed=seed,
        )

    def _scored(self, name: str) -> tuple[Scored, Ledger]:
        """What the proxy says, read once for all seeds and methods, and what reading it took."""
        known = self._read
        if name not in known:
            own = self.pool.place.aside()
            given = self._chosen_by(name, 0)
            own_model = _asks(name) and not self._proxy.model.startswith(PROBE)
            model = self._reader if own_model else None
            scored = score_source(self.pool.source, given, own, language=model)
            known[name] = scored, own.ledger
            shared = self.pool.place.ledger
            for stage, costs in own.ledger.stages.items():
                if stage not in shared.stages:
                    shared.book(costs, stage)
            shared.book(own.ledger.own)
        return known[name]

    @cached_property
    def _read(self) -> dict[str, tuple[Scored, Ledger]]:
        return {}


def _asks(name: str) -> frozenset[str]:
    """What a method asks of a model."""
    return methods.get(name).needs - {"labels", "lengths"}


def _positions(part: Source, whole: Source) -> Tensor:
    """Where the examples of a part stand in the whole."""
    place = {row: at for at, row in enumerate(whole.rows.tolist())}
    return torch.tensor([place[row] for row in part.rows.tolist()], dtype=torch.int64)
