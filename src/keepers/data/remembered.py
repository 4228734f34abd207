"""What opening files gave, kept in a file: what did not change is neither hashed nor read again.

Files are taken for unchanged where their paths, sizes, inodes and both times are what they were; a
program that keeps the modification time cannot keep the time of the last change (ctime). A change
within the resolution of a clock does not show in times, so nothing is kept of files that changed
less than `SETTLED` before they were read (git does so with the entries of its index).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from keepers.code import installed_version
from keepers.data.examples import Examples
from keepers.data.extract import paths_beside
from keepers.data.folders import find_files, metadata_files
from keepers.data.inputs import PictureFiles, RawInputs, take_inputs
from keepers.data.material import Material
from keepers.data.source import Columns, SkippedRow, Source
from keepers.data.where import Part, Where
from keepers.errors import DataError, KeepersError
from keepers.files import fingerprint, hash_bytes
from keepers.sealed import read_tensors, recalled, write_tensors
from keepers.types import Kind

FORMAT = 4
SETTLED = 2_000_000_000
"""Nanoseconds: the coarsest clock of a file system (FAT) counts in 2 s."""

_T = TypeVar("_T")
_PLAIN = ("name", "kind", "class_names", "shape", "num_rows", "found")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The file `file`, in which is kept what opening the path `data` gave.

    `split` and `usual` choose a part of it; `asked` is all else that decides what is read.
    """

    file: Path
    data: Path
    split: str | None
    usual: tuple[str, ...]
    asked: Any

    def recall(self, read: Callable[[Columns, Kind], RawInputs]) -> Source | None:
        """What was kept, if nothing changed; `read` gives the inputs in the user's order."""
        kept = recalled(lambda: read_tensors(self.file, "campaign", "It was made again"))
        if kept is None:
            return None
        tensors, note = kept
        if note.get("asked") != self._key:
            return None
        paths, pictures, skipped = json.loads(tensors["listed"].numpy().tobytes())
        if note["state"] != self._state(pictures)[1]:
            return None
        columns = _made(Columns, note["columns"])
        rows = tensors["rows"].numpy().astype(np.int64, copy=False)
        labels = tensors.get("labels")
        units = np.arange(len(rows))
        units[tensors["copies"][0].numpy()] = tensors["copies"][1].numpy()

        def check() -> None:
            if self._state(pictures)[1] != note["state"]:
                raise DataError(
                    f"data: {self.data} changed since it was opened. Run the same command again"
                )

        def inputs() -> RawInputs:
            if note["root"] is not None:  # names alone: the pictures are read when they are used
                files = np.array([path or "" for path in paths], dtype=object)
                return PictureFiles(root=Path(note["root"]), names=files[rows])
            check()
            found = take_inputs(read(columns, note["plain"]["kind"]), rows)
            check()
            return found

        return Source(
            examples=Examples(
                rows=rows,
                names=_names(tensors),
                read_digests=partial(_digests, tensors),
                read_inputs=inputs,
                known_units=units,
                known_identity=note["identity"],
            ),
            labels=None if labels is None else labels.numpy(),
            groups=None,
            columns=columns,
            where=Where(
                paths=paths,
                parts=tuple(_made(Part, part, path=Path(part["path"])) for part in note["parts"]),
            ),
            skipped=tuple(_made(SkippedRow, row) for row in skipped),
            **_tupled(note["plain"]),
        )

    def before(self) -> tuple[int, str | None]:
        """What `keep` compares, taken before anything is read: the time, and how the files are."""
        return time.time_ns(), self._state([])[1]

    def keep(
        self,
        source: Source,
        material: Material,
        inputs: RawInputs,
        before: tuple[int, str | None],
    ) -> None:
        """Keep what was read, unless a file may have changed since `before`, come or gone.

        `inputs` are in the user's order. Nothing is kept of tables that name pictures in files of
        their own beside others that they hold.
        """
        pictures: list[str] = []
        if material.parts and isinstance(inputs, PictureFiles):
            pictures = [os.path.join(inputs.root, name) for name in inputs.names]
        elif material.parts and source.kind == "image":
            column = material.table[source.columns.input[0]]
            if pa.types.is_struct(column.type) and any(paths_beside(column)):
                return
        began, files = before
        latest, state = self._state(pictures)
        if state is None or latest + SETTLED >= began:
            return
        if files != (self._state([])[1] if pictures else state):
            return
        units = source.units
        copies = np.flatnonzero(units != np.arange(len(units)))
        tensors = {
            "rows": torch.from_numpy(source.rows.astype(np.min_scalar_type(-source.num_rows - 1))),
            "copies": torch.from_numpy(np.stack([copies, units[copies]])),
        }
        if source.labels is not None:
            tensors["labels"] = torch.from_numpy(source.labels)
        if source.columns.id is None:
            repeats = _HashIds.repeats_of(source.ids)
            tensors["repeats"] = torch.tensor(list(repeats.items()), dtype=torch.int64)
        elif source.examples.are_texts:
            _, starts, text = pa.array(source.ids, pa.large_string()).buffers()
            tensors["starts"] = torch.frombuffer(bytearray(starts), dtype=torch.int64)[
                : len(source) + 1
            ]
            tensors["ids"] = torch.from_numpy(np.frombuffer(text, np.uint8).copy())
        else:
            tensors["ids"] = torch.tensor(source.ids)
        raw = bytearray.fromhex(source.digests.tobytes().decode())
        tensors["digests"] = torch.frombuffer(raw, dtype=torch.uint8)
        # Notes have a limit of 100 MB.
        skipped = [asdict(row) for row in source.skipped]
        listed = json.dumps([list(source.where.paths), pictures, skipped]).encode()
        tensors["listed"] = torch.from_numpy(np.frombuffer(listed, np.uint8).copy())
        note = {
            "asked": self._key,
            "state": state,
            "root": str(material.root) if isinstance(inputs, PictureFiles) else None,
            "identity": source.identity,
            "columns": asdict(source.columns),
            "parts": [{**asdict(part), "path": str(part.path)} for part in source.where.parts],
            "plain": {name: getattr(source, name) for name in _PLAIN},
        }
        with contextlib.suppress(OSError):  # a disk that is full or cannot be written to
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(self.file, tensors, note)

    @property
    def _key(self) -> str:
        versions = FORMAT, installed_version("keepers"), pa.__version__
        part = str(self.data), str(self.data.resolve()), self.split, self.usual
        return fingerprint(versions, part, self.asked)

    def _state(self, pictures: list[str]) -> tuple[int, str | None]:
        """The time of the last change to any of the files, and all that tells whether there is one.

        `pictures` are files that the data name, beside those that the path means.
        """
        try:
            files = find_files(self.data, self.split, self.usual)
            beside = () if files.suffix else metadata_files(files)
            read = [os.path.join(files.root, name) for name in (*files.names, *beside)]
            stats = [(path, os.stat(path)) for path in (*read, *pictures)]
        except (OSError, KeepersError):
            return 0, None
        told = [
            (path, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev) for path, s in stats
        ]
        latest = max(max(s.st_mtime_ns, s.st_ctime_ns) for _, s in stats)
        return latest, hash_bytes(repr((files.split, files.left, told)).encode())


