"""The training and the test data of a comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from keepers.data import Source, open_source
from keepers.errors import ParameterError
from keepers.random import generator
from keepers.selectors import stratified
from keepers.types import Budget, Progress
from keepers.workflows.opening import Reading, Say


def open_both(
    data: Any, test: Any, reading: Reading, progress: Progress | None, say: Say
) -> tuple[Source, Source, int]:
    """The training data, the test data, and how many test inputs stand in both.

    `test` may be a fraction, split off at random, class by class.

    Raises:
        ParameterError: a fraction that splits off too little or too much, or test data all of
            which stand in the training data.
    """
    source = open_source(data, progress=progress, **vars(reading))
    source, test_source = _with_test(source, test, reading, progress)
    for sentence in source.found:
        say(sentence)
    in_both = int(np.isin(test_source.digests, source.digests).sum())
    if in_both == len(test_source):
        raise ParameterError(
            "test",
            f"every input of {test_source.name} also stands in the training data {source.name}",
            "Give data that were held out, or a fraction such as 0.2 to split off",
        )
    if in_both:
        say(
            f"Warning: {in_both:,} of the {len(test_source):,} test inputs also stand in the "
            "training data, so test errors look better than they are"
        )
    return source, test_source, in_both


def _with_test(
    source: Source, test: Any, reading: Reading, progress: Progress | None
) -> tuple[Source, Source]:
    fraction = _fraction(test)
    if fraction is None:
        opened = open_source(test, like=source, on_bad_row=reading.on_bad_row, progress=progress)
        return source, opened
    assert source.labels is not None
    count = fraction.resolve(len(source), "test")
    classes = len(np.unique(source.labels))
    if count < (classes if isinstance(fraction.value, int) else 2):
        raise ParameterError(
            "test",
            f"got {test!r}, which splits off {count:,} of {len(source):,} rows, and there are "
            f"{classes} classes",
            f"Give a fraction such as 0.2, or a count of {classes} or more",
        )
    labels = torch.from_numpy(source.labels)
    drawn = stratified(labels, count, generator=generator(0, "test")).numpy()
    # Copies of a test input leave the training data with it.
    rest = np.flatnonzero(~np.isin(source.digests, source.digests[drawn]))
    if not len(rest):
        raise ParameterError("test", f"got {test!r}, which leaves no training data")
    return source.take(rest), replace(source.take(drawn), name=f"{count:,} rows split off")


def _fraction(test: Any) -> Budget | None:
    """The budget that `test` is, or None where it names data."""
    if isinstance(test, int | float):
        return Budget.parse(test, "test")
    if not isinstance(test, str) or Path(test).exists() or not test.rstrip("%").strip():
        return None
    try:
        float(test.rstrip("%"))
    except ValueError:
        return None
    return Budget.parse(test, "test")
