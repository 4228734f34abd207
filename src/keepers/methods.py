"""The table of methods: what each needs, how it scores, how it selects, and its paper.

A package adds rows by naming `Method` objects in its entry points of the group
`keepers.methods`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from keepers import scores as scoring
from keepers import selectors
from keepers.errors import KeepersError, ParameterError, unknown_name
from keepers.types import Picks, Signals

ENTRY_POINT_GROUP = "keepers.methods"
LARGE = 100_000
"""Examples over which facility location samples its candidates, unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row: from signals to picks.

    `needs` names fields of `Signals`. `score(signals)` gives (n,), higher = selected first, and
    is None where nothing ranks the examples. `select(signals, scores, k, *, selected, generator,
    **options)` gives `Picks`; `options` are the defaults of its own options. `merge` makes the
    signals of an ensemble those of one model; without it the members' scores are combined by
    rank. `hard_first`: the examples that a model finds hardest come first.
    """

    name: str
    needs: frozenset[str]
    select: Callable[..., Picks]
    summary: str
    when: str
    paper: str
    score: Callable[[Signals], Tensor] | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    merge: Callable[[Sequence[Signals]], Signals] | None = None
    default_ensemble: int = 1
    hard_first: bool = False


def get(name: str) -> Method:
    """A row of the table.

    Raises:
        ParameterError: no such row; the nearest name is given.
    """
    found = table().get(name)
    if found is None:
        raise unknown_name("method", name, table())
    return found


def names() -> tuple[str, ...]:
    """All names, the built-in ones first."""
    return tuple(table())


@functools.cache
def table() -> Mapping[str, Method]:
    """The built-in rows and those of installed packages.

    Raises:
        KeepersError: an entry point that does not load, is no `Method`, or takes a name in use.
    """
    rows = dict(METHODS)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        where = f"entry point '{entry.name}' of group '{ENTRY_POINT_GROUP}' ({entry.value})"
        try:
            row = entry.load()
        except Exception as error:
            raise KeepersError(f"{where}: does not load: {error}. Update or remove it") from error
        if not isinstance(row, Method):
            raise KeepersError(f"{where}: got {type(row).__name__}. Name a keepers.methods.Method")
        if row.name in rows:
            raise KeepersError(f"{where}: the name '{row.name}' is in use. Choose another")
        rows[row.name] = row
    return MappingProxyType(rows)


def choose(
    method: Method,
    members: Sequence[Signals],
    k: int,
    *,
    generator: torch.Generator,
    balance: Tensor | None = None,
    selected: Tensor | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Picks, Tensor | None]:
    """Score and select.

    An ensemble is combined by rank: the scores are then mean ranks over the members. Early
    log-probabilities of the members are runs of one average instead, as EL2N is defined, and
    features of the members are put side by side, so that squared distances add up.

    Args:
        method: a row of the table.
        members: the signals of each model of the ensemble, for the same n examples.
        k: number of new picks.
        generator: all that is drawn is drawn from it.
        balance: (n,) class numbers; each class gets the same number of picks, as far as its
            examples reach, by the method within the class. The classes take turns, the largest
            first, so picks nest where the method's own picks do.
        selected: positions (s,) already selected; they are never picked again.
        options: options of the method, beside its defaults.

    Returns:
        The picks, and the scores (n,) or None.

    Raises:
        ParameterError: an unknown option, k over what is left, NaN, or lengths that differ.
        KeepersError: a signal that the method needs is missing, or the method breaks its contract.

    Example:
        >>> signals = Signals(log_probs=torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3]]).log())
        >>> picks, scores = choose(get("entropy"), [signals], 2, generator=torch.Generator())
        >>> picks.positions
        tensor([1, 2])
    """
    given = settings(method, options)
    signals, scores = _combine(method, members)
    n = len(signals)
    taken = torch.empty(0, dtype=torch.int64) if selected is None else selected
    free = torch.ones(n, dtype=torch.bool)
    free[taken.cpu()] = False
    if not 0 <= k <= int(free.sum()):
        raise ParameterError(
            "k", f"got {k}, but there are {int(free.sum())} to pick from", "Give a smaller count"
        )
    run = functools.partial(method.select, **given)
    if balance is None:
        picks = run(signals, scores, k, selected=selected, generator=generator)
    else:
        if balance.shape != (n,):
            raise ParameterError(
                "balance", f"got shape {tuple(balance.shape)}", f"Give {n} class numbers"
            )
        picks = _balanced(run, signals, scores, k, balance.cpu(), free, generator)
    _check_contract(method, picks, k, free)
    return picks, scores


def score(method: Method, members: Sequence[Signals]) -> Tensor:
    """Scores (n,) of each example, an ensemble combined as in `choose`.

    Raises:
        ParameterError: the method gives no scores.
    """
    scores = _combine(method, members)[1]
    if scores is None:
        raise ParameterError("method", f"got '{method.name}', which gives no scores")
    return scores


def settings(method: Method, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of a method: its defaults, and over them those given.

    Raises:
        ParameterError: an option that the method does not have.
    """
    for name in options or {}:
        if name not in method.options:
            if not method.options:
                raise ParameterError(f"options of {method.name}", f"got '{name}', but it has none")
            raise unknown_name(f"options of {method.name}", name, method.options)
    return {**method.options, **(options or {})}


