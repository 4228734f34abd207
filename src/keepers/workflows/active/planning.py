"""`propose`: the next examples to label, whoever asks: a campaign or a simulation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from keepers import methods
from keepers.errors import ParameterError
from keepers.methods import Method
from keepers.methods.method import top
from keepers.random import generator
from keepers.roles import Prepared
from keepers.selectors import distinct
from keepers.types import Picks, Signals
from keepers.words import counted
from keepers.workflows.active.asking import Labelled, Opinion, ask
from keepers.workflows.active.neighbour_index import NEIGHBOURS, Index
from keepers.workflows.active.neighbours import nearest, search_facts
from keepers.workflows.options.active import ActiveConfig
from keepers.workflows.stages import Tested
from keepers.workflows.workplace import Workplace

DEEPEST = 8
"""Methods without a ranking pick up to this many times the batch to replace near-duplicates.

Methods with scores rank the whole pool at once; for the others each further pick is a search.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposal:
    """Examples to label next.

    `positions` (k,) in pick order, `scores` (k,) or None; `near_duplicates` counts those that
    were let in because nothing else was left; `searched` says how neighbours were found, where
    only those were scored. `halves` says how far two halves of the passes with dropout on choose
    the same, where a single model has such passes.
    """

    positions: Tensor
    scores: Tensor | None
    opinion: Opinion
    near_duplicates: int = 0
    searched: Mapping[str, Any] | None = None
    halves: Callable[[], Mapping[str, int] | None] = lambda: None


def propose(
    known: Labelled,
    k: int,
    config: ActiveConfig,
    place: Workplace,
    *,
    prepared: Callable[[], Prepared],
    features: Callable[[], Tensor],
    index: Callable[[], Index | None],
    seed: int,
    also_scored: Tensor | None = None,
    test: Tested | None = None,
) -> Proposal:
    """Choose `k` examples to label, with a proxy trained on what is labelled.

    While fewer than two classes are labelled the method is `config.cold`, on features that need
    no labels. `prepared`, `features` and their `index` are asked for only where they are needed.
    `also_scored` are positions whose predictions the caller wants beside those of the candidates.

    Raises:
        ParameterError: `k` is over what is left.
    """
    left = known.open
    if k > len(left):
        raise ParameterError(
            "count",
            f"got {k:,}, but {counted(len(left), 'example is', 'examples are')} left to choose "
            "from",
            "Ask for fewer",
        )
    cold = known.is_cold
    method = methods.get(config.cold if cold else config.method)
    candidates, searched = left, None
    if not cold and config.neighbours is not None:
        near, where = features(), index()
        with place.ledger.phase(NEIGHBOURS) as tally:
            candidates = nearest(near, known.members, left, config.neighbours, where)
            tally.examples = len(left)
        searched = search_facts(config.neighbours, where, len(candidates))
        if len(candidates) < k:
            candidates = left
    universe = torch.cat([candidates, known.members, known.covered]).unique()
    opinion = Opinion(method=method)
    if cold or not method.needs:
        members: Sequence[Signals] = [_signals_without_model(method, features, universe)]
    else:
        scored = universe
        if also_scored is not None:
            scored = torch.cat([universe, also_scored]).unique()
        opinion = ask(known, config, place, prepared(), scored=scored, seed=seed, test=test)
        members = opinion.signals(universe)
    if not k:  # a batch of control items alone
        return Proposal(positions=left[:0], scores=None, opinion=opinion, searched=searched)
    if _leaves_out_near_duplicates(config):
        features()  # made now, so that their making is not booked as selecting, too
    taken = torch.ones(len(universe), dtype=torch.bool)
    taken[torch.searchsorted(universe, candidates)] = False
    balance = None
    if config.balance == "class" and not cold and members[0].log_probs is not None:
        balance = torch.stack([each.get("log_probs").exp() for each in members]).mean(0).argmax(1)

    def run(given: Sequence[Signals], count: int, **heard: Any) -> tuple[Picks, Tensor | None]:
        return methods.choose(
            method,
            given,
            count,
            balance=balance,
            selected=taken.nonzero()[:, 0],
            generator=generator(seed, "select", method.name),
            num_classes=known.source.task.num_outputs,
            options={} if cold else dict(config.method_options or {}),
            **heard,
        )

    with place.ledger.phase("selecting") as tally, place.under_way("selecting") as report:
        tally.examples = len(candidates)
        picks, scores, repeated = _choose(
            functools.partial(run, members, report=report),
            k,
            config,
            known,
            universe,
            most=len(candidates) if method.select is top else min(DEEPEST * k, len(candidates)),
            features=features,
        )
    return Proposal(
        positions=universe[picks.positions],
        scores=None if scores is None else scores[picks.positions],
        opinion=opinion,
        near_duplicates=repeated,
        searched=searched,
        halves=functools.partial(_shared_by_halves, run, members, k),
    )


def _shared_by_halves(
    run: Callable[..., tuple[Picks, Tensor | None]], members: Sequence[Signals], k: int
) -> dict[str, int] | None:
    posterior = members[0].posterior_log_probs
    if len(members) > 1 or posterior is None or posterior.shape[1] < 4:
        return None
    first, second = (
        run([replace(members[0], posterior_log_probs=half)], k)[0].positions
        for half in posterior.tensor_split(2, dim=1)
    )
    return {"shared": int(torch.isin(first, second).sum()), "of": k, "passes": posterior.shape[1]}


def _leaves_out_near_duplicates(config: ActiveConfig) -> bool:
    return config.distinct not in (None, 1.0)


def _signals_without_model(
    method: Method, features: Callable[[], Tensor], universe: Tensor
) -> Signals:
    if not method.needs:
        return Signals(features=universe[:, None].float())
    return Signals(features=features()[universe])


def _choose(
    run: Callable[[int], tuple[Picks, Tensor | None]],
    k: int,
    config: ActiveConfig,
    known: Labelled,
    universe: Tensor,
    *,
    most: int,
    features: Callable[[], Tensor],
) -> tuple[Picks, Tensor | None, int]:
    """Picks and scores, by place in the universe, and how many picks are near-duplicates."""
    ranked = k
    while True:
        picks, scores = run(ranked)
        if config.distinct is None or not _leaves_out_near_duplicates(config):
            return picks, scores, 0
        waiting = torch.arange(len(known.covered))
        kept, repeated = distinct(
            torch.arange(ranked) + len(waiting),
            features()[torch.cat([known.covered, universe[picks.positions]])],
            k,
            threshold=1 - config.distinct,
            metric="cosine",
            selected=waiting,
        )
        if not repeated or ranked >= most:
            kept = picks.positions[kept - len(waiting)]
            return Picks(positions=kept), scores, repeated
        ranked = min(2 * ranked, most)  # near-duplicates were among them: rank more
