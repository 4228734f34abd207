"""Consensus: what the votes on one item say together, under the classes of today."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from keepers.campaign.events import BROUGHT, Schema, Vote

Verdict = Literal["labelled", "disputed", "skipped", "quarantined", "pending"]


def in_order(votes: Iterable[Vote]) -> tuple[Vote, ...]:
    """Votes by time, each once; equal times in the order of their keys."""
    each = {vote.key: vote for vote in votes}.values()
    return tuple(sorted(each, key=lambda vote: (vote.time or "", vote.key)))


def current(votes: Sequence[Vote]) -> tuple[Vote, ...]:
    """Each annotator's last vote, out of `votes` in order, but for those that were undone.

    >>> first = Vote(item=1, annotator="ann", label="neg", time="2026-03-01")
    >>> current((first, Vote(item=1, annotator="ann", kind="undo", time="2026-03-02")))
    ()
    """
    last = {vote.annotator: vote for vote in votes}
    return tuple(vote for vote in last.values() if vote.kind != "undo")


def version_of(label: str, schemas: Sequence[Schema]) -> int | None:
    """The version that a label of unknown age belongs to: the last that has it, or the last."""
    holding = [schema.version for schema in schemas if label in schema.classes]
    return max(holding) if holding else (schemas[-1].version if schemas else None)


def class_today(label: str, version: int | None, schemas: Sequence[Schema]) -> str | None:
    """What a class of `version` is called now; None where the classes no longer hold it.

    >>> schemas = Schema(version=1, classes=("a", "b")), Schema(
    ...     version=2, classes=("b", "c"), renamed={"a": "b", "b": "c"})
    >>> class_today("a", 1, schemas), class_today("b", 1, schemas), class_today("b", 2, schemas)
    ('b', 'c', 'b')
    """
    if not schemas:
        return None
    if version is None:
        version = version_of(label, schemas) or 0
    for schema in schemas:
        if schema.version > version:
            label = schema.renamed.get(label, label)
    return label if label in schemas[-1].classes else None


def settle(
    votes: Sequence[Vote], resolve: Callable[[Vote], str | None], needed: int
) -> tuple[Verdict, str | None]:
    """The verdict on an item and, where it is labelled, its class.

    Of `votes` in order, each annotator's last one counts. `needed` label votes, or one that was
    brought, settle an item by majority; a tie at the top is disputed. Without them it is
    quarantined where a vote names a class that `resolve` does not know, skipped where there are
    only skips, and pending otherwise. A skip never outvotes a label.
    """
    words = current(votes)
    labels = [(resolve(vote), vote.source == BROUGHT) for vote in words if vote.kind == "label"]
    counted = Counter(label for label, _ in labels if label is not None)
    brought = any(was_brought for label, was_brought in labels if label is not None)
    if counted.total() < needed and not brought:
        if len(labels) > counted.total():
            return "quarantined", None
        return ("skipped" if words and not labels else "pending"), None
    top = counted.most_common(2)
    if len(top) == 2 and top[0][1] == top[1][1]:
        return "disputed", None
    return "labelled", top[0][0]
