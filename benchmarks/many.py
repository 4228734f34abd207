"""What benchmarks of many data sets have in common: what is counted of each choice."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from keepers.errors import KeepersError
from keepers.statistics import paired_difference

RANDOM = 7
"""Random parts beside each choice."""

TOLD = ("refused", "failed")
"""What `tried` has instead of what was measured."""


def beside(errors: Sequence[float]) -> dict[str, Any]:
    """The error of a choice, which is the first, those of random parts, and how many are below."""
    auto, *random = errors
    return {"auto": auto, "random": random, "worse_than": sum(each < auto for each in random)}


def tried(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is measured, or the words in which it was refused, or how it failed."""
    try:
        return measure()
    except KeepersError as refused:
        return {"refused": str(refused)}
    except Exception:
        return {"failed": traceback.format_exc(limit=-3)}


def rounded(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell with errors of four digits."""
    random = [round(each, 4) for each in cell["random"]]
    return cell | {"auto": round(cell["auto"], 4), "random": random}


def not_measured(found: Sequence[dict[str, Any]], name: str) -> dict[str, dict[str, str]]:
    """What `tried` was refused, and what failed, by their names."""
    return {how: {each[name]: each[how] for each in found if how in each} for how in TOLD}


def counts(cells: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """How often the choice was the best and the worst of the eight, and by how much it differs.

    The interval is that of the means of data sets, which `name` tells apart.
    """
    gaps: dict[str, list[float]] = {}
    for cell in cells:
        gap = cell["auto"] - float(np.mean(cell["random"]))
        gaps.setdefault(cell[name], []).append(gap)
    means = [float(np.mean(each)) for each in gaps.values()]
    return {
        f"{name}s": len(gaps),
        "cells": len(cells),
        "best_of_8": sum(cell["worse_than"] == 0 for cell in cells),
        "worst_of_8": sum(cell["worse_than"] == RANDOM for cell in cells),
        "difference": asdict(paired_difference(means, [0.0] * len(means)))
        if len(means) > 1
        else None,
        "median": float(np.median(means)),
    }


def farthest(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The twelve cells in which the choice is farthest behind the mean of random parts."""
    return sorted(cells, key=lambda cell: float(np.mean(cell["random"])) - cell["auto"])[:12]
