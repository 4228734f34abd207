"""Which shards are meant: the files of a folder, a glob or a list, here or at any address."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from keepers.data.folders import DATA_SUFFIXES, find_files, missing, suffix_of
from keepers.errors import DataError, MissingExtraError, first_few
from keepers.files import fingerprint
from keepers.words import counted

Named = str | Path | Sequence[str | Path]
"""A folder, a file, a glob, an address, or several of them."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A file of examples: where it is, and what tells whether it is still the same file.

    `name` is what a person is told: that of the file, with its folders if others have it, too.
    """

    address: str
    state: tuple[str, ...]
    name: str

    @property
    def key(self) -> str:
        """What results on it are found by."""
        return fingerprint(self.address, self.state)[:16]


def find_shards(data: Named, split: str | None = None) -> tuple[Shard, ...]:
    """The shards that are meant, in the order of their addresses, those of a list in its order.

    Raises:
        DataError: nothing there, nothing readable, several formats, or a shard that is named twice.
        MissingExtraError: an address that fsspec would read, which is not installed.
    """
    given = _names(data)
    if not given:
        raise DataError("data: got no file. Name a folder, a glob, or files")
    addresses = [each for name in given for each in _addresses(name, split)]
    twice = sorted({each for each in addresses if addresses.count(each) > 1}) if given[1:] else []
    if twice:
        names = counted(len(twice), "shard is", "shards are")
        raise DataError(f"data: {names} named twice: {first_few(twice)}. Name every shard once")
    suffixes = sorted({suffix_of(Path(each)) for each in addresses})
    if len(suffixes) > 1 or suffixes[0] not in DATA_SUFFIXES:
        raise DataError(
            f"data: the shards are of the formats {', '.join(suffixes)}. Name files of one format: "
            "Parquet, CSV or JSON lines"
        )
    names = [PurePosixPath(each).name for each in addresses]
    if len(set(names)) < len(names):
        names = below_all(addresses)
    return tuple(
        Shard(address=each, state=_state(each), name=name)
        for each, name in zip(addresses, names, strict=True)
    )


def folders_of(data: Named) -> list[Path]:
    """The folders on this machine among what is named."""
    found = (Path(name).expanduser() for name in _names(data) if not _is_remote(name))
    return [path for path in found if path.is_dir()]


def is_meant(path: Path, data: Named) -> bool:
    """Whether one of the globs on this machine among what is named would find a path.

    >>> is_meant(Path("/pool/2024/new.parquet"), "/pool/**/*.parquet")
    True
    """
    here = (name for name in _names(data) if not _is_remote(name) and glob.has_magic(name))
    globs = [Path(name).expanduser().resolve() for name in here if not Path(name).exists()]
    return any(_finds(each.parts, path.resolve().parts) for each in globs)


def _finds(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Whether the parts of a glob fit those of a path; `**` fits any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_finds(pattern[1:], parts[at:]) for at in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _finds(pattern[1:], parts[1:])


def _names(data: Named) -> list[str]:
    if isinstance(data, str) and "," in data and "://" not in data and not Path(data).exists():
        return [part.strip() for part in data.split(",")]
    return [str(each) for each in ([data] if isinstance(data, str | Path) else data)]


def below_all(addresses: Sequence[str]) -> list[str]:
    """Addresses below the folder that holds all of them.

    >>> below_all(["s3://pool/2024/a.parquet", "s3://pool/2025/a.parquet"])
    ['2024/a.parquet', '2025/a.parquet']
    """
    paths = [PurePosixPath(each) for each in addresses]
    parents = [path.parent.parts for path in paths]
    common = 0
    while all(len(p) > common and p[common] == parents[0][common] for p in parents):
        common += 1
    return ["/".join(path.parts[common:]) for path in paths]


@contextmanager
def local_copy(shard: Shard) -> Generator[Path]:
    """The path of a shard's file: its own, or that of a copy for as long as the block runs.

    Raises:
        DataError: it is gone, another than it was, or cannot be read.
    """
    try:
        same = _state(shard.address) == shard.state
    except DataError:
        raise DataError(
            f"data: the shard {shard.address} disappeared during the work. Restore it, or leave "
            "it out of the data: finished work on the others is kept"
        ) from None
    if not same:
        raise DataError(
            f"data: the shard {shard.address} changed during the work. Run the same command "
            "again: finished work on the others is kept"
        )
    if not _is_remote(shard.address):
        yield Path(shard.address)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PurePosixPath(shard.address).name
        system, inside = _system(shard.address)
        try:
            system.get_file(inside, str(path))
        except OSError as error:
            raise DataError(f"data: {shard.address} cannot be read ({error})") from None
        yield path


def _addresses(name: str, split: str | None) -> list[str]:
    if _is_remote(name):
        return _remote(name)
    path = Path(name).expanduser()
    if glob.has_magic(name) and not path.exists():
        found = sorted(
            each for each in glob.glob(str(path), recursive=True) if Path(each).is_file()
        )
        if not found:
            raise DataError(
                f"data: no file matches {name}. Quote a glob, so that keepers expands it"
            )
        return [str(Path(each).resolve()) for each in found]
    if not path.exists():
        raise missing(path)
    files = find_files(path, split)
    if not files.suffix:
        raise DataError(
            f"data: the folder {path} holds pictures. Shards are Parquet, CSV or JSON lines: put "
            "the pictures into a column, or leave --shards out"
        )
    return [str(each.resolve()) for each in files.paths]


def _is_remote(name: str) -> bool:
    return "://" in name


def _remote(name: str) -> list[str]:
    system, inside = _system(name)
    try:
        if glob.has_magic(inside):
            found = system.glob(inside)
        elif system.isdir(inside):
            found = system.find(inside)
        else:
            found = [inside] if system.exists(inside) else []
    except (OSError, ValueError) as error:
        raise DataError(f"data: {name} cannot be listed ({error})") from None
    known = [each for each in sorted(found) if suffix_of(Path(each)) in DATA_SUFFIXES]
    if not known:
        raise DataError(
            f"data: no Parquet, CSV or JSON lines file at {name}. Name a folder or a glob"
        )
    return [str(system.unstrip_protocol(each)) for each in known]


def _system(address: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise MissingExtraError(f"reading {address}", "ray") from None
    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise DataError(f"data: {address} cannot be opened ({error})") from None


def _state(address: str) -> tuple[str, ...]:
    """What tells that a file is the same: its size and time, or what its store says of it."""
    if not _is_remote(address):
        try:
            found = Path(address).stat()
        except OSError:
            raise DataError(f"data: {address} does not exist") from None
        return str(found.st_size), str(found.st_mtime_ns)
    system, inside = _system(address)
    try:
        about = system.info(inside)
    except (OSError, ValueError):
        raise DataError(f"data: {address} does not exist") from None
    told = (
        about.get(name) for name in ("size", "ETag", "etag", "mtime", "LastModified", "created")
    )
    return tuple(str(each) for each in told if each is not None)
