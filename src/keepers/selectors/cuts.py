"""Where rankings that lie in parts are cut, from counts alone: no part is brought to another.

An example is a list of words, unsigned integers: the key of its score, then those of its id. The
words stand in pick order: of two examples the one of lower words is picked first. A cut is found
as a radix sort finds it: a digit of a word is counted over all parts, the digit that the last
pick has is kept, and the next digit is counted among those that share it.

Shape suffixes: N examples of a part, G groups, D values of a digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.selectors.sampling import largest_first

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[Any]
"""Unsigned integers."""

COUNTS = 1 << 20
"""Counts that a histogram holds, at about the most."""


def order_keys(scores: npt.NDArray[Any]) -> Words:
    """Unsigned integers (n,) that are lower where scores are higher, equal where they are equal.

    >>> order_keys(np.array([2.0, -1.0, np.inf, 0.0, -0.0], np.float32)).argsort().tolist()
    [2, 0, 3, 4, 1]
    """
    kind = np.uint64 if scores.dtype.itemsize == 8 else np.uint32
    wide = scores.astype(np.float64 if kind is np.uint64 else np.float32, copy=False)
    bits = (wide + 0.0).view(kind)  # -0.0 is 0.0
    width = 8 * wide.dtype.itemsize
    below = (bits >> kind(width - 1)) - kind(1)  # all bits where there is no sign, else none
    below >>= kind(1)
    bits ^= below
    return bits


def drawn_keys(marks: npt.NDArray[np.uint64], seed: int) -> Words:
    """Keys (n,) that are as good as drawn: a function of a mark and the seed alone.

    Paper:
        The mix is that of Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators,
        OOPSLA 2014.
    """
    found = marks + np.uint64(seed & (1 << 64) - 1)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        found = (found ^ (found >> np.uint64(shift))) * np.uint64(factor)
    return found ^ (found >> np.uint64(31))


def integer_words(ids: npt.NDArray[np.int64]) -> Words:
    """Integers (n,) as unsigned ones in the same order."""
    return ids.view(np.uint64) ^ np.uint64(1 << 63)


def text_words(starts: Integers, ends: Integers, text: Words, place: int) -> Words:
    """The `place`-th eight bytes (n,) of texts as one unsigned integer each, in the same order.

    A text that is over counts as zeros. `text` holds the bytes of all of them.
    """
    at = starts[:, None] + 8 * place + np.arange(8)
    inside = at < ends[:, None]
    found = np.where(inside, text[np.where(inside, at, 0)] if len(text) else 0, 0)
    return found.astype(np.uint8).view(">u8")[:, 0].astype(np.uint64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """A search for the last of the `wanted` (G,) first examples of each group, under way.

    `group_of` (classes,) is the group of each class, -1 where it is in none. `fixed` are the words
    that are found, each (G,); of the next one, `prefix` (G,) is what is found, above `shift` bits.
    `before` (G,) counts those that come before all that share what is found, `alike` (G,) those.
    """

    group_of: Integers
    wanted: Integers
    width: int
    fixed: tuple[Words, ...] = ()
    prefix: Words
    shift: int
    before: Integers
    alike: Integers

    @classmethod
    def begin(cls, group_of: Integers, wanted: Integers, width: int) -> Search:
        """A search among words of `width` bits; who wants none of a group has its cut at once."""
        zeros = np.zeros(len(wanted), np.int64)
        prefix = np.zeros(len(wanted), np.uint64)
        return cls(
            group_of=group_of,
            wanted=wanted,
            width=width,
            prefix=prefix,
            shift=width,
            before=zeros,
            alike=zeros,
        )

    @property
    def bits(self) -> int:
        """How many bits are counted next."""
        most = max(4, (COUNTS // max(1, len(self.wanted))).bit_length() - 1)
        return min(self.shift, 16, most)

    @property
    def is_between_words(self) -> bool:
        """Whether a whole word is found."""
        return self.shift == 0

    def count(self, words: Sequence[Words], classes: Integers) -> Integers:
        """Counts (G, D) of the next digit in a part: words (N,) so far, and classes (N,)."""
        group = self.group_of[classes]
        alive = group >= 0
        for known, found in zip(self.fixed, words, strict=False):
            alive &= known[group] == found
        word = words[len(self.fixed)]
        if self.shift < self.width:
            alive &= self.prefix[group] == word >> word.dtype.type(self.shift)
        left = self.shift - self.bits
        digit = (word[alive] >> word.dtype.type(left)) & word.dtype.type((1 << self.bits) - 1)
        size = len(self.wanted) << self.bits
        flat = (group[alive] << self.bits) + digit.astype(np.int64)
        return np.bincount(flat, minlength=size).reshape(len(self.wanted), -1)

    def narrowed(self, counts: Integers) -> Search:
        """The search with one more digit found, by the counts (G, D) over all parts."""
        reached = self.before[:, None] + counts.cumsum(1)
        digit = (reached < self.wanted[:, None]).sum(1).clip(max=counts.shape[1] - 1)
        at = np.arange(len(digit))
        alike = counts[at, digit]
        return replace(
            self,
            prefix=(self.prefix << np.uint64(self.bits)) | digit.astype(np.uint64),
            shift=self.shift - self.bits,
            before=reached[at, digit] - alike,
            alike=alike,
        )

    def next_word(self, width: int) -> Search:
        """The search in the next word, among those that share the words so far."""
        assert self.is_between_words
        fixed = (*self.fixed, self.prefix)
        return replace(
            self, fixed=fixed, prefix=np.zeros_like(self.prefix), shift=width, width=width
        )


def shared_floors(sizes: Integers, k: int, least: int) -> tuple[Integers, int]:
    """How many each class gets at least, of `k`: `least`, or as evenly as k goes.

    Returns the floors (G,) and how many classes get one more than that, where k does not reach
    every floor: 0 where it does.
    """
    if int(np.minimum(sizes, least).sum()) <= k:
        return np.minimum(sizes, least), 0
    low, high = 0, least
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= k else (low, middle)
    floors = np.minimum(sizes, low)
    return floors, k - int(floors.sum())


def turn_ranks(lengths: Integers, sizes: Integers, queue: int, turns: Integers) -> Integers:
    """The places (n,) of the `turns` of one queue where queues take turns, as `take_turns` has it.

    `lengths` (G,) of the queues; the one of the largest of `sizes` (G,) comes first in each turn.

    >>> lengths, sizes = np.array([2, 3]), np.array([2, 3])
    >>> [turn_ranks(lengths, sizes, queue, np.arange(lengths[queue])).tolist() for queue in (0, 1)]
    [[1, 3], [0, 2, 4]]
    """
    order = largest_first(sizes.tolist())
    ascending = np.sort(lengths)
    sums = np.concatenate([[0], ascending.cumsum()])
    shorter = np.searchsorted(ascending, turns, side="right")
    earlier = sums[shorter] + (len(lengths) - shorter) * turns
    ahead = np.sort(lengths[order[: order.index(queue)]])
    return earlier + len(ahead) - np.searchsorted(ahead, turns, side="right")
