"""Arrays on disk: one `.npy` file each, memory-mapped when read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from keepers.files import atomic_path, check_room

LARGE_BYTES = 256 * 1024**2


def allocate(shape: tuple[int, ...], *, name: str, folder: Path | None) -> Tensor:
    """A float32 tensor to fill: in memory, or mapped to `folder/name.npy` when it is large."""
    if folder is None or 4 * int(np.prod(shape)) < LARGE_BYTES:
        return torch.empty(shape)
    path = folder / f"{name}.npy"
    check_room(path, 4 * int(np.prod(shape)))
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    return torch.from_numpy(mapped)


def clear(folder: Path) -> None:
    """Remove the arrays of an interrupted attempt."""
    for path in folder.glob("*.npy"):
        path.unlink()


def write(folder: Path, arrays: dict[str, Tensor]) -> None:
    """Write each array to `folder/name.npy`; what `allocate` mapped there is there already.

    Call `clear` before allocating, so that nothing is left of an interrupted attempt.
    """
    for name, value in arrays.items():
        path = folder / f"{name}.npy"
        if path.exists():
            continue
        with atomic_path(path, size=value.nbytes) as partial, partial.open("wb") as file:
            np.save(file, value.detach().cpu().numpy(), allow_pickle=False)


def read(folder: Path) -> dict[str, Tensor]:
    """Every array in `folder`; copy-on-write maps, so memory is used as they are read."""
    return {
        path.stem: torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
        for path in sorted(folder.glob("*.npy"))
    }
