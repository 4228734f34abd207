"""Paths: which files are meant, which part of them, and what they hold."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from keepers.data.json_files import json_parts
from keepers.data.pictures import SUFFIXES
from keepers.errors import DataError, ParameterError
from keepers.words import remedy

DATA_SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson", ".json")
PACKED = (".gz", ".bz2", ".zst", ".lz4")
RUNS = "keepers-runs"
TRAINING = ("train", "training")
TESTING = ("test", "validation", "valid", "val", "dev", "eval", "holdout")
_SPLITS = (*TRAINING, *TESTING)
_SHARD = re.compile(r"[-_.]\d+([-_.]of[-_.]\d+)?$")


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files of one format: `suffix`, or "" for pictures; `root` is what `names` are relative to.

    `left` are files of the same folder that belong to other parts.
    """

    root: Path
    names: tuple[str, ...]
    suffix: str
    split: str | None = None
    left: tuple[str, ...] = ()

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
    packed = next((end for end in PACKED if name.endswith(end)), "")
    return Path(name.removesuffix(packed)).suffix


def find_files(path: Path, split: str | None, usual: tuple[str, ...] = TRAINING) -> Files:
    """The data files that a path means: itself, or those in a folder, of one part.

    A folder with `train.parquet` and `test.parquet`, with `train-00000-of-00002.parquet`, or
    with sub-folders `train/` and `test/` has parts: `split` names one; without it, it is the
    first of the `usual` ones that is there, or the only one.

    Raises:
        DataError: nothing there, nothing readable, or several formats.
        ParameterError: `split` names no part.
    """
    if not path.exists():
        raise missing(path)
    if path.is_file():
        if suffix_of(path) not in DATA_SUFFIXES:
            raise DataError(
                f"data: {path} has an unknown format. Give a Parquet, CSV, TSV, JSONL or JSON "
                "file (text with tabs between values is .tsv), or a folder of such files or of "
                "pictures"
            )
        parts = json_parts(path) if suffix_of(path) == ".json" else ()
        if not parts and split is not None:
            raise ParameterError(
                "split", f"got '{split}', but {path} is one file", "Leave --split out"
            )
        return Files(
            root=path.parent,
            names=(path.name,),
            suffix=suffix_of(path),
            split=choose_part(parts, split, usual, str(path)),
        )
    return _in_folder(path, split, usual)


def _in_folder(path: Path, split: str | None, usual: tuple[str, ...]) -> Files:
    names = _walk(path)
    data = [name for name in names if suffix_of(Path(name)) in DATA_SUFFIXES]
    pictures = [name for name in names if name.lower().endswith(SUFFIXES)]
    if pictures and len(pictures) >= len(data):
        return _pictures(path, pictures, split, usual)
    if not data:
        raise DataError(
            f"data: the folder {path} holds no Parquet, CSV, JSONL or picture file. "
            "Give a folder of such files, pictures in one sub-folder for each class"
        )
    parts: dict[str, list[str]] = {}
    for name in data:
        parts.setdefault(_part(name, split), []).append(name)
    named = {part: parts[part] for part in parts if part}
    part = choose_part(named, split, usual, str(path))
    chosen = named[part] if part else data
    suffixes = {suffix_of(Path(name)) for name in chosen}
    if len(suffixes) > 1:
        raise DataError(
            f"data: the folder {path} holds files of several formats "
            f"({', '.join(sorted(suffixes))}). Name one file"
        )
    left = tuple(name for name in data if name not in set(chosen))
    return Files(root=path, names=tuple(chosen), suffix=suffixes.pop(), split=part, left=left)


def choose_part(
    parts: Collection[str], split: str | None, usual: tuple[str, ...], where: str
) -> str | None:
    """The part that is meant, or None where there are none.

    Raises:
        ParameterError: `split` is not there, or several parts are and none of them is usual.
    """
    there = ", ".join(sorted(parts)) or "none"
    if split is not None:
        if split not in parts:
            raise ParameterError(
                "split",
                f"got '{split}', which {where} does not have",
                remedy(split, parts, "Its parts are"),
            )
        return split
    if not parts:
        return None
    if len(parts) == 1:
        return next(iter(parts))
    found = next((part for part in usual if part in parts), None)
    if found is None:
        raise ParameterError(
            "split",
            f"{where} has several splits, and none is called {' or '.join(usual[:2])}",
            f"Name its files: {there}"
            if usual == TESTING
            else f"Name one with --split (split=...), or name its files: {there}",
        )
    return found


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


def _pictures(path: Path, names: list[str], split: str | None, usual: tuple[str, ...]) -> Files:
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(name.split("/", 1)[0], []).append(name)
    deep = {
        part: files
        for part, files in parts.items()
        if (part == split or part.lower() in _SPLITS) and any(f.count("/") > 1 for f in files)
    }
    part = choose_part(deep, split, usual, str(path))
    chosen = deep[part] if part else names
    root = path / part if part else path
    inside = tuple(name.split("/", 1)[1] for name in chosen) if part else tuple(chosen)
    left = tuple(sorted(set(names) - set(chosen)))
    return Files(root=root, names=inside, suffix="", split=part, left=left)


def metadata_files(files: Files) -> tuple[str, ...]:
    """The tables beside pictures that describe them, in the folders of the pictures or above.

    They are called metadata.csv, .jsonl or .parquet, as the Hugging Face library has it.
    """
    folders = {"", *(str(part) for name in files.names for part in PurePosixPath(name).parents)}
    named = {
        (PurePosixPath(folder) / f"metadata{suffix}").as_posix()
        for folder in folders
        for suffix in (".csv", ".jsonl", ".parquet")
    }
    return tuple(sorted(name for name in named if (files.root / name).is_file()))


def _walk(path: Path) -> list[str]:
    names: list[str] = []
    above = {str(path): frozenset({os.path.realpath(path)})}
    for folder, folders, files in os.walk(path, followlinks=True):
        over = above.pop(folder)
        inside = Path(folder).relative_to(path)
        names += [(inside / name).as_posix() for name in files if not name.startswith((".", "_"))]
        for name in list(folders):
            target = os.path.realpath(os.path.join(folder, name))
            ours = name == RUNS or os.path.exists(os.path.join(target, "run.json"))
            if name.startswith((".", "_")) or ours or target in over:  # a link up never ends
                folders.remove(name)
            else:
                above[os.path.join(folder, name)] = over | {target}
    for name in names:
        if not name.isprintable() and not _is_unicode(name):
            raise DataError(
                f"data: the name of the file {os.fsencode(path / name)!r} is not UTF-8. Rename it"
            )
    return sorted(names)


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


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
