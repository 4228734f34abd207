"""Seals: every file that keepers reads back holds a checksum of all its bytes.

The seal is a field of the file's note, a JSON object which in Parquet and safetensors is part of
the metadata, so that it travels with the file. It is the BLAKE2b hash of the file with zeros in
its place, and it is checked before anything of the file is parsed.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
import warnings
from collections.abc import Callable, Container, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from keepers.errors import DamagedError, DataError, KeepersWarning
from keepers.files import atomic_path, json_text

if TYPE_CHECKING:
    from torch import Tensor

ArrowTable = Any  # pyarrow has no type stubs

_T = TypeVar("_T")
_FIELD = "checksum"
_ZEROS = b"0" * 32
_BLANK = "blake2b:" + _ZEROS.decode()
_SEAL = re.compile(rb'"checksum\\?": \\?"blake2b:([0-9a-f]{32})\\?"')  # JSON, or JSON within JSON
_NOTE = "keepers"
_WINDOW = 1 << 20  # where the seal is looked for first: metadata stand at either end


@contextmanager
def sealed_path(
    path: Path, *, overwrite: bool = True, size: int | None = None, synced: bool = True
) -> Generator[Path]:
    """As `atomic_path`; what the block writes there holds a blank seal, which is then filled in."""
    with atomic_path(path, overwrite=overwrite, size=size, synced=synced) as partial:
        yield partial
        with partial.open("r+b") as file, _mapped(file.fileno()) as data:
            place = _place(data)
            assert place is not None
            assert data[place : place + len(_ZEROS)] == _ZEROS
            digest = _digest(data, place)
            file.seek(place)
            file.write(digest)


def check_seal(path: Path, parameter: str, remedy: str) -> bool:
    """Refuse a file that is no longer what keepers wrote; whether it is sealed at all.

    Raises:
        DamagedError: the file does not fit its seal.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            return False
        with _mapped(file.fileno()) as data:
            place = _place(data)
            if place is None:
                return False
            if bytes(data[place : place + len(_ZEROS)]) == _digest(data, place):
                return True
    raise DamagedError(
        f"{parameter}: {path} is damaged, or was changed by another program: its checksum does "
        f"not match. {remedy}"
    )


@contextmanager
def _mapped(handle: int) -> Generator[mmap.mmap]:
    with mmap.mmap(handle, 0, access=mmap.ACCESS_READ) as data:
        yield data


def _place(data: mmap.mmap) -> int | None:
    """Where the digits of the seal begin."""
    tail = max(0, len(data) - _WINDOW)
    for start, end in ((0, min(_WINDOW, len(data))), (tail, len(data)), (0, len(data))):
        with memoryview(data) as view, view[start:end] as part:
            found = [match.start(1) + start for match in _SEAL.finditer(part)]
        if found:
            return found[-1] if start else found[0]
    return None


def _digest(data: mmap.mmap, place: int) -> bytes:
    state = hashlib.blake2b(digest_size=len(_ZEROS) // 2)
    with memoryview(data) as view, view[:place] as before, view[place + len(_ZEROS) :] as after:
        state.update(before)
        state.update(_ZEROS[: len(data) - place])
        state.update(after)
    return state.hexdigest().encode()


def write_note(path: Path, note: Mapping[str, Any], *, synced: bool = True) -> None:
    """Write a JSON object, sealed, atomically; `synced` as in `atomic_path`."""
    content = json_text({_FIELD: _BLANK, **note}).encode()
    with sealed_path(path, size=len(content), synced=synced) as partial:
        partial.write_bytes(content)


def read_note(path: Path, parameter: str, remedy: str) -> dict[str, Any]:
    """What `write_note` wrote.

    Raises:
        DamagedError: the file was changed, or is not sealed.
        OSError: it cannot be read.
    """
    _require_seal(path, parameter, remedy)
    return _unwrapped(path.read_text(encoding="utf-8"))


def write_table(
    path: Path, table: ArrowTable, note: Mapping[str, Any], *, overwrite: bool = True
) -> Path:
    """Write a table as Parquet, and `note` (JSON) in the file's metadata, sealed, atomically."""
    import pyarrow.parquet as pq

    text = _wrapped(note)
    table = table.replace_schema_metadata({_NOTE: text})
    with sealed_path(path, overwrite=overwrite, size=table.nbytes + len(text)) as partial:
        pq.write_table(table, partial, compression="zstd")
    return path


def write_batches(
    path: Path,
    schema: Any,
    tables: Iterable[ArrowTable],
    note: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Path:
    """As `write_table`, of tables of one schema that follow one another, a row group each."""
    import pyarrow.parquet as pq

    schema = schema.with_metadata({_NOTE: _wrapped(note)})
    with (
        sealed_path(path, overwrite=overwrite) as partial,
        pq.ParquetWriter(partial, schema, compression="zstd") as writer,
    ):
        for table in tables:
            writer.write_table(table.replace_schema_metadata(schema.metadata))
    return path


def read_table(
    path: Path, parameter: str, remedy: str, columns: Container[str] | None = None
) -> tuple[ArrowTable, dict[str, Any] | None]:
    """A table, or those of its `columns`, and its note: None where another program wrote it.

    Raises:
        DamagedError: the file was changed since keepers wrote it.
        DataError: it is no Parquet file.
        OSError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sealed = check_seal(path, parameter, remedy)
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            table = file.read([name for name in names if columns is None or name in columns])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{parameter}: cannot read {path} as Parquet: {error}") from None
    note = (table.schema.metadata or {}).get(_NOTE.encode())
    if note is not None and not sealed:
        raise _unsealed(path, parameter, remedy)
    return table, None if note is None else _unwrapped(note)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, Any] | None = None
) -> None:
    """Write tensors as safetensors, and `note` (JSON) in the metadata, sealed, atomically."""
    from safetensors.torch import save_file

    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with sealed_path(path, size=sum(value.nbytes for value in copies.values())) as partial:
        save_file(copies, partial, metadata={_NOTE: _wrapped(note or {})})


def read_tensors(
    path: Path, parameter: str, remedy: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the note of a file of `write_tensors`.

    Raises:
        DamagedError: the file was changed, or is not sealed.
        OSError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    _require_seal(path, parameter, remedy)
    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
            note = _unwrapped((file.metadata() or {})[_NOTE])
            return {name: file.get_tensor(name) for name in file.keys()}, note  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{parameter}: {path} cannot be read ({error}). {remedy}") from None


def recalled(read: Callable[[], _T]) -> _T | None:
    """What `read` gives of a file that can be made again: None where it is gone or damaged."""
    try:
        return read()
    except DamagedError as error:
        warnings.warn(str(error), KeepersWarning, stacklevel=3)
    except OSError:
        pass
    return None


def _wrapped(note: Mapping[str, Any]) -> str:
    return json.dumps({_FIELD: _BLANK, **note}, ensure_ascii=False)


def _unwrapped(text: str | bytes) -> dict[str, Any]:
    return {name: value for name, value in json.loads(text).items() if name != _FIELD}


def _require_seal(path: Path, parameter: str, remedy: str) -> None:
    if not check_seal(path, parameter, remedy):
        raise _unsealed(path, parameter, remedy)


def _unsealed(path: Path, parameter: str, remedy: str) -> DamagedError:
    return DamagedError(
        f"{parameter}: {path} has no checksum: it is damaged, or was written by another program "
        f"or an early version of keepers. {remedy}"
    )
