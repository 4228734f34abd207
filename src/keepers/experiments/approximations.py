"""The approximation study: how near cheap selection functions come to the exact one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from keepers import processes
from keepers.configuration import picked
from keepers.data import Header
from keepers.experiments.approximation_study import (
    EXACT,
    PUBLISHED,
    ROLES,
    ApproximationsConfig,
    Study,
)
from keepers.experiments.compare import Comparison
from keepers.files import plain
from keepers.roles import OnBadRow, Role, prepare
from keepers.statistics import standard_deviation
from keepers.training import Hardware
from keepers.types import Progress
from keepers.workflows.opening import Reading, Say, say_or_not, say_skipped, workplace


def approximations(
    data: Any,
    *,
    target: str | Role | Mapping[str, Any] | None = None,
    il_model: str | Role | Mapping[str, Any] | None = None,
    holdout: int | float | str = 0.5,
    noise: float = 0.1,
    batch_size: int = 1000,
    keep: int | float | str = 0.1,
    members: int = 5,
    epochs: int = 5,
    copies: int = 5,
    seeds: int = 3,
    device: str = "auto",
    input: str | None = None,
    label: str | None = None,
    id: str | None = None,
    split: str | None = None,
    header: Header = "auto",
    limit: int | None = None,
    on_bad_row: OnBadRow = "error",
    run: str | Path | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Comparison:
    """Rank correlation (Spearman) of ever cheaper selection functions with the exact one.

    The exact function is the reducible holdout loss of two ensembles that are trained to
    convergence after every batch: the target on what was chosen of it, the irreducible-loss
    models on the holdout data and all that was acquired so far. The approximations, each with
    those before it: a single model for an ensemble; one gradient step on what was chosen in place
    of convergence; an irreducible-loss model that is not updated; a smaller one. Each function
    trains on what it chooses itself, all from the same first weights. The correlations are those
    of the scores on each batch of one epoch, before any function has chosen from it (Mindermann
    et al., ICML 2022, section 4.1 and Appendix E).

    A training has converged when a further epoch does not lower the loss: the target's on what
    it is trained on, an irreducible-loss model's on held-out examples. Where single steps are
    taken, the data are there `copies` times in an order of their own: with as many copies as
    `epochs`, all targets take about as many steps.

    Args:
        data: as in `keepers.coreset`.
        target: the model of the target and of the irreducible losses: by default an MLP with two
            layers of 512. A role of `model`, `options`, `resolution`, `lr` and `weight_decay`.
        il_model: the smaller irreducible-loss model: by default an MLP with two layers of 256.
        holdout: fraction of the data for the irreducible-loss model. It is not trained on a
            tenth of it, 1,000 at most.
        noise: fraction of the labels that are changed to another class, uniformly.
        batch_size, keep: the candidates of a batch, and the part of them that is chosen.
        members: models of an ensemble.
        epochs: the most epochs of a training to convergence.
        copies: how often the data are there where single steps are taken.
        seeds: repetitions; each draws noise, holdout data, order and weights.
        device, run, resume, progress, say: as in `keepers.coreset`.
        input, label, id, split, header, limit, on_bad_row: likewise.

    Raises:
        KeepersError: anything wrong with what was given.
    """
    given = dict(locals())
    config = picked(ApproximationsConfig, given)
    reading = picked(Reading, given)
    say = say_or_not(say)
    opened = workplace(
        data,
        reading=reading,
        seed=0,
        hardware=Hardware(device=config.device, precision="fp32"),
        purpose="approximations",
        run=run,
        resume=resume,
        progress=progress,
    )
    with opened as (source, place):
        for sentence in source.found:
            say(sentence)
        cache = place.run.path / "encoded"
        source, large = prepare(
            config.role("target"), source, parameter="target", on_bad_row=on_bad_row, cache=cache
        )
        _, small = prepare(config.role("il_model"), source, parameter="il_model", cache=cache)
        say_skipped(source, say)
        found: list[dict[str, Any]] = []
        for seed in range(config.seeds):
            study = Study(config=config, source=source, target=large, small=small, seed=seed)
            folder, record = place.run.stage(
                "approximations", study.inputs(place), lambda _, study=study: study.run(place)
            )
            place.book(folder, record)
            found.append(record.facts)
            means = (f"{name} {mean:.2f}" for name, mean in _means(record.facts).items())
            say(f"seed {seed}: rank correlation with the exact function: {', '.join(means)}")
        result: dict[str, Any] = plain(
            {
                "kind": "approximations",
                "data": {
                    "name": source.name,
                    "n": len(source),
                    "num_classes": len(source.class_names),
                    "fingerprint": source.fingerprint,
                },
                "config": asdict(config) | {name: config.role(name).identity() for name in ROLES},
                "seeds": list(range(config.seeds)),
                "batches": len(found[0][EXACT]["wrong"]),
                "rows": summarise(found),
                "costs": place.ledger.by_phase(),
                "hardware": place.hardware.identity(gains_from_bf16=False),
            }
        )
        if processes.rank() == 0:
            place.run.leave("approximations.json", result, say)
        return Comparison(result=result, run=place.run.path)


def _means(facts: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(np.mean(facts[name]["correlation"])) for name in PUBLISHED}


def summarise(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each function: means over the epoch, their mean and standard error over seeds.

    `found` has for each seed and function a list over batches of each quantity. The standard
    error is None under two seeds.

    >>> one = {name: {"correlation": [0.5, 0.7], "shared": [0.4, 0.4], "wrong": [0.0, 0.1]}
    ...     for name in (EXACT, *PUBLISHED)}
    >>> row = summarise([one, one])[1]
    >>> row["name"], round(row["correlation"], 6), row["standard_error"], row["published"]
    ('single model', 0.6, 0.0, 0.75)
    """
    rows: list[dict[str, Any]] = []
    for name in (EXACT, *PUBLISHED):
        by_seed = {
            quantity: [float(np.mean(facts[name][quantity])) for facts in found]
            for quantity in ("correlation", "shared", "wrong")
        }
        spread = standard_deviation(by_seed["correlation"])
        rows.append(
            {
                "name": name,
                "published": PUBLISHED.get(name),
                "correlation": float(np.mean(by_seed["correlation"])),
                "standard_error": None if spread is None else spread / math.sqrt(len(found)),
                "shared": float(np.mean(by_seed["shared"])),
                "wrong": float(np.mean(by_seed["wrong"])),
                "by_seed": by_seed,
                "by_batch": [facts[name]["correlation"] for facts in found],
            }
        )
    return rows
