"""A campaign's work folder: models and features, all of which can be made again."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from keepers.campaign import State
from keepers.errors import RunError
from keepers.runs import Run
from keepers.training import Hardware
from keepers.types import Progress
from keepers.workflows.active.neighbour_index import INDEX
from keepers.workflows.probing import FEATURES
from keepers.workflows.workplace import Workplace

WORK = "work"
"""The name of the folder within that of the campaign."""

STAGES = "stages"
"""The folder of a run that holds what was computed."""


@contextmanager
def at_work(
    campaign: Path, state: State, hardware: Hardware, progress: Progress | None
) -> Generator[Workplace]:
    """A place for the stages of one round; what the journal has booked is not booked again.

    Raises:
        RunError: the folder is damaged, or of another campaign.
    """
    folder = campaign / WORK
    try:
        run = Run(folder, {"campaign": state.campaign})
    except RunError:
        raise RunError(
            f"campaign: {folder} is damaged, or belongs to another campaign. Remove the folder: "
            "its content will be made again"
        ) from None
    with run:
        booked = paid_for(state, folder / STAGES)
        yield Workplace(run=run, hardware=hardware, progress=progress, booked=booked)


def paid_for(state: State, stages: Path) -> set[Path]:
    """The stages, in their folder, whose costs the journal holds already."""
    facts = [each.facts for each in (*state.rounds, *state.trained)]
    return {stages / name for each in facts for name in each.get("stages", ())}


def discard_models(campaign: Path, *, index: str | None) -> None:
    """Remove what a planned round has left: no other trains these models, and they are large.

    Features are kept, and the `index` that the round used: those of other features are of no use.
    A round that used none leaves what there is: a later one may.
    """
    kept = (f"{FEATURES}-",) if index else (f"{FEATURES}-", f"{INDEX}-")
    for folder in (campaign / WORK / STAGES).glob("*"):
        if not folder.name.startswith(kept) and folder.name != index:
            shutil.rmtree(folder, ignore_errors=True)
