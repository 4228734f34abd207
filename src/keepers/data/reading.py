"""`read_material`: whatever holds examples, as a table in the user's order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from keepers.choices import Header, OnBadRow
from keepers.data import builtin, folders, objects, readers
from keepers.data.arrays import from_arrays
from keepers.data.features import is_npy, read_npy
from keepers.data.material import Material
from keepers.errors import ParameterError
from keepers.types import Progress


def read_material(
    data: Any,
    split: str | None,
    usual: tuple[str, ...] = folders.TRAINING,
    progress: Progress | None = None,
    header: Header = "auto",
    on_bad_row: OnBadRow = "error",
) -> Material:
    """Read `data`, whatever it is, in the user's order."""
    if not isinstance(data, str | Path):
        return objects.read_object(data, split, usual, progress)
    path = Path(data).expanduser()
    known = str(data) in builtin.NAMES and not path.exists()
    if known or (is_npy(path) and path.exists()):
        if split is not None:
            raise ParameterError("split", f"got '{split}', but {data} has no parts", "Leave it out")
        if known:
            return builtin.digits()
        return replace(from_arrays(read_npy(path), None), name=path.name)
    if objects.is_saved(path):
        return objects.read_saved(path, split, usual)
    if not path.exists() and _is_hub_name(data):
        return objects.read_hub(str(data), split, usual)
    return readers.read_path(path, split, usual, header, on_bad_row)


def is_read_as_path(data: Any) -> bool:
    """Whether `readers` read it, rather than something that is known by its name or its parts."""
    if not isinstance(data, str | Path):
        return False
    path = Path(data).expanduser()
    return path.exists() and not is_npy(path) and not objects.is_saved(path)


def _is_hub_name(data: str | Path) -> bool:
    if not isinstance(data, str):
        return False
    if data.startswith("hf:"):
        return True
    owner, slash, name = data.partition("/")
    usual = bool(slash and owner and name) and "/" not in name and owner not in (".", "..", "~")
    known = Path(name).suffix.lower() in (*folders.DATA_SUFFIXES, *folders.PACKED, ".npy", ".txt")
    return usual and not known and not Path(owner).exists()
