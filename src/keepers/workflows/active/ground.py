"""The ground a round stands on: which examples are labelled, held back, waiting, or open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers.campaign import Schema, State, class_today, control
from keepers.data import Source
from keepers.workflows.active.asking import Labelled
from keepers.workflows.active.config import CampaignConfig
from keepers.workflows.active.opening import Holdings


def names_ever(schemas: Sequence[Schema]) -> tuple[str, ...]:
    """The names that classes have had, those of the first version first."""
    return tuple(dict.fromkeys(name for schema in schemas for name in schema.classes))


def version_of_data(name: str, schemas: Sequence[Schema]) -> int:
    """The version in which data speak of a class: the first that has it.

    Files that were given when the campaign began still say what they said then.
    """
    return next(schema.version for schema in schemas if name in schema.classes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """The examples of a campaign as its journal leaves them, under the classes of today."""

    holdings: Holdings
    state: State
    config: CampaignConfig

    @cached_property
    def source(self) -> Source:
        """The examples, under the classes of today."""
        return replace(self.holdings.source, class_names=self.state.classes)

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class numbers (n,), -1 where no label is agreed on."""
        numbers = {name: number for number, name in enumerate(self.state.classes)}
        found = np.full(len(self.holdings.source), -1, dtype=np.int64)
        for item, name in self.state.labels.items():
            place = self.holdings.position.get(item)
            if place is not None:
                found[place] = numbers[name]
        return found

    @cached_property
    def reserve(self) -> Tensor:
        """Positions of the control reserve, in the order in which they are drawn."""
        holdings, config = self.holdings, self.config
        ids = holdings.source.ids
        inside = control.in_reserve(ids.tolist(), config.control, config.seed)
        inside &= holdings.in_pool & ~holdings.tested
        places = map(holdings.position.get, holdings.brought)
        inside[[place for place in places if place is not None]] = False
        found = np.flatnonzero(inside)
        return torch.from_numpy(found[control.order(ids[found].tolist(), config.seed)])

    @cached_property
    def undrawn(self) -> Tensor:
        """Positions of the reserve that no batch has had yet, in the same order."""
        ids, items = self.holdings.source.ids.tolist(), self.state.items
        free = [
            place
            for place in self.reserve.tolist()
            if (item := items.get(ids[place])) is None or item.round is None
        ]
        return torch.tensor(free, dtype=torch.int64)

    @cached_property
    def known(self) -> Labelled:
        """The labels as `propose` wants them."""
        n = len(self.holdings.source)
        members, pending = (torch.zeros(n, dtype=torch.bool) for _ in range(2))
        closed = torch.from_numpy(self.holdings.tested | ~self.holdings.in_pool)
        closed[self.reserve] = True
        waiting = set(self.state.pending())
        reserved = closed.clone().fill_(False)
        reserved[self.reserve] = True  # also where somebody labelled it unasked
        for item in self.state.items:
            place = self.holdings.position.get(item)
            if place is None:
                continue
            closed[place] = True
            if reserved[place] or self.holdings.tested[place]:
                continue
            members[place] = bool(self.labels[place] >= 0)
            pending[place] = item in waiting
        return Labelled(
            source=self.source,
            labels=self.labels,
            members=members.nonzero()[:, 0],
            closed=closed,
            covered=pending.nonzero()[:, 0],
        )

    @cached_property
    def selected(self) -> Tensor:
        """Positions of those that are trained on and that the campaign's method chose."""
        members = self.known.members.tolist()
        ids, part = self.holdings.source.ids.tolist(), self.state.part
        chosen = [place for place in members if part(ids[place]) == "selected"]
        return torch.tensor(chosen, dtype=torch.int64)

    @property
    def unanswered(self) -> int:
        """How many control items were shown, and skipped or disputed."""
        items = (item for item in self.state.items.values() if item.part == "control")
        return sum(item.status in ("skipped", "disputed", "quarantined") for item in items)

    @cached_property
    def control(self) -> Tensor:
        """Positions of the control items that are labelled."""
        items = (item for item in self.state.labels if self.state.part(item) == "control")
        places = map(self.holdings.position.get, items)
        return torch.tensor(sorted(p for p in places if p is not None), dtype=torch.int64)

    @cached_property
    def test(self) -> Source | None:
        """The test set under the classes of today; what is of none is left out."""
        source, schemas = self.holdings.test, self.state.schemas
        if source is None or source.labels is None:
            return None
        numbers = {name: number for number, name in enumerate(self.state.classes)}
        today = [
            class_today(name, version_of_data(name, schemas), schemas)
            for name in source.class_names
        ]
        labels = np.array([numbers.get(name or "", -1) for name in today])[source.labels]
        source = replace(source, labels=labels, class_names=self.state.classes)
        kept = np.flatnonzero(labels >= 0)
        if len(kept) == len(source):
            return source
        return source.take(kept) if len(kept) else None