def _combine(method: Method, members: Sequence[Signals]) -> tuple[Signals, Tensor | None]:
    if not members:
        raise ParameterError("members", "got none", "Give the signals of at least one model")
    lengths = {len(signals) for signals in members}
    if len(lengths) > 1:
        raise ParameterError(
            "members", f"got lengths {sorted(lengths)}", "Give signals of the same examples"
        )
    for signals in members:
        for name in sorted(method.needs):
            signals.get(name)
    if len(members) > 1 and method.merge is not None:
        members = [method.merge(members)]
    first = members[0]
    if method.score is None:
        return first, None
    if len(members) > 1:
        scores = scoring.combine_ranks([method.score(signals) for signals in members])
    else:
        scores = method.score(first)
    if scores.shape != (len(first),):
        raise KeepersError(f"{method.name}: got scores of shape {tuple(scores.shape)}")
    if scores.isnan().any():
        raise ParameterError("scores", f"got NaN from {method.name}", "Leave those examples out")
    return first, scores


def _balanced(
    run: Callable[..., Picks],
    signals: Signals,
    scores: Tensor | None,
    k: int,
    balance: Tensor,
    free: Tensor,
    generator: torch.Generator,
) -> Picks:
    classes = [(balance == number).nonzero().squeeze(1) for number in balance.unique()]
    sizes = [int(free[members].sum()) for members in classes]
    shares = selectors.share_budget(sizes, k)
    # A generator for each class: what one class draws must not depend on another's share.
    seeds = torch.randint(2**62, (len(classes),), generator=generator, device=generator.device)
    queues: list[Tensor] = []
    excluded: list[Tensor] = []
    why = ""
    for members, share, seed in zip(classes, shares, seeds.tolist(), strict=True):
        picks = run(
            signals.at(members),
            None if scores is None else scores[members],
            share,
            selected=(~free[members]).nonzero().squeeze(1),
            generator=torch.Generator(generator.device).manual_seed(seed),
        )
        queues.append(members[picks.positions.cpu()])
        if picks.excluded is not None:
            excluded.append(members[picks.excluded.cpu()])
            why = picks.why_excluded
    return Picks(
        positions=selectors.take_turns(queues, sizes),
        excluded=torch.cat(excluded) if excluded else None,
        why_excluded=why,
    )


def _check_contract(method: Method, picks: Picks, k: int, free: Tensor) -> None:
    positions = picks.positions.cpu()
    if len(positions) != k or len(positions.unique()) != k or not bool(free[positions].all()):
        raise KeepersError(
            f"{method.name}: its select broke the contract: {k} distinct positions were asked "
            f"for, none already selected; it gave {len(positions)}. This is a defect of the method"
        )


def _side_by_side(name: str) -> Callable[[Sequence[Signals]], Signals]:
    """Join a signal of the members along its second dimension."""

    def merge(members: Sequence[Signals]) -> Signals:
        joined = torch.cat([signals.get(name) for signals in members], 1)
        return replace(members[0], **{name: joined})

    return merge


def _mean_margin(members: Sequence[Signals]) -> Signals:
    margins = torch.stack([signals.get("aum") for signals in members])
    return replace(members[0], aum=margins.mean(0))


def _top(signals: Signals, scores: Tensor, k: int, *, selected: Tensor | None, **_: Any) -> Picks:
    return Picks(positions=selectors.top_k(scores, k, selected=selected))


