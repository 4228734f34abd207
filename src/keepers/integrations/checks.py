"""What every adapter asks of a selector."""

from __future__ import annotations

from typing import Any

from keepers.errors import ParameterError
from keepers.online import BatchSelector


def check_selector(selector: Any) -> None:
    """Refuse what is no selector.

    Raises:
        ParameterError: not a `BatchSelector`.
    """
    if not isinstance(selector, BatchSelector):
        raise ParameterError(
            "selector",
            f"got {type(selector).__name__}",
            "Give a keepers.RhoLoss or another BatchSelector",
        )
