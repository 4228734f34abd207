"""What every adapter asks of a selector."""

from __future__ import annotations

from typing import Any

import torch

from keepers.errors import ParameterError
from keepers.online import BatchSelector, SelectingLoader


def check_selector(selector: Any) -> None:
    """Refuse anything but a selector.

    Raises:
        ParameterError: it is something else.
    """
    if not isinstance(selector, BatchSelector):
        raise ParameterError(
            "selector",
            f"got {type(selector).__name__}",
            "Give a keepers.RhoLoss or another BatchSelector",
        )


def check_loader(loader: Any) -> None:
    """Refuse what is no loader, or has a policy that takes part in the steps of a loop.

    Raises:
        ParameterError: either of them.
    """
    if not isinstance(loader, SelectingLoader):
        raise ParameterError(
            "loader", f"got {type(loader).__name__}", "Give a keepers.SelectingLoader"
        )
    policy = loader.policy
    if policy.watches or policy.weights(torch.arange(1)) is not None:
        raise ParameterError(
            "loader",
            f"got one with {type(policy).__name__}, which weights losses or needs them",
            "Use it in your own loop, or use a policy that does neither",
        )
