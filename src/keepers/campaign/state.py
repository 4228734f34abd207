"""State: where a campaign stands, an immutable value folded from its events."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, Self, TypeVar

from keepers.campaign.consensus import class_today
from keepers.campaign.events import (
    LABEL_STUDIO,
    Event,
    External,
    Id,
    Measure,
    Moved,
    Part,
    Planned,
    Pool,
    Schema,
    Sent,
    Started,
    Trained,
    Vote,
    label_of,
)
from keepers.campaign.items import STATUSES, Item, Place, settled
from keepers.tasks import question_of
from keepers.tasks.question import Answer, Question


@dataclass(frozen=True, kw_only=True)
class State:
    """A campaign as its events leave it; the order in which votes arrive makes no difference.

    Of one annotator's votes on one item the latest counts, and `undo` withdraws it. `schemas`,
    `pools`, `measures` and `rounds` are in the order of their numbers; `sent` holds the task of
    each item by channel; `items` every example that was planned, sent or voted on.

    >>> state = State.empty().after([
    ...     Schema(version=1, classes=("neg", "pos")),
    ...     Vote(item=7, annotator="ann", label="pos", time="2026-03-01"),
    ... ])
    >>> state.item(7).status, dict(state.labels)
    ('labelled', {7: 'pos'})
    """

    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    campaign: str = ""
    schemas: tuple[Schema, ...] = ()
    pools: tuple[Pool, ...] = ()
    measures: tuple[Measure, ...] = ()
    rounds: tuple[Planned, ...] = ()
    trained: tuple[Trained, ...] = ()
    sent: Mapping[str, Mapping[Id, External]] = field(
        default_factory=dict[str, Mapping[Id, External]]
    )
    items: Mapping[Id, Item] = field(default_factory=dict[Id, Item])

    @classmethod
    def empty(cls) -> Self:
        """A campaign to which nothing has happened."""
        return cls()

    def after(self, events: Iterable[Event]) -> State:
        """The state once these have happened, too; an event seen before changes nothing."""
        folding = _Folding(self)
        for event in events:
            folding.take(event)
        return folding.state()

    @property
    def schema(self) -> Schema | None:
        """The classes in force; None before the first version."""
        return self.schemas[-1] if self.schemas else None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in force."""
        return self.schemas[-1].classes if self.schemas else ()

    @property
    def question(self) -> Question:
        """What people are asked, by the names in force."""
        return question_in(self.settings, self.classes)

    def asked_under(self, names: Sequence[str]) -> Question:
        """The same by the names of a version of the schema."""
        return question_in(self.settings, names)

    @property
    def asked_ever(self) -> Question:
        """The same by all names that there have been: what files that come back may say."""
        return question_in(self.settings, self.names_ever)

    @property
    def names_ever(self) -> tuple[str, ...]:
        """The names that there have been, those of the first version first."""
        return tuple(dict.fromkeys(name for schema in self.schemas for name in schema.classes))

    @property
    def pool(self) -> Pool | None:
        """The pool as it was found last."""
        return self.pools[-1] if self.pools else None

    def item(self, id: Id) -> Item:
        """One example, whether or not anything ever happened to it."""
        return self.items.get(id) or Item(id=id)

    def part(self, id: Id) -> Part | None:
        """The part of the batch that an example was planned in, None where it never was."""
        return self.item(id).part

    def word(self, vote: Vote) -> tuple[str, Answer | None]:
        """What a vote says: its kind and, where there is one, its label by the names of today."""
        return vote.kind, self.resolve(vote) or vote.label

    def today(self, label: Any) -> Answer | None:
        """A label of unknown age, as the journal holds it, by the names of today."""
        answer = label_of(label)
        if answer is None or self.question.problem(answer) is not None:
            return None
        return self.question.renamed(answer, lambda name: class_today(name, None, self.schemas))

    def resolve(self, vote: Vote) -> Answer | None:
        """The label of a vote by the names of today; None where one of them is no more."""
        return resolved(vote, self.question, self.schemas)

    @cached_property
    def labels(self) -> Mapping[Id, Answer]:
        """The consensus labels of all parts: planned items by round and rank, then the others."""
        return MappingProxyType(
            {item.id: item.label for item in self._ordered if item.label is not None}
        )

    @property
    def disputed(self) -> tuple[Id, ...]:
        """Items on which the annotators are divided."""
        return self._by_status["disputed"]

    @property
    def skipped(self) -> tuple[Id, ...]:
        """Items that were only skipped."""
        return self._by_status["skipped"]

    @property
    def quarantined(self) -> tuple[Id, ...]:
        """Items that wait for a class to come back."""
        return self._by_status["quarantined"]

    @property
    def removed(self) -> tuple[Id, ...]:
        """Items that left the pool."""
        return self._by_status["removed"]

    @cached_property
    def _pending(self) -> tuple[Item, ...]:
        return tuple(item for item in self._ordered if item.status in ("planned", "sent"))

    def pending(self, round: int | None = None) -> tuple[Id, ...]:
        """Items that wait for labels, of all rounds or of one, by round and rank."""
        return tuple(item.id for item in self._pending if round in (None, item.round))

    def next_items(self, annotator: str, limit: int) -> list[Id]:
        """What an annotator is shown next: pending items, then disputed ones, not voted on yet."""
        disputed = map(self.items.__getitem__, self.disputed)
        unseen = (
            item.id
            for item in chain(self._pending, disputed)
            if all(vote.annotator != annotator for vote in item.current)
        )
        return list(islice(unseen, limit))

    def counts(self, round: int | None = None) -> dict[str, int]:
        """How many items have each status, out of all that have a stake, or of one round."""
        counted = Counter(i.status for i in self.items.values() if round in (None, i.round))
        return {status: counted[status] for status in STATUSES}

    def tasks(self, channel: str) -> Mapping[Id, External]:
        """What a channel calls each item that was sent there."""
        return MappingProxyType(dict(self.sent.get(channel, {})))

    @cached_property
    def seconds(self) -> float:
        """Labelling time in all, also of words that were taken back.

        Label Studio's times run on as an annotation is changed, so its last one counts alone.
        """
        spent: list[float] = []
        for item in self.items.values():
            running: dict[str, float] = {}
            for vote in item.votes:
                if vote.source == LABEL_STUDIO:
                    running[vote.annotator] = max(
                        running.get(vote.annotator, 0.0), vote.seconds or 0.0
                    )
                else:
                    spent.append(vote.seconds or 0.0)
            spent += running.values()
        return math.fsum(spent)

    @cached_property
    def _ordered(self) -> tuple[Item, ...]:
        planned = [item for item in self.items.values() if item.rank is not None]
        others = [item for item in self.items.values() if item.rank is None]
        planned.sort(key=lambda item: (item.round or 0, item.rank or 0))
        numbers = sorted(item.id for item in others if isinstance(item.id, int))
        texts = sorted(item.id for item in others if isinstance(item.id, str))
        return (*planned, *map(self.items.__getitem__, (*numbers, *texts)))

    @cached_property
    def _by_status(self) -> dict[str, tuple[Id, ...]]:
        ids: dict[str, list[Id]] = {status: [] for status in STATUSES}
        for item in self._ordered:
            ids[item.status].append(item.id)
        return {status: tuple(held) for status, held in ids.items()}


