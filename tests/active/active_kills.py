"""What a forked child does to a campaign until it is killed, at a step that is counted.

A step is a file of the campaign that is about to be opened for writing, renamed or removed, a
statement that the journal is about to run, or the edge of a training or an inference pass.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from active_worlds import World, make_world

from keepers import Campaign
from keepers.campaign import journal
from keepers.workflows import stages
from keepers.workflows.active import drift, work

remembered = sys.modules["keepers.data.remembered"]

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate"}


class Steps:
    """Counts the steps, and ends the process without warning at one of them."""

    def __init__(self, folder: Path, last: int | None) -> None:
        self.folder, self.last, self.count = str(folder), last, 0

    def step(self, *_: object) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        remembered.SETTLED = 0
        sys.addaudithook(self._audit)
        connect = journal._connect  # pyright: ignore[reportPrivateUsage]

        def traced(*args: Any) -> Any:
            connection = connect(*args)
            connection.set_trace_callback(self.step)
            return connection

        journal._connect = traced  # pyright: ignore[reportPrivateUsage]
        for owner, name in ((stages, "fit"), (stages, "extract"), (drift, "pool_event")):
            setattr(owner, name, self._edges(getattr(owner, name)))
        workplace: Any = work.Workplace
        work.Workplace = functools.partial(workplace, checkpoint_every=0.0)  # type: ignore[misc,assignment]

    def _edges(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def stepping(*args: Any, **kwargs: Any) -> Any:
            self.step()
            found = function(*args, **kwargs)
            self.step()
            return found

        return stepping

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if not isinstance(flags, int) or not flags & WRITING:
                return
        elif event in CHANGING:
            path = args[0]
        else:
            return
        if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(
            self.folder
        ):
            self.step()


def start(world: World, name: str) -> Campaign:
    """A campaign with a test set, control items and near-duplicates to look for."""
    other = make_world(world.folder, 12, seed=4)
    other.ids = [900 + i for i in range(12)]
    test = other.write("test", labels=True)
    world.write()
    return world.start(name, test=test, control=0.2, distinct=0.98)


def act(folder: str, name: str, what: str, last: int | None, alarm: float | None = None) -> None:
    """Do `what` with the campaign `name`; print how many steps it took."""
    world = make_world(Path(folder))
    steps = Steps(Path(folder) / name, last)
    steps.watch()
    if alarm is not None:  # the default action of this signal ends a process at once
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, alarm)
    if what == "start":
        start(world, name)
    elif what == "pool":
        world.write(rows=range(10, 60))
        world.open(name)
    else:
        campaign = world.open(name)
        if what == "query":
            campaign.query(8)
        elif what == "measure":
            campaign.measure()
        elif what == "import":
            world.label(campaign, campaign.state.pending())
        elif what == "classes":
            campaign.reclassify(["a", "B", "c"], {"b": "B"})
        elif what == "rounds":
            for _ in range(3):
                world.label(campaign, campaign.query(8).ids)
    steps.step()
    print(steps.count)
