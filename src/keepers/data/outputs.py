"""Where outputs may go: never over the data they are made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keepers.errors import RunError
from keepers.files import check_folder

MARKER = ".keepers-export"


def check_apart(data: Any, output: str | Path, parameter: str) -> None:
    """Refuse an output that is the data, or lies inside the folder of the data.

    Raises:
        RunError: it does; links are followed.
    """
    path = _existing(data)
    if path is not None and is_within(Path(output), path):
        where = "lies inside the data" if path.is_dir() else "is the data file"
        raise RunError(f"{parameter}: {output} {where} {data}. Name another with --{parameter}")


def check_destination(data: Any, destination: str | Path, overwrite: bool = False) -> None:
    """Refuse a folder to export into that holds anything but an earlier export.

    Raises:
        RunError: it is a file; it is, contains or lies inside the data, links followed; it holds
            what keepers did not write; or it is there, and `overwrite` is false.
    """
    destination = Path(destination)
    check_folder(destination, "export")
    check_apart(data, destination, "export")
    path = _existing(data)
    if path is not None and any(is_within(place, destination) for place in (path, path.parent)):
        raise RunError(
            f"export: {destination} contains the data {data}. Name another folder with --export"
        )
    if not destination.exists():
        return
    if not _exported(destination) >= files_in(destination):
        raise RunError(
            f"export: {destination} exists and holds files that keepers did not export, so even "
            "--overwrite does not replace it. Name another folder"
        )
    if not overwrite:
        raise RunError(
            f"export: {destination} exists. Name another folder, or pass --overwrite "
            "(overwrite=True) to replace it"
        )


def files_in(folder: Path) -> set[str]:
    """Every file below a folder, by its path in it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def mark(folder: Path) -> None:
    """Note which files keepers exported, so that no other is ever replaced with them."""
    names = [*files_in(folder), MARKER]
    (folder / MARKER).write_text(json.dumps(sorted(names)), encoding="utf-8")


def _exported(folder: Path) -> set[str]:
    try:
        return set(json.loads((folder / MARKER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return set()


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path is `folder` or lies inside it, links followed."""
    path, folder = path.resolve(), folder.resolve()
    return any(
        part == folder or (part.exists() and folder.exists() and part.samefile(folder))
        for part in (path, *path.parents)
    )


def _existing(data: Any) -> Path | None:
    if not isinstance(data, str | Path):
        return None
    path = Path(data).expanduser()
    return path if path.exists() else None
