"""Irreducible losses: what a model says of examples that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from keepers import processes
from keepers.data import Source, encode
from keepers.errors import ParameterError, renamed
from keepers.files import fingerprint, plain
from keepers.ledger import Cost, Ledger
from keepers.models import dense_encoder
from keepers.online import IrreducibleLosses, weaknesses
from keepers.options import taking
from keepers.roles import Prepared
from keepers.signals import extract
from keepers.training import epochs_of
from keepers.types import EvalView, Model, Pool
from keepers.words import counted
from keepers.workflows.opening import check_outputs, say_skipped, share, workplace
from keepers.workflows.options.irreducible import IrreducibleConfig, IrreducibleOptions
from keepers.workflows.parts import apart, split
from keepers.workflows.reference import reference_losses
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


@taking(IrreducibleOptions)
def irreducible_losses(train: Any, options: IrreducibleOptions) -> IrreducibleLosses:
    """The loss of each training example under a model that was not trained on it.

    Without `holdout` the data are cut into `folds`, balanced by class, and each fold gets its
    losses from a model trained on the others. A part that no model is trained on selects the
    checkpoints. With `holdout` one model is trained on the holdout data. Losses are computed in
    evaluation mode, without augmentation (Mindermann et al., ICML 2022). For conversations they
    are the losses of a reference model, a causal language model that is not trained further:
    `model="hf:PATH"`.

    Args:
        train: as in `keepers.coreset`.

    Raises:
        KeepersError: an argument or the data are invalid.

    >>> import keepers, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     losses = keepers.irreducible_losses("digits", epochs=2, run=folder)
    >>> len(losses), sorted(losses.quality)[:2]
    (1797, ['accuracy', 'agreement'])
    """
    options.check_beside(holdout=options.holdout)
    for read in (train, options.holdout):
        check_outputs(read, options)
    with workplace(train, options, purpose="il", seed=options.seed) as (source, place):
        if source.kind == "chat":
            losses = reference_losses(source, options, place)
        else:
            losses = make_losses(source, options.holdout, options, place).losses
    if options.out is not None and processes.rank() == 0:
        losses.save(options.out, overwrite=options.overwrite)
    return losses


def make_losses(
    source: Source,
    holdout: Any,
    config: IrreducibleConfig,
    place: Workplace,
    test: Source | None = None,
) -> Irreducible:
    """Losses for `source`, by what `holdout` is: nothing, a fraction, or data other than `test`."""
    if isinstance(config.model, nn.Module | Model):
        if holdout is not None:
            raise ParameterError(
                "holdout",
                "got together with a model that is already trained",
                "Leave one of them out",
            )
        return _by_own_model(source, config.model, place)
    fraction = share(holdout, "holdout")
    if holdout is None or fraction is not None:
        source, prepared = place.prepare(config.role(source), source, parameter="model")
        say_skipped(source, place.say)
        parts = split(source, prepared, fraction, config)
    else:
        source, prepared, parts = apart(source, holdout, config, place, test)
    taught: list[Taught] = []
    values = torch.full((len(source),), torch.nan, dtype=torch.float64)
    for number, part in enumerate(parts):
        epochs = epochs_of(prepared.recipe, len(part.members), SHUFFLE)
        place.say(
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
        place.say(f"Warning: {sentence}")
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


def _by_own_model(source: Source, own: nn.Module | Model, place: Workplace) -> Irreducible:
    if isinstance(own, nn.Module) and source.kind == "text":
        raise ParameterError(
            "model",
            "got a module, which does not define how text is encoded",
            "Give keepers.types.Model(module=..., encoder=EncoderSpec(kind='text', ...))",
        )
    made = (
        own if isinstance(own, Model) else Model(module=own, encoder=dense_encoder(source.info()))
    )
    with renamed({"proxy": "model"}):
        source, pool = encode(
            source, made.encoder, on_bad_row=place.on_bad_row, progress=place.progress
        )
    say_skipped(source, place.say)
    view = EvalView(pool=pool, labels=source.targets, task=source.task)
    with place.ledger.phase("irreducible-loss scoring") as tally:
        runtime = place.hardware.runtime(gains_from_bf16=False)
        signals = extract(
            made.module, view, runtime=runtime, wanted=(view.task.said, "losses"), tally=tally
        )
    found: dict[str, Any] = {
        **measured(signals, view, torch.arange(len(source))),
        "agreement": None,
        "checked": 0,
        "checked_losses": [],
    }
    for sentence in weaknesses(found):
        place.say(f"Warning: {sentence}")
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
    targets: Any = source.targets
    other = {} if source.other_task is None else {"task": source.other_task.facts()}
    return IrreducibleLosses(
        ids=source.ids[chosen],
        values=values[members].float(),
        labels=np.array(source.shown_labels(chosen.tolist()), dtype=object),
        metadata=plain(
            {
                "kind": "irreducible-losses",
                "data": source.fingerprint,
                "labels": fingerprint(targets.numpy().tolist()),
                "class_names": list(source.class_names),
                **other,
                **how,
            }
        ),
    )
