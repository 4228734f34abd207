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
    online=(AdviseOnlineOptions, "Does choosing what gets a gradient step pay?"),
    labelling=(LabellingOptions, "What will labels bring, does choosing them pay?"),
)
def advise(request: Request[Any]) -> None:
    """Say, before anything is selected, whether selecting pays: for each budget and method.

    A pilot on a part of the data tries every method. Writes a run directory and in it report.html.

    With --online: is it worth choosing which examples get a gradient step? What a selecting step of
    the target costs, how good irreducible losses are, and what they can save at most.

    With --labelling: how accurate a model will be with so many labels, and whether choosing what to
    label beats chance, by campaigns played on the labels there are.
    """
    from keepers.cli.running import run_advise

    run_advise(request)
