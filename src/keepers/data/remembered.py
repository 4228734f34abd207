"""What hashing files gave, kept in a file: what did not change is not hashed again.

Files are taken for unchanged where their paths, sizes, inodes and both times are what they were; a
program that keeps the modification time cannot keep the time of the last change (ctime). A change
within the resolution of a clock does not show in times, so nothing is kept of files that changed
less than `SETTLED` before they were read (git does so with the entries of its index).
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from keepers.data import ids
from keepers.data.arrow import compute as pc
from keepers.data.extract import paths_beside
from keepers.data.inputs import PictureFiles, RawInputs, digests
from keepers.data.material import Material
from keepers.data.source import Columns
from keepers.errors import DamagedError, KeepersWarning
from keepers.files import fingerprint
from keepers.sealed import read_tensors, write_tensors
from keepers.types import Progress

FORMAT = 1
SETTLED = 2_000_000_000
"""Nanoseconds: the coarsest clock of a file system (FAT) counts in 2 s."""

_AGAIN = "It was made again"


@dataclass(frozen=True, kw_only=True, eq=False)
class Hashed:
    """Rows (n,) in the order of their sorted ids, and beside them their ids and digests.

    `repeats` counts rows with the input of another, `unread` are those that could not be read.
    `identity` is the hash of ids and digests, where it is known.
    """

    rows: npt.NDArray[np.int64]
    ids: npt.NDArray[Any]
    digests: npt.NDArray[np.bytes_]
    repeats: int
    unread: dict[int, str] = field(default_factory=dict[int, str])
    identity: str | None = None

    def take(self, places: npt.NDArray[np.int64]) -> Hashed:
        """Those at some places."""
        return Hashed(
            rows=self.rows[places],
            ids=self.ids[places],
            digests=self.digests[places],
            repeats=self.repeats,
        )

    def places(self, rows: Iterable[int]) -> list[int]:
        """Where some rows stand."""
        wanted = list(rows)
        if not wanted:
            return []
        place = np.empty(len(self.rows), dtype=np.int64)
        place[self.rows] = np.arange(len(self.rows))
        return place[wanted].tolist()


def hashed(
    material: Material,
    inputs: RawInputs,
    columns: Columns,
    *,
    memory: Path | None,
    began: int,
    progress: Progress | None,
) -> Hashed:
    """Hash the inputs and make the ids, or take both from the file `memory`.

    `began`: when the reading of the material began, in nanoseconds.

    Raises:
        DataError: keys that are missing or not unique.
    """
    if memory is None:
        return _hashed(material, inputs, columns, progress)
    files = _files(material, inputs)
    latest, state = _state(files, material, columns)
    found = None if state is None else _recalled(memory, state, material, columns)
    if found is None:
        found = _hashed(material, inputs, columns, progress)
        if state is not None and latest + SETTLED < began and not found.unread:
            found = replace(found, identity=ids.hash_of(found.ids, found.digests))
            _keep(memory, state, found, columns)
    return found


def _hashed(
    material: Material, inputs: RawInputs, columns: Columns, progress: Progress | None
) -> Hashed:
    hashes, unread = digests(inputs, progress)
    table = material.table
    if columns.id is not None:
        names: Any = ids.key_ids(table[columns.id], columns.id)
    else:
        beside = [name for name in table.column_names if name not in columns.input]
        if isinstance(material.inputs, PictureFiles):
            beside = [name for name in beside if name == columns.label]
        names = ids.content_ids(hashes, table.select(beside), columns.label)
    rows = ids.id_order(names)
    return Hashed(
        rows=rows,
        ids=names[rows],
        digests=hashes[rows],
        repeats=num_repeats(hashes),
        unread=unread,
    )


def num_repeats(hashes: npt.NDArray[np.bytes_]) -> int:
    """How many rows have the input of another before them."""
    return len(hashes) - pc.count_distinct(pa.array(hashes)).as_py()


def _files(material: Material, inputs: RawInputs) -> list[Path] | None:
    """All files that the inputs and ids were read from; None where they cannot be told."""
    if not material.parts or isinstance(inputs, PictureFiles):
        return None
    for name in material.table.column_names:
        column = material.table[name]
        is_picture = pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0
        if is_picture and any(paths_beside(column)):
            return None
    return [part.path for part in material.parts]


def _state(
    files: Iterable[Path] | None, material: Material, columns: Columns
) -> tuple[int, str | None]:
    """The time of the last change to any of the files, and all that tells whether there is one."""
    if files is None:
        return 0, None
    try:
        stats = [(str(path.resolve()), os.stat(path)) for path in files]
    except OSError:
        return 0, None
    told = [
        (path, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev) for path, s in stats
    ]
    headers = [part.header for part in material.parts]
    read = (material.table.num_rows, material.name, columns.input, columns.id, columns.label)
    latest = max(max(s.st_mtime_ns, s.st_ctime_ns) for _, s in stats)
    return latest, fingerprint(FORMAT, version("keepers"), told, headers, read)


def _recalled(memory: Path, state: str, material: Material, columns: Columns) -> Hashed | None:
    try:
        tensors, note = read_tensors(memory, "campaign", _AGAIN)
    except DamagedError as error:
        warnings.warn(str(error), KeepersWarning, stacklevel=2)
        return None
    except OSError:
        return None
    if note.get("state") != state:
        return None
    # 32 hexadecimal digits and a space each: a million are parted in a third of the time of slices.
    text = tensors["digests"].numpy().tobytes().hex(" ", 16)
    spaced = np.frombuffer((text + " " * bool(text)).encode(), dtype=[("hash", "S32"), ("", "S1")])
    hashes = np.ascontiguousarray(spaced["hash"])
    if columns.id is None:
        names = np.empty(len(hashes), dtype=object)
        names[:] = text.split()
        places, numbers = tensors["places"].tolist(), tensors["numbers"].tolist()
        for place, number in zip(places, numbers, strict=True):
            names[place] = f"{names[place]}-{number}"
    elif "keys" in tensors:
        names = tensors["keys"].numpy()
    else:
        keys = material.table[columns.id].take(pa.array(tensors["rows"].numpy()))
        names = np.array(keys.cast(pa.large_string()).to_pylist(), dtype=object)
    return Hashed(
        rows=tensors["rows"].numpy(),
        ids=names,
        digests=hashes,
        repeats=note["repeats"],
        identity=note["identity"],
    )


def _keep(memory: Path, state: str, found: Hashed, columns: Columns) -> None:
    raw = bytearray.fromhex(found.digests.tobytes().decode())
    tensors = {
        "digests": torch.frombuffer(raw, dtype=torch.uint8).view(-1, 16),
        "rows": torch.from_numpy(found.rows),
    }
    if columns.id is None:
        lengths = pc.utf8_length(pa.array(found.ids, pa.large_string())).to_numpy()
        places = np.flatnonzero(lengths > 32)
        numbers = [int(name[33:]) for name in found.ids[places].tolist()]
        tensors["places"] = torch.from_numpy(places)
        tensors["numbers"] = torch.tensor(numbers, dtype=torch.int64)
    elif found.ids.dtype != object:
        tensors["keys"] = torch.tensor(found.ids)
    note = {"state": state, "repeats": found.repeats, "identity": found.identity}
    with contextlib.suppress(OSError):  # a disk that is full or cannot be written to
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(memory, tensors, note)
