"""`auto`: the method that a pilot shows to be better than a random choice, or the safe one."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from keepers import methods
from keepers.baselines import RANDOM, SAFE
from keepers.choices import Balance
from keepers.configuration import model_named
from keepers.data import Source
from keepers.ledger import Cost
from keepers.models import is_classifier
from keepers.roles import Prepared, Role, made_by, prepare
from keepers.words import counted
from keepers.workflows.advice import Noise
from keepers.workflows.judge import Judge
from keepers.workflows.looked_at import DIFFERENT, FEWEST, looked_at, num_units
from keepers.workflows.offered import row_for
from keepers.workflows.options.advise import candidates
from keepers.workflows.options.coreset import CoresetOptions
from keepers.workflows.options.shared import AUTO
from keepers.workflows.pilot import least_share, run_pilot
from keepers.workflows.proxy_look import proxy_look
from keepers.workflows.second_look import second_look
from keepers.workflows.settled_in_words import said_of_cleaning, why_best, why_not
from keepers.workflows.settling import HARDLY_ANY, fallback, findings, settle
from keepers.workflows.workplace import Workplace

SIDE = 16
"""Pixels a side at which a pilot looks at pictures."""


NO_COST = Cost(phase="pilot")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What `auto` takes at one budget, why, and what finding out took.

    `noise` is how many labels the pilot finds wrong, `cleaning` what it says of leaving them out.
    `instead` is what is taken where the choice turns out `too_lopsided`.
    """

    method: str
    why: str
    cost: Cost = NO_COST
    pilot: dict[str, Any] | None = None
    noise: Noise | None = None
    cleaning: str = ""
    instead: str = SAFE

    def set_aside(self, why: str) -> Taken:
        """What is taken after all, where the choice by this method is not."""
        return replace(self, method=self.instead, why=why)

    def facts(self) -> dict[str, Any]:
        """The same as plain values, for what is written."""
        pilot = {} if self.pilot is None else {"pilot": self.pilot}
        return {"taken": self.method, "why": self.why, **pilot}


def settled(
    source: Source, config: CoresetOptions, place: Workplace
) -> tuple[CoresetOptions, Taken | None]:
    """A configuration whose method `auto` is replaced by what a pilot shows, and what it showed."""
    if config.method != AUTO:
        return config, None
    if source.kind == "chat":
        name = "random" if source.targets is None else SAFE
        why = "only tuning shows the value of a conversation; keepers advise --target measures it"
        place.say(f"auto takes {name}: {why}")
        return replace(config, method=name), Taken(method=name, why=why)
    role = replace(config, method=SAFE).role(source)
    if config.proxy or config.resolution is not None:  # what is wrong with it is said first
        made_by(role, source.info(), "proxy")
    k = config.keep.resolve(len(source))
    taken = take(
        source,
        (k,),
        place,
        proxy=config.proxy,
        seed=config.seed,
        balance=config.balance,
        least=config.least(source.task.floor),
        chooser=role,
    )[k]
    place.ledger.book([taken.cost] if taken.pilot else [])
    config = replace(config, method=taken.method)
    if taken.pilot and config.proxy is None and is_classifier(role.model):
        config = replace(config, proxy=taken.pilot["model"])  # whose choices were tried
    if not methods.get(taken.method).needs - {"labels"}:  # the pilot had them, and no more is asked
        config = replace(config, proxy=None, epochs=None, ensemble=None)
    return config, taken


def too_lopsided(taken: Taken, kept: Tensor, sizes: Tensor, names: Sequence[str]) -> str:
    """Why a choice is not made after all, where a pilot took its method; "" where it is.

    Of the classes' `sizes` (c,) it has `kept` (c,): hardly any of one, which the choices of the
    pilot did not.
    """
    if taken.method in (SAFE, RANDOM):
        return ""
    least, share = least_share(kept.double(), sizes * (float(kept.sum()) / float(sizes.sum())))
    if share >= HARDLY_ANY:
        return ""
    return (
        f"{taken.method} would keep hardly any of '{names[least]}', {share:.0%} of what a random "
        "choice keeps, and did not in the pilot"
    )


def asks_proxy(chooser: Role, kind: str, offered: Container[str] | None) -> bool:
    """Whether a pilot on inputs of a kind asks the model that will choose what it gains.

    It does where that model is trained in steps, and so is not the pilot's.
    """
    # What a pilot took of pictures without asking did no harm by networks (docs/benchmarks.md,
    # 32 pilots). But all methods were offered, and confident-learning mostly taken. Where it is not
    # offered, as over shards, margin is left, which could do harm there: the network is asked.
    return not is_classifier(chooser.model) and (kind != "image" or offered is not None)


