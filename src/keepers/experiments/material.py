"""The training and the test data of a comparison."""

from __future__ import annotations

from typing import Any

from keepers.data import Source, open_source
from keepers.types import Progress
from keepers.workflows.opening import ReadingOf, Say
from keepers.workflows.tested import with_test


def open_both(
    data: Any, test: Any, reading: ReadingOf, progress: Progress | None, say: Say
) -> tuple[Source, Source, int]:
    """The training data, the test data, and how many test inputs stand in both.

    Raises:
        ParameterError: a fraction that splits off too little or too much, or test data all of
            which stand in the training data.
    """
    source = open_source(data, progress=progress, **vars(reading))
    source, tested, in_both = with_test(source, test, reading.on_bad_row, progress, say)
    for sentence in source.found:
        say(sentence)
    return source, tested, in_both
