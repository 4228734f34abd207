"""Covering features that lie in shards, in rounds over parts.

Examples are dealt into parts by their ids, whatever shard they stand in. In the first round parts
pick for themselves; in the second, picks are made among those picks and a few whole parts, which
tell how dense examples lie (GreeDi; composable core-sets); then every pick moves to the middle of
what is nearest to it, over all examples, while that helps. k-center needs no such rounds: it is
exact. A task holds one part; the driver holds `WHOLE` parts and the picks.

Shape suffixes: M examples of a part, K picks, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from keepers.data.arrow import compute as pc
from keepers.random import derived_seed, generator
from keepers.selectors import facility_location
from keepers.selectors.cuts import drawn_keys
from keepers.shards.executor import Executor
from keepers.shards.parts import Part
from keepers.shards.proxies import one_thread
from keepers.shards.store import Store

Integers = npt.NDArray[np.int64]
Report = Callable[[str, int, int], None]

PART = 1 << 16
"""Examples of a part, about."""
TOLD = 512
"""Examples that each part tells in a round of k-center."""
OVER = 4
"""Picks of all parts in the first round over those of the second, at least."""
WHOLE = 4
"""Parts that the second round holds whole, beside the picks of the others."""
ROUNDS = 5
"""How often picks move, at most."""
GAIN = 1e-3
"""What a move has to gain of the mean squared distance, for another one to be made."""
BLOCK = 1 << 22
"""Distances that are held at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Picks:
    """Examples: the number of the shard, the place in it, and the features (k, d)."""

    shard: Integers
    at: Integers
    features: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.shard)

    def take(self, places: Any) -> Picks:
        """Those at some places."""
        return Picks(shard=self.shard[places], at=self.at[places], features=self.features[places])


