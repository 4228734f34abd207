"""`advise`: does selecting pay on these data, before anything is selected? And `auto`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from keepers import methods as table
from keepers import processes
from keepers.configuration import picked
from keepers.data import Header, Source
from keepers.errors import ParameterError
from keepers.files import plain, write_json
from keepers.methods import Method
from keepers.models import default_target
from keepers.roles import OnBadRow, Prepared, Role, prepare
from keepers.training import (
    HardwareConfig,
    Precision,
    estimate_seconds,
    fit_classifier,
)
from keepers.types import Budget, Progress
from keepers.words import listed
from keepers.workflows.auto import CANDIDATES, joined
from keepers.workflows.opening import Reading, Say, check_outputs, say_or_not, workplace
from keepers.workflows.pilot import EVERYTHING, RANDOM, Pilot, part_of, run_pilot
from keepers.workflows.scoring import CORESET_SIGNALS, SAFE, needs_steps, row_for
from keepers.workflows.settling import Finding, findings, settle
from keepers.workflows.stages import Workplace, embedded


@dataclass(frozen=True, kw_only=True)
class AdviseConfig(HardwareConfig):
    """Everything that advice depends on, beside the data; the CLI has the same names.

    Raises:
        ParameterError: a value out of range, an unknown method, or one that a pilot cannot try.
    """

    keep: Sequence[int | float | str] = (0.1, 0.3, 0.5)
    methods: Sequence[str] = CANDIDATES
    proxy: str | Role | Mapping[str, Any] | None = None
    target: str | Role | Mapping[str, Any] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("methods", "keep"):
            values: Sequence[Any] = getattr(self, name)
            object.__setattr__(self, name, tuple(dict.fromkeys(values)))
            if not values:
                raise ParameterError(name, "got none", "Give at least one")
        # A random choice stands beside every method, and the safe one is what is taken without.
        tried = (SAFE, *(name for name in self.methods if name not in (SAFE, RANDOM)))
        object.__setattr__(self, "methods", tried)
        for keep in self.keep:
            Budget.parse(keep)
        for name in self.methods:
            table.get(name, CORESET_SIGNALS)
            if needs_steps(name):
                raise ParameterError(
                    "methods",
                    f"got '{name}', which watches a training in steps: a pilot has none",
                    "keepers compare tries it with real targets",
                )
        Role.check("proxy", self.proxy)
        Role.check("target", self.target)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What a pilot says, as plain JSON values, and the run directory it stands in."""

    result: dict[str, Any]
    run: Path

    @property
    def sentences(self) -> list[str]:
        """The answers in words."""
        return self.result["sentences"]


def advise(
    data: Any,
    *,
    keep: Sequence[int | float | str] = (0.1, 0.3, 0.5),
    methods: Sequence[str] = CANDIDATES,
    proxy: str | Role | Mapping[str, Any] | None = None,
    target: str | Role | Mapping[str, Any] | None = None,
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
    overwrite: bool = False,
    run: str | Path | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Advice:
    """Say, before anything is selected, whether selecting pays: for each budget and method.

    A pilot tries every method on a part of the data, in folds, with a cheap model as proxy and as
    target; what is held out judges. It costs seconds to minutes, and says what it cost, what the
    selection would cost, and what it would save.

    Args:
        data: as in `keepers.coreset`, with labels.
        keep, methods: every method is tried at every budget, and `stratified` beside them.
        proxy: the model of the pilot, one that scikit-learn fits (`linear`, `tabular`,
            `sklearn:...`, `probe:...`); None takes one for the kind of data. For a proxy that is
            trained in steps, `linear` stands in.
        target: the model that the choice is for; its cost is estimated. None takes one for the
            kind of data.
        out, overwrite: JSON file for the result, and whether it may replace an earlier one.
        device, precision, run, resume, progress, say: as in `keepers.coreset`.
        input, label, id, group, split, header, limit, on_bad_row: likewise.

    Raises:
        ParameterError: under 100 examples, one class, or a method that a pilot cannot try.
        KeepersError: anything else wrong with what was given.
    """
    given = dict(locals())
    config = picked(AdviseConfig, given)
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
        purpose="advise",
    )
    with opened as (source, place):
        for sentence in source.found:
            say(sentence)
        fractions = _fractions(config.keep, len(source))
        if not fractions:
            raise ParameterError(
                "keep", "got budgets that keep everything", "Give a part, such as 0.5"
            )
        part = part_of(source, config.seed)
        part, prepared = joined(part, config.proxy, place, reading.on_bad_row)
        pilot = run_pilot(
            prepared,
            part,
            place,
            methods_=[row_for(name, prepared.role.model) for name in config.methods],
            keep=fractions,
            seed=config.seed,
        )
        rows = findings(pilot, config.methods, fractions)
        scale = len(source) / len(part)
        fit = scale * _fit_seconds(prepared, part, place)
        named = _target_seconds(part, prepared, fit, scale, config, place)
        result = _result(source, prepared, config, pilot, rows, fractions, fit, named)
        if processes.rank() == 0:
            write_json(place.run.path / "advice.json", result)
            if out is not None:
                write_json(Path(out), result, overwrite=overwrite)
    return Advice(result=result, run=place.run.path)


