"""The irreducible losses of a training: given, or made before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from keepers import processes
from keepers.baselines import UNIFORM
from keepers.data import Source
from keepers.errors import KeepersError, ParameterError, renamed
from keepers.online import IrreducibleLosses, Origin
from keepers.words import changed, counted
from keepers.workflows.irreducible import Irreducible, make_losses
from keepers.workflows.online.selections import (
    ORIGINAL,
    TOKENS,
    needs_irreducible,
    not_one_model,
    unused,
)
from keepers.workflows.opening import share
from keepers.workflows.options.irreducible import OF_IRREDUCIBLE, IrreducibleConfig
from keepers.workflows.options.shared import Say
from keepers.workflows.options.training import TrainOptions
from keepers.workflows.tested import check_losses
from keepers.workflows.workplace import Workplace

IL_FILE = "il.parquet"


EVERY_STEP = (
    "Every step is uniform: of several labels and of numbers, where the targets were right, "
    "rho-loss was no better, or worse. --select rho-loss selects; keepers compare --online "
    "measures it"
)


def is_plain(source: Source, options: TrainOptions) -> bool:
    """Whether nobody asks for selection, of several labels or of numbers.

    There rho-loss does harm where the targets are right (benchmarks/tasks_online.py), so it has to
    be asked for, by an option of its own at least.
    """
    if options.select is not None or source.other_task is None:
        return False
    given = (options.il, options.holdout, options.il_model, options.il_epochs)
    settings = ("folds", *unused(UNIFORM))
    return all(each is None for each in given) and all(
        getattr(options, name) == getattr(TrainOptions, name) for name in settings
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Sought:
    """Where irreducible losses are to come from: values, or models by a configuration."""

    il: IrreducibleLosses | None
    holdout: Any
    config: IrreducibleConfig

    @classmethod
    def read(
        cls,
        select: str,
        il: Any,
        holdout: Any,
        config: IrreducibleConfig,
        say: Say,
    ) -> Sought | None:
        """What `select` asks for, a file read before anything else; None where it needs none.

        Raises:
            ParameterError: losses and holdout data are given, or folds beside one of them, or
                losses of another type.
            DataError: the file is missing or damaged.
        """
        if needs_irreducible(select):
            config.check_beside(il=il, holdout=holdout)
            if select == ORIGINAL and holdout is None:
                raise not_one_model()
            il = IrreducibleLosses.load(il) if isinstance(il, str | Path) else il
            if not isinstance(il, IrreducibleLosses | None):
                remedy = "Give the path of a Parquet file, or keepers.IrreducibleLosses"
                raise ParameterError("il", f"got {type(il).__name__}", remedy)
            return cls(il=il, holdout=holdout, config=config)
        if select == TOKENS:  # its reference model is the irreducible-loss model
            return None
        unused = {
            "il": il,
            "holdout": holdout,
            "il_model": config.model,
            "il_epochs": config.epochs,
            "folds": None if config.folds == IrreducibleConfig.folds else config.folds,
        }
        for name, given in unused.items():
            if given is not None:
                say(f"{select} needs no irreducible losses: {name} is not used")
        return None

    @property
    def origin(self) -> Origin:
        """What their models were trained on, or will be."""
        if self.il is not None:
            return self.il.origin
        if self.holdout is None:
            return "folds"
        return "others" if share(self.holdout, "holdout") is None else "part"

    def of(self, source: Source, place: Workplace, test: Source | None) -> Irreducible:
        """Those of `source`; what is made is also left in the run directory.

        Raises:
            KeepersError: the losses are of other data, or cannot be made.
        """
        if self.il is not None:
            return given_losses(self.il, source, place.say)
        source = replace(source, skipped=())  # said already
        with renamed(OF_IRREDUCIBLE):
            made = make_losses(source, self.holdout, self.config, place, test)
        if processes.rank() == 0:
            _leave(made.losses, place.run.path / IL_FILE, place.say)
        return made

    def check(self, test: Source, say: Say, *, split_off: bool) -> None:
        """Say so where given losses may come from models that were trained on the test data."""
        if self.il is not None:
            check_losses(self.il, test, say, split_off=split_off)


def _leave(losses: IrreducibleLosses, path: Path, say: Say) -> None:
    """Save losses in the run directory; say so where they take the place of others."""
    try:
        before = IrreducibleLosses.load(path)
    except KeepersError:  # none, or damaged
        before = losses
    losses.save(path, overwrite=True)
    if before.fingerprint != losses.fingerprint:
        told = changed(before.metadata, losses.metadata, ("model", "seed", "folds", "holdout"))
        say(
            f"{path} held other irreducible losses{told and f', with {told}'}, and holds these "
            "now: another --run keeps both"
        )


def given_losses(il: IrreducibleLosses, source: Source, say: Say) -> Irreducible:
    """Losses that were made before, and the examples of `source` that have one.

    Raises:
        ParameterError: the losses are of other data.
    """
    members = torch.arange(len(source))
    if il.metadata.get("holdout") == source.fingerprint:  # they are from a part of these data
        known = il.numbering.positions(source.ids)[1]
        say(
            f"Left out: {counted(int((~known).sum()), 'example')} that the irreducible-loss "
            "model was trained on"
        )
        members = members[known]
    il.of(source.take(members.numpy()))
    for sentence in il.weaknesses:
        say(f"Warning: {sentence}")
    return Irreducible(losses=il, members=members)
