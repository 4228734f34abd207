"""Test data of a workflow: opened like the training data, or split off, and seen by no model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from keepers.data import Source, open_source
from keepers.errors import ParameterError
from keepers.online import IrreducibleLosses
from keepers.random import generator
from keepers.selectors import stratified_units
from keepers.words import counted
from keepers.workflows.opening import share
from keepers.workflows.options.shared import Say, Shared
from keepers.workflows.overlap import alike


def with_test(source: Source, test: Any, options: Shared, say: Say) -> tuple[Source, Source, int]:
    """The training data, the test data, and how many test inputs stand in both.

    `test` may be a fraction, split off at random, class by class. Conversations that say nearly
    what one of the test data says are left out of the training data.

    Raises:
        ParameterError: a fraction that splits off too little or too much, or test data all of
            which stand in the training data.
    """
    source, tested = _parted(source, test, options)
    if source.kind == "chat":
        copies = alike(source, tested)
        if copies.any() and not copies.all():
            source = source.take(np.flatnonzero(~copies))
            say(
                f"Left out {counted(int(copies.sum()), 'conversation')} that say nearly what one "
                "held out says"
            )
    in_both = int(np.isin(tested.digests, source.digests).sum())
    if in_both == len(tested):
        raise ParameterError(
            "test",
            f"every input of {tested.name} is also in the training data {source.name}",
            "Give data that were held out, or a fraction such as 0.2 to split off",
        )
    if in_both:
        say(
            f"Warning: {in_both:,} of {counted(len(tested), 'test input')} "
            f"{'is' if in_both == 1 else 'are'} also in the training data, so test errors look "
            "better than they are"
        )
    return source, tested, in_both


def check_holdout(holdout: Source, test: Source, say: Say) -> None:
    """Say so where a model is trained on holdout data that hold some of the test inputs.

    Raises:
        ParameterError: they hold all of them.
    """
    in_both = int(np.isin(test.digests, holdout.digests).sum())
    if in_both == len(test):
        raise ParameterError(
            "holdout",
            f"every test input is also in {holdout.name}",
            "Give data that are neither trained on nor tested on",
        )
    if in_both:
        say(
            f"Warning: {in_both:,} of {counted(len(test), 'test input')} "
            f"{'is' if in_both == 1 else 'are'} also in the holdout data, so methods with "
            "irreducible losses look better than they are"
        )


def check_losses(losses: IrreducibleLosses, test: Source, say: Say, *, split_off: bool) -> None:
    """Say so where the models behind given losses may have been trained on test examples.

    Where they were not split off, their keys may be those of others by chance; hashes may not.
    """
    if losses.metadata.get("holdout") == test.fingerprint:
        say("Warning: the losses are from a model that was trained on the test data")
    also = int(losses.numbering.positions(test.ids)[1].sum())
    if also and (split_off or test.columns.id is None):
        which = "examples split off as test data" if split_off else "test inputs"
        say(
            f"Warning: the losses are also of {also:,} of the {which}, so their models may have "
            "been trained on them"
        )


def _parted(source: Source, test: Any, options: Shared) -> tuple[Source, Source]:
    fraction = share(test, "test")
    if fraction is None:
        on_bad_row, progress = options.on_bad_row, options.progress
        return source, open_source(test, like=source, on_bad_row=on_bad_row, progress=progress)
    count = fraction.resolve(len(source), "test")
    classes = 1 if source.strata is None else len(np.unique(source.strata))
    if count < (classes if isinstance(fraction.value, int) else 2):
        raise ParameterError(
            "test",
            f"got {test!r}, which splits off {count:,} of {counted(len(source), 'row')}, but "
            f"there are {classes} classes",
            f"Give a fraction such as 0.2, or a count of {classes} or more",
        )
    shares, units = source.proportions, torch.from_numpy(source.units)
    drawn = stratified_units(shares, units, count, generator=generator(0, "test")).numpy()
    rest = np.setdiff1d(np.arange(len(source)), drawn)
    if not len(rest):
        raise ParameterError("test", f"got {test!r}, which leaves no training data")
    return source.take(rest), replace(
        source.take(drawn), name=f"{counted(len(drawn), 'row')} split off"
    )
