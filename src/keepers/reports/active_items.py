"""The items of a campaign as a reader sees them: disputed, doubtful, quarantined, next."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from keepers.campaign import BROUGHT, Id, State, class_today
from keepers.errors import KeepersError
from keepers.reports import quantities
from keepers.reports.examples import Preview, preview
from keepers.workflows.active import Campaign

NUM_SHOWN = 12
CERTAIN = 0.8
"""From this probability on, a proxy that says another class than the annotators is worth a look."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One item, ready to be shown: `votes` are who said what, `note` why it is here.

    Whether it was selected or is a control item is left out: it is nothing that those who label
    should know.
    """

    id: str
    round: int | None
    label: str
    preview: Preview
    votes: tuple[tuple[str, str], ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """What one annotator did.

    `shared` are the items that others labelled too; on `agreed` of them the majority said the
    same. On a disputed item nobody is right.
    """

    name: str
    labels: int
    skips: int
    seconds: float
    shared: int
    agreed: int


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A consensus label that the proxy contradicted when it planned the item."""

    id: Id
    predicted: str
    probability: float


def cards(campaign: Campaign, ids: Iterable[Id], *, with_votes: bool = False) -> list[Card]:
    """Items as cards, with every annotator's word where it is asked for."""
    return [_card(campaign, item, with_votes=with_votes) for item in ids]


def doubtful_cards(campaign: Campaign, doubts: Iterable[Doubt]) -> list[Card]:
    """Labels that look wrong as cards, with what the proxy said instead."""
    return [
        _card(
            campaign,
            doubt.id,
            with_votes=True,
            note=f"proxy said {doubt.predicted}, {quantities.percent(doubt.probability)} sure",
        )
        for doubt in doubts
    ]


def _card(campaign: Campaign, id: Id, *, with_votes: bool, note: str = "") -> Card:
    state = campaign.state
    item = state.item(id)
    try:
        seen = preview(campaign.desk.content(id))
    except KeepersError:
        seen = Preview(excerpt="This example cannot be shown: it has left the pool or is damaged.")
    words = (
        (vote.annotator, state.resolve(vote) or vote.label or "skipped") for vote in item.current
    )
    return Card(
        id=str(id),
        round=item.round,
        label=item.label or "",
        preview=seen,
        votes=tuple(words) if with_votes else (),
        note=note,
    )


def doubts(state: State) -> list[Doubt]:
    """Consensus labels of which the proxy was sure that they are another class, the surest first.

    It said so before the label was there. A class that no longer exists contradicts nothing.
    """
    found: list[Doubt] = []
    for planned in state.rounds:
        for key, name, probability in planned.facts.get("predictions", ()):
            item = state.item(key)
            predicted = class_today(name, None, state.schemas)
            if item.round != planned.round or None in (item.label, predicted):
                continue
            if item.part == "control":  # asking again where the proxy disagrees would flatter it
                continue
            if predicted != item.label and probability >= CERTAIN:
                found.append(Doubt(id=key, predicted=str(predicted), probability=probability))
    return sorted(found, key=lambda doubt: -doubt.probability)


def quarantined_names(state: State) -> list[tuple[str, int]]:
    """Names that are no class today, and how many current votes give them."""
    votes = (vote for item in state.items.values() for vote in item.current)
    names = (vote.label for vote in votes if vote.label and state.resolve(vote) is None)
    return Counter(names).most_common()


def annotators(state: State) -> list[Annotator]:
    """What everybody did, by name; labels that came with the campaign are nobody's work."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    seconds: defaultdict[str, float] = defaultdict(float)
    for item in state.items.values():
        votes = [vote for vote in item.current if vote.source != BROUGHT]
        together = sum(vote.kind == "label" for vote in votes) > 1
        for vote in votes:
            mine = found[vote.annotator]
            mine[vote.kind] += 1
            seconds[vote.annotator] += vote.seconds or 0.0
            if together and vote.kind == "label":
                mine["shared"] += 1
                mine["agreed"] += item.label is not None and state.resolve(vote) == item.label
    return [
        Annotator(
            name=name,
            labels=mine["label"],
            skips=mine["skip"],
            seconds=seconds[name],
            shared=mine["shared"],
            agreed=mine["agreed"],
        )
        for name, mine in sorted(found.items())
    ]