def _made(kind: Callable[..., _T], values: Mapping[str, Any], **others: Any) -> _T:
    return kind(**{**_tupled(values), **others})


def _tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


@dataclass(frozen=True, eq=False)
class _HashIds:
    """Ids (n,) that are hashes of inputs, as `ids.content_ids` makes them, each on demand.

    `raw` (n, 16) are the hashes, `repeats` the numbers of those that are not the first of theirs.
    """

    raw: npt.NDArray[np.uint8]
    repeats: Mapping[int, int]

    @staticmethod
    def repeats_of(ids: npt.NDArray[Any]) -> dict[int, int]:
        """The numbers behind the hashes, by position."""
        return {place: int(each[33:]) for place, each in enumerate(ids.tolist()) if len(each) > 32}

    def __getitem__(self, place: int) -> str:
        number = self.repeats.get(place)
        return self.raw[place].tobytes().hex() + ("" if number is None else f"-{number}")

    def to_numpy(self, *, zero_copy_only: bool) -> npt.NDArray[np.object_]:
        """All of them, as Arrow's arrays of strings give theirs."""
        digits = self.raw.tobytes().hex()
        ids = np.array([digits[at : at + 32] for at in range(0, len(digits), 32)], dtype=object)
        for place, number in self.repeats.items():
            ids[place] += f"-{number}"
        return ids


def _names(tensors: Mapping[str, Tensor]) -> Any:
    if "repeats" in tensors:
        raw = tensors["digests"].numpy().reshape(-1, 16)
        return _HashIds(raw, dict(tensors["repeats"].reshape(-1, 2).tolist()))
    ids = tensors["ids"].numpy()
    if "starts" not in tensors:
        return ids
    starts = tensors["starts"].numpy()
    buffers = pa.py_buffer(starts), pa.py_buffer(ids)
    return pa.LargeStringArray.from_buffers(len(starts) - 1, *buffers)


def _digests(tensors: Mapping[str, Tensor]) -> npt.NDArray[np.bytes_]:
    text = tensors["digests"].numpy().tobytes().hex().encode()
    return np.frombuffer(text, dtype="S32", count=len(tensors["rows"]))
