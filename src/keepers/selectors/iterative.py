"""Iterative stratification: parts of data in which every one of several labels has its share."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.tasks import Tags


def iterative_stratification(
    tags: Tags, sizes: Sequence[int], *, generator: torch.Generator, units: Tensor | None = None
) -> Tensor:
    """Deal examples into parts so that each label is in every part in proportion to its size.

    Of the labels that have examples left, the one with the fewest is dealt out next. Each of its
    examples goes to a part that still wants the label, and among these to the part that wants the
    example's labels most for its size. A part of m of n examples wants c m / n of a label's c
    examples, rounded up or down at random so that it gets its share on average. Examples without
    labels fill the parts up. Time and memory grow with the labels that are there.

    Args:
        tags: the labels of n examples.
        sizes: how many examples each part gets; they sum to n.
        generator: draws the order of the examples, and how shares are rounded.
        units: (n,), integers; examples of the same number go to the same part. Sizes are then
            met approximately: what fits in no part goes to the one with the most room.

    Returns:
        The part (n,) of each example, int64.

    Raises:
        ParameterError: sizes that are negative or do not sum to n.

    Example:
        >>> tags = Tags.of([[0], [0, 1], [1], [0], [0, 1], [1]], 2)
        >>> draw = torch.Generator().manual_seed(0)
        >>> part = iterative_stratification(tags, [2, 4], generator=draw)
        >>> tags.take((part == 0).nonzero()[:, 0]).counts()
        tensor([1, 1])

    Source: Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-Label Data, ECML PKDD
    2011. There a part wants fractions of examples, and an example goes to the part that wants the
    one label most.
    """
    return dealt(tags, sizes, generator=generator, units=units)[0]


def dealt(
    tags: Tags,
    sizes: Sequence[int],
    *,
    generator: torch.Generator,
    units: Tensor | None = None,
    spill: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The part (n,) of each example, and the label (n,) under which it was dealt out.

    That label is `tags.num_labels` where an example was dealt without one. A unit that fits in no
    part goes to the part `spill`, if it is given.
    """
    n = len(tags)
    if min(sizes, default=0) < 0 or sum(sizes) != n:
        raise ParameterError(
            "sizes", f"got {list(sizes)} for {n} examples", f"Give counts that sum to {n}"
        )
    if not n:
        return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    own = torch.arange(n) if units is None else units.unique(return_inverse=True)[1]
    weights = own.bincount()
    order = torch.randperm(len(weights), generator=generator)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    part, by = _deal(tags, place[own], weights[order].tolist(), sizes, generator, spill)
    return part[place[own]], by[place[own]]


def _deal(
    tags: Tags,
    items: Tensor,
    weights: list[int],
    sizes: Sequence[int],
    generator: torch.Generator,
    spill: int | None,
) -> tuple[Tensor, Tensor]:
    """The same of items, of which each example is one; they are dealt out in their order."""
    of_member = items[tags.rows()]
    by_item = of_member.argsort(stable=True)
    members = tags.members[by_item].tolist()
    ends = [0, *of_member.bincount(minlength=len(weights)).cumsum(0).tolist()]
    by_label = tags.members[by_item].argsort(stable=True)
    items_of = of_member[by_item][by_label].tolist()
    counts = tags.counts()
    label_ends = [0, *counts.cumsum(0).tolist()]
    wanted, parts = _wanted(counts, sizes, generator), range(len(sizes))
    room, left = list(sizes), counts.tolist()
    part, by = [-1] * len(weights), [tags.num_labels] * len(weights)

    def fitting(item: int) -> list[int]:
        fits = [at for at in parts if room[at] >= weights[item]]
        return fits or [max(parts, key=room.__getitem__) if spill is None else spill]

    queue = [(count, label) for label, count in enumerate(left) if count]
    heapq.heapify(queue)
    while queue:
        count, label = heapq.heappop(queue)
        if count != left[label]:
            continue  # it has fewer by now, and stands in the queue with these
        touched: set[int] = set()
        for item in items_of[label_ends[label] : label_ends[label + 1]]:
            if part[item] >= 0:
                continue
            own = members[ends[item] : ends[item + 1]]
            share = [sum(map(wanted[at].__getitem__, own)) / max(1, sizes[at]) for at in parts]
            chosen = -max((wanted[at][label] > 0, share[at], -at) for at in fitting(item))[2]
            part[item], by[item] = chosen, label
            room[chosen] -= weights[item]
            for each in own:
                wanted[chosen][each] -= 1
                left[each] -= 1
            touched.update(own)
        for each in touched:
            if left[each]:
                heapq.heappush(queue, (left[each], each))
    for item, chosen in enumerate(part):
        if chosen < 0:
            part[item] = fitting(item)[0]
            room[part[item]] -= weights[item]
    return torch.tensor(part), torch.tensor(by)


def _wanted(counts: Tensor, sizes: Sequence[int], generator: torch.Generator) -> list[list[int]]:
    """How many examples of each label each part wants; they sum to the counts.

    Each is a share rounded up or down, and the share itself on average.
    """
    n, done = sum(sizes), [0, *itertools.accumulate(sizes)]
    start = torch.rand(len(counts), generator=generator, dtype=torch.float64)
    ends = [(counts.double() * end / n + start).floor().long() for end in done]
    return [(last - first).tolist() for first, last in itertools.pairwise(ends)]
