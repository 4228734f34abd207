"""Scoring: train the proxies that a method needs and collect what they say of each example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from keepers import methods, processes
from keepers.data import Source, readable
from keepers.errors import ParameterError
from keepers.methods import Method
from keepers.models import LanguageModel
from keepers.random import derived_seed, generator
from keepers.roles import Prepared, made_by
from keepers.selectors import stratified_units
from keepers.tasks import labels_at
from keepers.training import estimate_seconds
from keepers.types import Budget, Signals
from keepers.words import counted
from keepers.workflows.conversations import (
    counted_tokens,
    language_signals,
    lengths,
)
from keepers.workflows.offered import OF_DATA, check_offered, row_for, wanted_signals
from keepers.workflows.opening import say_skipped
from keepers.workflows.options.coreset import CoresetOptions
from keepers.workflows.predictions import Predictions, predictions
from keepers.workflows.probing import FEATURES, embedding_inputs
from keepers.workflows.readings import READ
from keepers.workflows.stages import FOLDS, OUT_OF_FOLD, Training, is_trained, train
from keepers.workflows.workplace import Workplace

MEASURED = 1 << 24
"""Predictions (examples × labels) that a proxy's score is measured on, at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What scoring gives: signals of each member of the ensemble, and what was not scored.

    `candidates` and `validation` are positions; `prepared` is None where the method needs no
    model: the only member is then what the data say by themselves. `copies` (n,) are the positions
    of what each is a near-duplicate of, -1 where of nothing; they are no candidates. `tokens` (n,)
    are those of conversations, where they were counted.
    """

    source: Source
    method: Method
    candidates: Tensor
    validation: Tensor
    members: tuple[Signals, ...]
    prepared: Prepared | None
    place: Workplace
    copies: Tensor | None = None
    tokens: Tensor | None = None

    @property
    def num_copies(self) -> int:
        """How many examples are near-duplicates of others."""
        return 0 if self.copies is None else int((self.copies >= 0).sum())

    @property
    def labels(self) -> Tensor:
        """Class numbers (n,), or the strata of other targets; -1 where unknown."""
        return self.members[0].get("labels")

    @cached_property
    def features(self) -> Tensor | None:
        """Features (n, d), those of the members side by side, if there are any."""
        found = [signals.features for signals in self.members if signals.features is not None]
        return (found[0] if len(found) == 1 else torch.cat(found, 1)) if found else None

    @cached_property
    def margins(self) -> Tensor | None:
        """Mean margins over training (n,), averaged over the proxies, if they were observed."""
        found = [signals.aum for signals in self.members]
        if any(margin is None for margin in found):
            return None
        return torch.stack([margin for margin in found if margin is not None]).mean(0)

    @cached_property
    def predictions(self) -> Predictions | None:
        """Which classes the proxies predict together, if there are proxies, and classes."""
        given = {name for name, _ in self.members[0].items()}
        told = self.prepared is not None and "log_probs" in given
        return predictions(self.members) if told else None

    def score(self, at: Tensor) -> float | None:
        """The score of the proxies' mean prediction on some examples, where it is no class.

        Of many predictions, `MEASURED` of them, of evenly spread examples.
        """
        task, targets = self.source.task, self.source.targets
        said = [getattr(signals, task.said) for signals in self.members]
        if targets is None or self.prepared is None or not len(at) or any(e is None for e in said):
            return None
        at = at[:: math.ceil(len(at) * task.num_outputs / MEASURED)]
        mean = task.together([each[at] for each in said])
        return task.measure(mean, labels_at(targets, at)).score


def score_source(
    source: Source,
    config: CoresetOptions,
    place: Workplace,
    *,
    language: LanguageModel | None = None,
) -> Scored:
    """Collect the signals that `config.method` needs: of the data alone, or of proxies.

    `language` is the proxy of conversations, where it is open already.
    """
    method = methods.get(config.method)
    check_offered(method, source)
    if config.keep_tokens is not None and source.kind != "chat":
        raise ParameterError(
            "keep_tokens",
            f"got {config.keep_tokens}, but {source.name} holds no conversations ({source.kind})",
            "Give --keep, or --task tokens for texts that a language model learns",
        )
    missing = method.needs - {name for name, _ in data_signals(source, method.needs).items()}
    read, tokens, prepared = Signals(), None, None
    if source.kind == "chat" and missing & READ:
        needs = missing & READ
        source, read, tokens = language_signals(source, method, needs, config, place, language)
    elif not missing:
        source, tokens = _without_model(source, method, config, place)
    else:
        role = config.role(source)
        method = row_for(config.method, role.model)
        source, prepared = place.encode(role, source)
    say_skipped(source, place.say)
    candidates, validation = parted(source, config)
    if prepared is None:
        own = data_signals(source, method.needs)
        members = (replace(own, **dict(read.items())),)
    else:
        config.keep.resolve(len(candidates))
        members = _by_proxies(source, prepared, method, candidates, config, place)
    return Scored(
        source=source,
        method=method,
        candidates=candidates,
        validation=validation,
        members=members,
        prepared=prepared,
        place=place,
        tokens=tokens,
    )


def _by_proxies(
    source: Source,
    prepared: Prepared,
    method: Method,
    candidates: Tensor,
    config: CoresetOptions,
    place: Workplace,
) -> tuple[Signals, ...]:
    """What proxies say that are trained on the candidates."""
    ensemble = config.ensemble or method.default_ensemble
    trainings = [
        Training(
            prepared=prepared,
            source=source,
            members=candidates,
            seed=derived_seed(config.seed, "proxy", member),
            wanted=wanted_signals(method.needs, source.task),
            resample=ensemble > 1,
        )
        for member in range(ensemble)
    ]
    _announce(trainings, place)
    return tuple(train(place, training).signals for training in trainings)


def data_signals(source: Source, needs: frozenset[str] = OF_DATA) -> Signals:
    """What the data say by themselves: labels, -1 where unknown, and features that were brought.

    Of conversations, where they are needed, the lengths of their answers.
    """
    features, unknown = source.features, torch.full((len(source),), -1)
    found = Signals(
        labels=unknown,
        features=None if features is None else torch.from_numpy(features),
        lengths=lengths(source) if "lengths" in needs and source.kind == "chat" else None,
        qualities=None if source.quality is None else torch.from_numpy(source.quality).float(),
    )
    return found if source.targets is None else found.knowing(source.task, source.targets)


def _without_model(
    source: Source, method: Method, config: CoresetOptions, place: Workplace
) -> tuple[Source, Tensor | None]:
    """The examples that can be read, and their tokens (n,) where they count; no model is asked."""
    tokens = None
    if config.keep_tokens is not None:
        source, tokens = counted_tokens(source, config, place)
    names = ("proxy", "epochs", "ensemble")[config.keep_tokens is not None :]
    unused = [f"--{name}" for name in names if getattr(config, name)]
    asked = config.proxy or config.resolution is not None
    if asked and source.features is None and source.kind != "chat":
        role = config.role(source)  # what is wrong with it is said all the same
        made_by(role, source.info(), "proxy")
    if unused:
        why, remedy = f"'{method.name}' trains no proxy", "Name a --method that asks one"
        if source.features is not None:
            why, remedy = "with --features no proxy is trained", "Leave one of them out"
        place.say(f"Warning: {why}: no use for {', '.join(unused)}. {remedy}")
    if source.kind == "image":
        with place.ledger.phase("checking") as tally:
            source = readable(source, on_bad_row=place.on_bad_row, progress=place.progress)
            tally.examples = len(source)
    return source, tokens


def parted(source: Source, config: CoresetOptions) -> tuple[Tensor, Tensor]:
    """Positions of what may be selected, and of what is held out for validation.

    Copies of an input, and the members of a group, stand on one side.
    """
    everything = torch.arange(len(source))
    if not config.val:
        return everything, everything[:0]
    drawn = stratified_units(
        source.proportions,
        torch.from_numpy(source.units),
        Budget.parse(config.val, "val").resolve(len(source), "val"),
        generator=generator(config.seed, "validation"),
    )
    held_out = torch.zeros(len(source), dtype=torch.bool)
    held_out[drawn] = True
    if held_out.all():
        raise ParameterError(
            "val", f"got {config.val}, which leaves nothing to select from", "Give a smaller one"
        )
    return everything[~held_out], everything[held_out]


def _announce(trainings: Sequence[Training], place: Workplace) -> None:
    first, say = trainings[0], place.say
    recipe = first.prepared.recipe
    missing = sum(not is_trained(place, training) for training in trainings)
    if first.prepared.classifier is not None:
        models = f"{len(trainings)} × " if len(trainings) > 1 else ""
        found = "" if missing else ", found finished in the run directory"
        if missing and first.prepared.classifier.embedder is not None:
            inputs = embedding_inputs(place, first.prepared, first.source.content)
            there = processes.agree(place.run.finished(FEATURES, inputs))
            found = f", its features {'found in' if there else 'go to'} the run directory"
        if OUT_OF_FOLD in first.wanted:
            found += f"; {FOLDS} more predict what they were not fitted on"
        say(
            f"Proxy: {models}{first.prepared.role.model}, fitted by scikit-learn on "
            f"{counted(len(first.members), 'example')}{found}"
        )
        return
    expected = "found finished in the run directory"
    if missing:
        seconds = missing * estimate_seconds(
            first.prepared.build(0),
            first.prepared.train_view(first.members),
            replace(recipe, epochs=first.epochs, min_steps=0),
            runtime=place.hardware.runtime(gains_from_bf16=recipe.bf16),
            num_scored=len(first.source),
        )
        expected = f"about {_duration(seconds)}"
    models = f"{len(trainings)} × " if len(trainings) > 1 else ""
    epochs = counted(first.epochs, "epoch")
    if first.epochs < first.whole_epochs:
        epochs = f"the first {epochs} of {first.whole_epochs},"
    precision = place.hardware.resolved_precision(gains_from_bf16=recipe.bf16)
    say(
        f"Proxy: {models}{first.prepared.role.model}, {epochs} on "
        f"{counted(len(first.members), 'example')}, {place.hardware.kind} {precision}: {expected}"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
