"""`advise` of classes, labels and numbers: does selecting pay, before anything is selected?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from keepers.baselines import EVERYTHING, RANDOM
from keepers.data import Source
from keepers.errors import ParameterError
from keepers.methods import Method
from keepers.models import CLASSIFIERS, default_proxy, default_target, is_classifier
from keepers.roles import Prepared, Role
from keepers.training import epochs_of, estimate_seconds, fit_classifier
from keepers.types import Budget
from keepers.workflows.advice import Noise
from keepers.workflows.auto import joined
from keepers.workflows.looked_at import LARGEST, looked_at, part_of
from keepers.workflows.offered import row_for
from keepers.workflows.opening import about, say_skipped
from keepers.workflows.options.advise import KEEP, AdviseOptions
from keepers.workflows.outcome import Outcome
from keepers.workflows.pilot import Pilot, run_pilot
from keepers.workflows.probing import embedded
from keepers.workflows.second_look import second_look
from keepers.workflows.settled_in_words import said_of_cleaning, sentences
from keepers.workflows.settling import Finding, alike, fallback, findings, settle, told
from keepers.workflows.stages import SHUFFLE
from keepers.workflows.workplace import Workplace


class Advice(Outcome):
    """The result of a pilot as plain JSON values, and its run directory."""

    file = "advice.json"

    @property
    def sentences(self) -> list[str]:
        """The conclusions, in sentences."""
        return self.result["sentences"]


def advise_examples(source: Source, config: AdviseOptions, place: Workplace) -> dict[str, Any]:
    """Find out by a pilot in folds whether selecting pays, for classes, labels or numbers.

    Raises:
        ParameterError: no targets, under 100 examples, or one class.
    """
    fractions = _fractions(config.keep or KEEP, len(source))
    methods = config.of_examples(source.task)
    if not fractions:
        raise ParameterError("keep", "got budgets that keep everything", "Give a part, such as 0.5")
    few, trained = _target(source, config, place)
    epochs = None
    if trained.classifier is None:
        epochs = epochs_of(trained.recipe, len(source), SHUFFLE)
    part = looked_at(source, config.seed)
    drawn = len(part) < len(source)
    judge = joined(part, config.proxy, place, config.seed)
    part, prepared = judge.source, judge.prepared
    say_skipped(part, place.say)
    tried = [row_for(name, prepared.role.model) for name in methods]
    pilot = run_pilot(judge, tried, fractions, drawn=drawn, epochs=epochs)
    rows = findings(pilot, methods, fractions)
    pilot, rows = second_look(pilot, rows, judge, fractions)
    fit = _fit_seconds(prepared, part, place, len(source))
    seconds = _target_seconds(few, prepared, trained, fit, len(source), place)
    return _result(
        source,
        prepared,
        config,
        pilot,
        rows,
        methods,
        fractions,
        fit=fit,
        target={"model": trained.role.model, "seconds": seconds, "epochs": epochs},
    )


def _fractions(keep: Sequence[int | float | str], n: int) -> list[float]:
    found = [round(Budget.parse(each).resolve(n) / n, 6) for each in keep]
    return [fraction for fraction in dict.fromkeys(found) if fraction < 1]


def _target(source: Source, config: AdviseOptions, place: Workplace) -> tuple[Source, Prepared]:
    """A part of the data that tells what the target costs, and the target joined with it."""
    part = part_of(source, config.seed)
    role = Role.parse(config.target, default_target(part.info()), "target")
    return place.prepare(role, part, parameter="target", cache="encoded-target")


def _target_seconds(
    part: Source, pilot: Prepared, target: Prepared, fit: float, n: int, place: Workplace
) -> float:
    """About how long a training of the target on `n` examples like the part takes.

    That of the pilot's own model takes `fit`.
    """
    if target.role.identity() == pilot.role.identity():
        return fit
    if target.classifier is not None:
        return _fit_seconds(target, part, place, n)
    return estimate_seconds(
        target.build(0, "target"),
        target.train_view(torch.arange(len(part))),
        target.recipe,
        runtime=place.hardware.runtime(gains_from_bf16=target.recipe.bf16),
        num_members=n,
    )


def _fit_seconds(prepared: Prepared, part: Source, place: Workplace, n: int) -> float:
    """About how long fitting a classifier to `n` examples takes, measured on at most `LARGEST`.

    An encoder's features are there already.
    """
    assert prepared.classifier is not None
    pool = embedded(place, prepared, prepared.pool, part.content)
    members = torch.linspace(0, len(part) - 1, min(len(part), LARGEST)).long()
    start = time.perf_counter()
    fit_classifier(prepared.classifier, pool, prepared.labels, members, seed=0, task=prepared.task)
    return (time.perf_counter() - start) * n / len(members)


def _result(
    source: Source,
    prepared: Prepared,
    config: AdviseOptions,
    pilot: Pilot,
    rows: Sequence[Finding],
    methods: Sequence[str],
    fractions: Sequence[float],
    *,
    fit: float,
    target: Mapping[str, Any],
) -> dict[str, Any]:
    seconds, model = target["seconds"], prepared.role.model
    selecting = {method: _trainings(row_for(method, model)) * fit for method in methods}
    best = {fraction: settle(rows, fraction) for fraction in fractions}
    result: dict[str, Any] = {
        "kind": "advise",
        "score": source.task.score_words,
        "data": about(source),
        "config": {
            "keep": fractions,
            "methods": methods,
            "seed": config.seed,
            "proxy": prepared.role.identity(),
        },
        "pilot": {
            "model": model,
            "chooses": _chooses(source, prepared),
            "other": pilot.other,
            "examples": pilot.examples,
            "judged": pilot.judged,
            "folds": len(pilot.found[EVERYTHING, 1.0]),
            "guessing": pilot.guessing,
            "largest": _largest(source),
            "alike": alike(pilot),
            "seconds": pilot.seconds,
            "errors": {
                str(fraction): statistics.mean(held.error for held in pilot.found[RANDOM, fraction])
                for fraction in fractions
            },
            "error_everything": statistics.mean(
                held.error for held in pilot.found[EVERYTHING, 1.0]
            ),
        },
        "target": target,
        "label_noise": None
        if pilot.noise is None
        else Noise(estimate=pilot.noise, by="pilot").facts(),
        "cleaning": said_of_cleaning(rows),
        "rows": [
            {
                **asdict(row),
                **{
                    f"told_{name}": None if found is None else told(found, same=alike(pilot))
                    for name, found in (("stratified", row.stratified), ("fresh", row.fresh))
                },
                "selection_seconds": selecting[row.method],
                "saved_seconds": seconds * (1 - row.keep) - selecting[row.method],
            }
            for row in rows
        ],
        "take": {
            str(fraction): fallback(rows, fraction) if found is None else found.method
            for fraction, found in best.items()
        },
    }
    return {**result, "sentences": sentences(result)}


def _chooses(source: Source, prepared: Prepared) -> str | None:
    """The pilot's model, if a method that is named would choose by another model of scikit-learn.

    The pilot tried the choices of its own model, not those of the other one.
    """
    default, model = default_proxy(source.info()), prepared.role.model
    other = is_classifier(default) and default != model
    return model if other and model in CLASSIFIERS else None


def _largest(source: Source) -> str:
    """What the largest class, or part of the range, is called."""
    assert source.strata is not None
    return source.strata_names[int(torch.from_numpy(source.strata).bincount().argmax())]


def _trainings(method: Method) -> float:
    """Trainings of the proxy that a method takes, in those on everything."""
    needs = method.needs - {"labels"}
    return (1 if needs else 0) + (2 if "out_of_fold_log_probs" in needs else 0)
