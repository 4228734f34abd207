"""Recording: votes to the journal, checked first, all of a delivery or nothing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from keepers.campaign.consensus import class_today, version_of
from keepers.campaign.events import Id, Vote, just_after, now, utc
from keepers.campaign.journal import Journal
from keepers.campaign.state import State
from keepers.errors import DataError, first_few
from keepers.tasks.question import Answer
from keepers.tasks.texts import readings
from keepers.words import listed, nearest

Delivery = Vote | tuple[str, Vote]
"""A vote, or where it stood (a file and its line) and the vote."""

_WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What became of a delivery.

    `new` votes are an annotator's first word on an item, `changed` ones another word instead;
    `repeated` were known already and are not written again. `quarantined` counts, among the
    written, labels that are no class today; `refused` says what was left out, and why.
    """

    new: int = 0
    repeated: int = 0
    changed: int = 0
    quarantined: int = 0
    refused: tuple[str, ...] = ()


def record(
    journal: Journal,
    state: State,
    votes: Iterable[Delivery],
    *,
    known: Container[Id],
    partial: bool = False,
    unsure: str | None = None,
) -> Recorded:
    """Write votes to the journal, all of them or, `partial`, those that are good.

    `state` is what the journal holds; `known` are the ids of the pool, and those with a stake in
    the campaign count as known, too. Ids that came as text are matched with integers, and the
    other way round. A vote without a time gets this moment, later than the annotator's last word
    on the item; where it says the same, it is a repeat. `partial` leaves unknown ids and
    contradictions out, listed in `refused`, and takes unknown classes into quarantine. `unsure`
    is an annotator whose name was guessed from that of a file: a vote of theirs that says another
    thing than their last one may be somebody else's, and is not taken.

    Raises:
        DataError: an unknown id, a class outside the schema, or two different words of one
            annotator on one item at one time (or without times); each with where it stood.
    """
    delivered = list(_located(votes))
    problems: list[str] = []
    good: list[tuple[str, Vote]] = []
    for where, vote in delivered:
        vote, problem = _checked(vote, state, known, partial)
        if problem is None and vote.annotator == unsure:
            problem = _changes(vote, state)
        if problem:
            problems.append(f"{where}: {problem}")
        else:
            good.append((where, vote))
    good = _consistent(good, state, problems)
    if problems and not partial:
        raise DataError(
            f"labels: {len(problems):,} of {len(delivered):,} are invalid, so none was imported: "
            f"{first_few(problems)}. Correct them, or pass --partial (partial=True) to import "
            "the others"
        )
    return _write(journal, state, [vote for _, vote in good], tuple(problems))


def _located(votes: Iterable[Delivery]) -> Iterator[tuple[str, Vote]]:
    for number, given in enumerate(votes, 1):
        yield (f"vote {number}", given) if isinstance(given, Vote) else given


def _checked(
    vote: Vote, state: State, known: Container[Id], partial: bool
) -> tuple[Vote, str | None]:
    item = next((i for i in id_readings(vote.item) if i in known or i in state.items), None)
    if item is None:
        return vote, f"the pool has no example with the id {vote.item!r}"
    if item is not vote.item:
        vote = replace(vote, item=item)
    if vote.time is not None and vote.time > _tomorrow():
        return vote, f"the time {vote.time} lies in the future"
    if vote.label is not None:
        question = state.question
        if problem := question.problem(vote.label):
            return vote, problem
        if vote.schema is None:
            vote = _of_schema(vote, vote.label, state)
        if state.resolve(vote) is None and not partial:
            label = _unknown(question.names_in(vote.label or ()), vote, state)
            near = nearest(label, state.classes)
            hint = f"did you mean '{near}'?" if near else listed(state.classes, 10)
            return vote, f"{label!r} is not one of the {question.option} ({hint})"
    return vote, None


def _unknown(names: Sequence[str], vote: Vote, state: State) -> str:
    """The first of the names that is none of today."""
    return next(n for n in names if class_today(n, vote.schema, state.schemas) is None)


