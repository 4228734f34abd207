"""What online selection can be asked for: the rows of the table of methods, and more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keepers import methods
from keepers.baselines import FRESH, UNIFORM
from keepers.errors import ParameterError, renamed, unknown_name
from keepers.online import SUPPLIED, WATCHED, InfoBatch, TokenSelector

INFOBATCH, ORIGINAL = "infobatch", "rho-loss-original"
AUTO, RHO_LOSS = "auto", "rho-loss"
TOKENS = "tokens"
"""Of conversations alone: the tokens of a batch that are worth learning (Lin et al. 2024)."""
POLICIES: Mapping[str, str] = {
    AUTO: "rho-loss if its losses are good and its steps can pay, else uniform",
    UNIFORM: "no selection: every example once in each epoch",
    FRESH: "a fresh random subset every epoch (Okanovic et al. 2024)",
    INFOBATCH: "leaves out a random part of the examples with low loss (Qin et al. 2024)",
    ORIGINAL: "rho-loss with an irreducible-loss model that keeps learning",
}
"""What can be asked for beside the rows of the table of methods."""

_NO_HAND_OVER = "Leave it out: only rho-loss ends by itself"
_OF_SCORING: dict[str, str] = dict.fromkeys(
    (
        "batch_norm",
        "score_precision",
        "score_resolution",
        "score_part",
        "max_age",
        "stand_in",
        "max_staleness",
        "shortlist",
        "scorers",
        "ray",
    ),
    "Leave it out: no candidate is scored",
)
UNUSED: Mapping[str, Mapping[str, str]] = {
    UNIFORM: {
        "keep": "Leave it out; select fresh-random trains on a part of the examples",
        "until": "Leave it out",
        "hand_over": _NO_HAND_OVER,
        **_OF_SCORING,
    },
    INFOBATCH: {
        "keep": "Give select_options.keep, the fraction of the examples with low loss that stays",
        "until": "Give select_options.off, the share of the training that ends on everything",
        "hand_over": _NO_HAND_OVER,
        **_OF_SCORING,
    },
    FRESH: {"until": "Leave it out", "hand_over": _NO_HAND_OVER, **_OF_SCORING},
    TOKENS: {
        "keep": "Give select_options.keep, the share of the tokens (0.6)",
        "until": "Leave it out",
        "hand_over": _NO_HAND_OVER,
        **_OF_SCORING,
    },
}
"""What a policy has no use for, and what to do about it."""


def selections() -> tuple[str, ...]:
    """The names that online selection takes."""
    return (*POLICIES, *methods.offered(SUPPLIED, replacement=True))


def needs_irreducible(select: str) -> bool:
    """Whether a selection needs irreducible losses."""
    if select in POLICIES or select == TOKENS:
        return select in (AUTO, ORIGINAL)
    return "irreducible_losses" in _row(select).needs


def _row(select: str) -> methods.Method:
    if select not in methods.table() and not methods.is_composed(select):
        raise unknown_name("select", select, selections())
    with renamed({"method": "select"}):
        return methods.get(select, SUPPLIED, replacement=True)


def method_identity(select: str) -> dict[str, Any] | None:
    """What the row that a selection goes by is; None for a policy that goes by none."""
    if select in POLICIES and select not in (AUTO, ORIGINAL):
        return None
    return _row(_name(select)).identity()


def _name(select: str) -> str:
    return RHO_LOSS if select in (AUTO, ORIGINAL) else select


def unused(select: str) -> Mapping[str, str]:
    """The settings that a selection has no use for, and what to do about each."""
    if select in POLICIES or select == TOKENS:
        return UNUSED.get(select, {})
    needs = _row(select).needs
    asks = needs - {"irreducible_losses", "labels"}
    watched = {} if needs >= WATCHED else {"hand_over": _NO_HAND_OVER}
    return watched if asks else {**watched, **_OF_SCORING}


def check_used(select: str, options: object) -> None:
    """Refuse options, given beside a selection, that it has no use for.

    Raises:
        ParameterError: one of them is not at its default.
    """
    for name, remedy in unused(select).items():
        value = getattr(options, name)
        if value != getattr(type(options), name):
            raise ParameterError(name, f"got {value}, which {select} does not use", remedy)


def check_options(select: str, options: Mapping[str, Any]) -> None:
    """Refuse an unknown selection, and options that it does not have.

    Raises:
        ParameterError: from the table of methods, or the selection's own.
    """
    if select == INFOBATCH:
        for name in options:
            if name not in ("keep", "off"):
                raise unknown_name("select_options of infobatch", name, ("keep", "off"))
        InfoBatch(**options)
    elif select == TOKENS:
        for name in options:
            if name != "keep":
                raise unknown_name("select_options of tokens", name, ("keep",))
        TokenSelector(**options)
    elif select in (UNIFORM, FRESH):
        if options:
            raise ParameterError(
                "select_options", f"got '{next(iter(options))}', but {select} has none"
            )
    else:
        row = _row(_name(select))
        with renamed({f"options of {row.name}": f"select_options of {row.name}"}):
            methods.settings(row, options)


def not_one_model() -> ParameterError:
    """The error for the original function where there is no one model to update."""
    return ParameterError(
        "select",
        f"got '{ORIGINAL}', which updates one irreducible-loss model",
        "Give holdout data or a holdout fraction, not folds or a file of losses",
    )
