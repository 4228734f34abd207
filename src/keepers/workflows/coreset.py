"""Core-set selection: which part of my labelled data should I keep?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers import methods, processes
from keepers.data import export as export_rows
from keepers.data import is_vectors
from keepers.files import plain
from keepers.options import taking
from keepers.random import generator
from keepers.selection import Selection
from keepers.tasks import Targets, labels_at, pairs_of
from keepers.types import Picks, Signals, TokenBudget
from keepers.words import counted
from keepers.workflows.advice import accuracy, noise_of, warn
from keepers.workflows.auto import Taken, settled, too_lopsided
from keepers.workflows.by_class import CHANGED, OF_CLASSES, ByClass, tell_floor
from keepers.workflows.conversations import say_unused
from keepers.workflows.covering import (
    needs_labels,
    or_unlabelled,
    plane,
    without_copies,
)
from keepers.workflows.evidence import Evidence
from keepers.workflows.opening import check_outputs, workplace
from keepers.workflows.options.coreset import CoresetOptions
from keepers.workflows.scoring import Scored, parted, score_source
from keepers.workflows.table import metadata, selection_table
from keepers.workflows.token_budgets import within_tokens


@taking(CoresetOptions)
def coreset(data: Any, options: CoresetOptions) -> Selection:
    """Select the part of the data worth training on, with a small proxy model or your embeddings.

    The proxy is trained on all the data and then evaluated on them. The method selects by the
    resulting signals (Coleman et al., "Selection via Proxy", ICLR 2020). With `features` it
    selects by your own vectors, without a proxy or labels.

    Args:
        data: a path (Parquet, CSV, JSONL, a folder of pictures), `"digits"`, a hub id, an Arrow
            table, a pandas frame, a Hugging Face data set, a tuple of arrays, or a map-style
            PyTorch data set. A `.npy` file or an array of vectors is its own features.

    Raises:
        KeepersError: an argument or the data are invalid; the message names the remedy.

    >>> import keepers, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     selection = keepers.coreset("digits", keep=0.5, epochs=2, run=folder)
    >>> len(selection), selection.table.num_rows
    (899, 1797)
    """
    if options.features is None and is_vectors(data):
        options = replace(options, features=data)
    brought = options.features is not None
    labels = needs_labels(options, brought=brought)
    check_outputs(data, options)
    reading = {"group": options.group, "features": options.features, "require_labels": labels}
    opened = workplace(data, options, purpose="coreset", seed=options.seed, **reading)
    with or_unlabelled(), opened as (source, place):
        options.keep.resolve(len(parted(source, options)[0]))
        config, auto = settled(source, options, place)
        used = {"similar_to": config.similar_to, "quality": config.quality}
        say_unused([config.method], place.say, **used)
        scored = score_source(source, config, place)
        if config.near_duplicates is not None:
            scored = without_copies(scored, config.near_duplicates)
        selection = _select(scored, config, auto)
    if processes.rank() == 0:
        write_selection(selection, data, options)
    return selection


def write_selection(selection: Selection, data: Any, options: CoresetOptions) -> dict[str, Path]:
    """Write a selection and its kept rows to the given places; returns the paths by name."""
    overwrite, written = options.overwrite, dict[str, Path]()
    if options.out is not None:
        written["out"] = selection.to_parquet(options.out, overwrite=overwrite)
    if options.export is not None:
        export_rows(
            data,
            selection.indices,
            options.export,
            weights=selection.weights if selection.weighted else None,
            split=options.split,
            header=options.header,
            overwrite=overwrite,
        )
        written["export"] = Path(options.export)
    return written


def _select(scored: Scored, config: CoresetOptions, auto: Taken | None) -> Selection:
    candidates, ledger, say = scored.candidates, scored.place.ledger, scored.place.say
    k = config.keep.resolve(len(candidates))
    with ledger.phase("selecting") as tally, scored.place.under_way("selecting") as report:
        picks, scores = choose(scored, config, k, report)
        if auto is not None and (why := _lopsided(auto, scored, picks.positions)):
            auto = auto.set_aside(why)
            say(f"auto takes {auto.method} after all: {why}")
            config = replace(config, method=auto.method)
            scored = replace(scored, method=methods.get(auto.method))
            picks, scores = choose(scored, config, k, report)
        tally.examples = len(candidates)
    noise = noise_of(scored) or (auto and auto.noise)
    if noise is not None:
        say(noise.sentence)
    warnings = warn(scored, k, noise, tried=None if auto is None else auto.cleaning)
    for warning in warnings:
        say(f"Warning: {warning}")
    k, spent = len(picks.positions), None
    if config.keep_tokens is not None and scored.tokens is not None:
        spent = _tokens(scored, picks, config.keep_tokens)
        say(f"{counted(k, 'conversation')} hold {spent['kept']:,} of {spent['all']:,} tokens")
    if picks.how:
        say(f"Selected by {picks.how}")
    scores_all = None
    if scores is not None:
        scores_all = np.full(len(scored.source), np.nan)
        scores_all[candidates.numpy()] = scores.double().numpy()
    rank = np.full(len(scored.source), -1, dtype=np.int64)
    kept = candidates[picks.positions].numpy()
    rank[kept] = np.arange(k)
    labels, names = scored.labels[candidates], scored.source.strata_names
    is_kept = torch.from_numpy(rank >= 0)[candidates]
    of = scored.source.task.stratum
    floor = "" if picks.floored is None else tell_floor(labels[picks.floored], names, config, of)
    if floor:
        say(floor)
    known = labels >= 0
    least = config.least(scored.source.task.floor)
    there = ByClass.count(labels[known], is_kept[known], names, of)
    held, at = pairs_of(_shares(scored, candidates), len(scored.source.task.names))
    each = ByClass.count(held, is_kept, names, of, at=at)
    by_class = each.lost() + there.few(least)
    forced = k if config.balance else 0 if picks.floored is None else len(picks.floored)
    if config.balance:
        by_class += there.uneven()
    changed: list[str] = []
    if forced > CHANGED * k and of == OF_CLASSES:
        option = "--balance class", "Leave it out"
        if not config.balance:
            option = f"--min-per-class {least}", "Give a lower one"
        changed = there.changed(*option)
    if config.balance is None and not changed:
        changed = each.extreme(least=least)
    by_class += changed
    warnings += by_class
    for warning in by_class:
        say(f"Warning: {warning}")
    weight = np.zeros(len(scored.source))
    weight[kept] = 1.0 if picks.weights is None else picks.weights.detach().cpu().double().numpy()
    if picks.weights is not None:
        say(
            f"{scored.method.name} weights its picks, from {weight[kept].min():.4g} to "
            f"{weight[kept].max():.4g}: multiply the loss of each by its weight, which the "
            "selection and exported tables hold in the column weight"
        )
    said = scored.predictions
    evidence = Evidence(
        source=scored.source,
        rank=rank,
        weight=weight,
        scores=scores_all,
        predicted=None if said is None else said.predicted.numpy(),
        label_probability=None if said is None else said.label_probability.numpy(),
        margin=_of_candidates(scored),
        validation=scored.validation.numpy(),
        copies=None if scored.copies is None else scored.copies.numpy(),
        plane=plane(scored, rank >= 0),
        costs=tuple(ledger.by_phase()),
        validation_accuracy=accuracy(scored, scored.validation),
        warnings=tuple(warnings),
        run=scored.place.run.path,
    )
    table = selection_table(
        evidence,
        scored.method,
        excluded=_rows(candidates, picks.excluded),
        why_excluded=picks.why_excluded,
        floored=_rows(candidates, picks.floored),
    )
    about = metadata(scored, config, k, evidence, accuracy(scored, candidates), picks.how)
    return Selection(
        table=table,
        metadata=about
        | {"floor": floor, "label_noise": plain(noise and noise.facts())}
        | ({} if spent is None else {"keep": str(config.keep_tokens), "tokens": spent})
        | ({} if auto is None else {"auto": plain(auto.facts())}),
        evidence=evidence,
    )


def _shares(scored: Scored, candidates: Tensor) -> Targets:
    """The classes, strata or labels of the candidates."""
    if scored.source.targets is None:
        return scored.labels[candidates]
    return labels_at(scored.source.proportions, candidates)


def _lopsided(auto: Taken, scored: Scored, chosen: Tensor) -> str:
    if auto.pilot is None:  # perhaps as there are no labels
        return ""
    labels, names = scored.labels[scored.candidates], scored.source.strata_names
    kept, sizes = (part.bincount(minlength=len(names)) for part in (labels[chosen], labels))
    return too_lopsided(auto, kept, sizes, names)


def _tokens(scored: Scored, picks: Picks, budget: TokenBudget) -> dict[str, int]:
    """Tokens of the candidates, those that may be kept, and those that are."""
    assert scored.tokens is not None
    found = scored.tokens[scored.candidates]
    most, kept = int(found.sum()), int(found[picks.positions.cpu()].sum())
    return {"all": most, "budget": budget.resolve(most), "kept": kept}


def _rows(candidates: Tensor, at: Tensor | None) -> npt.NDArray[np.int64] | None:
    return None if at is None else candidates[at].numpy()


def _of_candidates(scored: Scored) -> npt.NDArray[np.float64] | None:
    """Margins, NaN for what was not trained on."""
    if scored.margins is None:
        return None
    margins = scored.margins.double().clone()
    margins[scored.validation] = float("nan")
    return margins.numpy()


def choose(
    scored: Scored, config: CoresetOptions, k: int, report: Callable[[str, int, int], None]
) -> tuple[Picks, Tensor | None]:
    """The picks, as positions into `scored.candidates`, and the scores of the candidates.

    There are `k` picks, or as many as fit into a budget in tokens, if the configuration has one.
    """
    members: Sequence[Signals] = scored.members
    if len(scored.candidates) < len(scored.source):
        members = [signals.at(scored.candidates) for signals in members]
    labels = members[0].get("labels")

    def picked(count: int) -> tuple[Picks, Tensor | None]:
        return methods.choose(
            scored.method,
            members,
            count,
            balance=labels if config.balance == "class" else None,
            floor=methods.Floor(labels, config.least(scored.source.task.floor)),
            generator=generator(config.seed, "select", scored.method.name),
            num_classes=len(scored.source.strata_names) or None,
            options=config.method_options or {},
            report=report,
        )

    if config.keep_tokens is None or scored.tokens is None:
        return picked(k)
    return within_tokens(picked, scored.tokens[scored.candidates], config.keep_tokens)
