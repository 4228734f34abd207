"""Random selection, plain and by class, and how a budget is shared out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.selectors.checks import check_count, check_selected, unselected
from keepers.selectors.iterative import dealt, iterative_stratification
from keepers.tasks import Tags


def random_subset(
    n: int, k: int, *, generator: torch.Generator, selected: Tensor | None = None
) -> Tensor:
    """Uniform without replacement.

    Args:
        n: number of examples.
        k: number of new picks.
        generator: draws the order.
        selected: positions (s,) already selected; they are never picked again.

    Returns:
        Positions (k,) in pick order, int64. Picks nest for generators of the same state.

    Raises:
        ParameterError: k over what is left; `selected` out of range or with repetitions.

    Example:
        >>> picks = random_subset(5, 3, generator=torch.Generator().manual_seed(0))
        >>> len(picks), len(picks.unique())
        (3, 3)
    """
    taken = check_selected(selected, n, generator.device)
    check_count(k, n - len(taken))
    return _shuffled(unselected(n, taken), generator)[:k]


def stratified(
    labels: Tensor | Tags, k: int, *, generator: torch.Generator, selected: Tensor | None = None
) -> Tensor:
    """Random, with each class in its proportion: kₓ = k nₓ / n, rounded by largest remainder.

    Equal remainders go to the lower class. What is drawn from the classes is interleaved evenly,
    so that the beginning of the picks is in proportion too. Where examples have several labels,
    each label is in its proportion, by `iterative_stratification`.

    Args:
        labels: (n,), integers; or the labels of each example.
        k: number of new picks.
        generator: draws within the classes.
        selected: positions (s,) already selected; they are never picked again, and the
            proportions are those of the others.

    Returns:
        Positions (k,) in pick order, int64.

    Raises:
        ParameterError: labels that are not (n,) integers; k over what is left; `selected` out
            of range or with repetitions.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 0, 1, 1])
        >>> picks = stratified(labels, 3, generator=torch.Generator().manual_seed(0))
        >>> labels[picks].bincount()
        tensor([2, 1])
    """
    if isinstance(labels, Tags):
        return _by_labels(labels, k, generator, selected)
    groups = split_by(
        labels, unselected(len(labels), check_selected(selected, len(labels), labels.device))
    )
    sizes = torch.tensor([len(group) for group in groups], dtype=torch.int64)
    total = int(sizes.sum())
    check_count(k, total)
    if not k:
        return torch.empty(0, dtype=torch.int64, device=labels.device)
    shares = sizes * k // total
    remainders = sizes * k % total
    extra = remainders.argsort(descending=True, stable=True)[: k - int(shares.sum())]
    shares[extra] += 1
    drawn = [
        _shuffled(group, generator)[:share]
        for group, share in zip(groups, shares.tolist(), strict=True)
    ]
    return _interleaved(drawn)


def _by_labels(tags: Tags, k: int, generator: torch.Generator, selected: Tensor | None) -> Tensor:
    free = unselected(len(tags), check_selected(selected, len(tags), tags.offsets.device))
    check_count(k, len(free))
    part, by = dealt(tags.take(free).cpu(), [k, len(free) - k], generator=generator)
    picks = (part == 0).nonzero().squeeze(1)
    drawn = [_shuffled(group, generator) for group in split_by(by, picks)]
    return free[_interleaved(drawn).to(free.device)] if drawn else free[:0]


def _interleaved(drawn: Sequence[Tensor]) -> Tensor:
    """Positions of several groups, each spread evenly over the whole."""
    when = torch.cat([(torch.arange(len(part)) + 0.5) / max(1, len(part)) for part in drawn])
    return torch.cat([*drawn])[when.argsort(stable=True).to(drawn[0].device)]


def folds(
    labels: Tensor | Tags, units: Tensor, count: int, *, generator: torch.Generator
) -> Tensor:
    """The fold of each example, 0 to `count` − 1: units stay whole, classes are spread evenly.

    Args:
        labels: (n,), integers; or the labels of each example (`iterative_stratification`).
        units: (n,), integers; examples of the same number belong together.
        count: number of folds.
        generator: draws the order.

    Returns:
        (n,), int64.

    Example:
        >>> labels, units = torch.tensor([0, 0, 1, 1, 0, 1]), torch.arange(6)
        >>> folds(labels, units, 3, generator=torch.Generator().manual_seed(0)).bincount()
        tensor([2, 2, 2])
    """
    if isinstance(labels, Tags):
        ends = [len(labels) * each // count for each in range(count + 1)]
        sizes = [last - first for first, last in itertools.pairwise(ends)]
        return iterative_stratification(labels, sizes, generator=generator, units=units)
    _, of_unit = units.unique(return_inverse=True)
    order = torch.randperm(int(of_unit.max()) + 1, generator=generator)
    first = torch.full((len(order),), len(labels)).scatter_reduce(
        0, of_unit, torch.arange(len(labels)), "amin"
    )
    by_class = order[labels[first[order]].argsort(stable=True)]
    fold = torch.empty(len(order), dtype=torch.int64)
    fold[by_class] = torch.arange(len(order)) % count
    return fold[of_unit]


def stratified_units(
    labels: Tensor | Tags, units: Tensor, k: int, *, generator: torch.Generator
) -> Tensor:
    """As `stratified`, but units are drawn whole, so that nothing drawn has a relative outside.

    Units are drawn by the class of their first example; one that makes it more than `k` is passed
    over. Where each is larger than `k`, it is the first of the smallest.

    Args:
        labels: (n,), integers; or the labels of each example (`iterative_stratification`).
        units: (n,), integers; examples of the same number belong together.
        k: number of examples, at most n.
        generator: draws within the classes.

    Returns:
        Positions of about k examples, int64, ascending; where every example is a unit of its own,
        they are what `stratified` gives.

    Raises:
        ParameterError: as `stratified`.

    Example:
        >>> labels, units = torch.tensor([0, 0, 1, 1]), torch.tensor([5, 5, 7, 7])
        >>> stratified_units(labels, units, 2, generator=torch.Generator().manual_seed(0))
        tensor([0, 1])
    """
    _, numbers, counts = units.unique(return_inverse=True, return_counts=True)
    if len(counts) == len(labels) or not k:
        return stratified(labels, k, generator=generator)
    check_count(k, len(labels))
    if isinstance(labels, Tags):
        sizes = [k, len(labels) - k]
        part, _ = dealt(labels, sizes, generator=generator, units=units, spill=1)
        found = (part == 0).nonzero()[:, 0]
        smallest = units == units[counts[numbers].argmin()]
        return found if len(found) else smallest.nonzero()[:, 0]
    firsts = numbers.argsort(stable=True)[counts.cumsum(0) - counts]
    order = stratified(labels[firsts], len(firsts), generator=generator).tolist()
    sizes, drawn, room = counts.tolist(), torch.zeros(len(counts), dtype=torch.bool), k
    for unit in order:
        if sizes[unit] <= room:
            drawn[unit] = True
            room -= sizes[unit]
        if not room:
            break
    if room == k:
        drawn[min(order, key=sizes.__getitem__)] = True
    return drawn[numbers].nonzero()[:, 0]


def share_budget(sizes: Sequence[int], k: int) -> list[int]:
    """Equal shares, as far as the groups reach; what a small one cannot use goes to the others.

    The groups are served from the smallest: each gets min(size, ⌊what is left / groups left⌋).
    Shares never shrink when k grows; of equal sizes the first is served last, and so best.

    Args:
        sizes: examples in each group.
        k: budget.

    Returns:
        The share of each group; they sum to k.

    Raises:
        ParameterError: k over the sum of the sizes.

    Example:
        >>> share_budget([10, 2, 7], 12)
        [5, 2, 5]
    """
    left = check_count(k, sum(sizes))
    shares = [0] * len(sizes)
    for served, group in enumerate(reversed(largest_first(sizes))):
        shares[group] = min(sizes[group], left // (len(sizes) - served))
        left -= shares[group]
    return shares


def take_turns(queues: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Merge picks of groups: the first of each group, the largest group first, then the second...

    With the shares of `share_budget` for the same `sizes`, and picks that nest in each group, the
    merged picks nest.

    Args:
        queues: positions in pick order, for each group.
        sizes: examples in each group.

    Returns:
        All positions in pick order.

    Example:
        >>> take_turns([torch.tensor([4, 5]), torch.tensor([1, 0, 2])], [2, 3])
        tensor([1, 4, 0, 5, 2])
    """
    ordered = [queues[group] for group in largest_first(sizes)]
    turn = torch.cat([torch.arange(len(queue), device=queue.device) for queue in ordered])
    return torch.cat(ordered)[turn.argsort(stable=True)]


def largest_first(sizes: Sequence[int]) -> list[int]:
    """Groups from the largest to the smallest; of equal sizes the lower first."""
    return sorted(range(len(sizes)), key=lambda group: -sizes[group])


def split_by(labels: Tensor, positions: Tensor) -> list[Tensor]:
    """`positions` by their label, ascending; labels that have none are left out."""
    if labels.ndim != 1 or labels.dtype.is_floating_point or labels.dtype.is_complex:
        raise ParameterError(
            "labels",
            f"got shape {tuple(labels.shape)} of {labels.dtype}",
            "Give one class number for each example",
        )
    own = labels[positions]
    order = own.argsort(stable=True)
    counts = own.unique(return_counts=True)[1]
    return list(positions[order].split(counts.tolist()))


def _shuffled(positions: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(len(positions), generator=generator, device=generator.device)
    return positions[order.to(positions.device)]
