"""Where a selection over shards is cut, so that it is the one that one table would give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.selectors import share_budget
from keepers.selectors.cuts import Search, shared_floors, turn_ranks
from keepers.shards.executor import Executor
from keepers.shards.parts import UNKNOWN, Cuts, Part, count_digits, count_kept, ids_alike

Integers = npt.NDArray[np.int64]

FEW = 1 << 16
"""Examples of one score whose ids are brought together; of more, ids are counted as scores are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What is kept, and how what is kept is ranked.

    Picks stand in queues, in each by score and then by id. `first` says what stands in the first
    queue, which comes first; None where there is none such. Of the rest, each slot has its own
    queue, and these take turns by `lengths` and `sizes` (slots,).
    """

    cuts: Cuts
    first: Cuts | None
    num_first: int
    lengths: Integers
    sizes: Integers

    def rank(self, queue: int, turns: Integers) -> Integers:
        """The ranks (n,) of the `turns` of a queue: 0 is the first one, then those of the slots."""
        if queue == 0:
            return turns
        there = np.flatnonzero(self.lengths)
        place = int(np.searchsorted(there, queue - 1))
        lengths, sizes = self.lengths[there], self.sizes[there]
        return self.num_first + turn_ranks(lengths, sizes, place, turns)


def cut_top(run: Executor, parts: Sequence[Part], sizes: Integers, k: int, least: int) -> Plan:
    """The k highest, each class with at least `least` of its own; `sizes` (slots,) of classes."""
    slots = len(sizes)
    everyone = np.zeros(slots + 1, np.int64)
    everyone[-1] = -1
    top = last_of(run, parts, everyone, np.array([k]))
    none = np.zeros(slots, np.int64)
    plain = Plan(cuts=top, first=top, num_first=k, lengths=none, sizes=sizes)
    if not least or slots == 1:
        return plain
    before = _kept(run, parts, top)[:-1]
    known = sizes.copy()
    known[UNKNOWN] = 0
    floors, more = shared_floors(known, k, least)
    if more:
        floors[_next_ones(run, parts, known, before, floors)[:more]] += 1
    cuts, counts = top, before
    under = np.zeros(slots, bool)
    while (counts < floors).any():
        under |= counts < floors
        group_of = everyone.copy()
        group_of[:-1][under] = 1 + np.arange(int(under.sum()))
        rest = k - int(floors[under].sum())
        cuts = last_of(run, parts, group_of, np.concatenate([[rest], floors[under]]))
        counts = _kept(run, parts, cuts)[:-1]
    added = (floors - before).clip(min=0)
    return replace(plain, cuts=cuts, num_first=k - int(added.sum()), lengths=added, sizes=sizes)


def cut_balanced(run: Executor, parts: Sequence[Part], sizes: Integers, k: int) -> Plan:
    """An equal share of k to each class, as far as they reach; the classes take turns."""
    there = np.flatnonzero(sizes)
    group_of = np.full(len(sizes) + 1, -1)
    group_of[there] = np.arange(len(there))
    shares = np.array(share_budget(sizes[there].tolist(), k))
    lengths = np.zeros(len(sizes), np.int64)
    lengths[there] = shares
    cuts = last_of(run, parts, group_of, shares)
    return Plan(cuts=cuts, first=None, num_first=0, lengths=lengths, sizes=sizes)


def last_of(
    run: Executor,
    parts: Sequence[Part],
    group_of: Integers,
    wanted: Integers,
    *,
    exact: bool = False,
) -> Cuts:
    """Where the first `wanted` (G,) of each group end; `exact`: with an id in any case."""
    bits = parts[0].key_bits
    longest = max(part.ids.num_words for part in parts)
    search, open_ = Search.begin(group_of, wanted, bits), wanted > 0
    while True:
        while not search.is_between_words:
            counts = np.zeros((len(wanted), 1 << search.bits), np.int64)
            for _, (there, found) in run.map(count_digits, search, parts):
                counts.reshape(-1)[there] += found
            search = search.narrowed(counts)
        whole = replace(search, fixed=(*search.fixed, search.prefix))
        if not search.fixed:  # whole scores are found: who needs all of the last one has its cut
            open_ = (wanted > 0) & (exact | (search.alike != wanted - search.before))
        ids: list[Any] = [None] * len(wanted)
        if not open_.any():
            break
        if search.alike[open_].sum() <= FEW or len(whole.fixed) > longest:
            groups = np.where(open_, np.arange(len(wanted)), -1)
            asked = replace(whole, group_of=np.where(group_of < 0, -1, groups[group_of]))
            alike: defaultdict[int, list[Any]] = defaultdict(list)
            for _, found in run.map(ids_alike, asked, parts):
                for group, name in found:
                    alike[group].append(name)
            for group, names in alike.items():
                ids[group] = sorted(names)[int(wanted[group] - search.before[group]) - 1]
            break
        search = search.next_word(64)
    key = whole.fixed[0].astype(np.uint32 if bits == 32 else np.uint64)
    return Cuts(group_of=group_of, wanted=wanted, key=key, id=tuple(ids))


def _kept(run: Executor, parts: Sequence[Part], cuts: Cuts) -> Integers:
    return np.sum([found for _, found in run.map(count_kept, cuts, parts)], axis=0)


def _next_ones(
    run: Executor, parts: Sequence[Part], sizes: Integers, counts: Integers, floors: Integers
) -> list[int]:
    """The slots that have more than their floor, in the order in which they get one more.

    First those whose next one is among the highest, by score; then the largest.
    """
    slots = np.flatnonzero(sizes > floors)
    group_of = np.full(len(sizes) + 1, -1)
    group_of[slots] = np.arange(len(slots))
    cuts = last_of(run, parts, group_of, floors[slots] + 1, exact=True)
    inside = counts[slots] > floors[slots]

    def order(number: int) -> tuple[Any, ...]:
        if inside[number]:
            return 0, int(cuts.key[number]), cuts.id[number]
        return 1, -int(sizes[slots[number]])

    return [int(slots[number]) for number in sorted(range(len(slots)), key=order)]
