"""The whole exchange: send what waits, bring back what is labelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from keepers.campaign import LABEL_STUDIO, Desk, Id
from keepers.errors import RunError
from keepers.integrations.label_studio.answers import LabelStudioError
from keepers.integrations.label_studio.client import connect
from keepers.integrations.label_studio.collecting import Pulled, check_every, poll, pull
from keepers.integrations.label_studio.secret import VARIABLE
from keepers.integrations.label_studio.sending import Pushed, push
from keepers.integrations.label_studio.tasks import Prediction
from keepers.words import counted
from keepers.workflows.workplace import say_or_not


def exchange(
    desk: Desk,
    url: str,
    token: str | None = None,
    *,
    variable: str = VARIABLE,
    every: float | None = None,
    predictions: Mapping[Id, Prediction] | None = None,
    title: str | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Push the batch, then pull once, or, with `every`, again and again until all is labelled.

    Args:
        desk: the campaign.
        url: the server's address.
        token: in place of the environment variable.
        variable: the environment variable that holds the token.
        every: seconds between two looks.
        predictions: for items, the proxy's label and its probability.
        title: of the project, should it have to be made.
        say: is told what is done, in sentences.

    Returns:
        The fields of `Pushed` under `pushed`, of the last `Pulled` under `pulled`.

    Raises:
        RunError: nothing waits, and nothing was ever sent.
        KeepersError: as `connect`, `push`, `pull` and `poll`.
    """
    tell = say_or_not(say)
    if every is not None:
        check_every(every)
    with connect(url, token, variable=variable) as client:
        pushed = push(desk, client, predictions=predictions, title=title, say=tell)
        if pushed.project is None and not any(
            channel.startswith(LABEL_STUDIO) for channel in desk.state.sent
        ):
            raise RunError(
                "campaign: nothing waits for labels, and nothing was sent to Label Studio. Plan a "
                "batch with keepers active query"
            )
        tell(_said_of_push(pushed))
        if every is None:
            pulled = pull(desk, client)
            tell(_said_of_pull(pulled))
            if pulled.unoffered:
                tell(_said_of_unoffered(pulled))
        else:
            told: set[str] = set()

            def look_at(look: Pulled | LabelStudioError) -> None:
                tell(_said_of_look(look))
                if isinstance(look, Pulled) and not told.issuperset(look.unoffered):
                    told.update(look.unoffered)
                    tell(_said_of_unoffered(look))

            pulled = poll(desk, client, every=every, say=look_at)
    for sentence in (*pulled.unreadable, *pulled.refused):
        tell(f"Left out: {sentence}")
    if pulled.foreign:
        tell(f"Tasks left alone, because they are not the campaign's: {len(pulled.foreign):,}")
    return {"pushed": asdict(pushed), "pulled": asdict(pulled)}


def _said_of_push(pushed: Pushed) -> str:
    if pushed.project is None:
        return "Nothing waits for labels"
    doubles = f", {counted(pushed.doubles, 'double')} removed" if pushed.doubles else ""
    return (
        f"{counted(pushed.sent, 'task')} sent, {pushed.there:,} already there{doubles}: "
        f"{pushed.url}"
    )


def _said_of_look(look: Pulled | LabelStudioError) -> str:
    if isinstance(look, LabelStudioError):
        return f"Waiting: {look}"
    return _said_of_pull(look)


def _said_of_pull(pulled: Pulled) -> str:
    others = {
        "changed": pulled.changed,
        "withdrawn": pulled.withdrawn,
        "of unknown classes": pulled.quarantined,
        "disputed, offered to another annotator": pulled.offered,
    }
    more = "".join(f", {count:,} {what}" for what, count in others.items() if count)
    waits = counted(pulled.waiting, "example waits", "examples wait")
    disputed = f", and {pulled.open:,} disputed" if pulled.open else ""
    labels = counted(pulled.new, "new label")
    return f"{labels}{more}; {waits}{disputed}"


def _said_of_unoffered(pulled: Pulled) -> str:
    number = len(pulled.unoffered)
    what = counted(number, "disputed example is", "disputed examples are")
    return (
        f"{what} not offered to another annotator ({pulled.unoffered[0]}). Settle "
        f"{'it' if number == 1 else 'them'} on the page or in a file"
    )