def joined(several: Sequence[Picks]) -> Picks:
    """All of several, in their order."""
    return Picks(
        shard=np.concatenate([each.shard for each in several]),
        at=np.concatenate([each.at for each in several]),
        features=np.concatenate([each.features for each in several]),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Dealt:
    """Examples dealt into `count` parts: for each shard, places by part lie in `folder`."""

    parts: tuple[Part, ...]
    folder: Path
    count: int
    seed: int

    @property
    def store(self) -> Store:
        """Where the parts are kept."""
        return Store(self.folder)

    def part(self, number: int) -> Picks:
        """All examples of one part, by id."""
        found = self.store.read(f"part-{number}")
        return Picks(shard=found["shard"], at=found["at"], features=found["features"])

    def nearest(self, number: int) -> Integers:
        """The pick that each example of a part is nearest to, of those that were measured last."""
        return self.store.read(f"near-{number}")["of"].astype(np.int64)

    def gathered(self, number: int) -> Picks:
        """The same, brought together from the shards."""
        shards: list[Integers] = []
        places: list[Integers] = []
        features: list[Any] = []
        ids: list[Any] = []
        for shard, part in enumerate(self.parts):
            dealt = self.store.read(f"dealt-{shard}")
            start, stop = dealt["bounds"][number : number + 2].tolist()
            if start < stop:
                at = np.asarray(dealt["at"][start:stop])
                shards.append(np.full(len(at), shard))
                places.append(at)
                features.append(part.index["features"][at])
                ids.append(part.ids.arrow(at))
        order = pc.sort_indices(pa.concat_arrays(ids)).to_numpy()
        return Picks(
            shard=np.concatenate(shards)[order],
            at=np.concatenate(places)[order],
            features=np.concatenate(features)[order],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Covered:
    """Picks in pick order, and how well they cover all examples, in squared distances."""

    picks: Picks
    mean: float
    farthest: float
    moves: int = 0


def deal(run: Executor, parts: Sequence[Part], n: int, seed: int, folder: Path) -> Dealt:
    """Deal all examples into parts by their ids."""
    dealt = Dealt(parts=tuple(parts), folder=folder, count=max(1, round(n / PART)), seed=seed)
    waiting = [n for n in range(dealt.count) if not dealt.store.is_there(f"part-{n}")]
    if waiting:
        for _ in run.map(_deal, dealt, range(len(parts))):
            pass
    for _ in run.map(_gather, dealt, waiting):
        pass
    return dealt


def cover(run: Executor, dealt: Dealt, k: int, method: str, report: Report) -> Covered:
    """Cover the examples of all parts with k of them, by `k-center` or `facility-location`."""
    if method == "k-center":
        return _measured(run, dealt, farthest_first(run, dealt, k, report))
    found: dict[int, Picks] = {}
    own = min(k, -(-OVER * k // dealt.count))
    others = range(min(WHOLE, dealt.count), dealt.count)
    for place, picks in run.map(_own_picks, (dealt, own), others):
        found[others[place]] = picks
        report("parts", len(found), len(others))
    # The first parts stand for all examples, as they were drawn from them; the picks of the others
    # bring what these lack.
    whole = [dealt.part(number) for number in range(min(WHOLE, dealt.count))]
    every = joined([*whole, *(found[number] for number in range(len(whole), dealt.count))])
    if len(every) < k:
        every = _filled(dealt, every, k)
    best = _measured(run, dealt, every.take(_pick(every.features, k, dealt.seed)))
    for move in range(ROUNDS):
        moved = _measured(run, dealt, _moved(run, dealt, best.picks))
        report("moves", move + 1, ROUNDS)
        enough = best.mean - moved.mean > GAIN * best.mean
        if moved.mean < best.mean:
            best = replace(moved, moves=move + 1)
        if not enough:
            break
    return best


def farthest_first(run: Executor, dealt: Dealt, k: int, report: Report) -> Picks:
    """Greedy k-center over all parts, as over one table: the farthest example again and again.

    In a round every part tells its farthest examples. The farthest of these is the farthest of all
    for as long as it is no nearer than what the parts did not tell, for distances only fall.
    """
    first = dealt.part(0).take(slice(0, 1))
    chosen, new, turn = [first], first, 0
    while sum(map(len, chosen)) < k:
        turn += 1
        found = dict(run.map(_farthest, (dealt, new, turn), range(dealt.count)))
        told = joined([found[number][0] for number in range(dealt.count)])
        squared = np.concatenate([found[number][1] for number in range(dealt.count)])
        hidden = max(found[number][2] for number in range(dealt.count))
        points = told.features.astype(np.float64)
        places: list[int] = []
        while len(places) + sum(map(len, chosen)) < k:
            place = int(squared.argmax())
            if squared[place] < hidden:
                break
            places.append(place)
            apart = points - points[place]
            squared = np.minimum(squared, np.einsum("cd,cd->c", apart, apart))
            squared[places] = -1
        new = told.take(places)
        chosen.append(new)
        report("picks", sum(map(len, chosen)), k)
    return joined(chosen)


def _deal(dealt: Dealt, shard: int) -> None:
    part = dealt.parts[shard]
    keys = drawn_keys(np.asarray(part.index["marks"]), dealt.seed) >> np.uint64(32)
    number = (keys * np.uint64(dealt.count) >> np.uint64(32)).astype(np.int64)
    if part.aside is not None:
        number[part.aside] = dealt.count
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(dealt.count + 1))
    dealt.store.write(f"dealt-{shard}", {"at": order, "bounds": bounds})


def _gather(dealt: Dealt, number: int) -> None:
    whole = dealt.gathered(number)
    dealt.store.write(f"part-{number}", vars(whole))


def _own_picks(work: tuple[Dealt, int], number: int) -> Picks:
    dealt, own = work
    whole = dealt.part(number)
    seed = derived_seed(dealt.seed, "part", number)
    return whole.take(_pick(whole.features, min(own, len(whole)), seed))


def _pick(features: npt.NDArray[np.float32], k: int, seed: int) -> Integers:
    draw = generator(seed, "facility-location")
    with one_thread():
        return facility_location(
            np.array(features), k, optimizer="stochastic", generator=draw
        ).numpy()


def _farthest(
    work: tuple[Dealt, Picks, int], number: int
) -> tuple[Picks, npt.NDArray[np.float64], float]:
    """The farthest of a part from all picks so far, how far, and how far others are at most."""
    dealt, new, turn = work
    whole = dealt.part(number)
    _, squared = nearest(whole.features, new.features)
    if turn > 1:
        squared = np.minimum(squared, dealt.store.read(f"far-{number}-{(turn - 1) % 2}")["squared"])
    for shard, at in zip(new.shard.tolist(), new.at.tolist(), strict=True):
        squared[(whole.shard == shard) & (whole.at == at)] = -1
    dealt.store.write(f"far-{number}-{turn % 2}", {"squared": squared})
    order = np.argsort(-squared, kind="stable")
    rest = squared[order[TOLD]] if len(order) > TOLD else -1.0
    order = order[:TOLD]
    return whole.take(order), squared[order], float(rest)


def _filled(dealt: Dealt, every: Picks, k: int) -> Picks:
    """Enough examples to pick k of, where parts are of uneven sizes: those by id of the first."""
    more = [every]
    for number in range(dealt.count):
        whole = dealt.part(number)
        taken = set(zip(every.shard.tolist(), every.at.tolist(), strict=True))
        pairs = zip(whole.shard.tolist(), whole.at.tolist(), strict=True)
        left = [place for place, pair in enumerate(pairs) if pair not in taken]
        more.append(whole.take(np.array(left[: k - sum(map(len, more))], np.int64)))
        if sum(map(len, more)) == k:
            break
    return joined(more)


def _measured(run: Executor, dealt: Dealt, picks: Picks) -> Covered:
    """How well picks cover all examples: each part by itself, added in the order of parts.

    Each part keeps which pick is nearest to each of its examples, for `_moved`.
    """
    found = dict(run.map(_distances, (dealt, picks.features), range(dealt.count)))
    totals = [found[number] for number in range(dealt.count)]
    n = sum(each[2] for each in totals)
    mean = sum(each[0] for each in totals) / n
    return Covered(picks=picks, mean=mean, farthest=max(each[1] for each in totals))


def _distances(
    work: tuple[Dealt, npt.NDArray[np.float32]], number: int
) -> tuple[float, float, int]:
    dealt, picks_KD = work
    points_MD = dealt.part(number).features
    of_M, squared_M = nearest(points_MD, picks_KD)
    dealt.store.write(f"near-{number}", {"of": of_M.astype(np.int32)})
    return float(squared_M.sum()), float(squared_M.max()), len(points_MD)


def nearest(
    points_MD: npt.NDArray[np.float32], picks_KD: npt.NDArray[np.float32]
) -> tuple[Integers, npt.NDArray[np.float64]]:
    """The pick that each point is nearest to (m,), and the squared distance to it (m,)."""
    picks = torch.from_numpy(np.array(picks_KD))
    centre = picks.mean(0)
    half_K = (picks - centre).square().sum(1) / 2
    with one_thread():
        points = torch.from_numpy(np.array(points_MD))
        step = max(1, BLOCK // len(picks))
        found = [
            (half_K - (rows - centre) @ (picks - centre).T).argmin(1) for rows in points.split(step)
        ]
    of_M = torch.cat(found).numpy()
    squared = np.empty(len(points_MD))
    for start in range(0, len(of_M), PART):
        part = slice(start, start + PART)
        apart = points_MD[part].astype(np.float64) - picks_KD[of_M[part]]
        squared[part] = np.einsum("md,md->m", apart, apart)
    return of_M, squared


def _moved(run: Executor, dealt: Dealt, picks: Picks) -> Picks:
    """Each pick moved to the example in the middle of those that are nearest to it.

    The picks are those that were measured last.
    """
    sums = np.zeros((len(picks), picks.features.shape[1]))
    counts = np.zeros(len(picks), np.int64)
    found = dict(run.map(_sums, (dealt, len(picks)), range(dealt.count)))
    for number in range(dealt.count):
        sums += found[number][0]
        counts += found[number][1]
    means = np.where(counts[:, None] > 0, sums / counts.clip(min=1)[:, None], picks.features)
    best, moved = np.full(len(picks), np.inf), picks
    middles = dict(run.map(_middles, (dealt, means), range(dealt.count)))
    for number in range(dealt.count):
        squared, own = middles[number]
        nearer = squared < best
        best = np.where(nearer, squared, best)
        moved = Picks(
            shard=np.where(nearer, own.shard, moved.shard),
            at=np.where(nearer, own.at, moved.at),
            features=np.where(nearer[:, None], own.features, moved.features),
        )
    different = np.unique(np.stack([moved.shard, moved.at]), axis=1).shape[1]
    return moved if different == len(picks) else picks


def _sums(work: tuple[Dealt, int], number: int) -> tuple[npt.NDArray[np.float64], Integers]:
    """The sums (k, d) and counts (k,) of the examples of a part that are nearest to each pick."""
    dealt, k = work
    points_MD = dealt.part(number).features
    of_M = dealt.nearest(number)
    sums = torch.zeros((k, points_MD.shape[1]), dtype=torch.float64)
    sums.index_add_(0, torch.from_numpy(of_M), torch.from_numpy(points_MD.astype(np.float64)))
    return sums.numpy(), np.bincount(of_M, minlength=k)


def _middles(
    work: tuple[Dealt, npt.NDArray[np.float64]], number: int
) -> tuple[npt.NDArray[np.float64], Picks]:
    """For each pick, the example of a part nearest to the mean of its own, and how near (k,)."""
    dealt, means_KD = work
    whole = dealt.part(number)
    of_M = dealt.nearest(number)
    apart = whole.features - means_KD[of_M]
    squared_M = np.einsum("md,md->m", apart, apart)
    order = np.lexsort((squared_M, of_M))
    first = np.flatnonzero(np.diff(of_M[order], prepend=-1))
    there = order[first]
    squared = np.full(len(means_KD), np.inf)
    places = np.zeros(len(means_KD), np.int64)
    squared[of_M[there]] = squared_M[there]
    places[of_M[there]] = there
    return squared, whole.take(places)
