"""`keepers active simulate`: the paper's experiment, on data whose labels are known."""

from __future__ import annotations

from keepers.cli.commands import Request, command
from keepers.workflows.options.simulate import SimulateOptions


@command(SimulateOptions)
def simulate(request: Request[SimulateOptions]) -> None:
    """Would active learning have beaten random? Simulate campaigns on labelled data.

    In each round a proxy, trained on the labels so far, chooses examples, and their labels are
    revealed. At each budget the target is trained on these labels and tested, and likewise on as
    many random labels, over several seeds. Prints a table and writes report.html.
    """
    from keepers.cli.running import run_simulate

    run_simulate(request)
