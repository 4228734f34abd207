"""Drift: what came into the pool and left it since the journal last saw it; other test data."""

from __future__ import annotations

import contextlib
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from keepers.campaign import BROUGHT, Event, Measure, Pool, State, Vote
from keepers.data import Source, remembered
from keepers.errors import DamagedError, DataError, KeepersWarning, RunError
from keepers.files import fingerprint
from keepers.sealed import (
    check_seal,
    read_note,
    read_table,
    recalled,
    write_note,
    write_table,
)
from keepers.words import counted
from keepers.workflows.active.ground import version_of_data
from keepers.workflows.active.opening import Holdings

FOLDER = "pools"
CHECKED = "checked.json"
SHOWN = 5
RESTORE = "It lists the earlier pool: restore it from a copy of the campaign"


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How the pool differs from the one the journal last saw.

    `changed` counts rows whose key stayed and whose input did not; `removed` are the ids with a
    label, a vote or a place in a batch that are no longer there with the input they had. `tested`
    says that the test data are others.
    """

    added: int = 0
    gone: int = 0
    changed: int = 0
    removed: tuple[int | str, ...] = ()
    tested: bool = False

    def sentences(self) -> list[str]:
        """What a person is told; nothing where nothing changed."""
        found: list[str] = []
        if self.added or self.gone or self.changed:
            found.append(
                f"The pool changed: {counted(self.added, 'row')} added, {self.gone:,} removed, "
                f"{self.changed:,} with another input under the same key"
            )
        if self.removed:
            names = ", ".join(map(str, self.removed[:SHOWN]))
            more = ", …" if len(self.removed) > SHOWN else ""
            found.append(
                "No longer in the pool, or with another input under their key: "
                f"{counted(len(self.removed), 'example')} of this campaign ({names}{more}). They "
                "are not used until they come back"
            )
        if self.tested:
            found.append(
                "The test data hold other examples or labels than before: accuracies from now "
                "on are not comparable with earlier ones"
            )
        return found


def changes(folder: Path, holdings: Holdings, state: State) -> tuple[list[Event], Drift]:
    """What to write down when a campaign is opened: a changed pool, and labels new in the data.

    Raises:
        DataError: not one example of the earlier pool is left.
        RunError: the snapshot of the earlier pool is gone.
    """
    event, drift = pool_event(folder, holdings, state)
    found: list[Event] = [] if event is None else [event]
    measure = measure_event(holdings, state)
    if measure is not None:
        found.append(measure)
        drift = replace(drift, tested=measure.number > 0)
    for item, name in holdings.brought.items():
        before = [vote.label for vote in state.item(item).votes if vote.source == BROUGHT]
        if before[-1:] != [name]:
            schema = version_of_data(state.question.names_in(name), state.schemas)
            found.append(
                Vote(item=item, annotator=BROUGHT, label=name, source=BROUGHT, schema=schema)
            )
    return found, drift


def measure_event(holdings: Holdings, state: State) -> Measure | None:
    """What to write down of the test data as they are now, None where the journal knows them."""
    test = holdings.test
    if test is None or test.labels is None:
        return None
    assert test.targets is not None
    answers = test.task.answers(test.targets, range(len(test)))  # as they are called there
    now = fingerprint(test.identity, answers)
    before = state.measures
    if before and before[-1].fingerprint == now:
        return None
    return Measure(number=len(before), fingerprint=now)


def is_new(measure: Measure | None, state: State) -> bool:
    """Whether a test set is none that the campaign ever had; it may never have noted one."""
    known = {each.fingerprint for each in state.measures}
    return measure is not None and bool(known) and measure.fingerprint not in known


def pool_event(folder: Path, holdings: Holdings, state: State) -> tuple[Pool | None, Drift]:
    """What to write down of the pool as it is now, None where the journal knows it already.

    Raises:
        DataError: not one example of the earlier pool is left.
        RunError: the snapshot of the earlier pool is gone.
    """
    source = holdings.source
    now, before = source.identity, state.pool
    if before is not None and before.fingerprint == now:
        _mend(folder / before.snapshot, source)
        return None, Drift(removed=before.removed)
    drift = Drift()
    if before is not None:
        earlier = _read(folder / before.snapshot)
        ids = dict(zip(source.ids.tolist(), source.digests.tolist(), strict=True))
        stayed = earlier.keys() & ids.keys()
        if not stayed:
            raise DataError(
                f"pool: {source.name} has no example of this campaign's pool. Restore the "
                "earlier file, or start another campaign"
            )
        drift = Drift(
            added=len(ids) - len(stayed),
            gone=len(earlier) - len(stayed),
            changed=sum(earlier[name] != ids[name] for name in stayed),
            removed=_removed(folder, ids, state),
        )
    name = f"{FOLDER}/{now[:16]}.parquet"
    _write(folder / name, source)
    event = Pool(
        number=0 if before is None else before.number + 1,
        fingerprint=now,
        snapshot=name,
        added=drift.added,
        gone=drift.gone,
        removed=drift.removed,
    )
    return event, drift


def _removed(folder: Path, ids: dict[int | str, bytes], state: State) -> tuple[int | str, ...]:
    """The items that the pool does not hold with the input that they were planned or labelled with.

    That is their input when they were last in a pool and not removed from it.
    """
    known: dict[int | str, bytes] = {}
    for pool in state.pools:
        removed = set(pool.removed)
        held = _read(folder / pool.snapshot)
        known |= {name: held[name] for name in state.items if name in held and name not in removed}
    return tuple(
        name
        for name in state.items
        if name not in ids or (name in known and ids[name] != known[name])
    )


def _write(path: Path, source: Source) -> None:
    if path.exists():
        return
    ids: Any = source.ids
    kind = pa.large_string() if ids.dtype == object else pa.int64()
    table = pa.table(
        {"id": pa.array(ids.tolist(), kind), "digest": pa.array(source.digests.tolist())}
    )
    write_table(path, table, {})


def _mend(path: Path, source: Source) -> None:
    """Write a snapshot again that is damaged or gone, while the pool is still what it lists.

    One of the size and time with which it was found whole is not read: what reads it checks it.
    """
    memory, began = path.with_name(CHECKED), time.time_ns()
    try:
        file = path.stat()
        state = [path.name, file.st_size, file.st_mtime_ns]
        known = recalled(lambda: read_note(memory, "campaign", "It was made again"))
        if known is not None and known["snapshot"] == state:
            return
        if check_seal(path, "campaign", "The pool is still the same: it was written again"):
            if file.st_mtime_ns + remembered.SETTLED < began:
                with contextlib.suppress(OSError):  # a disk that is full
                    write_note(memory, {"snapshot": state})
            return
        said = f"campaign: {path} was damaged, and was written again"
    except DamagedError as error:
        said = str(error)
    except OSError as error:
        said = f"campaign: {path} could not be read ({error.strerror}), and was written again"
    warnings.warn(said, KeepersWarning, stacklevel=2)
    path.unlink(missing_ok=True)
    _write(path, source)


def _read(path: Path) -> dict[int | str, bytes]:
    try:
        table, note = read_table(path, "campaign", RESTORE)
    except OSError as error:
        raise RunError(f"campaign: {path} cannot be read ({error}). {RESTORE}") from None
    if note is None:
        raise RunError(f"campaign: {path} was not written by keepers. {RESTORE}")
    return dict(zip(table["id"].to_pylist(), table["digest"].to_pylist(), strict=True))
