"""`keepers active simulate`: the paper's experiment, on data whose labels are known."""

from __future__ import annotations

from keepers.cli.commands import Request, command
from keepers.workflows.options.simulate import SimulateOptions


@command(SimulateOptions)
def simulate(request: Request[SimulateOptions]) -> None:
    """Would it have beaten random? Play campaigns on data whose labels are known.

    Round by round, a proxy trained on what is labelled chooses, and the labels of its picks are
    revealed; at each budget the target is trained on them and tested, over several seeds, and so
    it is on as many random labels. Prints a table and writes report.html.
    """
    from keepers.cli.running import run_simulate

    run_simulate(request)
