"""Where outputs may go: never over the data they are made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keepers.data.folders import RUNS
from keepers.errors import ExistsError, RunError
from keepers.files import check_folder

MARKER = ".keepers-export"
_NOTE = "run.json"
_OF_A_RUN = frozenset(
    {
        *(_NOTE, ".lock", "stages", "encoded", "encoded-holdout"),
        *("selection.parquet", "report.html", "compare.json", "train.json", "il.parquet"),
    }
)


def check_apart(data: Any, output: str | Path, parameter: str) -> None:
    """Refuse an output that is the data, or lies inside the folder of the data.

    Raises:
        RunError: it does; links are followed.
    """
    path = _existing(data)
    if path is not None and is_within(Path(output), path):
        where = "lies inside the data" if path.is_dir() else "is the data file"
        raise RunError(f"{parameter}: {output} {where} {data}. Name another with --{parameter}")


def check_run(data: Any, run: str | Path | None) -> None:
    """Refuse a run directory that is the data or lies inside its folder.

    One in a folder `keepers-runs` is never read as data, so it may lie there.

    Raises:
        RunError: it does; links are followed.
    """
    if run is not None and RUNS not in Path(run).resolve().parts:
        check_apart(data, run, "run")


def check_own(
    output: str | Path, parameter: str, *, run: str | Path | None, config: Path | None = None
) -> None:
    """Refuse an output that would replace what keepers reads, or writes by itself.

    Raises:
        RunError: it is the `config` file, holds the directory `run`, or is one of the files of
            that run or of another; links are followed.
    """
    path = Path(output).resolve()
    another = f"Name another with --{parameter}"
    if config is not None and is_within(path, config):
        raise RunError(f"{parameter}: {output} is the --config file. {another}")
    if run is not None and is_within(Path(run), path):
        raise RunError(f"{parameter}: {output} is the place of the run directory {run}. {another}")
    for folder in path.parents:
        runs = (run is not None and folder == Path(run).resolve()) or folder.parent.name == RUNS
        name = path.relative_to(folder).parts[0]
        if name in _OF_A_RUN and (runs or (folder / _NOTE).is_file()):
            raise RunError(
                f"{parameter}: {output} is a file that keepers itself writes in the run "
                f"directory {folder}. {another}"
            )


def check_destination(
    data: Any, destination: str | Path, overwrite: bool = False, parameter: str = "export"
) -> None:
    """Refuse a folder to export into that holds anything but an earlier export.

    Raises:
        RunError: it is a file; it is, contains or lies inside the data, links followed; it holds
            what keepers did not write; or it is there, and `overwrite` is false.
    """
    destination = Path(destination)
    check_folder(destination, parameter)
    check_apart(data, destination, parameter)
    path = _existing(data)
    if path is not None and any(is_within(place, destination) for place in (path, path.parent)):
        raise RunError(
            f"{parameter}: {destination} contains the data {data}. Name another folder with "
            f"--{parameter}"
        )
    check_replaced(destination, overwrite, parameter)


def check_replaced(destination: Path, overwrite: bool, parameter: str) -> None:
    """Refuse a folder to be written as a whole that holds anything but an earlier export.

    Raises:
        RunError: it holds what keepers did not write; or it is there, and `overwrite` is false.
    """
    if not destination.exists():
        return
    if not _exported(destination) >= files_in(destination):
        raise RunError(
            f"{parameter}: {destination} exists, and holds files that keepers did not export, so "
            "--overwrite does not replace it. Name another folder"
        )
    if not overwrite:
        raise ExistsError(
            f"{parameter}: {destination} exists. Name another folder, or pass --overwrite "
            "(overwrite=True) to replace it"
        )


def files_in(folder: Path) -> set[str]:
    """Every file below a folder, by its path in it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def mark(folder: Path) -> None:
    """Note which files keepers exported, so that no other is ever replaced with them."""
    names = [*files_in(folder), MARKER]
    (folder / MARKER).write_text(json.dumps(sorted(names)), encoding="utf-8")


def may_replace(folder: Path) -> bool:
    """Whether it is a folder that keepers exported something into, or an empty one."""
    return folder.is_dir() and (not any(folder.iterdir()) or (folder / MARKER).is_file())


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