def _of_schema(vote: Vote, label: Answer, state: State) -> Vote:
    """The vote with the version its label is of; 1.0 is the class 1 where no class is called so."""
    question, schemas = state.question, state.schemas

    def reading(name: str) -> str:
        known = (
            each
            for each in readings(name)
            if class_today(each, version_of((each,), schemas), schemas) is not None
        )
        return next(known, name)

    found = question.renamed(label, reading)
    return replace(vote, label=found, schema=version_of(question.names_in(found or ()), schemas))


def _changes(vote: Vote, state: State) -> str | None:
    """What is to be said where a vote changes the last word of its annotator."""
    last = next((v for v in state.item(vote.item).current if v.annotator == vote.annotator), None)
    if last is None or state.word(last) == state.word(vote):
        return None
    return (
        f"{vote.item!r} is {_said(vote)}, but {_said(last)} in an earlier file "
        f"'{vote.annotator}'. If the same person corrects it: --annotator {vote.annotator}. If "
        "it is another person: --annotator and their name"
    )


def _tomorrow() -> str:
    """A day from now: a clock may be ahead, but a later word must be able to replace a vote."""
    return utc(datetime.now(UTC) + timedelta(days=1))


def id_readings(id: Id) -> Iterator[Id]:
    """An id as it was given, then as the other type."""
    yield id
    if isinstance(id, int):
        yield str(id)
    elif _WHOLE_NUMBER.fullmatch(id.strip()):
        yield int(id)


def _consistent(
    given: list[tuple[str, Vote]], state: State, problems: list[str]
) -> list[tuple[str, Vote]]:
    """Leave out, and explain, different words of one annotator on one item at one time."""
    standing: dict[tuple[Id, str, str | None], tuple[str, Vote]] = {}
    torn: set[tuple[Id, str, str | None]] = set()
    for where, vote in given:
        place = vote.item, vote.annotator, vote.time
        if vote.kind == "undo":
            standing.pop(place, None)
            continue
        first, before = standing.setdefault(place, (where, vote))
        if state.word(before) != state.word(vote):
            torn.add(place)
            problems.append(
                f"{where}: {vote.annotator} says {_said(vote)} of {vote.item!r}, and "
                f"{_said(before)} ({first})"
            )
    if not torn:
        return given
    return [
        (where, vote) for where, vote in given if (vote.item, vote.annotator, vote.time) not in torn
    ]


def _said(vote: Vote) -> str:
    return "skip" if vote.label is None else repr(vote.label)


def _write(journal: Journal, state: State, votes: list[Vote], refused: tuple[str, ...]) -> Recorded:
    moment = now()
    lasts: defaultdict[Id, dict[str, Vote]] = defaultdict(dict)
    writing: list[tuple[Vote, bool]] = []
    repeated = 0
    for vote in votes:
        if vote.item not in lasts:
            lasts[vote.item] = {each.annotator: each for each in state.item(vote.item).votes}
        last = lasts[vote.item].get(vote.annotator)
        standing = ("undo", None) if last is None else state.word(last)
        word = state.word(vote)
        if vote.time is None:
            if word == standing:
                repeated += 1
                continue
            vote = replace(vote, time=moment if last is None else _later(last, moment))
        newer = last is None or (vote.time or "", vote.key) > (last.time or "", last.key)
        if newer:
            lasts[vote.item][vote.annotator] = vote
        writing.append((vote, newer and standing[0] != "undo" and word != standing))
    taken = journal.append([vote for vote, _ in writing])
    written = [each for each, new in zip(writing, taken, strict=True) if new]
    changed = sum(changes for _, changes in written)
    return Recorded(
        new=len(written) - changed,
        repeated=repeated + len(writing) - len(written),
        changed=changed,
        quarantined=sum(
            vote.kind == "label" and state.resolve(vote) is None for vote, _ in written
        ),
        refused=refused,
    )


def _later(last: Vote, moment: str) -> str:
    """This moment, or just after the annotator's last word where a clock runs ahead."""
    if last.time is None or last.time < moment:
        return moment
    return just_after(last.time)
