"""Consensus: what the votes on one item say together, under the names of today."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from keepers.campaign.events import BROUGHT, Schema, Vote
from keepers.tasks.question import Answer

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


def version_of(names: Sequence[str], schemas: Sequence[Schema]) -> int | None:
    """The version that names of unknown age belong to: the last that has them, or the last."""
    holding = [schema.version for schema in schemas if all(n in schema.classes for n in names)]
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
        version = version_of((label,), schemas) or 0
    for schema in schemas:
        if schema.version > version:
            label = schema.renamed.get(label, label)
    return label if label in schemas[-1].classes else None


def settle(
    votes: Sequence[Vote],
    resolve: Callable[[Vote], Answer | None],
    needed: int,
    agreed: Callable[[Sequence[Answer]], Answer | None],
) -> tuple[Verdict, Answer | None]:
    """The verdict on an item and, where it is labelled, its label.

    Of `votes` in order, each annotator's last one counts. `needed` label votes, or one that was
    brought, settle an item as `agreed` says; it is disputed where that says nothing. Without them
    it is quarantined where a vote names something that `resolve` does not know, skipped where
    there are only skips, and pending otherwise. A skip never outvotes a label.
    """
    words = current(votes)
    labels = [(resolve(vote), vote.source == BROUGHT) for vote in words if vote.kind == "label"]
    counted = [label for label, _ in labels if label is not None]
    brought = any(was_brought for label, was_brought in labels if label is not None)
    if len(counted) < needed and not brought:
        if len(labels) > len(counted):
            return "quarantined", None
        return ("skipped" if words and not labels else "pending"), None
    label = agreed(counted)
    return ("disputed" if label is None else "labelled"), label
