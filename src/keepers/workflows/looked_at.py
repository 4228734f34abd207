"""The part of the data that a pilot looks at."""

from __future__ import annotations

import numpy as np
import torch

from keepers.data import Source
from keepers.errors import ParameterError
from keepers.random import generator
from keepers.selectors import stratified_units
from keepers.words import counted

FOLDS = 5
"""Pieces, and the folds of each: one judges, the others are chosen from."""

LARGEST = 2_000
"""Examples of a piece, at most. What varies most is what is trained on, so pieces that share none,
of 10,000, say far more than those of the same 2,000, for the same work (benchmarks/pilot.py)."""

TYPICAL = 10
"""Examples that a typical class has in a piece, for a pilot to take more than one piece of data."""

FEWEST = 100
"""Examples under which a pilot says nothing."""

DIFFERENT = 2 * FOLDS
"""Different inputs, or groups, under which it says nothing: copies stand in one fold."""


def looked_at(source: Source, seed: int) -> Source:
    """The part that a pilot makes its pieces of; no more than a piece of pictures, slow to read."""
    assert source.strata is not None
    sizes = np.bincount(source.strata)[source.strata]
    many = np.median(sizes) * LARGEST < TYPICAL * len(source)
    return part_of(source, seed, LARGEST if many or source.kind == "image" else FOLDS * LARGEST)


def num_units(source: Source) -> int:
    """How many different inputs there are, those of a group counted once."""
    return len(np.unique(source.units))


def part_of(source: Source, seed: int, largest: int = LARGEST) -> Source:
    """A part of the data for a pilot, each class in its proportion.

    Raises:
        ParameterError: under `FEWEST` examples, or `DIFFERENT` inputs.
    """
    if len(source) < FEWEST:
        raise ParameterError(
            "data",
            f"got {len(source)} examples, but a pilot needs {FEWEST} or more",
            "Train on everything: with so few it costs little",
        )
    if (found := num_units(source)) < DIFFERENT:
        raise ParameterError(
            "data",
            f"got {counted(found, 'different input or group', 'different inputs or groups')}, and "
            f"a pilot needs {DIFFERENT} or more",
            "Name other columns with --input (input=...)",
        )
    if len(source) <= largest:
        return source
    shares, units = source.proportions, torch.from_numpy(source.units)
    drawn = stratified_units(shares, units, largest, generator=generator(seed, "pilot"))
    return source.take(drawn.numpy())
