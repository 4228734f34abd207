"""Scoring and selecting by a row of the table, with everything checked once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from keepers import scores as scoring
from keepers.errors import KeepersError, ParameterError, unknown_name
from keepers.methods.by_class import Floor, balanced, check_weights, floored, pick_within
from keepers.methods.composed import let_through, num_left, set_aside
from keepers.methods.merging import as_committee, as_posterior
from keepers.methods.method import Method
from keepers.scores.checks import fit_for_formula
from keepers.selectors.checks import Report, check_selected
from keepers.types import Picks, Signals


def choose(
    method: Method,
    members: Sequence[Signals],
    k: int,
    *,
    generator: torch.Generator,
    balance: Tensor | None = None,
    floor: Floor | None = None,
    selected: Tensor | None = None,
    num_classes: int | None = None,
    options: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> tuple[Picks, Tensor | None]:
    """Score and select.

    An ensemble is combined by rank: the scores are then mean ranks over the members. Early
    log-probabilities of the members are runs of one average instead, as EL2N is defined, and
    features of the members are put side by side, so that squared distances add up. Posterior
    samples of the members are joined; where they have none, the predictions of the members are
    the samples (`as_posterior`).

    Args:
        method: a row of the table.
        members: the signals of each model of the ensemble, for the same n examples.
        k: number of new picks.
        generator: all that is drawn is drawn from it.
        balance: (n,) class numbers; each class gets the same number of picks, as far as its
            examples reach, by the method within the class. The classes take turns, the largest
            first, so picks nest where the method's own picks do.
        floor: class numbers (n,), and how many picks each class gets at least, if it has them:
            what the method gives a class too little is picked by the method within the class, in
            place of its last picks of classes that have more. Where no class has too little, the
            picks are those without a floor, to the bit. A budget that does not reach every floor
            is shared evenly. `balance` shares evenly in any case, and needs no floor.
        selected: positions (s,) already selected; they are never picked again.
        num_classes: of the data, for methods whose option of that name is `auto`.
        options: options of the method, beside its defaults.
        report: is called with the name of a part of the work, how much is done, and of how much,
            by methods that can tell.

    Returns:
        The picks, and the scores (n,) or None.

    Raises:
        ParameterError: an unknown option, k over what is left, a signal that cannot be used (NaN,
            no log-probabilities, labels out of range, another shape), lengths that differ, or
            `balance` or `floor` for a method that draws with replacement.
        KeepersError: a signal that the method needs is missing, or the method breaks its contract.

    Example:
        >>> from keepers.methods import get
        >>> signals = Signals(log_probs=torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3]]).log())
        >>> picks, scores = choose(get("entropy"), [signals], 2, generator=torch.Generator())
        >>> picks.positions
        tensor([1, 2])
    """
    if floor is not None and floor.least < 0:
        raise ParameterError("floor", f"got {floor.least}", "Give a count of 0 or more")
    given = settings(method, options, num_classes)
    row = method.selecting
    signals, scores = _combine(row, members)
    n = len(signals)
    free = torch.ones(n, dtype=torch.bool)
    free[check_selected(selected, n, free.device)] = False
    num_free = int(free.sum())
    most = max(k, num_free) if method.replacement and num_free else num_free
    if not 0 <= k <= most:
        raise ParameterError(
            "k", f"got {k}, but there are only {num_free} to pick from", "Give a smaller count"
        )
    run = functools.partial(row.select, **given)
    if report is not None and row.reports:
        run = functools.partial(run, report=report)
    for name, classes in (("balance", balance), ("floor", floor and floor.classes)):
        if classes is not None and method.replacement:
            raise ParameterError(
                name,
                f"got classes, but '{method.name}' draws with replacement and weights",
                "Leave it out, or take another method",
            )
        if classes is not None and classes.shape != (n,):
            raise ParameterError(
                name, f"got shape {tuple(classes.shape)}", f"Give {n} class numbers"
            )
    within = functools.partial(pick_within, run, signals, scores)
    aside, how = _set_aside(method, members, free, k)
    if balance is not None:
        among = functools.partial(within, aside=aside)
        picks = balanced(method.name, among, k, balance.cpu(), free, generator)
    elif aside is not None:
        picks = within(torch.arange(n), k, ~free, generator, aside=aside)
    else:
        picks = run(signals, scores, k, selected=selected, generator=generator)
    if aside is not None:
        picks = _with_those_aside(method, picks, aside, how)
    if balance is None and floor is not None and k:
        _check_contract(method, picks, k, free)
        picks = floored(method.name, within, picks, floor, free, generator)
    _check_contract(method, picks, k, free)
    return picks, scores


def score(method: Method, members: Sequence[Signals]) -> Tensor:
    """Scores (n,) of each example, an ensemble combined as in `choose`.

    Raises:
        ParameterError: the method gives no scores.
    """
    scores = _combine(method.selecting, members)[1]
    if scores is None:
        raise ParameterError("method", f"got '{method.name}', which gives no scores")
    return scores


def settings(
    method: Method, options: Mapping[str, Any] | None, num_classes: int | None = None
) -> dict[str, Any]:
    """The options of a method: its defaults, and over them those given.

    An option `num_classes` that is `auto` becomes the number of classes of the data, where it is
    given.

    Raises:
        ParameterError: an option that the method does not have.
    """
    for name in options or {}:
        if name not in method.options:
            if not method.options:
                raise ParameterError(f"options of {method.name}", f"got '{name}', but it has none")
            raise unknown_name(f"options of {method.name}", name, method.options)
    found = {**method.options, **(options or {})}
    if num_classes is not None and found.get("num_classes") == "auto":
        found["num_classes"] = max(2, num_classes)
    return found


def _set_aside(
    method: Method, members: Sequence[Signals], free: Tensor, k: int
) -> tuple[Tensor | None, str]:
    """Which of the free examples (n,) the bands of a method set aside; None where it has none.

    And what is to be said of it.
    """
    if not method.bands:
        return None, ""
    scores = [_combine(band.by, members)[1] for band in method.bands]
    known = [values.cpu() for values in scores if values is not None]
    at, how = free.nonzero().squeeze(1), ""
    inside = let_through(method.bands, known, at, min(k, len(at)))
    by_themselves = num_left(method.bands, len(at))
    if by_themselves < len(inside):
        how = (
            f"{method.name}, whose ranges drop fewer examples than they say: they would leave "
            f"{by_themselves:,}, but {k:,} are kept"
        )
    aside = free.clone()
    aside[inside] = False
    return aside, how


def _with_those_aside(method: Method, picks: Picks, aside: Tensor, how: str) -> Picks:
    """The picks, with what bands set aside among those that could not be picked."""
    aside = aside.clone()
    if picks.excluded is not None:
        aside[picks.excluded.cpu()] = True
    aside[picks.positions.cpu()] = False
    why = filter(None, (set_aside(method.bands), picks.why_excluded))
    return replace(
        picks,
        excluded=aside.nonzero().squeeze(1),
        why_excluded=", or ".join(why),
        how="; ".join(filter(None, (how, picks.how))),
    )


def _combine(method: Method, members: Sequence[Signals]) -> tuple[Signals, Tensor | None]:
    if not members:
        raise ParameterError("members", "got none", "Give the signals of at least one model")
    lengths = {len(signals) for signals in members}
    if len(lengths) > 1:
        raise ParameterError(
            "members", f"got lengths {sorted(lengths)}", "Give signals of the same examples"
        )
    if "posterior_log_probs" in method.needs and _stand_in(members):
        members = [as_posterior(members)]
    if "posterior_predictions" in method.needs:
        members = as_committee(members)
    for signals in members:
        for name in sorted(method.needs):
            signals.get(name)
    if len(members) > 1 and method.merge is not None:
        members = [method.merge(members)]
    first = members[0]
    if method.score is None:
        return first, None
    if len(members) > 1:
        ranked = [method.score(_checked(method, signals)) for signals in members]
        scores = scoring.combine_ranks(ranked)
    else:
        scores = method.score(_checked(method, first))
    if scores.shape != (len(first),):
        raise KeepersError(f"{method.name}: got scores of shape {tuple(scores.shape)}")
    if scores.isnan().any():
        raise ParameterError("scores", f"got NaN from {method.name}", "Leave those examples out")
    return first, scores


def _stand_in(members: Sequence[Signals]) -> bool:
    """Whether an ensemble has plain predictions alone to make posterior samples of."""
    return len(members) > 1 and all(
        signals.posterior_log_probs is None and signals.log_probs is not None for signals in members
    )


def _checked(method: Method, signals: Signals) -> Signals:
    """The signals that a score reads, fit for its formula. Selectors check what they read."""
    read = {name: value for name, value in signals.items() if name in method.needs}
    return replace(signals, **fit_for_formula(read))


def _check_contract(method: Method, picks: Picks, k: int, free: Tensor) -> None:
    positions, weights = picks.positions.cpu(), picks.weights
    distinct = k if method.replacement else len(positions.unique())
    kind = "positions" if method.replacement else "distinct positions"
    if len(positions) != k or distinct != k or not bool(free[positions].all()):
        raise KeepersError(
            f"{method.name}: its select broke the contract: {k} {kind} were asked "
            f"for, none already selected; it gave {len(positions)}. This is a defect of the method"
        )
    if method.replacement and weights is None:
        raise KeepersError(
            f"{method.name}: its select broke the contract: picks that may repeat carry weights. "
            "This is a defect of the method"
        )
    if weights is not None:
        check_weights(method.name, weights, k)
