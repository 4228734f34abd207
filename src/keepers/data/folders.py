"""Paths: which files are meant, which part of them, and what they hold."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from keepers.data.pictures import SUFFIXES
from keepers.errors import DataError, ParameterError

DATA_SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson", ".json")
DEFAULT_SPLIT = "train"
_SPLITS = ("train", "training", "test", "validation", "valid", "val", "dev", "eval", "holdout")
_SHARD = re.compile(r"[-_.]\d+([-_.]of[-_.]\d+)?$")


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files of one format: `suffix`, or "" for pictures; `root` is what `names` are relative to."""

    root: Path
    names: tuple[str, ...]
    suffix: str
    split: str | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(self.root / name for name in self.names)


def suffix_of(path: Path) -> str:
    """The suffix that tells the format, compression left aside.

    >>> suffix_of(Path("reviews.CSV.gz"))
    '.csv'
    """
    name = path.name.lower()
    return Path(name[:-3] if name.endswith((".gz", ".bz", ".xz")) else name).suffix


def find_files(path: Path, split: str | None) -> Files:
    """The data files that a path means: itself, or those in a folder, of one part.

    A folder with `train.parquet` and `test.parquet`, with `train-00000-of-00002.parquet`, or
    with sub-folders `train/` and `test/` has parts: `split` names one, by default `train`.

    Raises:
        DataError: nothing there, nothing readable, or several formats.
        ParameterError: `split` names no part.
    """
    if not path.exists():
        raise missing(path)
    if path.is_file():
        if split is not None:
            raise ParameterError(
                "split", f"got '{split}', but {path} is one file", "Leave --split out"
            )
        if suffix_of(path) not in DATA_SUFFIXES:
            raise DataError(
                f"data: {path} has a format that is not known. Give a Parquet, CSV, TSV, JSONL "
                "or JSON file, or a folder of such files or of pictures"
            )
        return Files(root=path.parent, names=(path.name,), suffix=suffix_of(path))
    return _in_folder(path, split)


def _in_folder(path: Path, split: str | None) -> Files:
    names = _walk(path)
    data = [name for name in names if suffix_of(Path(name)) in DATA_SUFFIXES]
    pictures = [name for name in names if name.lower().endswith(SUFFIXES)]
    if pictures and len(pictures) >= len(data):
        return _pictures(path, pictures, split)
    if not data:
        raise DataError(
            f"data: the folder {path} holds no Parquet, CSV, JSONL or picture file. "
            "Give a folder of such files, pictures in one sub-folder for each class"
        )
    parts: dict[str, list[str]] = {}
    for name in data:
        parts.setdefault(_part(name, split), []).append(name)
    named = {part: parts[part] for part in parts if part}
    chosen, part = _choose(path, named, data, split)
    suffixes = {suffix_of(Path(name)) for name in chosen}
    if len(suffixes) > 1:
        raise DataError(
            f"data: the folder {path} holds files of several formats "
            f"({', '.join(sorted(suffixes))}). Name the file that is meant"
        )
    return Files(root=path, names=tuple(chosen), suffix=suffixes.pop(), split=part)


def _choose(
    path: Path, parts: dict[str, list[str]], everything: list[str], split: str | None
) -> tuple[list[str], str | None]:
    if split is not None and split not in parts:
        there = ", ".join(sorted(parts)) or "none"
        raise ParameterError(
            "split", f"got '{split}', which {path} does not have", f"Its parts are: {there}"
        )
    if not parts:
        return everything, None
    part = split or DEFAULT_SPLIT
    if part not in parts:
        raise ParameterError(
            "split",
            f"{path} has no part '{part}'",
            f"Name one with --split (split=...): {', '.join(sorted(parts))}",
        )
    return parts[part], part


def _part(name: str, split: str | None) -> str:
    path = Path(name)
    stem = path.name[: path.name.lower().index(suffix_of(path))]
    for candidate in (_SHARD.sub("", stem), *reversed(path.parts[:-1])):
        if candidate == split or candidate.lower() in _SPLITS:
            return candidate
        # "validation_matched" is a part of its own beside "validation"
        if candidate.lower().startswith(tuple(f"{word}_" for word in _SPLITS)):
            return candidate
    return ""


def _pictures(path: Path, names: list[str], split: str | None) -> Files:
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(name.split("/", 1)[0], []).append(name)
    deep = {
        part: files
        for part, files in parts.items()
        if (part == split or part.lower() in _SPLITS) and any(f.count("/") > 1 for f in files)
    }
    chosen, part = _choose(path, deep, names, split)
    root = path / part if part else path
    inside = tuple(name.split("/", 1)[1] for name in chosen) if part else tuple(chosen)
    return Files(root=root, names=inside, suffix="", split=part)


def _walk(path: Path) -> list[str]:
    names: list[str] = []
    for folder, folders, files in os.walk(path, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        inside = Path(folder).relative_to(path)
        names += [(inside / name).as_posix() for name in files if not name.startswith((".", "_"))]
    return sorted(names)


def missing(path: Path) -> DataError:
    """The error for a path that is not there, with the nearest names in its folder."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        names = []
    missed = path.relative_to(folder).parts[0] if folder != path else path.name
    near = difflib.get_close_matches(missed, names, n=3, cutoff=0.5)
    hint = (
        "Did you mean " + " or ".join(str(folder / name) for name in near)
        if near
        else (
            f"The folder {folder} holds: "
            + ", ".join(names[:5])
            + (", …" if len(names) > 5 else "")
            if names
            else f"The folder {folder} is empty"
        )
    )
    return DataError(f"data: {path} does not exist. {hint}")
