"""What is kept, in pick order: each shard sorts its own picks, and ranges of these are merged.

A range is a stretch of the picks of all shards: those of some queues, and of scores and ids in
between. No task holds more than a few ranges' worth of picks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.data.arrow import compute as pc
from keepers.files import fingerprint
from keepers.shards.cutting import Plan
from keepers.shards.executor import Executor
from keepers.shards.index import Ids, id_arrays
from keepers.shards.parts import Cuts, Part
from keepers.shards.store import Result, Store

Integers = npt.NDArray[np.int64]

RANGE = 1 << 20
"""Picks of a range, about, and of a row group of what is written."""
SAMPLES = 64
"""Picks of each shard that ranges are divided by, for each range."""

Splitter = tuple[int, int, Any]
"""A queue, a key and an id: where a range begins."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """What is ranked: the parts, the plan, and where the work in between is kept."""

    plan: Plan
    folder: Path

    @property
    def store(self) -> Store:
        """Where it is kept."""
        return Store(self.folder)


def ranked(run: Executor, parts: Sequence[Part], plan: Plan, k: int, folder: Path) -> list[str]:
    """Rank what is kept; the keys of the ranges in `folder`, each sorted by rank."""
    work = Ranking(plan=plan, folder=folder)
    count = max(1, -(-k // RANGE))
    items = [(number, part, count) for number, part in enumerate(parts)]
    samples = [each for _, found in run.map(_sorted_picks, work, items) for each in found]
    samples.sort()
    step = len(samples) / count
    splitters = [samples[int(step * number)] for number in range(1, count)]
    bounds: dict[int, Integers] = {}
    counts: list[dict[int, int]] = [{} for _ in range(count)]
    places = [(number, part) for number, part in enumerate(parts)]
    for place, (found, queues) in run.map(_bounds, (work, splitters), places):
        bounds[place] = found
        for total, own in zip(counts, queues, strict=True):
            for queue, number in own.items():
                total[queue] = total.get(queue, 0) + number
    ranges: list[tuple[int, list[tuple[int, int]], dict[int, int]]] = []
    reached: dict[int, int] = {}
    for number, own in enumerate(counts):
        spans = [tuple(bounds[place][number : number + 2].tolist()) for place in range(len(parts))]
        ranges.append((number, spans, {queue: reached.get(queue, 0) for queue in own}))
        for queue, more in own.items():
            reached[queue] = reached.get(queue, 0) + more
    found = dict(run.map(_merged, (work, tuple(parts)), ranges))
    return [found[number] for number in range(count)]


def in_order(folder: Path, keys: Sequence[str], k: int) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """The picks by rank, a row group at a time: arrays, and their ids."""
    results = [Store(folder).read(key) for key in keys]
    for low in range(0, k, RANGE):
        spans: list[tuple[Result, int, int]] = []
        for result in results:
            start, stop = np.searchsorted(result["rank"], (low, min(low + RANGE, k))).tolist()
            if start < stop:
                spans.append((result, start, stop))
        order = np.argsort(np.concatenate([r["rank"][start:stop] for r, start, stop in spans]))
        names = [name for name in spans[0][0].arrays if not name.startswith("id")]
        arrays = {
            name: np.concatenate([r[name][start:stop] for r, start, stop in spans])[order]
            for name in names
        }
        ids = pa.concat_arrays(
            [Ids(r).arrow(np.arange(start, stop)) for r, start, stop in spans]
        ).take(pa.array(order))
        yield arrays, ids


def reranked(
    run: Executor, folder: Path, keys: Sequence[str], rank_of: Integers, apart: str
) -> list[str]:
    """Ranges with the ranks that `rank_of` (n,) gives theirs; -1 is left out."""
    found = dict(run.map(_reranked, (Store(folder), rank_of, apart), keys))
    return [found[number] for number in range(len(keys))]


def _queues(plan: Plan, part: Part) -> Iterator[tuple[Integers, Any, Integers]]:
    """Places, keys and queues of the picks of a part, by block."""
    same = plan.first is plan.cuts
    firsts = None if plan.first is None or same else plan.first.kept(part)
    for places, keys, classes in plan.cuts.kept(part):
        queues = np.zeros_like(classes) if same else classes + 1
        if firsts is not None:
            queues[np.isin(places, next(firsts)[0], assume_unique=True)] = 0
        yield places, keys, queues


def _sorted_picks(work: Ranking, item: tuple[int, Part, int]) -> list[Splitter]:
    """Sort the picks of one shard, keep them, and give some that are evenly spread."""
    number, part, count = item
    blocks = list(_queues(work.plan, part))
    places, keys, queues = (np.concatenate([block[each] for block in blocks]) for each in range(3))
    order = np.lexsort((keys, queues))
    places, keys, queues = places[order], keys[order], queues[order].astype(np.int32)
    work.store.write(f"picks-{number}", {"at": places, "keys": keys, "queues": queues})
    if not len(places):
        return []
    some = np.unique(np.linspace(0, len(places) - 1, SAMPLES * count).astype(np.int64))
    ids = part.ids.take(places[some]).tolist()
    return list(zip(queues[some].tolist(), keys[some].tolist(), ids, strict=True))


def _bounds(
    work: tuple[Ranking, list[Splitter]], item: tuple[int, Part]
) -> tuple[Integers, list[dict[int, int]]]:
    """Where the ranges begin among the picks of one shard, and how many of each queue they hold."""
    ranking, splitters = work
    number, part = item
    picks = ranking.store.read(f"picks-{number}")
    queues, keys, at = picks["queues"], picks["keys"], picks["at"]
    found = [0]
    for queue, key, name in splitters:
        low, high = (int(np.searchsorted(queues, queue, side=side)) for side in ("left", "right"))
        inside = keys[low:high]
        low, high = (
            low + int(np.searchsorted(inside, inside.dtype.type(key), side=side))
            for side in ("left", "right")
        )
        found.append(part.ids.place(name, low, high, at))
    found.append(len(at))
    counts: list[dict[int, int]] = []
    for start, stop in itertools.pairwise(found):
        own, number_of = np.unique(queues[start:stop], return_counts=True)
        counts.append(dict(zip(own.tolist(), number_of.tolist(), strict=True)))
    return np.array(found, np.int64), counts


def _merged(
    work: tuple[Ranking, Sequence[Part]],
    item: tuple[int, list[tuple[int, int]], dict[int, int]],
) -> str:
    """Merge the picks of one range, rank them, and keep them by rank."""
    ranking, parts = work
    number, spans, before = item
    columns: dict[str, list[Any]] = {}
    ids: list[Any] = []
    for place, (part, (start, stop)) in enumerate(zip(parts, spans, strict=True)):
        if start == stop:
            continue
        picks = ranking.store.read(f"picks-{place}")
        at = np.asarray(picks["at"][start:stop])
        order = np.argsort(at)  # ascending, as it is read from a file
        at = at[order]
        ids.append(part.ids.arrow(at))
        found: dict[str, Any] = {
            name: picks[name][start:stop][order] for name in ("queues", "keys")
        }
        found |= {"shard": np.full(len(at), place, np.int32), "row": part.index["rows"][at]}
        labels = part.index.arrays.get("labels")
        slots = part.slots[0 if labels is None else labels[at] + 1]
        found["slot"] = np.broadcast_to(slots, len(at)).astype(np.int32)
        if part.values is not None:
            found["score"] = np.asarray(part.values[at], np.float64)
        for name, values in found.items():
            columns.setdefault(name, []).append(values)
    key = f"range-{number}"
    if not ids:
        ranking.store.write(key, {"rank": np.empty(0, np.int64)})
        return key
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    names = pa.concat_arrays(ids)
    by_id = np.empty(len(names), np.int64)
    by_id[pc.sort_indices(names).to_numpy()] = np.arange(len(names))
    order = np.lexsort((by_id, joined.pop("keys"), joined["queues"]))
    queues = joined.pop("queues")[order]
    ranks = np.empty(len(order), np.int64)
    starts = np.flatnonzero(np.concatenate([[True], queues[1:] != queues[:-1]]))
    for start, stop in zip(starts, [*starts[1:], len(queues)], strict=True):
        queue = int(queues[start])
        ranks[start:stop] = ranking.plan.rank(queue, before[queue] + np.arange(stop - start))
    by_rank = np.argsort(ranks)
    order = order[by_rank]
    _keep(
        ranking.store, key, ranks[by_rank], {n: v[order] for n, v in joined.items()}, names, order
    )
    return key


def _keep(
    store: Store,
    key: str,
    ranks: Integers,
    arrays: Mapping[str, npt.NDArray[Any]],
    names: Any,
    order: Integers,
) -> None:
    ids = names.take(pa.array(order))
    plain = id_arrays(
        ids.to_numpy() if pa.types.is_integer(ids.type) else ids.to_numpy(zero_copy_only=False)
    )
    store.write(key, {"rank": ranks, **arrays, **plain})


def _reranked(work: tuple[Store, Integers, str], key: str) -> str:
    store, rank_of, apart = work
    before: Result = store.read(key)
    ranks = rank_of[before["rank"]]
    order = np.flatnonzero(ranks >= 0)
    order = order[np.argsort(ranks[order])]
    others = {n: v[order] for n, v in before.arrays.items() if n != "rank" and n[:2] != "id"}
    name = f"{apart}-{key}"
    _keep(store, name, ranks[order], others, Ids(before).arrow(np.arange(len(ranks))), order)
    return name


def everything(num_slots: int) -> Plan:
    """The plan that keeps all that is not set aside, in the order of scores and ids."""
    group_of = np.zeros(num_slots + 1, np.int64)
    group_of[-1] = -1
    last = np.array([np.iinfo(np.uint64).max], np.uint64)
    cuts = Cuts(group_of=group_of, wanted=np.array([1]), key=last, id=(None,))
    none = np.zeros(num_slots, np.int64)
    return Plan(cuts=cuts, first=cuts, num_first=0, lengths=none, sizes=none)


def identity_of(plan: Plan, parts: Sequence[Part], *more: Any) -> str:
    """What a ranking is found by."""
    cuts = [[c.group_of.tolist(), c.wanted.tolist(), c.key.tolist(), c.id] for c in (plan.cuts,)]
    scores = [[part.at.key, part.scores and part.scores.key] for part in parts]
    return fingerprint(cuts, scores, *more)[:16]
