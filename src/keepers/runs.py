"""The run directory: stages that finish whole or not at all, and are found again."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from keepers import processes
from keepers.code import installed_version
from keepers.errors import DamagedError, KeepersWarning, RunError
from keepers.files import check_folder, file_digest, fingerprint, plain, sweep, write_json
from keepers.ledger import Cost
from keepers.sealed import read_note, write_note
from keepers.words import changed

FORMAT = 2
NOTE = "run.json"
SETTINGS = ("kind", "data", "config", "select", "keep", "until", "seed", "model")
"""What of a result says which one it is; it has some of these."""

RECORD = "stage.json"
_STAGE = re.compile(r".+-[0-9a-f]{12}(\.partial)?")
_AGAIN = "It is computed again"


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """What a finished stage says of itself: facts (JSON) and costs."""

    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    costs: tuple[Cost, ...] = ()


class Run:
    """A directory of stages, for one set of data, used by one process at a time.

    Each stage is a folder named by its inputs' fingerprint, written beside and renamed when
    whole. A rerun finds it; a kill loses at most the stage in progress, or what it did since the
    last checkpoint it kept in its unfinished folder. What is damaged is computed again, with a
    warning, and what a killed process left half-written is removed.

    Raises:
        RunError: the directory belongs to other data, another format, or another process.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, resume: bool = True) -> None:
        self.path = path
        self._resume = resume
        self._finished: set[str] = set()
        self._lock: int | None = None
        if processes.rank() == 0:
            check_folder(path, "run")
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path / ".lock")
            try:
                _identify(path, {"format": FORMAT, **identity})
                sweep(path)
            except BaseException:
                self.close()
                raise
        processes.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process use the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def finished(self, name: str, inputs: Any) -> bool:
        """Whether `stage` would find this stage rather than compute it."""
        key = _key(name, inputs)
        if key in self._finished:
            return True
        return self._resume and _is_whole(self.path / "stages" / key, key)

    def stage(
        self, name: str, inputs: Any, compute: Callable[[Path], StageRecord]
    ) -> tuple[Path, StageRecord]:
        """The folder and record of a stage: found if it is finished, else computed.

        `compute(folder)` writes its files into `folder`, where a checkpoint of an interrupted
        attempt may already be, and returns its record.
        """
        key = _key(name, inputs)
        folder = self.path / "stages" / key
        if not processes.agree(self.finished(name, inputs)):
            self._compute(folder, inputs, compute)
        self._finished.add(key)
        note = read_note(folder / RECORD, "run", "Run the same command again")
        costs = tuple(Cost(**cost) for cost in note["costs"])
        return folder, StageRecord(facts=note["facts"], costs=costs)

    def leave(self, name: str, result: Mapping[str, Any], say: Callable[[str], None]) -> None:
        """Write a result as JSON, atomically; say so where it takes the place of another one."""
        path, result = self.path / name, plain(result)
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none, or damaged
            before = None
        write_json(path, result)
        if isinstance(before, dict) and (told := changed(before, result, SETTINGS)):
            say(
                f"{path} had an earlier result, with {told}; it is replaced. Use another --run "
                "to keep both"
            )

    def _compute(self, folder: Path, inputs: Any, compute: Callable[[Path], StageRecord]) -> None:
        partial = folder.with_name(f"{folder.name}.partial")
        first = processes.rank() == 0
        if first:
            shutil.rmtree(folder, ignore_errors=True)  # damaged, or not to be used again
            if not self._resume:
                shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True, exist_ok=True)
        processes.wait()
        record = compute(partial)
        if first:
            write_note(
                partial / RECORD,
                {
                    "stage": folder.name,
                    "inputs": inputs,
                    "facts": record.facts,
                    "costs": [asdict(cost) for cost in record.costs],
                    "files": {path.name: file_digest(path) for path in sorted(partial.iterdir())},
                },
            )
            partial.replace(folder)
        processes.wait()


def _is_whole(folder: Path, key: str) -> bool:
    """Whether a stage is there and its files are those that were written.

    What this process found whole is not read again while no file has another size or time.
    """
    if not folder.exists():
        return False
    try:
        state = _state(folder)
        if _whole.get(folder) == state:
            return True
        note = read_note(folder / RECORD, "run", _AGAIN)
        if note.get("stage") != key:
            raise DamagedError(f"run: {folder / RECORD} belongs to another stage. {_AGAIN}")
        for name, digest in note["files"].items():
            if file_digest(folder / name) != digest:
                raise DamagedError(
                    f"run: {folder / name} is damaged: its checksum does not match. {_AGAIN}"
                )
    except DamagedError as error:
        warnings.warn(str(error), KeepersWarning, stacklevel=3)
    except OSError as error:
        said = f"run: {error.filename} cannot be read ({error.strerror}). {_AGAIN}"
        warnings.warn(said, KeepersWarning, stacklevel=3)
    else:
        _whole[folder] = state
        return True
    return False


_whole: dict[Path, Any] = {}
"""By folder, the `_state` in which this process found a stage whole."""


def _state(folder: Path) -> list[tuple[str | int, ...]]:
    """The files of a folder: name, inode, size and times of the last changes."""
    files = ((path.name, path.stat()) for path in sorted(folder.iterdir()))
    return [(name, f.st_ino, f.st_size, f.st_mtime_ns, f.st_ctime_ns) for name, f in files]


def _key(name: str, inputs: Any) -> str:
    return f"{name}-{fingerprint(name, inputs, installed_version('keepers'))[:12]}"


def _identify(path: Path, mine: dict[str, Any]) -> None:
    note = path / NOTE
    try:
        theirs = read_note(note, "run", "It is written again from the stages")
    except (FileNotFoundError, DamagedError) as error:
        damaged = isinstance(error, DamagedError)
        if not _holds_stages(path) and not all(
            _is_left_over(entry, note) for entry in path.iterdir()
        ):
            what = f"{note} is damaged" if damaged else f"{path} is not empty and holds no run"
            raise RunError(f"run: {what}. Name another directory, or remove this one") from None
        if damaged or (path / "stages").exists():
            said = str(error) if damaged else f"run: {note} is gone, and is made again"
            warnings.warn(said, KeepersWarning, stacklevel=4)
        write_note(note, mine)
        return
    for key, value in mine.items():
        if theirs.get(key) != value:
            raise RunError(
                f"run: {path} holds a run with {key} {theirs.get(key)!r}, but this one has "
                f"{value!r}. Name another --run directory, or remove this one"
            )


def _is_left_over(entry: Path, note: Path) -> bool:
    """Whether it is of a run that was killed before it said whose it is."""
    return entry.name in (".lock", note.name) or entry.name.startswith(f".{note.name}.")


def _holds_stages(path: Path) -> bool:
    """Whether a directory that lacks its note is a run all the same."""
    try:
        names = [entry.name for entry in (path / "stages").iterdir()]
    except OSError:
        return False
    return bool(names) and all(map(_STAGE.fullmatch, names))


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise RunError(f"run: {path.parent} is in use by another process. Wait for it") from None
    return handle
