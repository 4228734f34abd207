"""Pull: annotations as votes; a second look at the same ones adds nothing."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from keepers.campaign import (
    LABEL_STUDIO,
    Delivery,
    Desk,
    Id,
    State,
    Vote,
    just_after,
    label_studio_votes,
)
from keepers.errors import ParameterError
from keepers.integrations.label_studio.answers import LabelStudioError
from keepers.integrations.label_studio.client import Client
from keepers.integrations.label_studio.offering import offer_again
from keepers.integrations.label_studio.project import find_project, number_of
from keepers.integrations.label_studio.tasks import Task, all_tasks, item_name, name_of

PATIENCE = 10
"""How many looks in a row may fail, while the server is away, before polling gives up."""


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """What a look at the server brought.

    `new` votes, `changed` ones, `repeated` ones that were known; `withdrawn` votes whose
    annotation was deleted; `quarantined`, among the new and changed, name no class of today.
    `offered` disputed items are shown to one more annotator from now on, `open` ones in all, those
    offered before included; `unoffered` says which the server does not show again, and why.
    `foreign` are tasks that are none of the campaign's, left alone; `unreadable` and `refused` say
    which annotations are no votes, and why. `waiting` items have too few labels yet.
    """

    new: int = 0
    changed: int = 0
    repeated: int = 0
    withdrawn: int = 0
    quarantined: int = 0
    offered: int = 0
    open: int = 0
    unoffered: tuple[str, ...] = ()
    foreign: tuple[int, ...] = ()
    unreadable: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    waiting: int = 0


def pull(desk: Desk, client: Client) -> Pulled:
    """Take the annotations that the server has by now as votes.

    A vote is the annotator's, at the time of the annotation's last change, so that one edited
    later is a newer vote. Predictions are no votes. Where an annotation was deleted, the vote is
    withdrawn, and an older one of the same annotator counts again; where its task or the whole
    project was deleted, the label stays. Label Studio would show an item on which the annotators
    are divided to nobody else: it is told to show it to one more. Where it does not, `unoffered`
    says so; the votes are taken all the same.

    Raises:
        LabelStudioError: the server cannot be reached or refuses, or has no project of this
            campaign.
    """
    state = desk.state  # before the look: what stands here and not there, was deleted there
    project = find_project(client, state.campaign)
    if project is None:
        raise LabelStudioError(
            f"{client.url}: has no project of this campaign, or the token's user cannot see it. "
            "Push the batch first, or give the address that it was sent to"
        )
    ours = {name_of(item): item for item in state.items}
    tasks: defaultdict[Id, list[Task]] = defaultdict(list)
    foreign: list[int] = []
    for task in all_tasks(client, number_of(client, project)):
        name = item_name(task)
        if name in ours:
            tasks[ours[name]].append(task)
        else:
            foreign.append(int(task["id"]))
    votes: list[Delivery] = []
    unreadable: list[str] = []
    withdrawn = 0
    for item, held in tasks.items():
        returned = label_studio_votes(held, where=client.url, question=state.asked_ever)
        unreadable += returned.malformed
        given = [(where, replace(vote, item=item)) for where, vote in returned.votes]
        votes += given
        if not returned.malformed:
            corrections = list(_corrections(state, item, [vote for _, vote in given]))
            withdrawn += sum(vote.kind == "undo" for vote in corrections)
            votes += corrections
    recorded = desk.record(votes, partial=True)
    disputed = {item: tasks[item] for item in desk.state.disputed if item in tasks}
    offers = offer_again(client, disputed)
    return Pulled(
        new=recorded.new,
        changed=max(0, recorded.changed - withdrawn),
        repeated=recorded.repeated,
        withdrawn=withdrawn,
        quarantined=recorded.quarantined,
        offered=offers.offered,
        open=offers.open,
        unoffered=offers.unoffered,
        foreign=tuple(foreign),
        unreadable=tuple(unreadable),
        refused=recorded.refused,
        waiting=len(desk.state.pending()),
    )


def poll(
    desk: Desk,
    client: Client,
    *,
    every: float = 30.0,
    until: Callable[[Pulled], bool] | None = None,
    say: Callable[[Pulled | LabelStudioError], None] | None = None,
    patience: int = PATIENCE,
    sleep: Callable[[float], None] = time.sleep,
) -> Pulled:
    """Pull again and again, until all is labelled or `until` says so; the last look.

    All is labelled when nothing waits for labels, and no disputed item is still shown on the
    server to one more annotator. A server that is away for a while, as for a restart, is waited
    for.

    Args:
        desk: the campaign.
        client: the server.
        every: seconds between two looks.
        until: given a look, whether it was the last.
        say: is given each look, and each failure that is waited out.
        patience: failures in a row before the last one is raised.
        sleep: stands in for the clock.

    Raises:
        ParameterError: `every` is no positive number of seconds.
        LabelStudioError: as `pull`, or the server stayed away.
    """
    check_every(every)
    failures = 0
    while True:
        try:
            pulled = pull(desk, client)
        except LabelStudioError as error:
            failures += 1
            if not error.transient or failures > patience:
                raise
            if say is not None:
                say(error)
        else:
            failures = 0
            if say is not None:
                say(pulled)
            if until(pulled) if until is not None else not (pulled.waiting or pulled.open):
                return pulled
        sleep(every)


def check_every(every: float) -> None:
    """Refuse what is no positive number of seconds."""
    if not 0 < every < math.inf:
        raise ParameterError("every", f"got {every}", "Give a positive number of seconds")


def _corrections(state: State, item: Id, given: Sequence[Vote]) -> Iterator[Vote]:
    """What the journal still counts, and the item's annotations no longer say.

    They are dated just after the vote that they correct, by the server's clock: a later annotation
    is newer, and a second look corrects the same way.
    """
    last: dict[str, Vote] = {}
    for vote in sorted(given, key=lambda vote: vote.time or ""):
        last[vote.annotator] = vote
    for standing in state.item(item).current:
        if standing.source != LABEL_STUDIO or standing.time is None:
            continue
        after = just_after(standing.time)
        vote = last.get(standing.annotator)
        if vote is None:
            yield replace(standing, kind="undo", label=None, time=after, seconds=None)
        elif (vote.time or "") < standing.time and state.word(vote) != state.word(standing):
            yield replace(vote, time=after)
