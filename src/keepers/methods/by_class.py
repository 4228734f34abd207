"""Picks by class: an equal share for each, or a least number for each."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from keepers import selectors
from keepers.errors import KeepersError
from keepers.types import Picks, Signals


class Floor(NamedTuple):
    """Class numbers (n,), -1 where unknown, and how many picks each class gets at least."""

    classes: Tensor
    least: int


def pick_within(
    run: Callable[..., Picks],
    signals: Signals,
    scores: Tensor | None,
    members: Tensor,
    k: int,
    taken: Tensor,
    generator: torch.Generator,
    *,
    aside: Tensor | None = None,
) -> Picks:
    """What a method picks among `members`; those that are `taken` (n,) are never picked again.

    Those that are set `aside` (n,) are not picked either, unless too few others are left.
    """
    if aside is not None:
        others = members[~aside[members]]
        if int((~taken[others]).sum()) >= k:
            members = others
    picks = run(
        signals.at(members),
        None if scores is None else scores[members],
        k,
        selected=taken[members].nonzero().squeeze(1),
        generator=generator,
    )
    return replace(
        picks,
        positions=members[picks.positions.cpu()],
        weights=None if picks.weights is None else picks.weights.detach().cpu(),
        excluded=None if picks.excluded is None else members[picks.excluded.cpu()],
    )


def balanced(
    name: str,
    within: Callable[..., Picks],
    k: int,
    balance: Tensor,
    free: Tensor,
    generator: torch.Generator,
) -> Picks:
    """An equal share of `k` to each class, by the method within it; the classes take turns."""
    classes = [(balance == number).nonzero().squeeze(1) for number in balance.unique()]
    sizes = [int(free[members].sum()) for members in classes]
    shares = selectors.share_budget(sizes, k)
    found: list[Picks] = []
    for members, share, draw in zip(classes, shares, _draws(classes, generator), strict=True):
        found.append(within(members, share, ~free, draw))
        if (weights := found[-1].weights) is not None:
            check_weights(name, weights, share)
    positions = selectors.take_turns([picks.positions for picks in found], sizes)
    excluded = [picks.excluded for picks in found if picks.excluded is not None]
    return Picks(
        positions=positions,
        weights=_weights_of(positions, found, len(balance)),
        excluded=torch.cat(excluded) if excluded else None,
        why_excluded=next(
            (picks.why_excluded for picks in found if picks.excluded is not None), ""
        ),
        how=next((picks.how for picks in found if picks.how), ""),
    )


def floored(
    name: str,
    within: Callable[..., Picks],
    picks: Picks,
    floor: Floor,
    free: Tensor,
    generator: torch.Generator,
) -> Picks:
    """The picks, the last of classes over their floor replaced by picks of those under it."""
    own = picks.positions.cpu()
    numbers, classes = floor.classes.cpu().unique(return_inverse=True)
    counts = classes[own].bincount(minlength=int(classes.max()) + 1)
    by_class = classes[own].argsort(stable=True)
    turns = torch.empty_like(own)  # how many picks of its class came before each
    turns[by_class] = torch.arange(len(own)) - (counts.cumsum(0) - counts)[classes[own][by_class]]
    floors = _floors(classes, numbers < 0, free, floor.least, own, turns)
    missing = (floors - counts).clamp(min=0)
    if not missing.any():
        return picks
    over = (turns >= floors[classes[own]]).nonzero().squeeze(1)
    stays = torch.ones(len(own), dtype=torch.bool)
    stays[over[len(over) - int(missing.sum()) :]] = False
    kept = replace(
        picks,
        positions=own[stays],
        weights=None if picks.weights is None else picks.weights.detach().cpu()[stays],
    )
    taken = ~free
    taken[kept.positions] = True
    aside = torch.zeros_like(free)
    if picks.excluded is not None:
        aside[picks.excluded.cpu()] = True
    found: list[Picks] = []
    under = missing.nonzero().squeeze(1).tolist()
    groups = classes.argsort(stable=True).split(classes.bincount().tolist())
    of_class = [groups[number] for number in under]
    for number, members, draw in zip(under, of_class, _draws(of_class, generator), strict=True):
        share, most = int(missing[number]), members[~aside[members] | taken[members]]
        # What the method set aside comes in only where its class has nothing else.
        enough = int((~taken[most]).sum()) >= share
        found.append(within(most if enough else members, share, taken, draw))
        if (weights := found[-1].weights) is not None:
            check_weights(name, weights, share)
    added = selectors.take_turns(
        [each.positions for each in found], [len(members) for members in of_class]
    )
    positions = torch.cat([kept.positions, added])
    aside[added] = False
    return replace(
        kept,
        positions=positions,
        weights=_weights_of(positions, [kept, *found], len(classes)),
        excluded=None if picks.excluded is None else picks.excluded[aside[picks.excluded.cpu()]],
        floored=added,
    )


def _floors(
    classes: Tensor, unknown: Tensor, free: Tensor, least: int, own: Tensor, turns: Tensor
) -> Tensor:
    """How many picks each class gets at least: `least`, or as evenly as the budget goes.

    What is left where it does not reach every floor goes to one more pick of the classes that the
    method comes to first, then of the largest.
    """
    sizes = classes.bincount().masked_fill(unknown, 0)
    already = classes[~free].bincount(minlength=len(sizes))

    def at(level: int) -> Tensor:
        return (sizes.clamp(max=level) - already).clamp(min=0)

    def total(level: int) -> int:
        return int(at(level).sum())

    least = min(least, int(sizes.max()))
    level = bisect.bisect_right(range(least + 1), len(own), key=total)
    floors = at(level - 1)
    if level <= least:
        more = (at(level) > floors).nonzero().squeeze(1).tolist()
        next_ones = (turns == floors[classes[own]]).nonzero().squeeze(1)
        place = torch.full_like(sizes, len(own)).scatter(0, classes[own[next_ones]], next_ones)
        order = list(zip(place.tolist(), (-sizes).tolist(), strict=True))
        more.sort(key=order.__getitem__)
        floors[more[: len(own) - int(floors.sum())]] += 1
    return floors


def _draws(classes: Sequence[Tensor], generator: torch.Generator) -> list[torch.Generator]:
    """A generator for each class: what one draws must not depend on another's share."""
    device = generator.device
    seeds = torch.randint(2**62, (len(classes),), generator=generator, device=device)
    return [torch.Generator(device).manual_seed(seed) for seed in seeds.tolist()]


def _weights_of(positions: Tensor, found: Sequence[Picks], n: int) -> Tensor | None:
    """Weights (k,) of positions that several picks gave; 1 where one of them gave none."""
    weights: Tensor | None = None
    for picks in found:
        if picks.weights is not None:
            weights = torch.ones(n, dtype=picks.weights.dtype) if weights is None else weights
            weights[picks.positions] = picks.weights
    return None if weights is None else weights[positions]


def check_weights(name: str, weights: Tensor, k: int) -> None:
    """One positive and finite weight for each of `k` picks of the method `name`."""
    if weights.shape != (k,) or not bool((weights.isfinite() & (weights > 0)).all()):
        raise KeepersError(
            f"{name}: its select broke the contract: one positive and finite weight for "
            f"each of the {k} picks. This is a defect of the method"
        )
