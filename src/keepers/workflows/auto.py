"""`auto`: the method that a pilot shows to be better than a random choice, or the safe one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from keepers import methods
from keepers.configuration import model_named
from keepers.data import Source
from keepers.ledger import Cost
from keepers.models import is_classifier
from keepers.roles import OnBadRow, Prepared, Role, made_by, prepare
from keepers.types import Budget
from keepers.words import counted
from keepers.workflows.opening import Say
from keepers.workflows.pilot import FEWEST, part_of, run_pilot
from keepers.workflows.scoring import AUTO, SAFE, CoresetConfig
from keepers.workflows.settling import Finding, findings, settle
from keepers.workflows.stages import Workplace

CANDIDATES = (SAFE, "margin", "facility-location", "confident-learning")
"""The methods that are tried where nobody names any: at random by class, the hardest first, the
most typical, and those whose labels no other model contradicts."""

SIDE = 16
"""Pixels a side at which a pilot looks at pictures."""


def settled(
    source: Source, config: CoresetConfig, place: Workplace, *, on_bad_row: OnBadRow, say: Say
) -> tuple[CoresetConfig, dict[str, Any] | None]:
    """A configuration whose method `auto` is replaced by what a pilot shows, and what it showed.

    Where a pilot cannot be run, or cannot tell, that is `stratified`.
    """
    if config.method != AUTO:
        return config, None
    if config.proxy or config.resolution is not None:  # what is wrong with it is said first
        made_by(replace(config, method=SAFE).role(source), source.info(), "proxy")
    k = Budget.parse(config.keep).resolve(len(source))
    fraction = round(k / len(source), 6)
    why = _impossible(source, fraction)
    if why:
        say(f"auto: {why}: {SAFE} is taken")
        return replace(config, method=SAFE), {"taken": SAFE, "why": why}
    part, prepared = joined(part_of(source, config.seed), config.proxy, place, on_bad_row)
    rows_of = [methods.get(name) for name in CANDIDATES]
    pilot = run_pilot(prepared, part, place, methods_=rows_of, keep=(fraction,), seed=config.seed)
    place.ledger.book([Cost(phase="pilot", seconds=pilot.seconds, examples=pilot.examples)])
    rows = findings(pilot, CANDIDATES, (fraction,))
    best = settle(rows, fraction)
    name = SAFE if best is None else best.method
    words = (
        f"in a pilot on {counted(pilot.examples, 'example')} no method was better than a "
        f"random choice at {fraction:.0%} kept"
        if best is None
        else f"in a pilot on {counted(pilot.examples, 'example')} it was "
        f"{_in_points(best)} than a random choice at {fraction:.0%} kept"
    )
    say(f"auto: {name} is taken: {words} ({pilot.seconds:.0f} s)")
    return replace(config, method=name), {
        "taken": name,
        "why": words,
        "pilot": {
            "model": prepared.role.model,
            "examples": pilot.examples,
            "seconds": pilot.seconds,
            "rows": [asdict(row) for row in rows],
        },
    }


def _in_points(row: Finding) -> str:
    """A difference in error in points with its interval, as better or worse.

    Better by 2.1 points reads "2.1 points (0.8 to 3.4) better".
    """
    error = row.error
    sign = -1 if error.mean < 0 else 1
    low, high = sorted(100 * sign * (end or 0.0) for end in (error.low, error.high))
    word = "better" if sign < 0 else "worse"
    return f"{100 * abs(error.mean):.1f} points ({low:.1f} to {high:.1f}) {word}"


def _impossible(source: Source, fraction: float) -> str | None:
    """Why a pilot would say nothing here, in words."""
    if source.labels is None:
        return "a pilot needs labels"
    if len(source) < FEWEST:
        return f"a pilot needs {FEWEST} examples, and there are {len(source)}"
    if len(set(source.labels.tolist())) < 2:
        return "a pilot needs two classes"
    if fraction >= 1:
        return "everything is kept"
    if fraction * len(source) < 2 * len(source.class_names):
        return "so few are kept that a pilot would have under two of a class"
    return None


def joined(
    source: Source,
    proxy: str | Role | Mapping[str, Any] | None,
    place: Workplace,
    on_bad_row: OnBadRow,
) -> tuple[Source, Prepared]:
    """The model of the pilot: the proxy itself where scikit-learn fits it, else a linear one."""
    role = Role(model="linear")
    if is_classifier(model_named(proxy)):
        role = Role.parse(proxy, "linear")
    if source.kind == "image" and role.resolution is None and not role.model.startswith("probe:"):
        role = role.having(resolution=min(SIDE, *source.shape[1:]))
    cache = place.run.path / "encoded-pilot"
    return prepare(role, source, on_bad_row=on_bad_row, cache=cache, progress=place.progress)
