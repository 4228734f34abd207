"""The items of a campaign as a reader sees them: disputed, doubtful, quarantined, next."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keepers.campaign import BROUGHT, Id, State, Vote, class_today
from keepers.errors import KeepersError
from keepers.reports import quantities
from keepers.reports.examples import Preview, preview
from keepers.workflows.active import Campaign

NUM_SHOWN = 12
NUM_ALPHAS = 12
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
    same. On a disputed item nobody is right. Numbers of which nobody said how far they may lie
    apart are not counted.
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
        seen = Preview(
            excerpt="This example cannot be shown: it is no longer in the pool, or is damaged."
        )
    question = state.question
    words = ((vote.annotator, _words(vote, state)) for vote in item.current)
    return Card(
        id=str(id),
        round=item.round,
        label="" if item.label is None else question.in_words(item.label),
        preview=seen,
        votes=tuple(words) if with_votes else (),
        note=note,
    )


def _words(vote: Vote, state: State) -> str:
    """What somebody said, by the names of today where they are known."""
    if vote.label is None:
        return "skipped"
    said = state.resolve(vote)
    return state.question.in_words(vote.label if said is None else said)


def doubts(state: State) -> list[Doubt]:
    """Consensus labels of which the proxy was sure that they are another class, the surest first.

    It said so before the label was there. A class that no longer exists contradicts nothing.
    """
    found: list[Doubt] = []
    for planned in state.rounds:
        for key, name, probability in planned.facts.get("predictions", ()):
            item = state.item(key)
            predicted = state.today(name)
            if item.round != planned.round or None in (item.label, predicted, probability):
                continue
            if item.part == "control":  # asking again where the proxy disagrees would flatter it
                continue
            if predicted is not None and predicted != item.label and probability >= CERTAIN:
                words = state.question.in_words(predicted)
                found.append(Doubt(id=key, predicted=words, probability=probability))
    return sorted(found, key=lambda doubt: -doubt.probability)


def quarantined_names(state: State) -> list[tuple[str, int]]:
    """Names that are no class or label today, and how many current votes give them."""
    found: Counter[str] = Counter()
    for vote in (vote for item in state.items.values() for vote in item.current):
        if vote.label is not None and state.resolve(vote) is None:
            names = state.question.names_in(vote.label)
            found.update(n for n in names if class_today(n, vote.schema, state.schemas) is None)
    return found.most_common()


def alphas_in_words(alphas: Mapping[str, float]) -> str:
    """How far annotators agree, the lowest first; nothing where it is not known.

    >>> alphas_in_words({"art": -0.25, "money": 0.8})
    "Agreement beyond chance (Krippendorff's α; 1 is full, 0 that of chance): art -0.25, money 0.80"
    """
    if not alphas:
        return ""
    shown = [f"{name} {alpha:.2f}" for name, alpha in alphas.items()][:NUM_ALPHAS]
    more = [f"{len(alphas) - NUM_ALPHAS} more, higher"] * (len(alphas) > NUM_ALPHAS)
    head = "Agreement beyond chance (Krippendorff's α; 1 is full, 0 that of chance)"
    return f"{head}: {', '.join([*shown, *more])}"


def annotators(state: State) -> list[Annotator]:
    """What everybody did, by name; labels that came with the campaign are nobody's work."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    seconds: defaultdict[str, float] = defaultdict(float)
    may_agree = state.question.is_named or bool(state.question.tolerance)
    for item in state.items.values():
        votes = [vote for vote in item.current if vote.source != BROUGHT]
        together = may_agree and sum(vote.kind == "label" for vote in votes) > 1
        for vote in votes:
            mine = found[vote.annotator]
            mine[vote.kind] += 1
            seconds[vote.annotator] += vote.seconds or 0.0
            if together and vote.kind == "label":
                mine["shared"] += 1
                said = state.resolve(vote)
                if said is not None and item.label is not None:
                    mine["agreed"] += state.question.agrees(said, item.label)
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
