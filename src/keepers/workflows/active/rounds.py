"""A round: train the proxy on what is labelled, measure it, and plan the next batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from keepers.baselines import RANDOM
from keepers.campaign import Planned, State, Trained
from keepers.choices import OnBadRow
from keepers.configuration import model_named
from keepers.data import Source
from keepers.errors import ParameterError
from keepers.files import fingerprint
from keepers.models import PROBE, default_target
from keepers.random import derived_seed
from keepers.roles import Prepared, Role, encode_like, prepare
from keepers.words import counted
from keepers.workflows.active import neighbour_index
from keepers.workflows.active.asking import Opinion, ask
from keepers.workflows.active.auto import settled
from keepers.workflows.active.composing import composed, predictions
from keepers.workflows.active.embedding import embedding
from keepers.workflows.active.ground import Ground
from keepers.workflows.active.judging import latest
from keepers.workflows.active.measuring import (
    control_accuracy,
    fidelity,
    selection_against_random,
)
from keepers.workflows.active.planning import propose
from keepers.workflows.active.unlabelled import unlabelled
from keepers.workflows.active.work import STAGES, paid_for
from keepers.workflows.auto import stand_in
from keepers.workflows.options.active import CampaignConfig
from keepers.workflows.stages import Tested
from keepers.workflows.workplace import Workplace

AGAIN = 1.25
"""Selection is compared with random again when the control labels have grown by this factor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """What a round begins with: the examples, the labels so far, and a place to work."""

    ground: Ground
    place: Workplace
    on_bad_row: OnBadRow = "error"

    @property
    def state(self) -> State:
        """All that the journal says."""
        return self.ground.state

    @property
    def config(self) -> CampaignConfig:
        """How the campaign chooses."""
        return self.ground.config

    @cached_property
    def number(self) -> int:
        """Rounds count from 1."""
        return len(self.state.rounds) + 1

    @cached_property
    def seed(self) -> int:
        """All that this round draws is drawn from it."""
        return derived_seed(self.config.seed, "round", self.number)

    @cached_property
    def of_items(self) -> Round:
        """The same with the items of the journal alone: enough to measure, and soon encoded.

        Only of texts: how numbers are standardised depends on the whole pool. Nor with a target,
        whose agreement is measured on the pool, nor by a probe, whose encoder is slow, and asked
        once for all of the pool.
        """
        probed = model_named(self.config.proxy).startswith(PROBE)
        if self.ground.source.kind != "text" or self.config.target is not None or probed:
            return self
        return replace(self, ground=self.ground.of_items())

    @cached_property
    def unlabelled(self) -> Source:
        """The examples without their labels."""
        return unlabelled(self.ground.source)

    @cached_property
    def proxy(self) -> Prepared:
        """The proxy's role joined with the pool."""
        role = self.config.role(self.ground.source.info(self.config.resolution))
        return self._prepared(role, "proxy")

    @cached_property
    def target(self) -> Prepared:
        """The target's role joined with the pool."""
        default = default_target(self.ground.source.info())
        return self._prepared(Role.parse(self.config.target, default, "target"), "target")

    @cached_property
    def simple(self) -> Prepared:
        """The model by which `auto` judges what a network can know, joined with the pool."""
        return self._prepared(stand_in(self.ground.source), "judge")

    def _prepared(self, role: Role, parameter: str) -> Prepared:
        with self.place.ledger.phase("encoding") as tally:
            _, prepared = prepare(
                role,
                self.unlabelled,
                parameter=parameter,
                cache=self.place.run.path / f"encoded-{parameter}",
                progress=self.place.progress,
            )
            tally.examples = len(self.unlabelled)
        return prepared

    @cached_property
    def test(self) -> Tested | None:
        """The test set, encoded for the proxy."""
        source = self.ground.test
        if source is None:
            return None
        cache = self.place.run.path / "encoded-test"
        view = encode_like(self.proxy, source, on_bad_row=self.on_bad_row, cache=cache)
        return Tested(view=view, fingerprint=source.fingerprint)

    @cached_property
    def features(self) -> Tensor:
        """Features that need no labels."""
        given = self.ground.holdings.features
        return embedding(
            self.ground.source,
            self.config,
            self.place,
            proxy=lambda: self.proxy,
            given=given,
            on_bad_row=self.on_bad_row,
        )

    @property
    def index(self) -> neighbour_index.Index | None:
        """What neighbours are found by, in a large pool."""
        count = self.config.neighbours
        assert count is not None
        return neighbour_index.made(self.features, self.place, self.config.seed, count)

    def plan(self, count: int) -> tuple[Planned, Trained | None]:
        """The next batch, and what the proxy that chose it is worth."""
        ground = self.ground
        drawn, k = self._shares(count)
        config, why = settled(
            self.of_items.ground.known,
            self.config,
            self.place,
            proxy=lambda: self.of_items.proxy,
            simple=lambda: self.of_items.simple,
            seed=self.seed,
            k=k,
            against_random=self._latest_against_random(),
        )
        proposal = propose(
            ground.known,
            k,
            config,
            self.place,
            prepared=lambda: self.proxy,
            features=lambda: self.features,
            index=lambda: self.index,
            seed=self.seed,
            also_scored=torch.cat([ground.control, self._scored_reserve(drawn)]),
            test=None if ground.known.is_cold else self.test,
        )
        opinion = proposal.opinion
        items = composed(ground, proposal, drawn, self.seed)
        planned = Planned(
            round=self.number,
            asked=count,
            labels_seen=len(self.state.labels),
            method=opinion.method.name,
            items=items,
            facts={
                "cold": ground.known.is_cold,
                "auto": None if ground.known.is_cold else why,
                "near_duplicates": proposal.near_duplicates,
                "predictions": predictions(ground, proposal, drawn),
                "answered": [each.item for each in items if self.state.item(each.item).votes],
                "neighbours": proposal.searched,
                "halves": proposal.halves(),
                "stages": self._newly_paid(),
                "pool": -1 if self.state.pool is None else self.state.pool.number,
            },
            costs=tuple(asdict(cost) for cost in self.place.ledger.by_phase()),
        )
        if why is not None and not opinion.trained:  # at random, the proxy is measured all the same
            return planned, self.of_items.measure(whole=False)
        return planned, self._measured(opinion)

    def measure(self, *, whole: bool = True) -> Trained | None:
        """What the proxy is worth with the labels there are now; None while there are too few.

        `whole`: it scores what a query would, so that the next one need not train.
        """
        ground, known = self.ground, self.ground.known
        if known.is_cold:
            return None
        scored = [known.members, ground.control]
        if whole and self.config.neighbours is None:
            scored += [known.open, known.covered, ground.undrawn]
        opinion = ask(
            known,
            self.config,
            self.place,
            self.proxy,
            scored=torch.cat(scored).unique(),
            seed=self.seed,
            test=self.test,
        )
        return self._measured(opinion)

    def _scored_reserve(self, drawn: Tensor) -> Tensor:
        """What is scored of the reserve: all of it, so that batches of any size ask one proxy."""
        return self.ground.undrawn if self.config.neighbours is None else drawn

    def _newly_paid(self) -> list[str]:
        stages = self.place.booked - paid_for(self.state, self.place.run.path / STAGES)
        return sorted(folder.name for folder in stages)

    def _shares(self, count: int) -> tuple[Tensor, int]:
        """The control items of this batch, and how many are to be selected."""
        reserve, available = self.ground.undrawn, len(self.ground.known.open)
        drawn = reserve[: self._wanted_control(count)]
        k = count - len(drawn)
        if k > available:
            drawn, k = reserve[: count - available], available
        if k + len(drawn) < count:
            left = available + len(reserve)
            raise ParameterError(
                "count",
                f"got {count:,}, but {counted(left, 'example is', 'examples are')} left to "
                "choose from (copies of an input count once)",
                "Ask for fewer, or add rows to the pool",
            )
        return drawn, k

    def _wanted_control(self, count: int) -> int:
        """Their share of all batches so far, so that small batches come to it as well."""
        share = self.config.control
        items = [item for each in self.state.rounds for item in each.items]
        due = round(share * (len(items) + count)) - sum(item.part == "control" for item in items)
        exact = round(share * count, 9)
        return min(max(due, math.floor(exact)), math.ceil(exact))

    def _latest_against_random(self) -> Mapping[str, Any] | None:
        return latest([trained.facts for trained in self.state.trained], "against_random")

    def _against_random(self) -> dict[str, Any] | None:
        """The comparison, made anew once the control slice has grown by a quarter.

        None while all that was asked for is random.
        """
        if all(each.method == RANDOM for each in self.state.rounds):
            return None
        ground, control = self.ground, self.ground.control
        before = self._latest_against_random()
        if before is not None and len(control) < AGAIN * before["control"]:
            return dict(before)
        return selection_against_random(
            ground.known,
            control,
            ground.selected,
            self.proxy,
            self.place,
            test=self.test,
            seed=self.seed,
        )

    def _measured(self, opinion: Opinion) -> Trained | None:
        if not opinion.trained:
            return None
        ground, place = self.ground, self.place
        known, control = ground.known, ground.control
        facts: dict[str, Any] = {
            "method": opinion.method.name,
            "test_accuracy": opinion.test_accuracy,
            **({} if (interval := opinion.test_interval) is None else {"test_interval": interval}),
            "measure": len(self.state.measures) - 1,
            "test_examples": None if self.test is None else len(self.test.view),
            "control": control_accuracy(opinion, known, control),
            "against_random": self._against_random(),
        }
        if self.config.target is not None:
            facts["fidelity"] = fidelity(
                opinion,
                known,
                self.config,
                place,
                proxy=self.proxy,
                target=lambda: self.target,
                seed=self.seed,
            )
        facts["unanswered_control"] = ground.unanswered
        facts["costs"] = [asdict(cost) for cost in place.ledger.by_phase()]
        facts["stages"] = self._newly_paid()
        there = known.are_known.nonzero()[:, 0]
        places = (there, known.members, control)
        labelled, *others = ([ground.source.examples.id(p) for p in at.tolist()] for at in places)
        seen = fingerprint(labelled, ground.written(there), *others)
        return Trained(
            round=self.number - 1, labels=len(known.members), facts=facts, seen=seen[:12]
        )
