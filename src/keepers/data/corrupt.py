"""Noise, long tails and duplicates made on purpose, for experiments.

Every draw comes from an explicit generator, and every function says what it changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.tasks import Tags, Targets, labels_at
from keepers.words import counted

TRIES = 1000
"""Draws of another target before all are taken to be the same."""


def corrupt_labels(
    labels: Tensor, num_classes: int, fraction: float, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Give exactly round(fraction·n) examples another class, uniformly among the other ones.

    `labels` (n,) are class numbers. Returns the new labels (n,) and which were changed (n,), bool.

    >>> labels = torch.zeros(10, dtype=torch.int64)
    >>> noisy, flipped = corrupt_labels(labels, 3, 0.2, generator=torch.Generator())
    >>> int(flipped.sum()), bool(((noisy != labels) == flipped).all())
    (2, True)

    Raises:
        ParameterError: `fraction` is outside [0, 1], there are fewer than 2 classes, or a label
            is none of them.
    """
    _check_fraction("fraction", fraction)
    _check_classes(labels, num_classes)
    n = len(labels)
    chosen = _draw(torch.arange(n), fraction, generator)
    shift = torch.randint(1, num_classes, (len(chosen),), generator=generator)
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + shift) % num_classes
    return noisy, _mask(n, chosen)


def corrupt_targets(
    targets: Targets, fraction: float, *, generator: torch.Generator
) -> tuple[Targets, Tensor]:
    """Give exactly round(fraction·n) examples the targets of other examples, which differ.

    So numbers and sets of labels come about as often as before. `targets` are `Tags` or a tensor
    (n, ...). Returns the new targets and which were changed (n,), bool.

    >>> numbers = torch.arange(10.0)[:, None]
    >>> noisy, changed = corrupt_targets(numbers, 0.2, generator=torch.Generator())
    >>> int(changed.sum()), bool(((noisy != numbers)[:, 0] == changed).all())
    (2, True)

    Raises:
        ParameterError: `fraction` is outside [0, 1], or nearly all targets are the same.
    """
    _check_fraction("fraction", fraction)
    n = len(targets)
    kinds = targets.kinds() if isinstance(targets, Tags) else _kinds(targets)
    chosen = _draw(torch.arange(n), fraction, generator)
    others = torch.randint(n, (len(chosen),), generator=generator)
    for _ in range(TRIES):
        same = (kinds[others] == kinds[chosen]).nonzero().squeeze(1)
        if not len(same):
            break
        others[same] = torch.randint(n, (len(same),), generator=generator)
    else:
        raise ParameterError(
            "fraction",
            f"got {fraction}, but nearly all targets are the same",
            "Give targets that differ",
        )
    given = torch.arange(n)
    given[chosen] = others
    return labels_at(targets, given), _mask(n, chosen)


def _kinds(targets: Tensor) -> Tensor:
    return targets.unique(dim=0, return_inverse=True)[1]


def most_confused(confusion: Tensor, count: int = 4) -> dict[int, int]:
    """Pair the classes that are most often taken for each other.

    With C[a, b] the number of examples of class a that were taken for b, the pair of the largest
    C[a, b] + C[b, a] comes first, then that of the largest among the classes left, until `count`
    classes are paired. Equal sums go to the lower class numbers.

    Args:
        confusion: (classes, classes) counts; the diagonal is ignored.
        count: how many classes, an even number.

    Returns:
        The partner of each class, both ways round.

    Raises:
        ParameterError: `confusion` is not square, has fewer than 2 classes or holds something
            other than counts; `count` is odd, under 2 or over the number of classes; or too few
            classes were ever confused.

    >>> most_confused(torch.tensor([[9, 1, 0], [2, 5, 4], [0, 0, 8]]), 2)
    {1: 2, 2: 1}
    """
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ParameterError(
            "confusion",
            f"got the shape {tuple(confusion.shape)}",
            "Give counts (classes, classes), one row for each true class",
        )
    num_classes = len(confusion)
    if num_classes < 2:
        raise ParameterError(
            "confusion", f"got {counted(num_classes, 'class', 'classes')}", "Give at least 2"
        )
    sums = confusion.double() + confusion.double().T
    if not bool((sums.isfinite() & (confusion >= 0)).all()):
        raise ParameterError("confusion", "got a negative count or NaN", "Give counts, 0 or more")
    if not 2 <= count <= num_classes or count % 2:
        raise ParameterError(
            "count", f"got {count} of {num_classes} classes", "Give an even number from 2 to that"
        )
    rows, columns = torch.triu_indices(num_classes, num_classes, offset=1)
    order = sums[rows, columns].argsort(descending=True, stable=True)
    partner: dict[int, int] = {}
    for a, b in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if len(partner) == count or sums[a, b] == 0:
            break
        if a not in partner and b not in partner:
            partner |= {a: b, b: a}
    if len(partner) < count:
        raise ParameterError(
            "count",
            f"got {count}, but only {len(partner)} classes were confused with each other",
            "Give a smaller number, or the confusion matrix of more examples",
        )
    return partner