def _random(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    return Picks(positions=selectors.random_subset(len(signals), k, **settings))


def _stratified(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    return Picks(positions=selectors.stratified(signals.get("labels"), k, **settings))


def _k_center(signals: Signals, scores: None, k: int, **settings: Any) -> Picks:
    return Picks(positions=selectors.k_center_greedy(signals.get("features"), k, **settings))


def _facility_location(
    signals: Signals, scores: None, k: int, *, optimizer: str, **settings: Any
) -> Picks:
    if optimizer == "auto":
        optimizer = "stochastic" if len(signals) > LARGE else "lazy"
    facilities: Any = selectors.facility_location
    return Picks(positions=facilities(signals.get("features"), k, optimizer=optimizer, **settings))


def _ccs(signals: Signals, scores: Tensor, k: int, **settings: Any) -> Picks:
    return selectors.coverage_centric(scores, k, **settings)


_ROWS = (
    Method(
        name="random",
        needs=frozenset(),
        select=_random,
        summary="uniform without replacement",
        when="the baseline that every other method has to beat",
        paper="",
    ),
    Method(
        name="stratified",
        needs=frozenset({"labels"}),
        select=_stratified,
        summary="random, each class in its proportion",
        when="a random choice from few examples or rare classes",
        paper="Neyman 1934",
    ),
    Method(
        name="least-confidence",
        needs=frozenset({"log_probs"}),
        score=lambda signals: scoring.least_confidence(signals.get("log_probs")),
        select=_top,
        summary="1 − the largest probability",
        when="half or more is kept and labels are clean",
        paper="Lewis and Gale, SIGIR 1994",
        hard_first=True,
    ),
    Method(
        name="margin",
        needs=frozenset({"log_probs"}),
        score=lambda signals: scoring.margin(signals.get("log_probs")),
        select=_top,
        summary="1 − (largest − second largest probability)",
        when="half or more is kept, with many classes that are easily confused",
        paper="Scheffer, Decomain and Wrobel, IDA 2001",
        hard_first=True,
    ),
    Method(
        name="entropy",
        needs=frozenset({"log_probs"}),
        score=lambda signals: scoring.entropy(signals.get("log_probs")),
        select=_top,
        summary="entropy of the predicted probabilities",
        when="half or more is kept and labels are clean; the cheapest that often works",
        paper="Coleman et al., Selection via Proxy, ICLR 2020",
        hard_first=True,
    ),
    Method(
        name="forgetting",
        needs=frozenset({"forgetting"}),
        score=lambda signals: scoring.forgetting(signals.get("forgetting")),
        select=_top,
        summary="how often an example was learnt and forgotten again while training",
        when="a large part is kept and the proxy trains for many epochs",
        paper="Toneva et al., ICLR 2019",
        hard_first=True,
    ),
    Method(
        name="el2n",
        needs=frozenset({"early_log_probs", "labels"}),
        score=lambda signals: scoring.el2n(signals.get("early_log_probs"), signals.get("labels")),
        select=_top,
        summary="distance of early predictions from the label, averaged over runs",
        when="labels are clean and only a short training can be paid for",
        paper="Paul, Ganguli and Dziugaite, NeurIPS 2021",
        merge=_side_by_side("early_log_probs"),
        default_ensemble=3,
        hard_first=True,
    ),
    Method(
        name="k-center",
        needs=frozenset({"features"}),
        select=_k_center,
        merge=_side_by_side("features"),
        summary="repeatedly the point farthest from what is selected",
        when="rare kinds of examples must be covered; outliers come first",
        paper="Sener and Savarese, ICLR 2018",
    ),
    Method(
        name="facility-location",
        needs=frozenset({"features"}),
        select=_facility_location,
        merge=_side_by_side("features"),
        summary="the points that bring every point near to a pick",
        when="few examples are kept and they should be typical",
        paper="Mirzasoleiman et al., JMLR 2016",
        options={"optimizer": "auto", "epsilon": 0.01},
    ),
    Method(
        name="ccs",
        needs=frozenset({"aum"}),
        score=lambda signals: scoring.area_under_margin(signals.get("aum")),
        select=_ccs,
        merge=_mean_margin,
        summary="sets the hardest aside, then draws evenly from bins of difficulty",
        when="many labels may be wrong; on clean data it loses to random",
        paper="Zheng et al., ICLR 2023",
        options={"beta": 0.1, "num_bins": 50},
    ),
)

METHODS: Mapping[str, Method] = MappingProxyType({row.name: row for row in _ROWS})
