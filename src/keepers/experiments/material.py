"""The training and the test data of a comparison."""

from __future__ import annotations

from typing import Any

from keepers.data import Source
from keepers.workflows.opening import read_data
from keepers.workflows.options.compare import CompareOptions
from keepers.workflows.options.compare_online import CompareOnlineOptions
from keepers.workflows.options.shared import Say
from keepers.workflows.tested import with_test


def open_both(
    data: Any, options: CompareOptions | CompareOnlineOptions, say: Say
) -> tuple[Source, Source, int]:
    """The training data, the test data, and how many test inputs stand in both.

    Raises:
        ParameterError: a fraction that splits off too little or too much, or test data all of
            which stand in the training data.
    """
    source = read_data(data, options)
    found = with_test(source, options.test, options, say)
    for sentence in found[0].found:
        say(sentence)
    return found
