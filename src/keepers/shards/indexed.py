"""All shards, indexed: ids are unique over all of them, and there is one set of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.errors import DataError
from keepers.files import fingerprint
from keepers.shards.executor import Executor
from keepers.shards.index import Ids, Indexing, index, refuse_unlabelled
from keepers.shards.parts import Part, sizes_of
from keepers.shards.places import Shard
from keepers.shards.reading import Reading
from keepers.shards.repeats import At, copies_of_inputs, number_copies, refuse_shared_ids
from keepers.shards.store import Store
from keepers.types import Progress, Silent

Integers = npt.NDArray[np.int64]

_VERSION = 4
"""Of what is noted of a shard: an index of another version is made again."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Indexed:
    """The shards that have rows, their indexes and facts, and the names of all classes.

    `aside` are the places of those that are copies of another, where copies are set aside. Rows are
    those of all shards, also of those with none that can be used.
    """

    reading: Reading
    indexes: tuple[At, ...]
    facts: tuple[dict[str, Any], ...]
    class_names: tuple[str, ...]
    aside: dict[At, Integers]
    empty: tuple[Shard, ...]
    num_rows: int
    num_skipped: int

    @property
    def num_copies(self) -> int:
        """Copies that are set aside."""
        return sum(map(len, self.aside.values()))

    @property
    def num_repeats(self) -> int:
        """Examples with the input of another, where ids come from the inputs; else 0."""
        if self.reading.columns.id is not None:
            return 0
        return sum(Ids(at.read()).num_numbered for at in self.indexes)

    @property
    def num_slots(self) -> int:
        """Slots of classes: one for examples without one, and one for each class."""
        return 1 + len(self.class_names)

    def slots(self, place: int) -> Integers:
        """The slots of the classes of one shard, the first for examples without one."""
        names = self.facts[place].get("classes", [])
        known = {name: number for number, name in enumerate(self.class_names)}
        return np.array([0, *(1 + known[name] for name in names)], np.int64)

    def parts(self, scores: Sequence[At] | None) -> tuple[Part, ...]:
        """The shards as they take part in a selection by `scores`, or without any."""
        wide = any(each.read()["scores"].dtype.itemsize == 8 for each in scores or ())
        return tuple(
            Part(
                at=at,
                scores=None if scores is None else scores[place],
                slots=self.slots(place),
                last=self.num_slots,
                wide=wide,
                aside=self.aside.get(at),
            )
            for place, at in enumerate(self.indexes)
        )

    @property
    def content(self) -> str:
        """A fingerprint of the indexes: of all shards, their states and how they were read."""
        return fingerprint([(at.key, at.folder.name) for at in self.indexes])


def index_all(
    run: Executor,
    shards: Sequence[Shard],
    reading: Reading,
    folder: Path,
    *,
    require: bool,
    distinct: bool,
    resume: bool = True,
    progress: Progress | None = None,
) -> Indexed:
    """Index every shard that is not indexed yet; ids are unique over all, or it is an error.

    Raises:
        DataError: a shard that cannot be read, ids that stand in two, or classes of one name alone.
    """
    name = f"index-{fingerprint(reading.identity(), _VERSION)[:12]}"
    work = Indexing(reading=reading, folder=folder / name, require=require)
    every(run, index, work, shards, Store(work.folder), "indexing", resume, progress)
    at = [At(shard, work.folder, shard.key) for shard in shards]
    facts = [dict(each.read().facts) for each in at]
    if require:
        for shard, each in zip(shards, facts, strict=True):
            refuse_unlabelled(each, reading, shard)
    there = [place for place in range(len(at)) if len(at[place].read()["rows"])]
    if not there:
        raise DataError("data: no shard has a usable row. Give data with rows")
    indexes = tuple(at[place] for place in there)
    own = tuple(facts[place] for place in there)
    names = [shards[place].name for place in there]
    _refuse_unlike(own, names, reading)
    if reading.columns.id is not None:
        refuse_shared_ids(run, indexes)
    else:
        read = tuple(each for each in at if "digests" in each.read().arrays)
        numbered = number_copies(run, read, reading, folder / f"{name}-copies")
        indexes = tuple(numbered[read.index(each)] for each in indexes)
    return Indexed(
        reading=reading,
        indexes=indexes,
        facts=own,
        class_names=_classes(own, names, reading, require),
        aside=copies_of_inputs(run, indexes) if distinct else {},
        empty=tuple(shard for shard, each in zip(shards, facts, strict=True) if not each["rows"]),
        num_rows=sum(each["rows"] for each in facts),
        num_skipped=sum(each.get("skipped", 0) for each in facts),
    )


def every(
    run: Executor,
    task: Any,
    work: Any,
    shards: Sequence[Shard],
    store: Store,
    what: str,
    resume: bool,
    progress: Progress | None,
) -> int:
    """Run a task on each shard that has no result in `store`; how many had one.

    Raises:
        KeepersError: what went wrong with a shard, once those under way have ended.
    """
    waiting = [shard for shard in shards if not (resume and store.is_there(shard.key))]
    listener = progress or Silent()
    listener.start(what, len(shards))
    done = len(shards) - len(waiting)
    try:
        for _ in run.map(task, work, waiting):
            done += 1
            listener.advance(done)
    finally:
        listener.finish()
    return len(shards) - len(waiting)


def sizes(run: Executor, parts: Sequence[Part], num_slots: int) -> Integers:
    """How many examples that may be picked each slot has."""
    found = run.map(sizes_of, num_slots + 1, parts)
    return np.sum([each for _, each in found], axis=0)[:num_slots]


def _refuse_unlike(facts: Sequence[dict[str, Any]], names: Sequence[str], reading: Reading) -> None:
    """Refuse shards of other keys, or of longer vectors, than the first."""
    columns = reading.columns
    named = {"id": columns.id, "features": columns.features, "input": ", ".join(columns.input)}
    for parameter, column in named.items():
        first = facts[0]["alike"].get(parameter)
        for name, each in zip(names, facts, strict=True):
            if (own := each["alike"].get(parameter)) != first:
                raise DataError(
                    f"{parameter}: column '{column}' holds {own} in the shard {name}, but "
                    f"{first} in {names[0]}. Give shards of one schema"
                )


def _classes(
    facts: Sequence[dict[str, Any]], names: Sequence[str], reading: Reading, require: bool
) -> tuple[str, ...]:
    """The classes of all shards, in the order in which one table would have them."""
    if reading.columns.label is None:
        return ()
    declared = {tuple(each["classes"]) for each in facts if each["declared"]}
    bare = [name for name, each in zip(names, facts, strict=True) if not each["declared"]]
    if declared and (len(declared) > 1 or bare):
        raise DataError(
            f"label: the shards declare different classes in column '{reading.columns.label}'. "
            "Write one list of names into all of them"
        )
    if declared:
        return declared.pop()
    found = {name for each in facts for name in each["classes"]}
    if require and len(found) < 2:
        raise DataError(
            f"label: column '{reading.columns.label}' holds only one class "
            f"({', '.join(found) or 'none'}). Selection needs at least 2; name another column "
            "with --label (label=...)"
        )
    whole = all(each["whole"] for each in facts)
    return tuple(sorted(found, key=int if whole else None))