def take(
    source: Source,
    budgets: Sequence[int],
    place: Workplace,
    *,
    proxy: str | Role | Mapping[str, Any] | None,
    seed: int,
    balance: Balance | None,
    least: int,
    chooser: Role,
    offered: Container[str] | None = None,
) -> dict[int, Taken]:
    """What `auto` takes at each of the budgets, which are counts; said as well.

    `balance`, and the `least` of each class, are what is asked of the choice beside it; of the
    methods that a pilot tries, those that are `offered`, where not all are. `chooser` is the model
    by which the method will choose.

    Where a pilot cannot be run, or cannot tell, that is `stratified`, or a random choice where
    `stratified` did worse. Every budget has a pilot of its own, as if it were the only one; what
    they share is found again.
    """
    found: dict[int, Taken] = {}
    drawn, judge, chosen_by = False, None, None
    for k in budgets:
        fraction = round(k / len(source), 6)
        why = _impossible(source, fraction) or asked_by_class(
            np.bincount(source.strata if source.strata is not None else []),  # none: impossible
            k,
            balance,
            least,
            source.task.score_words,
        )
        if why:
            found[k] = Taken(method=SAFE, why=why)
            place.say(f"auto takes {SAFE}: {why}")
            continue
        if judge is None:
            part = looked_at(source, seed)
            drawn, judge = len(part) < len(source), joined(part, proxy, place, seed)
            asked = asks_proxy(chooser, source.kind, offered)
            chosen_by = prepare(chooser, judge.source)[1] if asked else None
        tried = candidates(judge.prepared.task)
        names = [name for name in tried if offered is None or name in offered]
        found[k] = _by_pilot(judge, names, fraction, drawn=drawn, proxy=chosen_by)
        taken = found[k]
        place.say(f"auto takes {taken.method}: {taken.why} ({taken.cost.seconds:.0f} s)")
    return found


def _by_pilot(
    judge: Judge, names: Sequence[str], fraction: float, *, drawn: bool, proxy: Prepared | None
) -> Taken:
    model = judge.prepared.role.model
    pilot = run_pilot(judge, [row_for(name, model) for name in names], (fraction,), drawn=drawn)
    rows = findings(pilot, names, (fraction,))
    pilot, rows = second_look(pilot, rows, judge, (fraction,))
    if proxy is not None:
        pilot, rows = proxy_look(pilot, rows, proxy, judge, fraction)
    best = settle(rows, fraction)
    instead = fallback(rows, fraction)
    score = judge.prepared.task.score_words
    found = why_not(rows, instead, pilot.other) if best is None else why_best(best, pilot, score)
    return Taken(
        method=instead if best is None else best.method,
        why=f"in a pilot on {counted(pilot.examples, 'example')} at {fraction:.0%} kept{found}",
        cost=Cost(phase="pilot", seconds=pilot.seconds, examples=pilot.examples),
        pilot={
            "model": model,
            "other": pilot.other,
            "examples": pilot.examples,
            "judged": pilot.judged,
            "seconds": pilot.seconds,
            "rows": [asdict(row) for row in rows],
        },
        noise=None if pilot.noise is None else Noise(estimate=pilot.noise, by="pilot"),
        cleaning=said_of_cleaning(rows),
        instead=instead,
    )


def _impossible(source: Source, fraction: float) -> str | None:
    """Why a pilot would say nothing here, in words."""
    if source.strata is None:
        return "a pilot needs labels"
    if len(source) < FEWEST:
        return f"a pilot needs {FEWEST} examples, and there are {len(source)}"
    if (different := num_units(source)) < DIFFERENT:
        return f"a pilot needs {DIFFERENT} different inputs or groups, and there are {different}"
    if len(set(source.strata.tolist())) < 2:
        return "a pilot needs two classes"
    if fraction >= 1:
        return "everything is kept"
    if fraction * len(source) < 2 * len(source.strata_names):
        return "too few are kept: a pilot would have fewer than two examples of a class"
    return None


def asked_by_class(
    sizes: npt.NDArray[np.int64], k: int, balance: Balance | None, least: int, judge: str
) -> str | None:
    """Why a pilot says nothing of a choice whose classes are counted beforehand, in words.

    `sizes` are the examples of each class, of which k are kept; `judge` is what a pilot goes by.

    It judges by accuracy, which falls where rare classes get more of the budget, and rises again
    where what is picked of the others is most like them: with equal shares a tenth by margin, with
    a rare class in a hundred, was wrong on 20 points more than a random one, class by class.
    """
    if balance is not None:
        return f"a pilot judges by {judge}, and --balance class asks for another thing"
    floors = sizes.clip(max=least).sum()
    if least > 1 and 2 * floors > k:
        return f"--min-per-class {least} settles most of the choice"
    return None


def stand_in(source: Source) -> Role:
    """The cheap model that stands in for one that is trained in steps; pictures are small to it."""
    side = min(SIDE, *source.shape[1:]) if source.kind == "image" else None
    return Role(model="linear", resolution=side)


def pilot_role(source: Source, proxy: str | Role | Mapping[str, Any] | None) -> Role:
    """The model of a pilot: the proxy itself where scikit-learn fits it, else a linear one."""
    role = stand_in(source)
    if not is_classifier(model_named(proxy)):
        return role
    given = Role.parse(proxy, role.model)
    seen = given.resolution is not None or given.model.startswith("probe:")
    return given if seen else given.having(resolution=role.resolution)


def joined(
    source: Source, proxy: str | Role | Mapping[str, Any] | None, place: Workplace, seed: int
) -> Judge:
    """The model of the pilot, joined with the data."""
    role = pilot_role(source, proxy)
    source, prepared = place.prepare(role, source, cache="encoded-pilot")
    return Judge(prepared=prepared, source=source, place=place, seed=seed)
