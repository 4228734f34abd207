"""Atomic writes and fingerprints."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from keepers.errors import ExistsError, RunError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_AS_THEY_ARE = (str, int, bool, type(None))  # what JSON holds; most values of a fingerprint
_SAID_OF_FULL = ("os error 28", "os error 27", "os error 122", " requested and ")


@contextlib.contextmanager
def atomic_path(
    path: Path, *, overwrite: bool = True, size: int | None = None, synced: bool = True
) -> Generator[Path]:
    """Yield a temporary path beside `path`; move it into place when the block ends well.

    An exception, a kill or a full disk leaves the old file as it was; what a kill leaves beside
    it is removed by the next call. `size` is how many bytes will be written, where that is known.
    A file that is not `synced` may be damaged when the machine goes down: this is for one of many
    that have a checksum and can be made again. What is left beside such files, `sweep` removes.

    Raises:
        RunError: `path` exists and `overwrite` is false.
        OSError: there is no room (ENOSPC): the message says for what, and how much it takes.
    """
    check_output(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    if synced:
        sweep(path.parent, path.name)
    with room_for(path, size):
        handle, partial = _locked_file(path)
        try:
            yield partial
            if synced:
                with partial.open("rb") as written:
                    os.fsync(written.fileno())
            partial.chmod(0o666 & ~_umask())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
            os.close(handle)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Generator[Path]:
    """Yield a temporary folder beside `path`; move it into place when the block ends well.

    A folder that is there is moved aside, not removed, until the new one is in its place. What a
    kill leaves beside it is removed by the next call.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, path.name)
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial"))
    handle = os.open(partial, os.O_RDONLY)
    with contextlib.suppress(OSError):  # a disk without locks: nothing is swept there either
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        partial.chmod(0o755)
        yield partial
        if path.exists():
            old = partial.with_suffix(".old")
            path.rename(old)
            partial.rename(path)
            shutil.rmtree(old)
        else:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(handle)


def _locked_file(path: Path) -> tuple[int, Path]:
    """A new file beside `path`, locked so that no other process sweeps it away."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        with contextlib.suppress(OSError):  # a disk without locks: nothing is swept there either
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_nlink:  # not swept before it was locked
            return handle, Path(name)
        os.close(handle)


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left of files (or of the file `name`) while writing them.

    Without a name, also in the folders below. What a living process writes is locked, and stays.
    """
    pattern = ".*" if name is None else f".{glob.escape(name)}"
    found = folder.rglob if name is None else folder.glob
    for path in list(found(f"{pattern}.????????.partial")):
        with contextlib.suppress(OSError):  # in use, gone, or not ours to remove
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(handle)


@contextlib.contextmanager
def room_for(path: Path, size: int | None = None) -> Generator[None]:
    """Let a full disk say which file had no room, how many bytes it takes, and what was kept.

    Raises:
        OSError: ENOSPC, whatever a library made of it.
    """
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) not in _FULL and not any(
            words in str(error) for words in _SAID_OF_FULL
        ):
            raise
        raise _no_room(path, size, error) from error


def _no_room(path: Path, size: int | None, error: BaseException | None = None) -> OSError:
    free = f"{shutil.disk_usage(path.parent).free / 1e6:,.1f} MB are free"
    takes = "" if size is None else f"takes up to {size / 1e6:,.1f} MB, and "
    reason = ""
    if isinstance(error, OSError) and error.errno in (errno.EDQUOT, errno.EFBIG):
        reason = f" ({os.strerror(error.errno)})"
    kept = f"{path} is as it was" if path.exists() else f"{path} was not written"
    return OSError(
        errno.ENOSPC,
        f"the disk is full{reason}: {path} {takes}{free} there. {kept}; finished work is kept. "
        "Free some space and run the same command again",
    )


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse an output path that is a folder, in a file, or that exists unless `overwrite`."""
    if path.is_dir():
        raise RunError(f"out: {path} is a folder. Name another")
    check_folder(path.parent, "out")
    if path.exists() and not path.is_file():
        raise RunError(f"out: {path} is not a regular file. Name another")
    if path.exists() and not overwrite:
        raise ExistsError(f"out: {path} exists. Pass --overwrite (overwrite=True) to replace it")


def check_folder(path: Path, parameter: str) -> None:
    """Refuse a folder, there or to be made, where a file stands in the way."""
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            raise RunError(f"{parameter}: {part} is a file. Name a folder")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_room(path: Path, size: int) -> None:
    """Refuse to map a file of `size` bytes at `path` where the disk has no room for it.

    Writing to such a map would end the process without a word.

    Raises:
        OSError: the disk has not enough room (ENOSPC).
    """
    if size > shutil.disk_usage(path.parent).free:
        raise _no_room(path, size)


def write_text(path: Path, text: str, *, overwrite: bool = True) -> None:
    """Write UTF-8 text atomically."""
    content = text.encode()
    with atomic_path(path, overwrite=overwrite, size=len(content)) as partial:
        partial.write_bytes(content)


def write_json(path: Path, value: Any, *, overwrite: bool = True) -> None:
    """Write JSON atomically, keys in the order given."""
    write_text(path, json_text(value), overwrite=overwrite)


def json_text(value: Any) -> str:
    """JSON with an indent, keys in the order given."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Reduce dataclasses, tuples, sets and paths to what JSON holds; non-finite floats to None."""
    if isinstance(value, _AS_THEY_ARE):
        return value
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(v) for v in value)
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return plain(value.item())  # pyright: ignore[reportAttributeAccessIssue]
    return str(value)


def hash_bytes(value: Any) -> str:
    """32 hexadecimal digits of the bytes of a contiguous array, or of a bytes object."""
    return hashlib.blake2b(memoryview(value).cast("B"), digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """32 hexadecimal digits of the bytes of a file, as a run directory notes them."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def fingerprint(*values: Any) -> str:
    """32 hexadecimal digits of a canonical JSON form: equal values, equal fingerprint.

    >>> fingerprint({"a": 1, "b": (2, 3)}) == fingerprint({"b": [2, 3], "a": 1})
    True
    """
    text = json.dumps(plain(list(values)), sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
