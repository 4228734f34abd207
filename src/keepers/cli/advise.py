"""`keepers advise`."""

from __future__ import annotations

from typing import Any

from keepers.cli.commands import Request, command
from keepers.workflows.options.advise import (
    AdviseOnlineOptions,
    AdviseOptions,
    LabellingOptions,
)


@command(
    AdviseOptions,
    usual="core-sets",
    online=(AdviseOnlineOptions, "Advise on online selection instead"),
    labelling=(LabellingOptions, "Advise on labelling instead"),
)
def advise(request: Request[Any]) -> None:
    """Say whether selecting will pay, for each budget and method, before you select.

    A pilot tries every method on a part of the data. Writes a run directory with report.html.

    With --online: does online selection pay? It measures the cost of a selecting step of the
    target and the quality of irreducible losses, and says what they can save at most.

    With --labelling: how accurate is a model with N labels, and does choosing what to label beat
    random labelling? It simulates campaigns on the labels that you have.
    """
    from keepers.cli.running import run_advise

    run_advise(request)
