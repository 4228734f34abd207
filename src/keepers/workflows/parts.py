"""Which irreducible-loss models there are: what each is trained on, and what gets its losses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from keepers.choices import OnBadRow
from keepers.data import Source, encode, open_source
from keepers.errors import ParameterError, about
from keepers.models import MIN_STEPS
from keepers.random import derived_seed, generator
from keepers.roles import Prepared, Role
from keepers.selectors import stratified_units
from keepers.types import Budget, EvalView, Progress
from keepers.words import counted
from keepers.workflows.opening import say_skipped
from keepers.workflows.options.irreducible import IrreducibleConfig
from keepers.workflows.options.shared import Say
from keepers.workflows.teaching import CHECKED, Teaching, folds_of
from keepers.workflows.tested import check_holdout
from keepers.workflows.workplace import Workplace

NARROW = (256, 256)
"""The hidden layers of a perceptron that only makes irreducible losses."""


def quick(role: Role, n: int) -> Role:
    """The role of a multilayer perceptron that only makes irreducible losses: cheap, in bf16.

    Without `hidden` it is 256 wide. A role without a recipe of its own gets one: 4 epochs in
    batches of 128 for that width, 6 in batches of 512 for any other; under 6,400 examples batches
    are smaller and epochs are 6, or more where these come to under `MIN_STEPS` steps. On half of
    MNIST and of CIFAR-10 the wide recipe has a lower held-out loss than batches of 256 in fp32, in
    0.6 of the CPU time; the narrow one has that loss in 0.6 of the time again
    (`benchmarks/irreducible.py`). A convolutional network has its own
    recipe, which this does not better.
    """
    narrow = "hidden" not in role.options
    min_steps = role.min_steps
    if min_steps is None and role.epochs is None:
        min_steps = MIN_STEPS
    role = replace(role, options={"hidden": NARROW, **role.options})
    own = {name: getattr(role, name) for name in ("batch_size", "lr", "optimizer", "schedule")}
    if any(value is not None for value in own.values()):
        return role
    most = 128 if narrow else 512
    batch = min(most, 1 << max(5, int(math.log2(max(2, n / 50)))))
    return replace(
        role,
        epochs=role.epochs or (4 if narrow and batch == most else 6),
        batch_size=batch,
        lr=2e-3 * math.sqrt(batch / most),
        optimizer="adamw",
        schedule="one-cycle",
        bf16=True if role.bf16 is None else role.bf16,
        min_steps=min_steps,
    )


def split(
    source: Source, prepared: Prepared, fraction: Budget | None, config: IrreducibleConfig
) -> list[Teaching]:
    """The models of the folds, or the one that is trained on a fraction."""
    labels, everything = prepared.proportions, torch.arange(len(source))

    def teaching(members: Tensor, scored: Tensor, checked: Tensor, number: int) -> Teaching:
        return Teaching(
            prepared=prepared,
            data=source.fingerprint,
            members=members,
            view=prepared.eval_view(),
            view_data=source.fingerprint,
            scored=scored,
            checked=checked,
            seed=derived_seed(config.seed, "irreducible", number),
        )

    units = torch.from_numpy(source.units)
    if fraction is not None:
        count = fraction.resolve(len(source), "holdout")
        draw = generator(config.seed, "holdout")
        held = torch.zeros(len(source), dtype=torch.bool)
        held[stratified_units(labels, units, count, generator=draw)] = True
        if held.all():
            left = f"got {fraction}, which leaves nothing to train on"
            raise ParameterError("holdout", left, "Give less, such as 0.2, or other data")
        rest = everything[~held]
        return [teaching(everything[held], rest, _sampled(rest, config.seed), 0)]
    inputs = len(units.unique())
    if inputs < 4 * config.folds:
        fewer = "Give fewer, or" if inputs >= 8 else "Give"
        raise ParameterError(
            "folds",
            f"got {config.folds} for {inputs} different inputs, and each fold needs 4",
            f"{fewer} other data to make the losses by (holdout=), or select='uniform'",
        )
    parts, checked = folds_of(labels, config.folds, seed=config.seed, units=units)
    return [
        teaching(torch.cat([p for p in parts if p is not part]).sort().values, part, checked, k)
        for k, part in enumerate(parts)
    ]


def open_holdout(
    holdout: Any,
    source: Source,
    test: Source | None,
    on_bad_row: OnBadRow,
    progress: Progress | None,
    say: Say,
) -> Source:
    """The data that an irreducible-loss model is trained on, which are not those of the test."""
    with about("holdout"):
        other = open_source(holdout, like=source, on_bad_row=on_bad_row, progress=progress)
    if test is not None:
        check_holdout(other, test, say)
    return other


def apart(
    source: Source,
    holdout: Any,
    config: IrreducibleConfig,
    place: Workplace,
    test: Source | None,
) -> tuple[Source, Prepared, list[Teaching]]:
    """The one model that is trained on other data, opened already or not."""
    other = holdout
    if not isinstance(other, Source):
        other = open_holdout(holdout, source, test, place.on_bad_row, place.progress, place.say)
    both = int(np.isin(source.digests, other.digests).sum())
    if both == len(source):
        raise ParameterError(
            "holdout",
            f"every training input is also in {other.name}",
            "Give other data, or leave it out to use folds",
        )
    if both:
        place.say(
            f"Warning: {counted(both, 'training input')} {'is' if both == 1 else 'are'} also in "
            "the holdout data"
        )
    role = config.role(other)
    other, prepared = place.prepare(role, other, parameter="model", cache="encoded-holdout")
    source, pool = encode(
        source,
        prepared.encoder,
        on_bad_row=place.on_bad_row,
        cache=place.run.path / "encoded",
        progress=place.progress,
    )
    say_skipped(source, place.say)
    view = EvalView(pool=pool, labels=source.targets, task=source.task)
    everything = torch.arange(len(source))
    return (
        source,
        prepared,
        [
            Teaching(
                prepared=prepared,
                data=other.fingerprint,
                members=torch.arange(len(other)),
                view=view,
                view_data=source.fingerprint,
                scored=everything,
                checked=_sampled(everything, config.seed),
                seed=derived_seed(config.seed, "irreducible", 0),
            )
        ],
    )


def _sampled(positions: Tensor, seed: int) -> Tensor:
    drawn = torch.randperm(len(positions), generator=generator(seed, "checked"))[:CHECKED]
    return positions[drawn.sort().values]
