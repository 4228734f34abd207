"""Validation at the public edge of the selectors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers.errors import ParameterError

Features = Tensor | npt.NDArray[Any]
"""Features (n, d) as a tensor or a NumPy array."""
Report = Callable[[str, int, int], None]
"""Called with the name of a part of the work, how much of it is done, and of how much."""


def unheard(part: str, done: int, total: int) -> None:
    """A `Report` that nobody hears."""


def check_selected(
    selected: Tensor | None, n: int, device: torch.device, parameter: str = "selected"
) -> Tensor:
    """Positions, each once, as int64 on `device`; empty where there are none."""
    if selected is None:
        return torch.empty(0, dtype=torch.int64, device=device)
    if selected.ndim != 1 or selected.dtype.is_floating_point or selected.dtype == torch.bool:
        raise ParameterError(
            parameter,
            f"got shape {tuple(selected.shape)} of {selected.dtype}",
            "Give positions: one dimension of integers",
        )
    positions = selected.to(device=device, dtype=torch.int64)
    if len(positions) and (int(positions.min()) < 0 or int(positions.max()) >= n):
        raise ParameterError(
            parameter,
            f"got positions from {int(positions.min())} to {int(positions.max())}",
            f"Give positions from 0 to {n - 1}",
        )
    if len(positions.unique()) != len(positions):
        raise ParameterError(parameter, "got a position twice", "Give each position once")
    return positions


def check_count(k: int, available: int, parameter: str = "k") -> int:
    """A number of picks: at least 0, at most as many as there are to pick from."""
    if isinstance(k, bool) or not isinstance(k, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ParameterError(parameter, f"got {k!r}", "Give a count as an integer")
    if k < 0 or k > available:
        raise ParameterError(
            parameter,
            f"got {k}, but there are only {available} to pick from",
            f"Give a count from 0 to {available}",
        )
    return k


def check_scores(scores: Tensor, parameter: str = "scores", *, finite: bool = False) -> Tensor:
    """One number for each example, without NaN."""
    if scores.ndim != 1:
        raise ParameterError(
            parameter, f"got shape {tuple(scores.shape)}", "Give one number for each example"
        )
    unusable = ~scores.isfinite() if finite else scores.isnan()
    if unusable.any():
        kind = "NaN or infinite values" if finite else "NaN"
        raise ParameterError(
            parameter,
            f"got {kind} at {int(unusable.sum())} positions, the first is "
            f"{int(unusable.nonzero()[0])}",
            "Look for a model that diverged, or leave those examples out",
        )
    return scores


def check_features(features: Features) -> Tensor:
    """Features as (n, d) of float32 or float64; whether they are finite is seen in their norms."""
    if isinstance(features, np.ndarray):
        if features.dtype.kind not in "fiu":
            raise ParameterError(
                "features", f"got an array of {features.dtype}", "Give rows of numbers"
            )
        # A view that only reads: torch warns of arrays that cannot be written to.
        with warnings.catch_warnings(action="ignore"):
            features = torch.from_numpy(np.ascontiguousarray(features, _native(features.dtype)))
    if features.ndim != 2 or not features.shape[0] or not features.shape[1]:
        raise ParameterError(
            "features", f"got shape {tuple(features.shape)}", "Give (n, d), one row per example"
        )
    if features.dtype.is_complex or features.dtype == torch.bool:
        raise ParameterError("features", f"got {features.dtype}", "Give floating-point numbers")
    features = features.detach()
    return features if features.dtype in (torch.float32, torch.float64) else features.float()


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A number format of this machine that torch has: float64 stays, the rest is float32."""
    wide = dtype.kind == "f" and dtype.itemsize >= 8
    return np.dtype(np.float64 if wide else np.float32)


def unselected(n: int, selected: Tensor) -> Tensor:
    """The positions that may still be picked, ascending."""
    free = torch.ones(n, dtype=torch.bool, device=selected.device)
    free[selected] = False
    return free.nonzero().squeeze(1)


def check_finite(points_ND: Tensor, norms_N: Tensor) -> None:
    """Refuse NaN and infinite features, seen in their squared norms, and too large ones."""
    if bool(norms_N.isfinite().all()):
        return
    first = int((~norms_N.isfinite()).nonzero()[0])
    own = (~points_ND.isfinite().all(1)).nonzero()
    where = f"at {len(own)} positions, the first is {int(own[0])}" if len(own) else ""
    raise ParameterError(
        "features",
        f"got NaN or infinite values {where}" if where else f"too large at {first}",
        "Look for a model that diverged, or leave those examples out",
    )


def check_rows(features: Features, n: int, of: str) -> Tensor:
    """Features as `check_features` gives them, of as many examples as something else."""
    points_ND = check_features(features)
    if len(points_ND) != n:
        raise ParameterError(
            "features", f"got {len(points_ND)} rows for {n} {of}", "Give both of the same examples"
        )
    return points_ND