class _Folding:
    """A state on its way to the next: events are gathered, then each touched item is settled."""

    def __init__(self, before: State) -> None:
        self.before = before
        self.started = Started(settings=before.settings, campaign=before.campaign)
        self.schemas = {schema.version: schema for schema in before.schemas}
        self.pools = {pool.number: pool for pool in before.pools}
        self.measures = {measure.number: measure for measure in before.measures}
        self.rounds = {planned.round: planned for planned in before.rounds}
        self.trained = {(each.round, each.labels): each for each in before.trained}
        self.sent = dict(before.sent)
        self.votes: defaultdict[Id, list[Vote]] = defaultdict(list)
        self.places: dict[Id, Place] = {}
        self.touched: set[Id] = set()
        self.all = False

    def take(self, event: Event) -> None:
        """Note one event."""
        match event:
            case Vote():
                self.votes[event.item].append(event)
            case Started():
                self.started = self.started if self.started.campaign else event
                self.all = True
            case Schema():
                self.schemas.setdefault(event.version, event)
                self.all = True
            case Pool():
                self.pools.setdefault(event.number, event)
                self.all = True
            case Measure():
                self.measures.setdefault(event.number, event)
            case Planned():
                if self.rounds.setdefault(event.round, event) is event:
                    for planned in event.items:
                        known = self.places.get(planned.item)
                        if known is None or known[0] < event.round:
                            self.places[planned.item] = (event.round, planned)
            case Sent():
                self.sent[event.channel] = {**self.sent.get(event.channel, {}), **event.tasks}
                self.touched.update(event.tasks)
            case Moved():
                settings = {**self.started.settings, **event.paths}
                self.started = replace(self.started, settings=settings)
            case Trained():
                known = self.trained.get((event.round, event.labels))
                if known is None or known.key != event.key:  # as many labels, but others
                    self.trained[event.round, event.labels] = event

    def state(self) -> State:
        """The next state."""
        schemas, pools = _numbered(self.schemas), _numbered(self.pools)
        removed = frozenset(pools[-1].removed if pools else ())
        needed = int(self.started.settings.get("votes") or 1)
        question = question_in(self.started.settings, schemas[-1].classes if schemas else ())
        names: dict[tuple[Answer | None, int | None], Answer | None] = {}

        def resolve(vote: Vote) -> Answer | None:
            name = vote.label, vote.schema
            if name not in names:
                names[name] = resolved(vote, question, schemas)
            return names[name]

        items = dict(self.before.items)
        touched = self.touched.union(self.votes, self.places, items if self.all else ())
        for item in sorted(touched, key=lambda item: (isinstance(item, str), item)):
            items[item] = settled(
                items.get(item) or Item(id=item),
                arrived=self.votes.get(item, ()),
                place=self.places.get(item),
                resolve=resolve,
                needed=needed,
                agreed=question.agreed,
                is_removed=item in removed,
                is_sent=any(item in tasks for tasks in self.sent.values()),
            )
        return State(
            settings=self.started.settings,
            campaign=self.started.campaign,
            schemas=schemas,
            pools=pools,
            measures=_numbered(self.measures),
            rounds=_numbered(self.rounds),
            trained=_numbered(self.trained),
            sent=self.sent,
            items=items,
        )


def question_in(settings: Mapping[str, Any], names: Sequence[str]) -> Question:
    """What a campaign of such settings asks; an early one had classes alone."""
    return question_of(settings.get("task") or "class", names, settings.get("tolerance") or ())


def resolved(vote: Vote, question: Question, schemas: Sequence[Schema]) -> Answer | None:
    """The label of a vote by the names of today; None where one is no more, or there is none."""
    if vote.label is None or question.problem(vote.label) is not None:
        return None
    return question.renamed(vote.label, lambda name: class_today(name, vote.schema, schemas))


_Number = TypeVar("_Number", int, tuple[int, int])
_Event = TypeVar("_Event")


def _numbered(events: Mapping[_Number, _Event]) -> tuple[_Event, ...]:
    return tuple(events[number] for number in sorted(events))
