"""What a task reads of a shard to cut or to rank it: keys of scores, classes, ids, by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.selectors.cuts import Search, Words, drawn_keys, order_keys
from keepers.shards.index import Ids
from keepers.shards.repeats import At
from keepers.shards.store import Result

Integers = npt.NDArray[np.int64]

BLOCK = 1 << 20
UNKNOWN = 0
"""The slot of examples without a class; class c has slot c + 1, and what is set aside the last."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One shard as it takes part in a selection.

    `scores` is where its scores are; None where every example counts alike. `slots` (classes here
    + 1,) are the slots of its own classes, the first for those without one; `aside` the places
    that cannot be picked, and `last` the slot that they get. `wide`: scores are compared in double
    precision, as those of some shard are so. With `draw`, a seed, keys are drawn by the ids, in
    place of scores.
    """

    at: At
    scores: At | None
    slots: Integers
    last: int
    wide: bool = False
    draw: int | None = None
    aside: Integers | None = None

    @cached_property
    def index(self) -> Result:
        """The index of the shard."""
        return self.at.read()

    @cached_property
    def ids(self) -> Ids:
        """Its ids."""
        return Ids(self.index)

    @cached_property
    def values(self) -> npt.NDArray[Any] | None:
        """Its scores (n,)."""
        return None if self.scores is None else self.scores.read()["scores"]

    def __len__(self) -> int:
        return len(self.index["rows"])

    def __getstate__(self) -> dict[str, Any]:
        known = ("at", "scores", "slots", "last", "wide", "draw", "aside")
        return {name: getattr(self, name) for name in known}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def blocks(self) -> Iterator[tuple[int, Words, Integers]]:
        """Where a block begins, and the keys and slots of its examples."""
        for start in range(0, len(self), BLOCK):
            stop = min(start + BLOCK, len(self))
            yield start, self.keys(slice(start, stop)), self.classes(slice(start, stop))

    def keys(self, at: Any) -> Words:
        """The keys of the scores at some places."""
        if self.draw is not None:
            return drawn_keys(np.asarray(self.index["marks"][at]), self.draw)
        if self.values is None:
            return np.zeros(len(self.index["rows"][at]), np.uint32)
        values = np.asarray(self.values[at])
        return order_keys(values.astype(np.float64) if self.wide else values)

    @property
    def key_bits(self) -> int:
        """The width of a key."""
        return 64 if self.wide or self.draw is not None else 32

    def classes(self, at: slice) -> Integers:
        """The slots at some places."""
        labels = self.index.arrays.get("labels")
        if labels is None:
            found = np.full(at.stop - at.start, self.slots[UNKNOWN])
        else:
            found = self.slots[labels[at] + 1]
        if self.aside is not None:
            low, high = np.searchsorted(self.aside, (at.start, at.stop))
            found[self.aside[low:high] - at.start] = self.last
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Cuts:
    """Where groups are cut: the `key` (G,) and `id` of the last that is kept of each.

    An id of None lets all of that key in; who has none `wanted` keeps nothing.
    """

    group_of: Integers
    wanted: Integers
    key: Words
    id: tuple[Any, ...]

    def kept(self, part: Part) -> Iterator[tuple[Integers, Words, Integers]]:
        """The places that are kept of each block of a part, with keys and slots."""
        for start, keys, classes in part.blocks():
            group = self.group_of[classes]
            among = (group >= 0) & (self.wanted[group] > 0)
            limit = self.key[group]
            inside = among & (keys < limit)
            alike = np.flatnonzero(among & (keys == limit))
            for number in np.unique(group[alike]).tolist():
                own = alike[group[alike] == number]
                if (last := self.id[number]) is not None:
                    at = own + start
                    end = part.ids.place(last, 0, len(at), at)
                    end += int(end < len(at) and part.ids.take(at[end : end + 1])[0] == last)
                    own = own[:end]
                inside[own] = True
            found = np.flatnonzero(inside)
            yield found + start, keys[found], classes[found]


def sizes_of(num_slots: int, part: Part) -> Integers:
    """How many examples each slot has in a part."""
    total = np.zeros(num_slots, np.int64)
    for _, _, classes in part.blocks():
        total += np.bincount(classes, minlength=num_slots)
    return total


def count_digits(search: Search, part: Part) -> tuple[Integers, Integers]:
    """The counts that a search asks of a part, flat: where they are not 0, and what they are."""
    total: Any = 0
    for start, keys, classes in part.blocks():
        words = [keys]
        if search.fixed:
            group = search.group_of[classes]
            alike = np.flatnonzero((group >= 0) & (search.fixed[0][group] == keys))
            at, classes = alike + start, classes[alike]
            ids = (part.ids.words(at, place) for place in range(len(search.fixed)))
            words = [keys[alike], *ids]
        total = total + search.count(words, classes)
    flat = np.ravel(total)
    there = np.flatnonzero(flat)
    return there, flat[there]


def count_kept(cuts: Cuts, part: Part) -> Integers:
    """How many of each slot are kept in a part."""
    total = np.zeros(len(cuts.group_of), np.int64)
    for _, _, classes in cuts.kept(part):
        total += np.bincount(classes, minlength=len(total))
    return total


def ids_alike(search: Search, part: Part) -> list[tuple[int, Any]]:
    """The groups and ids of those that share all words that a search has found."""
    found: list[tuple[int, Any]] = []
    for start, keys, classes in part.blocks():
        group = search.group_of[classes]
        alike = np.flatnonzero((group >= 0) & (search.fixed[0][group] == keys))
        at, group = alike + start, group[alike]
        for place, known in enumerate(search.fixed[1:]):
            same = known[group] == part.ids.words(at, place)
            at, group = at[same], group[same]
        found += zip(group.tolist(), part.ids.take(at).tolist(), strict=True)
    return found
