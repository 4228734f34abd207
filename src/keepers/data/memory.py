"""Where encoded inputs lie: in memory, or in a file that is mapped into it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from keepers.files import check_room, room_for


def free() -> int:
    """Bytes of memory that can still be had."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def rows(shape: tuple[int, ...], dtype: np.dtype[Any], cache: Path | None) -> npt.NDArray[Any]:
    """An array to be filled: in memory, or in a file under `cache` where it is large."""
    size = int(np.prod(shape)) * dtype.itemsize
    if cache is None or size <= free() // 2:
        return np.empty(shape, dtype=dtype)
    with _nameless(cache, size) as file:
        return np.memmap(file, dtype=dtype, mode="r+", shape=shape)


def appended(
    blocks: Iterable[tuple[npt.NDArray[Any], npt.NDArray[np.int64]]],
    dtype: np.dtype[Any],
    estimate: int,
    cache: Path | None,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Blocks of values and lengths, each joined; `estimate` bytes of values are expected."""
    lengths: list[npt.NDArray[np.int64]] = []
    if cache is None or estimate <= free() // 2:
        # Room that is never written to takes no memory; joining parts would need them twice.
        values = np.empty(min(estimate, free() // 2) // dtype.itemsize, dtype)
        done = 0
        for part, length in blocks:
            if done + len(part) > len(values):
                grown = np.empty(max(done + len(part), 2 * len(values)), dtype)
                grown[:done] = values[:done]
                values = grown
            values[done : done + len(part)] = part
            done += len(part)
            lengths.append(length)
        return values[:done], np.concatenate(lengths)
    with _nameless(cache, estimate) as file, room_for(cache / "pool", estimate):
        for part, length in blocks:
            part.tofile(file)
            lengths.append(length)
        file.flush()
        return np.memmap(file, dtype=dtype, mode="r+"), np.concatenate(lengths)


def _nameless(cache: Path, size: int) -> IO[bytes]:
    """A file without a name, which lives as long as it is mapped: a kill leaves nothing."""
    cache.mkdir(parents=True, exist_ok=True)
    check_room(cache / "pool", size)
    return tempfile.TemporaryFile(dir=cache)