def corrupt_confused(
    labels: Tensor, partner: Mapping[int, int], fraction: float, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Give exactly round(fraction·n_c) examples of each class c in `partner` its partner's label.

    `labels` (n,) are class numbers; n_c counts them before any change. Returns the new labels
    (n,) and which were changed (n,), bool.

    >>> labels = torch.tensor([0, 0, 1, 1, 2, 2])
    >>> noisy, _ = corrupt_confused(labels, {1: 2}, 1.0, generator=torch.Generator())
    >>> noisy.tolist()
    [0, 0, 2, 2, 2, 2]

    Raises:
        ParameterError: `fraction` is outside [0, 1], or `partner` is empty, has a negative class
            or a class that is its own partner.
    """
    _check_fraction("fraction", fraction)
    for source, target in partner.items():
        if source == target or min(source, target) < 0:
            raise ParameterError(
                "partner", f"got {target} for class {source}", "Give each class another one"
            )
    if not partner:
        raise ParameterError("partner", "got no classes", "Give at least one")
    noisy = labels.clone()
    for source in sorted(partner):
        chosen = _draw((labels == source).nonzero().flatten(), fraction, generator)
        noisy[chosen] = partner[source]
    return noisy, noisy != labels


def relevance_subset(
    labels: Tensor,
    num_classes: int,
    relevant: int | Sequence[int],
    rest_fraction: float = 0.06,
    *,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Keep some classes whole, and exactly round(rest_fraction·n_c) of each other class c.

    Args:
        labels: (n,) class numbers.
        num_classes: how many classes there are.
        relevant: the classes kept whole, or how many are drawn for that.
        rest_fraction: kept of each of the others.
        generator: of the draws.

    Returns:
        The positions kept (m,), in order, and which of them are of a class of low relevance (m,),
        bool.

    >>> labels = torch.tensor([0, 0, 0, 0, 1, 1])
    >>> kept, low = relevance_subset(labels, 2, [1], 0.25, generator=torch.Generator())
    >>> len(kept), low.tolist()
    (3, [True, False, False])

    Raises:
        ParameterError: `rest_fraction` is outside [0, 1], there are fewer than 2 classes, a label
            or a relevant class is none of them, or their number is out of range.
    """
    _check_fraction("rest_fraction", rest_fraction)
    _check_classes(labels, num_classes)
    whole = _relevant(relevant, num_classes, generator)
    parts: list[Tensor] = []
    for number in range(num_classes):
        members = (labels == number).nonzero().flatten()
        parts.append(members if whole[number] else _draw(members, rest_fraction, generator))
    kept = torch.cat(parts).sort().values
    return kept, ~whole[labels[kept].long()]


def duplicate(
    positions: int | Tensor, fraction: float, times: int = 2, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Repeat exactly round(fraction·n) examples, so that each of them is there `times` times.

    Args:
        positions: (n,) integers, each once; or n, for 0 to n - 1.
        fraction: of the examples that is repeated.
        times: how often each of those is there in all; 1 repeats nothing.
        generator: of the draw.

    Returns:
        The positions (m,) in their order, copies behind their original, and which are copies
        (m,), bool.

    >>> repeated, copies = duplicate(2, 1.0, times=3, generator=torch.Generator())
    >>> repeated.tolist(), int(copies.sum())
    ([0, 0, 0, 1, 1, 1], 4)

    Raises:
        ParameterError: `fraction` is outside [0, 1], `times` is under 1, a position is negative
            or there twice, or they are no list of integers.
    """
    _check_fraction("fraction", fraction)
    if times < 1:
        raise ParameterError("times", f"got {times}", "Give 1 or more")
    originals = _positions(positions)
    counts = torch.ones(len(originals), dtype=torch.int64)
    counts[_draw(torch.arange(len(originals)), fraction, generator)] = times
    copies = torch.ones(int(counts.sum()), dtype=torch.bool)
    copies[counts.cumsum(0) - counts] = False
    return originals.repeat_interleave(counts), copies


def _draw(members: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """Exactly round(fraction·n) of the members, without repeats."""
    count = int(fraction * len(members) + 0.5)
    return members[torch.randperm(len(members), generator=generator)[:count]]


def _mask(n: int, positions: Tensor) -> Tensor:
    mask = torch.zeros(n, dtype=torch.bool)
    mask[positions] = True
    return mask


def _relevant(
    relevant: int | Sequence[int], num_classes: int, generator: torch.Generator
) -> Tensor:
    """Which classes are kept whole (classes,), bool."""
    if isinstance(relevant, int):
        if not 1 <= relevant <= num_classes:
            raise ParameterError(
                "relevant", f"got {relevant} of {num_classes} classes", "Give 1 up to that"
            )
        return _mask(num_classes, torch.randperm(num_classes, generator=generator)[:relevant])
    strange = [number for number in relevant if not 0 <= number < num_classes]
    if strange or not relevant:
        raise ParameterError(
            "relevant",
            f"got the class {strange[0]}" if strange else "got no classes",
            f"Give classes from 0 to {num_classes - 1}, or how many to draw",
        )
    return _mask(num_classes, torch.tensor(relevant))


def _positions(positions: int | Tensor) -> Tensor:
    remedy = "Give distinct integers, 0 or more, or how many there are"
    if isinstance(positions, int):
        if positions < 0:
            raise ParameterError("positions", f"got {positions}", remedy)
        return torch.arange(positions)
    if positions.ndim != 1 or positions.is_floating_point() or positions.dtype == torch.bool:
        raise ParameterError(
            "positions", f"got {positions.dtype} of shape {tuple(positions.shape)}", remedy
        )
    if len(positions) and int(positions.min()) < 0:
        raise ParameterError("positions", f"got {int(positions.min())}", remedy)
    values, counts = positions.unique(return_counts=True)
    if len(values) < len(positions):
        twice = int(values[counts > 1][0])
        raise ParameterError("positions", f"got {twice} more than once", remedy)
    return positions


def _check_fraction(name: str, fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise ParameterError(name, f"got {fraction}", "Give a share in [0, 1]")


def _check_classes(labels: Tensor, num_classes: int) -> None:
    if num_classes < 2:
        raise ParameterError("num_classes", f"got {num_classes}", "Give at least 2 classes")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        strange = int(labels[(labels < 0) | (labels >= num_classes)][0])
        raise ParameterError(
            "labels", f"got the class {strange}", f"Give classes from 0 to {num_classes - 1}"
        )
