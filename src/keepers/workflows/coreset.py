"""Core-set selection: which part of my labelled data should I keep?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers import methods, processes
from keepers.configuration import picked
from keepers.data import Header, is_vectors
from keepers.data import export as export_rows
from keepers.files import plain
from keepers.random import generator
from keepers.roles import OnBadRow, Role
from keepers.selection import Selection
from keepers.training import Precision
from keepers.types import Budget, Picks, Progress, Signals
from keepers.workflows.advice import (
    accuracy,
    noise_of,
    tell_floor,
    warn,
    warn_of_lost,
    warn_of_shares,
)
from keepers.workflows.auto import Taken, settled
from keepers.workflows.covering import (
    COVERING,
    needs_labels,
    or_unlabelled,
    plane,
    without_copies,
)
from keepers.workflows.evidence import Evidence
from keepers.workflows.opening import Reading, Say, check_outputs, say_or_not, workplace
from keepers.workflows.scoring import AUTO, Balance, CoresetConfig, Scored, parted, score_source
from keepers.workflows.table import metadata, selection_table


def coreset(
    data: Any,
    *,
    keep: int | float | str = 0.5,
    method: str | None = None,
    method_options: Mapping[str, Any] | None = None,
    proxy: str | Role | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    resolution: int | None = None,
    ensemble: int | None = None,
    balance: Balance | None = None,
    min_per_class: int = 1,
    val: float = 0.0,
    features: Any = None,
    near_duplicates: float | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    input: str | None = None,
    label: str | None = None,
    id: str | None = None,
    group: str | None = None,
    split: str | None = None,
    header: Header = "auto",
    limit: int | None = None,
    on_bad_row: OnBadRow = "error",
    out: str | Path | None = None,
    export: str | Path | None = None,
    overwrite: bool = False,
    run: str | Path | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Selection:
    """Choose the part of the data worth training on, with a small proxy model or your embeddings.

    The proxy is trained on all the data, its evaluation pass gives signals, the method turns them
    into a choice (Coleman et al., "Selection via Proxy", ICLR 2020). With `features` no proxy is
    trained and no labels are needed: the method covers the vectors that you bring.

    Args:
        data: a path (Parquet, CSV, JSONL, a folder of pictures), `"digits"`, a hub id, an Arrow
            table, a pandas frame, a Hugging Face data set, a tuple of arrays, or a map-style
            PyTorch data set; a `.npy` file or an array of vectors alone is its own features.
        keep: the fraction kept (`0.5`, `"50%"`) or a count (`5000`).
        method: a row of `keepers.methods`, whose options are `method_options`; `auto` takes what a
            pilot shows to be better than a random choice, and `stratified` where it cannot tell
            (`random` where `stratified` did worse). None is `auto`, with features
            `facility-location`.
        proxy: the name of a model, or a `Role`; None takes one for the kind of data.
        epochs: of the proxy; None is the model's own default.
        resolution: side in pixels at which a picture proxy looks.
        ensemble: how many proxies, combined by rank; None is the method's own default.
        balance: `"class"` shares the budget evenly between the classes.
        min_per_class: how many examples each class keeps at least, as far as it has them and the
            budget reaches; 0 lets a class lose all.
        val: fraction split off to measure the proxy on; such rows are never selected.
        features: embeddings, one vector for each row: a column of the data, a `.npy` file, an
            array or a tensor in the order of the rows.
        near_duplicates: cosine similarity of the features from which on two rows are copies. All
            but the first by id are set aside before anything is selected.
        seed: the same data and seed give the same selection, in whatever order the rows come.
        device: `auto`, `cpu`, `cuda`, `mps`.
        precision: `auto`, `fp32`, `bf16`.
        input, label, id, group, split, header: columns, where they are not to be found by
            themselves; whether CSV files have a header.
        limit: try it on a random part of so many examples.
        on_bad_row: `error`, or `skip` to leave out and list pictures that cannot be read.
        out: Parquet file for one row per example. export: folder for the kept rows, in the
            format of `data`. overwrite: whether they may replace earlier ones.
        run: the run directory; finished stages in it are found again.
        resume: continue what the run directory holds; False computes again.
        progress: where long phases report.
        say: gets sentences for a person: what was found, how long it will take, warnings.

    Raises:
        KeepersError: anything wrong with what was given: the parameter, what was got, the remedy.

    >>> import keepers, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     selection = keepers.coreset("digits", keep=0.5, epochs=2, run=folder)
    >>> len(selection), selection.table.num_rows
    (899, 1797)
    """
    given = dict(locals())
    if features is None and is_vectors(data):
        given["features"] = features = data
    if method is None or method == AUTO:
        given["method"] = AUTO if features is None else COVERING
    config = picked(CoresetConfig, given)
    given["require_labels"] = needs_labels(config, brought=features is not None)
    reading = picked(Reading, given)
    say = say_or_not(say)
    check_outputs(data, given)
    opened = workplace(
        data,
        reading=reading,
        seed=config.seed,
        hardware=config.hardware,
        run=run,
        resume=resume,
        progress=progress,
    )
    with or_unlabelled(), opened as (source, place):
        for sentence in source.found:
            say(sentence)
        Budget.parse(config.keep).resolve(len(parted(source, config)[0]))
        config, auto = settled(source, config, place, on_bad_row=reading.on_bad_row, say=say)
        scored = score_source(source, config, place, on_bad_row=reading.on_bad_row, say=say)
        if config.near_duplicates is not None:
            scored = without_copies(scored, config.near_duplicates, say)
        selection = _select(scored, config, say, auto)
    if processes.rank() == 0:
        write_selection(
            selection,
            data,
            out=out,
            export=export,
            overwrite=overwrite,
            split=split,
            header=header,
        )
    return selection


def write_selection(
    selection: Selection,
    data: Any,
    *,
    out: str | Path | None,
    export: str | Path | None,
    overwrite: bool,
    split: str | None,
    header: Header,
) -> dict[str, Path]:
    """Write a selection, and its kept rows, where they are asked for; what was written, by name."""
    written: dict[str, Path] = {}
    if out is not None:
        written["out"] = selection.to_parquet(out, overwrite=overwrite)
    if export is not None:
        rows = sorted(selection.indices.tolist())
        export_rows(data, rows, export, split=split, header=header, overwrite=overwrite)
        written["export"] = Path(export)
    return written


def _select(scored: Scored, config: CoresetConfig, say: Say, auto: Taken | None) -> Selection:
    candidates, ledger = scored.candidates, scored.place.ledger
    budget = Budget.parse(config.keep)
    k = budget.resolve(len(candidates))
    noise = noise_of(scored) or (auto and auto.noise)
    if noise is not None:
        say(noise.sentence)
    warnings = warn(scored, k, noise, tried=None if auto is None else auto.cleaning)
    for warning in warnings:
        say(f"Warning: {warning}")
    with ledger.phase("selecting") as tally, scored.place.under_way("selecting") as report:
        picks, scores = choose(scored, config, k, report)
        tally.examples = len(candidates)
    if picks.how:
        say(f"Selected by {picks.how}")
    scores_all = None
    if scores is not None:
        scores_all = np.full(len(scored.source), np.nan)
        scores_all[candidates.numpy()] = scores.double().numpy()
    rank = np.full(len(scored.source), -1, dtype=np.int64)
    kept = candidates[picks.positions].numpy()
    rank[kept] = np.arange(k)
    labels, names = scored.labels[candidates], scored.source.class_names
    is_kept = torch.from_numpy(rank >= 0)[candidates]
    floor = "" if picks.floored is None else tell_floor(labels[picks.floored], names, config)
    if floor:
        say(floor)
    known = labels >= 0
    by_class = warn_of_lost(labels[known], is_kept[known], names, config.min_per_class)
    if config.balance is None:
        by_class += warn_of_shares(labels[known], is_kept[known], names)
    warnings += by_class
    for warning in by_class:
        say(f"Warning: {warning}")
    weight = np.zeros(len(scored.source))
    weight[kept] = 1.0 if picks.weights is None else picks.weights.detach().cpu().double().numpy()
    if picks.weights is not None:
        say(
            f"{scored.method.name} weights its picks, from {weight[kept].min():.4g} to "
            f"{weight[kept].max():.4g}: multiply the loss of each by its own, which the selection "
            "holds as weight (exported rows do not)"
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
        | ({} if auto is None else {"auto": plain(auto.facts())}),
        evidence=evidence,
    )


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
    scored: Scored, config: CoresetConfig, k: int, report: Callable[[str, int, int], None]
) -> tuple[Picks, Tensor | None]:
    """The picks, as positions into `scored.candidates`, and the scores of the candidates."""
    members: Sequence[Signals] = scored.members
    if len(scored.candidates) < len(scored.source):
        members = [signals.at(scored.candidates) for signals in members]
    labels = members[0].get("labels")
    return methods.choose(
        scored.method,
        members,
        k,
        balance=labels if config.balance == "class" else None,
        floor=methods.Floor(labels, config.min_per_class),
        generator=generator(config.seed, "select", scored.method.name),
        num_classes=len(scored.source.class_names) or None,
        options=config.method_options or {},
        report=report,
    )
