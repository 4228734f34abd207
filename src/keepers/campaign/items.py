"""One example of a campaign: where it stands, and how its votes settle it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from keepers.campaign.consensus import current, in_order, settle
from keepers.campaign.events import Id, Part, PlannedItem, Vote
from keepers.tasks.question import Answer

Place = tuple[int, PlannedItem]
"""The round that planned an item, and its place there."""

Status = Literal[
    "unplanned",
    "planned",
    "sent",
    "labelled",
    "skipped",
    "disputed",
    "quarantined",
    "removed",
]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, kw_only=True)
class Item:
    """What is known of one example: its status, its place in the last batch it was in, its votes.

    `label` is the consensus, None unless the status is `labelled`. `votes` are all that were ever
    given, by time.
    """

    id: Id
    status: Status = "unplanned"
    label: Answer | None = None
    votes: tuple[Vote, ...] = ()
    round: int | None = None
    part: Part | None = None
    rank: int | None = None
    score: float | None = None
    reason: str = ""

    @property
    def current(self) -> tuple[Vote, ...]:
        """Each annotator's last vote; those that were undone are left out."""
        return current(self.votes)


def settled(
    item: Item,
    *,
    arrived: Sequence[Vote],
    place: Place | None,
    resolve: Callable[[Vote], Answer | None],
    needed: int,
    agreed: Callable[[Sequence[Answer]], Answer | None],
    is_removed: bool,
    is_sent: bool,
) -> Item:
    """The item once votes have arrived and a later round, perhaps, has planned it again."""
    if place is not None and place[0] >= (item.round or 0):
        planned = place[1]
        item = replace(
            item,
            round=place[0],
            part=planned.part,
            rank=planned.rank,
            score=planned.score,
            reason=planned.reason,
        )
    votes = in_order((*item.votes, *arrived)) if arrived else item.votes
    verdict, label = settle(votes, resolve, needed, agreed)
    status: Status
    if is_removed:
        status, label = "removed", None
    elif verdict != "pending":
        status = verdict
    elif is_sent:
        status = "sent"
    else:
        status = "unplanned" if item.round is None else "planned"
    return replace(item, status=status, label=label, votes=votes)
