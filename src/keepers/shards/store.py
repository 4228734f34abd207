"""Results by shard: arrays on disk that are whole or not there, found again by their key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.errors import DamagedError
from keepers.files import atomic_path, file_digest
from keepers.sealed import read_note, recalled, write_note

_AGAIN = "It is made again"


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Arrays of one shard, mapped from their files, and facts (JSON)."""

    arrays: Mapping[str, npt.NDArray[Any]]
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.arrays[name]


@dataclass(frozen=True)
class Store:
    """A folder of results, one for each key: files `KEY.NAME.npy`, and last a sealed `KEY.json`.

    Any number of processes write it, each its own keys; one that is killed leaves nothing that
    counts.
    """

    folder: Path

    def write(self, key: str, arrays: Mapping[str, npt.NDArray[Any]], facts: Any = None) -> None:
        """Write a result whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        written: dict[str, Any] = {}
        for name, values in arrays.items():
            path = self._path(key, name)
            with (
                atomic_path(path, size=values.nbytes, synced=False) as partial,
                partial.open("wb") as file,
            ):
                np.save(file, values, allow_pickle=False)
            written[name] = [path.stat().st_size, file_digest(path)]
        note = {"arrays": written, "facts": facts or {}}
        write_note(self.folder / f"{key}.json", note, synced=False)

    def is_there(self, key: str) -> bool:
        """Whether a result is there with the bytes that were written; damage is said."""

        def check() -> bool:
            for name, (size, digest) in self._note(key)["arrays"].items():
                path = self._path(key, name)
                if path.stat().st_size != size or file_digest(path) != digest:
                    raise DamagedError(f"run: {path} is damaged: its checksum differs. {_AGAIN}")
            return True

        return bool(recalled(check))

    def read(self, key: str) -> Result:
        """A result that is there: arrays are read as they are used."""
        note = self._note(key)
        arrays = {
            name: np.load(self._path(key, name), mmap_mode="r", allow_pickle=False)
            for name in note["arrays"]
        }
        return Result(arrays=arrays, facts=note["facts"])

    def _note(self, key: str) -> dict[str, Any]:
        return read_note(self.folder / f"{key}.json", "run", _AGAIN)

    def _path(self, key: str, name: str) -> Path:
        return self.folder / f"{key}.{name}.npy"
