"""Raw inputs: pictures, texts or vectors as they were given, before any encoding."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.data.arrow import ArrowArray, ArrowColumn
from keepers.types import Progress, Silent

_BLOCK = 4096
READERS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureFiles:
    """Pictures in files: `names` (n,) are paths relative to `root`."""

    root: Path
    names: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        """The bytes of one file."""
        return (self.root / self.names[index]).read_bytes()


def inside(root: Path, names: Sequence[str | None]) -> list[Path | None]:
    """Where the files `names` of the folder `root` are; None for one that lies outside it.

    Names may be absolute and go up; links are followed.
    """
    real_root = Path(os.path.realpath(root))
    folders: dict[str, str] = {}
    found: list[Path | None] = []
    for name in names:
        head, tail = os.path.split(os.path.join(root, name or ""))
        if head not in folders:
            folders[head] = os.path.realpath(head)
        path = os.path.join(folders[head], tail)
        if tail in ("", ".", "..") or os.path.islink(path):
            path = os.path.realpath(path)
        found.append(Path(path) if Path(path).is_relative_to(real_root) else None)
    return found


RawInputs = ArrowColumn | npt.NDArray[Any] | PictureFiles
"""Encoded pictures or texts (Arrow binary or string), numbers, or picture files."""


def take_inputs(inputs: RawInputs, positions: npt.NDArray[np.int64]) -> RawInputs:
    """The inputs at some positions, in that order."""
    if isinstance(inputs, PictureFiles):
        return PictureFiles(root=inputs.root, names=inputs.names[positions])
    if isinstance(inputs, pa.ChunkedArray):
        return inputs.take(pa.array(positions))
    return inputs[positions]


def stored(inputs: RawInputs, index: int) -> bytes | None:
    """The bytes of one encoded picture or text, None where it is missing.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(inputs, PictureFiles):
        return inputs.read(index)
    value = inputs[index].as_py() if isinstance(inputs, pa.ChunkedArray) else inputs[index]
    return value.encode() if isinstance(value, str) else value


def blocks(column: ArrowColumn, size: int = _BLOCK) -> Iterator[ArrowArray]:
    """An Arrow column in contiguous pieces of at most `size` values."""
    for chunk in column.chunks:
        for start in range(0, len(chunk), size):
            yield chunk.slice(start, size)


def digests(
    inputs: RawInputs, progress: Progress | None = None
) -> tuple[npt.NDArray[np.bytes_], dict[int, str]]:
    """BLAKE2b-128 of each raw input, as 32 hexadecimal digits (n,), and what could not be read.

    Pictures are hashed as stored, texts as UTF-8, numbers as their bytes. A missing value, or a
    file that cannot be read, counts as an empty one; the latter are told by row.
    """
    unread: dict[int, str] = {}
    if isinstance(inputs, PictureFiles):
        found = _file_digests(inputs, unread, progress or Silent())
    elif isinstance(inputs, pa.ChunkedArray):
        found = [
            digest(value or b"")
            for block in blocks(inputs)
            for value in block.cast(pa.large_binary()).to_pylist()
        ]
    else:
        rows = np.ascontiguousarray(inputs).reshape(len(inputs), -1)
        found = [digest(row.data) for row in rows]
    return (np.array(found, dtype="S32") if found else np.empty(0, dtype="S32")), unread


def digest(value: Any) -> str:
    """BLAKE2b-128 of one raw input, as 32 hexadecimal digits."""
    return hashlib.blake2b(value, digest_size=16).hexdigest()


def _file_digests(files: PictureFiles, unread: dict[int, str], progress: Progress) -> list[str]:
    def one(index: int) -> str:
        try:
            return digest(files.read(index))
        except OSError as error:
            name = files.names[index]
            why = error.strerror or type(error).__name__
            unread[index] = f"the picture {name} cannot be read ({why})" if name else "no picture"
            return digest(b"")

    found: list[str] = []
    progress.start("Reading files", len(files))
    try:
        for each in in_threads(one, len(files)):
            found.append(each)
            progress.advance(len(found))
    finally:
        progress.finish()
    return found


def in_threads(task: Callable[[int], Any], count: int) -> Iterator[Any]:
    """`task(0)`, `task(1)`, ... in order, a few at a time."""
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(task, range(count))
