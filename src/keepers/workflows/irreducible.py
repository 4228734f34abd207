"""Irreducible losses: what a model says of examples that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from keepers import processes
from keepers.choices import Header, OnBadRow, Precision
from keepers.configuration import picked
from keepers.data import Source, encode
from keepers.errors import ParameterError, renamed
from keepers.files import fingerprint, plain
from keepers.ledger import Cost, Ledger
from keepers.models import dense_encoder
from keepers.online import IrreducibleLosses, weaknesses
from keepers.roles import Prepared, Role, prepare
from keepers.signals import extract
from keepers.training import epochs_of
from keepers.types import EvalView, Model, Pool, Progress
from keepers.words import counted
from keepers.workflows.opening import (
    ReadingOf,
    Say,
    check_outputs_of,
    say_or_not,
    say_skipped,
    share,
    workplace_of,
)
from keepers.workflows.parts import IrreducibleConfig, apart, split
from keepers.workflows.stages import SHUFFLE
from keepers.workflows.teaching import Taught, measured, quality, teach
from keepers.workflows.workplace import Workplace

PHASES = ("irreducible-loss training", "irreducible-loss scoring")


@dataclass(frozen=True, kw_only=True, eq=False)
class Irreducible:
    """Irreducible losses, the positions that may be trained on, and the models they are from.

    `pool` holds the data that were scored, as those models take them: `prepared` may be of others.
    """

    losses: IrreducibleLosses
    members: Tensor
    prepared: Prepared | None = None
    taught: tuple[Taught, ...] = ()
    pool: Pool | None = None

    def by_position(self, source: Source) -> Tensor:
        """The losses (n,) of the members of `source`; NaN for its other examples."""
        values = torch.full((len(source),), torch.nan)
        values[self.members] = self.losses.of(source.take(self.members.numpy()))
        return values


def irreducible_losses(
    train: Any,
    *,
    holdout: Any = None,
    folds: int = 2,
    model: str | Role | Mapping[str, Any] | nn.Module | Model | None = None,
    epochs: int | None = None,
    resolution: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    input: str | None = None,
    label: str | None = None,
    id: str | None = None,
    split: str | None = None,
    header: Header = "auto",
    limit: int | None = None,
    on_bad_row: OnBadRow = "error",
    out: str | Path | None = None,
    overwrite: bool = False,
    run: str | Path | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    say: Say | None = None,
) -> IrreducibleLosses:
    """The loss of each training example under a model that has not seen it.

    Without `holdout` the data are cut into `folds`, balanced by class, and each fold gets its
    losses from a model trained on the others; a part that no model is trained on chooses the
    checkpoints. With `holdout` one model is trained on it alone. Losses are of the inputs as
    they are, in evaluation mode (Mindermann et al., ICML 2022).

    Args:
        train: as in `keepers.coreset`.
        holdout: other data with the same columns, or the fraction of `train` to take (those rows
            then have no losses).
        model: as `proxy` in `keepers.coreset`; or a trained module of your own that has not seen
            `train`, which is only evaluated.
        folds, epochs, resolution, seed: of the models.
        out, overwrite: Parquet file for the losses, and whether it may replace an earlier one.
        device, precision, run, resume, progress, say: as in `keepers.coreset`.
        input, label, id, split, header, limit, on_bad_row: likewise.

    Raises:
        KeepersError: anything wrong with what was given.

    >>> import keepers, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     losses = keepers.irreducible_losses("digits", epochs=2, run=folder)
    >>> len(losses), sorted(losses.quality)[:2]
    (1797, ['accuracy', 'agreement'])
    """
    given = dict(locals())
    config = picked(IrreducibleConfig, given)
    reading = picked(ReadingOf, given)
    config.check_beside(holdout=holdout)
    say = say_or_not(say)
    for read in (train, holdout):
        check_outputs_of(read, given)
    opened = workplace_of(
        train,
        reading=reading,
        seed=config.seed,
        hardware=config.hardware,
        purpose="il",
        run=run,
        resume=resume,
        progress=progress,
    )
    with opened as (source, place):
        for sentence in source.found:
            say(sentence)
        losses = make_losses(source, holdout, config, place, reading.on_bad_row, say).losses
    if out is not None and processes.rank() == 0:
        losses.save(out, overwrite=overwrite)
    return losses


def make_losses(
    source: Source,
    holdout: Any,
    config: IrreducibleConfig,
    place: Workplace,
    on_bad_row: OnBadRow,
    say: Say,
    test: Source | None = None,
) -> Irreducible:
    """Losses for `source`, by what `holdout` is: nothing, a fraction, or data other than `test`."""
    if isinstance(config.model, nn.Module | Model):
        if holdout is not None:
            raise ParameterError(
                "holdout", "got beside a model that is trained already", "Leave one of them out"
            )
        return _by_own_model(source, config.model, place, on_bad_row, say)
    fraction = share(holdout, "holdout")
    if holdout is None or fraction is not None:
        source, prepared = prepare(
            config.role(source),
            source,
            parameter="model",
            on_bad_row=on_bad_row,
            cache=place.run.path / "encoded",
            progress=place.progress,
        )
        say_skipped(source, say)
        parts = split(source, prepared, fraction, config)
    else:
        source, prepared, parts = apart(source, holdout, config, place, on_bad_row, say, test)
    taught: list[Taught] = []
    values = torch.full((len(source),), torch.nan, dtype=torch.float64)
    for number, part in enumerate(parts):
        epochs = epochs_of(prepared.recipe, len(part.members), SHUFFLE)
        say(
            f"Irreducible losses: {prepared.role.model} {number + 1} of {len(parts)}, "
            f"{counted(epochs, 'epoch')} on {counted(len(part.members), 'example')}"
        )
        taught.append(teach(place, part))
        values[part.scored] = taught[-1].losses.double()
    if holdout is None:  # what no model has seen is given the mean of them all
        values[parts[0].checked] = torch.stack([t.checked_losses for t in taught]).double().mean(0)
    members = (~values.isnan()).nonzero().squeeze(1)
    found = quality(taught)
    for sentence in weaknesses(found):
        say(f"Warning: {sentence}")
    how = {
        "model": prepared.role.identity(),
        "folds": len(parts) if holdout is None else 0,
        "holdout": None if holdout is None else parts[0].data,
        "seed": config.seed,
        "quality": found,
        "costs": place.ledger.by_phase(),
    }
    return Irreducible(
        losses=_losses(source, values, members, how),
        members=members,
        prepared=prepared,
        taught=tuple(taught),
        pool=parts[0].view.pool,
    )


def cost_of(metadata: Mapping[str, Any]) -> Cost | None:
    """What losses with this metadata cost to make; None where their model was trained elsewhere.

    >>> scoring, training = "irreducible-loss scoring", "irreducible-loss training"
    >>> parts = [{"phase": scoring, "seconds": 1.0}, {"phase": training, "seconds": 5.0}]
    >>> cost_of({"costs": parts}).seconds, cost_of({"costs": parts[:1]}), cost_of({})
    (6.0, None, None)
    """
    ledger = Ledger([Cost(**part) for part in metadata.get("costs") or ()])
    if not any(cost.phase == PHASES[0] for cost in ledger.costs):
        return None
    return sum(map(ledger.total, PHASES), Cost(phase="irreducible losses"))


def _by_own_model(
    source: Source, own: nn.Module | Model, place: Workplace, on_bad_row: OnBadRow, say: Say
) -> Irreducible:
    if isinstance(own, nn.Module) and source.kind == "text":
        raise ParameterError(
            "model",
            "got a module, which does not say how text is encoded",
            "Give keepers.types.Model(module=..., encoder=EncoderSpec(kind='text', ...))",
        )
    made = (
        own if isinstance(own, Model) else Model(module=own, encoder=dense_encoder(source.info()))
    )
    with renamed({"proxy": "model"}):
        source, pool = encode(source, made.encoder, on_bad_row=on_bad_row, progress=place.progress)
    say_skipped(source, say)
    assert source.labels is not None
    view = EvalView(pool=pool, labels=torch.from_numpy(source.labels))
    with place.ledger.phase("irreducible-loss scoring") as tally:
        runtime = place.hardware.runtime(gains_from_bf16=False)
        signals = extract(
            made.module, view, runtime=runtime, wanted=("log_probs", "losses"), tally=tally
        )
    found: dict[str, Any] = {
        **measured(signals),
        "agreement": None,
        "checked": 0,
        "checked_losses": [],
    }
    for sentence in weaknesses(found):
        say(f"Warning: {sentence}")
    members = torch.arange(len(source))
    how = {"model": "given", "quality": found, "costs": place.ledger.by_phase()}
    return Irreducible(
        losses=_losses(source, signals.get("losses").double(), members, how),
        members=members,
        prepared=None,
        taught=(),
    )


def _losses(
    source: Source, values: Tensor, members: Tensor, how: Mapping[str, Any]
) -> IrreducibleLosses:
    chosen = members.numpy()
    assert source.labels is not None
    return IrreducibleLosses(
        ids=source.ids[chosen],
        values=values[members].float(),
        labels=np.array(source.class_names, dtype=object)[source.labels[chosen]],
        metadata=plain(
            {
                "kind": "irreducible-losses",
                "data": source.fingerprint,
                "labels": fingerprint(source.labels.tolist()),
                "class_names": list(source.class_names),
                **how,
            }
        ),
    )
