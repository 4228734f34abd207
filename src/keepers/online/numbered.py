"""The candidates in a batch of somebody's loop, numbered by their ids."""

from __future__ import annotations

from torch import Tensor

from keepers.errors import ParameterError
from keepers.online.batch import Parts
from keepers.online.losses import IrreducibleLosses
from keepers.online.numbering import as_numbers
from keepers.tasks import Task
from keepers.training import Candidates


def candidates_of(
    parts: Parts, losses: IrreducibleLosses | None, task: Task, step: int, weights: int | None
) -> tuple[Candidates, Tensor | None]:
    """The candidates of a step, and which of them have an irreducible loss (None where none is).

    `weights` are those of the step, as in `Candidates`.
    """
    labels, device = parts.labels, parts.device
    positions, known = positions_of(parts, losses)
    candidates = Candidates(
        positions=positions.to(device, non_blocking=True),
        labels=task.batch(labels).to(device, non_blocking=True),
        args=parts.args,
        keywords=parts.keywords or {},
        cut=parts.cut,
        version=step,
        weights=weights,
        ids=parts.ids,
    )
    return candidates, known


def positions_of(parts: Parts, losses: IrreducibleLosses | None) -> tuple[Tensor, Tensor | None]:
    """What the examples are numbered by, and which of them have an irreducible loss.

    Raises:
        ParameterError: more or fewer ids than labels.
    """
    if losses is None:
        positions, known = as_numbers(parts.ids), None
    else:
        positions, known = losses.numbering.lookup(parts.ids)
    if positions.shape[0] != parts.labels.shape[0]:
        raise ParameterError(
            "ids",
            f"got {len(positions)} for {len(parts.labels)} labels",
            "Give one for each example",
        )
    return positions, known
