"""The ground a round stands on: which examples are labelled, held back, waiting, or open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers.campaign import Id, Schema, State, class_today, control
from keepers.data import Source
from keepers.tasks.question import Answer
from keepers.workflows.active.asking import Labelled
from keepers.workflows.active.opening import Holdings
from keepers.workflows.active.unlabelled import with_names
from keepers.workflows.options.active import CampaignConfig


def version_of_data(names: Sequence[str], schemas: Sequence[Schema]) -> int:
    """The version in which data speak by some names: the first that has them.

    Files that were given when the campaign began still say what they said then.
    """
    having = (s.version for s in schemas if all(name in s.classes for name in names))
    return next(having, schemas[0].version)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """The examples of a campaign as its journal leaves them, under the classes of today."""

    holdings: Holdings
    state: State
    config: CampaignConfig

    @cached_property
    def source(self) -> Source:
        """The examples, under the names of today."""
        return with_names(self.holdings.source, self.state.classes)

    def of_items(self) -> Ground:
        """The same of the items of the journal alone, with the first copy of each one's input."""
        places = self.places(self.state.items)
        firsts = self.holdings.source.units[places]
        return replace(self, holdings=self.holdings.take(np.union1d(places, firsts)))

    @cached_property
    def answers(self) -> dict[int, Answer]:
        """The labels that are agreed on, by position."""
        placed = ((self.holdings.position(i), answer) for i, answer in self.state.labels.items())
        return {place: answer for place, answer in placed if place is not None}

    @cached_property
    def labels(self) -> Any:
        """The labels of all examples as a `Source` holds them; unknown where none is agreed on."""
        answers, count = self.answers, len(self.holdings.source)
        return self.source.task.told(self.state.classes, count, [*answers], [*answers.values()])

    @cached_property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Which examples (n,) have a label."""
        found = np.zeros(len(self.holdings.source), dtype=bool)
        found[list(self.answers)] = True
        return found

    def written(self, places: Tensor) -> list[Any]:
        """The labels at some places as plain values, to tell whether they changed."""
        if self.known.task.is_share:
            return self.labels[places.numpy()].tolist()
        return [self.answers[place] for place in places.tolist()]

    def places(self, items: Iterable[Id]) -> npt.NDArray[np.int64]:
        """Positions of those items that the data hold."""
        found = map(self.holdings.position, items)
        return np.array([place for place in found if place is not None], dtype=np.int64)

    def _copies(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Marks (n,) what has the input of one of some positions: one label serves them all."""
        units = self.holdings.source.units
        marked = np.zeros(len(units), dtype=bool)
        marked[units[places]] = True
        return marked[units]

    @cached_property
    def _asked(self) -> npt.NDArray[np.bool_]:
        """Marks (n,) the one of each input's copies in the pool that a batch may ask for."""
        units = self.holdings.source.units
        turn = np.ones(len(units), dtype=np.int8)
        turn[self.places(self.state.items)] = 0
        turn[self.places(self.state.removed)] = 2
        copied = np.zeros(len(units), dtype=bool)
        copied[units[units != np.arange(len(units))]] = True
        copied = copied[units]
        marked = self.holdings.in_pool & ~copied  # most have no copy
        inside = np.flatnonzero(self.holdings.in_pool & copied)
        inside = inside[np.argsort(turn[inside], kind="stable")]
        first = np.full(len(units), len(inside))
        np.minimum.at(first, units[inside], np.arange(len(inside)))
        marked[inside[first[first < len(inside)]]] = True
        return marked

    @cached_property
    def reserve(self) -> Tensor:
        """Positions of the control reserve, in the order in which they are drawn.

        All copies of an input are in it, or none is: by the number of the first one's id. Those
        of an item that was drawn as control are in it whatever came since.
        """
        holdings, config = self.holdings, self.config
        units, numbers = holdings.source.units, holdings.numbers(config.seed)
        inside = control.in_reserve(numbers, config.control)[units]
        inside &= ~self._copies(self.places(holdings.brought))
        drawn = [item.id for item in self.state.items.values() if item.part == "control"]
        inside |= self._copies(self.places(drawn))
        found = np.flatnonzero(inside & holdings.in_pool & ~holdings.tested)
        return torch.from_numpy(found[np.argsort(numbers[units[found]], kind="stable")])

    @cached_property
    def undrawn(self) -> Tensor:
        """Positions of the reserve that no batch has had yet, in the same order."""
        planned = [item.id for item in self.state.items.values() if item.round is not None]
        free = self._asked & ~self._copies(self.places(planned))
        return self.reserve[torch.from_numpy(free)[self.reserve]]

    @cached_property
    def known(self) -> Labelled:
        """The labels as `propose` wants them."""
        held = self.places(self.state.items)
        served = self.places(self.state.items.keys() - set(self.state.removed))
        reserved = torch.zeros(len(self.source), dtype=torch.bool)
        reserved[self.reserve] = True  # also where somebody labelled it unasked
        closed = torch.from_numpy(self.holdings.tested | self._copies(served) | ~self._asked)
        closed[held] = True
        closed |= reserved
        trained_on = torch.zeros_like(closed)
        trained_on[held] = True
        trained_on &= ~(reserved | torch.from_numpy(self.holdings.tested))
        members = trained_on & torch.from_numpy(self.labelled)
        pending = torch.zeros_like(closed)
        pending[self.places(self.state.pending())] = True
        pending &= trained_on
        return Labelled(
            source=self.source,
            labels=self.labels,
            members=members.nonzero()[:, 0],
            closed=closed,
            covered=pending.nonzero()[:, 0],
        )

    @cached_property
    def torn(self) -> tuple[Id, ...]:
        """Labelled items whose copies have another label."""
        units = self.holdings.source.units
        labelled = np.flatnonzero(self.labelled)
        names: dict[int, set[Answer]] = {}
        for place in labelled.tolist():
            names.setdefault(int(units[place]), set()).add(self.answers[place])
        id = self.source.examples.id  # noqa: A001
        return tuple(id(place) for place in labelled.tolist() if len(names[int(units[place])]) > 1)

    @cached_property
    def selected(self) -> Tensor:
        """Positions of those that are trained on and that the campaign's method chose."""
        members = self.known.members.tolist()
        id, part = self.holdings.source.examples.id, self.state.part  # noqa: A001
        chosen = [place for place in members if part(id(place)) == "selected"]
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
        places = map(self.holdings.position, items)
        return torch.tensor(sorted(p for p in places if p is not None), dtype=torch.int64)

    @cached_property
    def test(self) -> Source | None:
        """The test set under the names of today; what is of none is left out."""
        source, schemas, question = self.holdings.test, self.state.schemas, self.state.question
        if source is None or source.targets is None:
            return None

        def today(answer: Answer | None) -> Answer | None:
            if answer is None:
                return None
            version = version_of_data(question.names_in(answer), schemas)
            return question.renamed(answer, lambda name: class_today(name, version, schemas))

        answers = [
            today(answer) for answer in source.task.answers(source.targets, range(len(source)))
        ]
        kept = [place for place, answer in enumerate(answers) if answer is not None]
        given = [answer for answer in answers if answer is not None]
        if not given:
            return None
        source = source.take(kept) if len(kept) < len(source) else source
        labels = source.task.told(self.state.classes, len(given), range(len(given)), given)
        return with_names(replace(source, labels=labels), self.state.classes)
