"""Rows made of other rows.

`el2n:0-90%+k-center` is k-center among all but the tenth that el2n scores highest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from keepers.errors import ParameterError
from keepers.methods.method import Method
from keepers.types import Picks, Signals

REMEDY = (
    "Write SCORE:LOW-HIGH+METHOD, such as el2n:0-90%+k-center: k-center on all but the tenth "
    "that el2n scores highest"
)


@dataclass(frozen=True)
class Band:
    """Lets through what a row scores between two quantiles; `high` 1 are the highest scores.

    Raises:
        ParameterError: the row gives no scores, or the quantiles are no part of [0, 1].
    """

    by: Method
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.by.score is None:
            raise ParameterError(
                "method", f"got {self}, but {self.by.name} gives no scores", REMEDY
            )
        if not 0 <= self.low < self.high <= 1:
            raise ParameterError("method", f"got {self}", f"Give 0 ≤ LOW < HIGH ≤ 1. {REMEDY}")

    def __str__(self) -> str:
        return f"{self.by.name}:{self.low:.12g}-{self.high:.12g}"


def compose(*bands: Band, then: Method, name: str | None = None) -> Method:
    """One row: `then`, among what all the bands let through, one after the other.

    Each band takes its quantiles among what the one before it let through. Where less than is to
    be picked would be left, bands set less aside, by the same factor at both ends.

    Args:
        bands: what is let through.
        then: the row that selects; its options are those of the whole.
        name: of the new row; by default what `get` reads: `el2n:0-0.9+k-center`.

    Example:
        >>> from keepers.methods import get
        >>> row = compose(Band(get("entropy"), 0.5, 1), then=get("k-center"))
        >>> row.name, sorted(row.needs)
        ('entropy:0.5-1+k-center', ['features', 'log_probs'])
    """
    rows = [band.by for band in bands]
    return replace(
        then,
        name=name or "+".join([*map(str, bands), then.name]),
        needs=then.needs.union(*(row.needs for row in rows)),
        summary=f"{then.summary}, of {' and '.join(map(_words, bands))}",
        paper="; ".join(dict.fromkeys(row.paper for row in (*rows, then) if row.paper)),
        default_ensemble=max(row.default_ensemble for row in (*rows, then)),
        hard_first=then.hard_first or any(band.by.hard_first and band.low for band in bands),
        bands=bands,
        then=then,
    )


def let_through(bands: Sequence[Band], scores: Sequence[Tensor], at: Tensor, k: int) -> Tensor:
    """Those of the positions `at` (m,), ascending, that all bands let through; k at least.

    `scores` (n,) are those of each band. Of equal scores, lower positions count as lower. How many
    are let through depends on the sizes alone: nothing is read back from a device.

    >>> import torch
    >>> from keepers.methods import get
    >>> scores = torch.tensor([0.1, 0.9, 0.3, 0.2, 0.8])
    >>> let_through([Band(get("entropy"), 0.2, 0.8)], [scores], torch.arange(5), 2)
    tensor([2, 3, 4])
    >>> let_through([Band(get("entropy"), 0.2, 0.8)], [scores], torch.arange(5), 4)
    tensor([0, 1, 2, 3, 4])
    """
    for band, values in zip(bands, scores, strict=True):
        low, high = _cuts(band, len(at), k)
        order = values[at].argsort(stable=True)[low : len(at) - high]
        at = at[order].sort().values
    return at


def num_left(bands: Sequence[Band], m: int) -> int:
    """How many of m examples all bands would let through, however many are picked."""
    for band in bands:
        m -= sum(_cuts(band, m, 0))
    return m


def _cuts(band: Band, m: int, k: int) -> tuple[int, int]:
    """How many of m examples a band sets aside at both ends of its ranking, so that k stay."""
    # Rounded, so that 0.1 of 30 are 3 where their product is a little under.
    low, high = (int(round(share * m, 9)) for share in (band.low, 1 - band.high))
    most = max(0, m - k)
    return (
        (low, high)
        if low + high <= most
        else (low * most // (low + high), high * most // (low + high))
    )


def set_aside(bands: Sequence[Band]) -> str:
    """Why an example was not let through, in words."""
    return f"not among {' and '.join(map(_words, bands))}"


def read(text: str, row: Method) -> Band:
    """The band of a row that `LOW-HIGH` says, as fractions, or as percentages with a % at the end.

    Raises:
        ParameterError: it says none.
    """
    unit = 100 if "%" in text else 1
    try:
        low, high = (float(end) / unit for end in text.replace("%", "").split("-"))
    except ValueError:
        raise ParameterError("method", f"got '{row.name}:{text}'", REMEDY) from None
    return Band(row, low, high)


def _words(band: Band) -> str:
    low, high = f"{100 * band.low:.6g}", f"{100 * band.high:.6g}%"
    if not band.low:
        return f"the lowest {high} by {band.by.name}"
    if band.high == 1:
        return f"the highest {100 * (1 - band.low):.6g}% by {band.by.name}"
    return f"those from {low} to {high} by {band.by.name}"


def out_of_fold(method: Method) -> Method:
    """The row as it reads a model that is fitted until it converges.

    Such a model fits its training examples, and what it predicts for them says little of what is
    hard. A row that reads predictions, and no labels, then reads those by models that were not
    trained on the example; other rows stay as they are.

    >>> from keepers.methods import get
    >>> out_of_fold(get("margin")).needs, out_of_fold(get("loss")).needs
    (frozenset({'out_of_fold_log_probs'}), frozenset({'losses'}))
    """
    if method.then is not None:
        bands = (replace(band, by=out_of_fold(band.by)) for band in method.bands)
        return compose(*bands, then=out_of_fold(method.then), name=method.name)
    score, select, merge = method.score, method.select, method.merge
    if "log_probs" not in method.needs or "labels" in method.needs:
        return method

    def of_others(signals: Signals) -> Signals:
        return replace(signals, log_probs=signals.get("out_of_fold_log_probs"))

    def score_of(signals: Signals) -> Tensor:
        assert score is not None
        return score(of_others(signals))

    def select_of(signals: Signals, scores: Tensor | None, k: int, **options: Any) -> Picks:
        return select(of_others(signals), scores, k, **options)

    def merged(members: Sequence[Signals]) -> Signals:
        assert merge is not None
        one = merge([of_others(signals) for signals in members])
        return replace(one, out_of_fold_log_probs=one.log_probs)

    return replace(
        method,
        needs=method.needs - {"log_probs"} | {"out_of_fold_log_probs"},
        score=score and score_of,
        select=select_of,
        merge=merge and merged,
    )
