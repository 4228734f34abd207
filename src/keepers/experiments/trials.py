"""The trials of a comparison: every target that is trained, and on what."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from keepers import methods, processes
from keepers.baselines import EVERYTHING, FRESH, RANDOM
from keepers.data import Source
from keepers.experiments.convergence import Check, convergence
from keepers.experiments.summary import ChoiceTrial, Chooser
from keepers.ledger import Cost
from keepers.methods import Method
from keepers.models import default_proxy
from keepers.random import derived_seed, generator
from keepers.roles import Prepared, Role, encode_like, prepare
from keepers.runs import StageRecord
from keepers.signals import store
from keepers.statistics import Floats
from keepers.training import BatchPolicy, FreshSubset, Shuffle, Weighted
from keepers.types import Budget, Picks, Signals
from keepers.workflows.auto import Taken, take
from keepers.workflows.offered import needs_steps, row_for, wanted_signals
from keepers.workflows.options.compare import CompareConfig
from keepers.workflows.options.shared import AUTO
from keepers.workflows.stages import Tested, Trained, Training, train
from keepers.workflows.workplace import Workplace

UNCERTAIN = ("entropy", "label-entropy")
NO_COST = Cost(phase="selection")


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """The data, encoded for the proxy and for the target, and where stages run.

    `taken` is what `auto` takes at each budget, where it is asked for.
    """

    config: CompareConfig
    place: Workplace
    source: Source
    changed: Tensor | None
    proxy: Prepared
    encoding: Cost
    target: Prepared
    test: Tested
    taken: Mapping[int, Taken]

    @classmethod
    def prepare(
        cls,
        source: Source,
        test_source: Source,
        changed: Tensor | None,
        config: CompareConfig,
        place: Workplace,
    ) -> Bench:
        """Encode everything once, and ask a pilot where `auto` is among the methods."""
        info = source.info()
        in_steps = config.epochs is not None or any(map(needs_steps, config.named))
        proxy_role = Role.parse(config.proxy, default_proxy(info, in_steps=in_steps)).having(
            epochs=config.epochs, resolution=config.resolution
        )
        target_role = config.target_role(info)
        cache = place.run.path / "encoded"
        before = source.ids
        source, proxy = place.encode(proxy_role, source)
        encoding = place.ledger.total("encoding")
        _, target = prepare(
            target_role, source, parameter="target", cache=cache, progress=place.progress
        )
        if changed is not None and len(source) < len(before):
            changed = changed[torch.from_numpy(np.isin(before, source.ids))]
        taken: dict[int, Taken] = {}
        if AUTO in config.methods:
            taken = take(
                source,
                _budgets(config, len(source)),
                place,
                proxy=proxy.role,  # the choices of a classifier are tried, not those of another
                seed=0,
                balance=config.balance,
                least=config.least(source.task.floor),
                chooser=proxy.role,
            )
            place.ledger.book(each.cost for each in taken.values() if each.pilot)
        return cls(
            config=config,
            place=place,
            source=source,
            changed=changed,
            proxy=proxy,
            encoding=encoding,
            target=target,
            test=Tested(
                view=encode_like(
                    target, test_source, on_bad_row=place.on_bad_row, cache=cache / "test"
                ),
                fingerprint=test_source.fingerprint,
            ),
            taken=taken,
        )

    def trials(self) -> Iterator[ChoiceTrial]:
        """Every trial, seed by seed, so that an interrupted comparison has whole seeds."""
        for seed in range(self.config.seeds):
            yield self._trial(seed, EVERYTHING, torch.arange(len(self.source)), 1.0)
            for k in _budgets(self.config, len(self.source)):
                yield self._trial(seed, RANDOM, self._random(seed, k), k)
                if self.target.classifier is None:  # what has epochs can have a fresh subset each
                    yield self._trial(
                        seed, FRESH, torch.arange(len(self.source)), k, policy=FreshSubset(k)
                    )
                yield from self._selected_trials(seed, k)

    def _random(self, seed: int, k: int) -> Tensor:
        return torch.randperm(len(self.source), generator=generator(seed, RANDOM, k))[:k]

    def convergence(self) -> list[Check]:
        """Whether the targets of the first seed had converged: on random parts, on everything."""
        everything = torch.arange(len(self.source))
        budgets = _budgets(self.config, len(self.source))
        parts = [*(self._random(0, k).sort().values for k in budgets), everything]
        trainings = {len(part): self._target_training(0, part, Shuffle()) for part in parts}
        return convergence(self.place, trainings)

    def _selected_trials(self, seed: int, k: int) -> Iterator[ChoiceTrial]:
        for name in self.config.methods:
            if name == RANDOM:
                continue
            taken = self.taken[k] if name == AUTO else None
            own = name if taken is None else taken.method
            selectors: list[Chooser | None] = ["proxy"]
            if not methods.get(own).needs - {"labels"}:
                selectors = [None]
            elif self.config.with_target and taken is None:
                selectors.append("target")
            for selector in selectors:
                method = self._method(own, selector)
                members, cost = self._members(seed, method, selector)
                picks, record = self._choose(seed, method, selector, members, k)
                cost = cost + record.costs[0]
                yield self._trial(
                    seed,
                    name,
                    picks.positions,
                    k,
                    selector=selector if taken is None else None,
                    taken=taken and taken.method,
                    selection=cost if taken is None else cost + taken.cost,
                    floored=record.facts["floored"],
                    policy=self._weighting(picks),
                )

    def _weighting(self, picks: Picks) -> BatchPolicy | None:
        """How a target is trained on picks that carry weights; None where they carry none."""
        if picks.weights is None:
            return None
        weights = torch.zeros(len(self.source))
        weights[picks.positions] = picks.weights.float()
        return Weighted(weights)

    def _trial(
        self,
        seed: int,
        method: str,
        members: Tensor,
        k: float,
        *,
        selector: Chooser | None = None,
        selection: Cost = NO_COST,
        floored: int = 0,
        taken: str | None = None,
        policy: BatchPolicy | None = None,
    ) -> ChoiceTrial:
        n = len(self.source)
        k = n if method == EVERYTHING else int(k)
        trained = self._train_target(seed, members.sort().values, policy or Shuffle())
        changed = None
        if self.changed is not None:
            changed = float(self.changed[members].double().mean())
        return ChoiceTrial(
            method=method,
            selector=selector,
            keep=k / n,
            k=k,
            seed=seed,
            test_error=trained.facts["test_error"],
            worst_class_error=trained.facts["worst_class_error"],
            selection=selection,
            target=trained.costs[0],
            changed_labels=changed,
            floored=floored,
            taken=taken,
        )

    def _train_target(self, seed: int, members: Tensor, policy: BatchPolicy) -> Trained:
        return train(self.place, self._target_training(seed, members, policy))

    def _target_training(self, seed: int, members: Tensor, policy: BatchPolicy) -> Training:
        everything = len(members) == len(self.source) and policy == Shuffle()
        return Training(
            prepared=self.target,
            source=self.source,
            members=members,
            seed=derived_seed(seed, "target"),
            wanted=self._wanted_of_target if everything else frozenset(),
            role="target",
            policy=policy,
            test=self.test,
        )

    @property
    def _wanted_of_target(self) -> frozenset[str]:
        if not self.config.with_target:
            return frozenset({self.target.task.said})
        return self._wanted_in_full("target")

    def _method(self, name: str, selector: Chooser | None) -> Method:
        """A method as it reads the model that selects."""
        return row_for(name, (self.target if selector == "target" else self.proxy).role.model)

    @property
    def _least(self) -> int:
        return self.config.least(self.source.task.floor)

    def _wanted_in_full(self, selector: Chooser) -> frozenset[str]:
        """What the methods ask of a model that is trained to the end."""
        names = [*self.config.named, *(taken.method for taken in self.taken.values())]
        needs = [self._method(name, selector).needs for name in names]
        late = [need for need in needs if methods.EARLY not in need]
        return frozenset({self.target.task.said}).union(*late) - {"labels"}

    def _members(
        self, seed: int, method: Method, selector: Chooser | None
    ) -> tuple[Sequence[Signals], Cost]:
        """The signals that the method is given, and what they cost."""
        everything = torch.arange(len(self.source))
        if selector is None:
            return [Signals().knowing(self.proxy.task, self.proxy.labels)], NO_COST
        early = methods.EARLY in method.needs
        if selector == "target" and not early:
            trained = [self._train_target(seed, everything, Shuffle())]
        else:
            prepared = self.proxy if selector == "proxy" else self.target
            ensemble = self.config.ensemble or method.default_ensemble
            trained = [
                train(
                    self.place,
                    Training(
                        prepared=prepared,
                        source=self.source,
                        members=everything,
                        seed=derived_seed(seed, selector, member),
                        wanted=wanted_signals(method.needs, self.proxy.task)
                        if early
                        else self._wanted_in_full(selector),
                        role=selector,
                        resample=ensemble > 1,
                    ),
                )
                for member in range(ensemble)
            ]
        cost = NO_COST + self.encoding if selector == "proxy" else NO_COST
        for each in trained:
            for part in each.costs:
                cost = cost + part
        return [each.signals for each in trained], cost

    def _choose(
        self,
        seed: int,
        method: Method,
        selector: Chooser | None,
        members: Sequence[Signals],
        k: int,
    ) -> tuple[Picks, StageRecord]:
        """What the method picks, computed once, and what picking cost."""

        def compute(folder: Path) -> StageRecord:
            start = time.perf_counter()
            with self.place.under_way(f"selecting by {method.name}") as report:
                picks, _ = methods.choose(
                    method,
                    members,
                    k,
                    balance=self.proxy.strata if self.config.balance == "class" else None,
                    floor=methods.Floor(self.proxy.strata, self._least),
                    generator=generator(seed, "select", method.name),
                    num_classes=len(self.source.class_names),
                    options=self.config.method_options.get(method.name),
                    report=report,
                )
            cost = Cost(phase="selecting", seconds=time.perf_counter() - start, examples=k)
            if processes.rank() == 0:
                store.clear(folder)
                weights = {} if picks.weights is None else {"weights": picks.weights}
                store.write(folder, {"positions": picks.positions, **weights})
            floored = 0 if picks.floored is None else len(picks.floored)
            return StageRecord(costs=(cost,), facts={"floored": floored})

        role = self.target if selector == "target" else self.proxy
        inputs: dict[str, Any] = {
            "data": self.source.fingerprint,
            "method": method.identity(),
            "options": methods.settings(method, self.config.method_options.get(method.name)),
            "selector": selector,
            "role": role.role.identity(),
            "model": role.fingerprint,
            "ensemble": self.config.ensemble,
            "balance": self.config.balance,
            "min_per_class": self._least,
            "wanted": sorted(self._wanted_in_full(selector or "proxy")),
            "seed": seed,
            "k": k,
            "hardware": self.place.hardware.identity(gains_from_bf16=role.recipe.bf16),
        }
        folder, record = self.place.stage("selection", inputs, compute)
        arrays = store.read(folder)
        picks = Picks(positions=arrays["positions"], weights=arrays.get("weights"))
        return picks, record

    def scores_by_model(self) -> tuple[str, dict[str, Floats]]:
        """Entropy (or the first of the methods that scores predictions) by model and seed.

        Nothing where no method scores what such models predict.
        """
        names, said = [*self.config.named, *UNCERTAIN], frozenset({self.target.task.said})
        rows = [m for m in map(methods.get, names) if m.needs - {"labels"} == said and m.score]
        if not rows:
            return "", {}
        method = rows[0]
        assert method.score is not None
        found: dict[str, Floats] = {}
        for role in ("proxy", "target"):
            for seed in range(min(2, self.config.seeds)):
                if role == "target":
                    everything = torch.arange(len(self.source))
                    signals = self._train_target(seed, everything, Shuffle()).signals
                else:
                    signals = self._members(seed, method, "proxy")[0][0]
                found[f"{role} seed {seed}"] = method.score(signals).double().numpy()
        return method.name, found


def _budgets(config: CompareConfig, n: int) -> list[int]:
    """The counts that are kept of n, each once."""
    return list(dict.fromkeys(Budget.parse(keep).resolve(n) for keep in config.keep))
