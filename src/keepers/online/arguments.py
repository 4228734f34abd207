"""What a selector in somebody's loop was given: kinds, names, and what excludes what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from keepers.errors import ParameterError, unknown_name
from keepers.online.backend import Backend, check_backend
from keepers.online.companion import Companion
from keepers.online.losses import IrreducibleLosses
from keepers.online.scorer import InProcess, Scoring
from keepers.online.scorers import Scorers
from keepers.tasks import Task, of_batches, task_of

Among = Literal["own", "all"]

_COMPANION = "Give a keepers.Companion, which holds the model and its optimiser"
_KINDS: Mapping[str, tuple[type, str]] = {
    "losses": (
        IrreducibleLosses,
        "Give what keepers.irreducible_losses or keepers.IrreducibleLosses.load returns",
    ),
    "scoring": (Scoring, "Give a keepers.Scoring, such as keepers.Scoring(precision='bf16')"),
    "stand_in": (Companion, _COMPANION),
    "updated": (Companion, _COMPANION),
}
_ELSEWHERE = {
    "uniform": "Choose 'random' to draw from a batch; uniform training needs no selector",
    "fresh-random": "Choose 'random' to draw from a batch",
    "rho-loss-original": "Choose 'rho-loss' and give the irreducible-loss model as updated=",
    "infobatch": "It prunes epochs, not batches: keepers.train(select='infobatch') does it",
}
"""What `keepers.train` offers, and how a loop has it."""


def checked(given: Mapping[str, Any]) -> Backend:
    """The backend of these arguments of `BatchSelector`, by name.

    Raises:
        ParameterError: a value of another kind, an unknown name, or two that exclude each other.
    """
    method, among, backend = given["method"], given["among"], given["backend"]
    for name, (kind, remedy) in _KINDS.items():
        if given[name] is not None and not isinstance(given[name], kind):
            raise ParameterError(name, f"got {type(given[name]).__name__}", remedy)
    if isinstance(method, str) and method in _ELSEWHERE:
        raise ParameterError("method", f"got '{method}'", _ELSEWHERE[method])
    if given["scorers"] is not None:
        if backend is not InProcess:
            raise ParameterError("scorers", "got together with backend", "Give one of them")
        if given["stand_in"] is not None:
            raise ParameterError(
                "scorers",
                "got together with stand_in, which scores in this process",
                "Give one of them",
            )
        backend = given["scorers"]
        backend = backend if isinstance(backend, Scorers) else Scorers(backend)
    check_backend(backend, given["stand_in"])
    if among not in get_args(Among):
        raise unknown_name("among", str(among), get_args(Among))
    for name in ("stand_in", "updated"):
        if among == "all" and given[name] is not None:
            raise ParameterError(
                name,
                "got together with among='all', but each process would train its own",
                "Leave one of them out",
            )
    return backend


def task_given(given: str | Task | None, losses: IrreducibleLosses | None) -> Task:
    """What labels are: as given, as the losses say, or classes."""
    made = None if losses is None else losses.metadata.get("task")
    if given is None:
        return task_of(made)
    name = given if isinstance(given, str) else given.name
    if made and made.get("task") != name:
        raise ParameterError(
            "task",
            f"got '{name}', but the losses were made for '{made.get('task')}'",
            "Leave it out, or compute the losses for these targets",
        )
    if not isinstance(given, str):
        return given
    return task_of(made) if made else of_batches(given)
