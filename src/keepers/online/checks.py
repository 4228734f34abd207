"""What a selector refuses: when it is made, and of the candidates of a step."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from keepers import methods
from keepers.errors import KeepersError, ParameterError
from keepers.methods import Method
from keepers.online.numbering import SHOWN
from keepers.online.scorer import Scoring
from keepers.tasks import Task
from keepers.training import Candidates
from keepers.types import Picks, Signals

LOSSES = frozenset({"losses"})
SUPPLIED = methods.signals_of(methods.ONLINE)
"""The signals that online selection has, of any task."""


def supplied(task: Task) -> frozenset[str]:
    """The signals that online selection has of a task: every one has losses."""
    return SUPPLIED & (
        task.signals | {"losses", "irreducible_losses"} | ({"labels"} if task.likely else set())
    )


def unknown_ids(candidates: Candidates, known: Tensor) -> ParameterError:
    """Which candidates, those not `known` (n,), have no irreducible loss."""
    rows = (~known).nonzero().squeeze(1)
    return ParameterError(
        "ids",
        f"{len(rows)} of the batch have no irreducible loss, such as "
        f"{[candidates.name(row) for row in rows[:SHOWN].tolist()]}",
        "Compute the losses from the data that this batch is from",
    )


def not_numbers(
    candidates: Candidates, score: Callable[[Signals], Tensor] | None, signals: Signals
) -> KeepersError:
    """Which of the candidates that were scored have a score that is not a number."""
    assert score is not None
    rows = score(signals).isnan().nonzero().squeeze(1)
    named = [candidates.name(row) for row in rows[:SHOWN].tolist()]
    return KeepersError(
        f"losses: step {candidates.version + 1} scores NaN for {len(rows)} candidates, such as "
        f"{named}. Look for a model that diverged (lower lr), for inputs that are not finite, or "
        "for labels out of range"
    )


def broken_contract(method: Method, k: int, picks: Picks) -> KeepersError:
    """A method that gave other than k picks, or other than a weight for each."""
    weights = "no weights"
    if picks.weights is not None:
        weights = f"weights of shape {tuple(picks.weights.shape)}"
    return KeepersError(
        f"{method.name}: its select broke the contract: {k} positions were asked for, each with a "
        f"weight or none; it gave positions of shape {tuple(picks.positions.shape)} and {weights}. "
        "This is a defect of the method"
    )


def check_method(
    row: Method,
    scoring: Scoring,
    num_examples: int,
    *,
    irreducible: bool,
    stand_in: bool,
    updated: bool,
) -> None:
    """Refuse a method that lacks what it needs, and savings that it cannot use.

    Raises:
        ParameterError: either of them.
    """
    if "irreducible_losses" in row.needs and not (irreducible or updated):
        raise ParameterError(
            "losses",
            f"got none, but {row.name} needs irreducible losses",
            "Make them with keepers.irreducible_losses or 'keepers il'",
        )
    if updated and "irreducible_losses" not in row.needs:
        raise ParameterError(
            "updated", f"{row.name} does not use irreducible losses", "Choose rho-loss"
        )
    for name, given in (("stand_in", stand_in), ("max_age", scoring.max_age > 0)):
        if given and row.needs - {"irreducible_losses"} != LOSSES:
            needs = methods.in_words(row.needs - {"irreducible_losses"}) or "nothing"
            raise ParameterError(
                name,
                f"it gives losses, but {row.name} needs {needs} of the model",
                "Choose rho-loss or loss, or leave it out",
            )
    if stand_in and scoring.max_age:
        raise ParameterError(
            "max_age", "the losses of a stand-in are not kept", "Give one of stand_in and max_age"
        )
    if scoring.max_age and not num_examples:
        raise ParameterError(
            "max_age",
            f"got {scoring.max_age}, but the examples are not numbered",
            "Give losses=, whose ids number the examples, or leave max_age at 0",
        )
    if scoring.max_staleness and (row.selecting.score is None or row.bands):
        raise ParameterError(
            "max_staleness",
            f"got {scoring.max_staleness}, but {row.name} does not rank by one score",
            "Leave it out, or choose a method that does, such as rho-loss",
        )