def _fractions(keep: Sequence[int | float | str], n: int) -> list[float]:
    found = [round(Budget.parse(each).resolve(n) / n, 6) for each in keep]
    return [fraction for fraction in dict.fromkeys(found) if fraction < 1]


def _target_seconds(
    part: Source,
    pilot: Prepared,
    fit: float,
    scale: float,
    config: AdviseConfig,
    place: Workplace,
) -> tuple[str, float]:
    """The target's name and about how long a training of it on `scale` times the part takes.

    That of the pilot's own model takes `fit`.
    """
    role = Role.parse(config.target, default_target(part.info()), "target")
    if role.identity() == pilot.role.identity():
        return role.model, fit
    _, prepared = prepare(role, part, parameter="target", cache=place.run.path / "encoded-target")
    if prepared.classifier is not None:
        return role.model, scale * _fit_seconds(prepared, part, place)
    seconds = estimate_seconds(
        prepared.build(0, "target"),
        prepared.train_view(torch.arange(len(part))),
        prepared.recipe,
        runtime=place.hardware.runtime(gains_from_bf16=prepared.recipe.bf16),
        num_members=round(scale * len(part)),
    )
    return role.model, seconds


def _fit_seconds(prepared: Prepared, part: Source, place: Workplace) -> float:
    """How long fitting a classifier takes; an encoder's features are there already."""
    assert prepared.classifier is not None
    pool = embedded(place, prepared, prepared.pool, part.content)
    start = time.perf_counter()
    fit_classifier(prepared.classifier, pool, prepared.labels, torch.arange(len(part)), seed=0)
    return time.perf_counter() - start


def _result(
    source: Source,
    prepared: Prepared,
    config: AdviseConfig,
    pilot: Pilot,
    rows: Sequence[Finding],
    fractions: Sequence[float],
    fit: float,
    target: tuple[str, float],
) -> dict[str, Any]:
    name, seconds = target
    model = prepared.role.model
    selecting = {method: _trainings(row_for(method, model)) * fit for method in config.methods}
    best = {str(fraction): settle(rows, fraction) for fraction in fractions}
    result: dict[str, Any] = {
        "kind": "advise",
        "data": {
            "name": source.name,
            "kind": source.kind,
            "n": len(source),
            "num_classes": len(source.class_names),
            "fingerprint": source.fingerprint,
        },
        "config": {
            "keep": fractions,
            "methods": config.methods,
            "seed": config.seed,
            "proxy": prepared.role.identity(),
        },
        "pilot": {
            "model": model,
            "examples": pilot.examples,
            "folds": len(pilot.found[EVERYTHING, 1.0]),
            "seconds": pilot.seconds,
            "errors": {
                str(fraction): statistics.mean(held.error for held in pilot.found[RANDOM, fraction])
                for fraction in fractions
            },
            "error_everything": statistics.mean(
                held.error for held in pilot.found[EVERYTHING, 1.0]
            ),
        },
        "target": {"model": name, "seconds": seconds},
        "rows": [
            {
                **asdict(row),
                "selection_seconds": selecting[row.method],
                "saved_seconds": seconds * (1 - row.keep) - selecting[row.method],
            }
            for row in rows
        ],
        "take": {
            fraction: SAFE if found is None else found.method for fraction, found in best.items()
        },
    }
    return plain({**result, "sentences": sentences(result)})


def _trainings(method: Method) -> float:
    """Trainings of the proxy that a method takes, in those on everything."""
    needs = method.needs - {"labels"}
    return (1 if needs else 0) + (2 if "out_of_fold_log_probs" in needs else 0)


def sentences(result: Mapping[str, Any]) -> list[str]:
    """The answers in words: for each budget what to take, what to avoid, and what it saves."""
    found: list[str] = []
    whole, target = result["pilot"]["error_everything"], result["target"]
    for fraction, taken in result["take"].items():
        share = float(fraction)
        here = [row for row in result["rows"] if row["keep"] == share]
        random = result["pilot"]["errors"][fraction]
        lead = f"At {share:.0%} kept"
        if taken == SAFE:
            found.append(
                f"{lead}: no method was better than a random choice; take {SAFE}. A random choice "
                f"of it was wrong on {random:.1%} of what it had not seen, everything on "
                f"{whole:.1%}"
            )
        else:
            row = next(row for row in here if row["method"] == taken)
            mean, low, high = (-100 * row["error"][name] for name in ("mean", "high", "low"))
            found.append(
                f"{lead}: {taken} was better than a random choice, by {mean:.1f} points ({low:.1f} "
                f"to {high:.1f}): {random - mean / 100:.1%} wrong, random {random:.1%}, everything "
                f"{whole:.1%}"
            )
        bad = [row["method"] for row in here if row["told"] == "worse"]
        if bad:
            found.append(f"{lead}, {listed(bad, 5)} would do harm: worse than a random choice")
        cheapest = next(row for row in here if row["method"] == taken)
        saved, cost = cheapest["saved_seconds"], cheapest["selection_seconds"]
        if saved <= 0:
            found.append(
                f"{lead}, selecting takes longer ({cost:.3g} s) than it saves of training "
                f"{target['model']} ({target['seconds']:.3g} s): train on everything"
            )
    return found
