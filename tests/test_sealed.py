"""Files that are read back: whole, or said to be damaged; and what a kill or a full disk leaves."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from keepers import files, sealed
from keepers.errors import DamagedError
from keepers.signals import store

NOTE = {"a": 1.5, "words": '"checksum": "blake2b:0"'}
TABLE = pa.table({"id": ["a", "b", "checksum"], "x": [1.0, 2.0, 3.0]})
TENSORS = {"w": torch.arange(6.0).view(2, 3), "n": torch.tensor(3)}


def _write_note(path: Path) -> None:
    sealed.write_note(path, NOTE)


def _write_table(path: Path) -> None:
    sealed.write_table(path, TABLE, NOTE)


def _write_tensors(path: Path) -> None:
    sealed.write_tensors(path, TENSORS, NOTE)


def _read_tensors(path: Path) -> Any:
    tensors, note = sealed.read_tensors(path, "file", "Do this")
    return {name: value.tolist() for name, value in tensors.items()}, note


def _read_table(path: Path) -> Any:
    table, note = sealed.read_table(path, "file", "Do this")
    return table.to_pylist(), note


KINDS: dict[str, tuple[Callable[[Path], object], Callable[[Path], Any]]] = {
    "note": (_write_note, lambda path: sealed.read_note(path, "file", "Do this")),
    "table": (_write_table, _read_table),
    "tensors": (_write_tensors, _read_tensors),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_byte_is_sealed(tmp_path: Path, kind: str) -> None:
    write, read = KINDS[kind]
    path = tmp_path / "file"
    write(path)
    whole, content = path.read_bytes(), read(path)
    if kind == "note":
        assert content == NOTE
    else:
        assert content[1] == NOTE
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DamagedError, match=r"file: .*(checksum|cannot be read).* Do this"):
            read(path)
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises((DamagedError, sealed.DataError)):
            read(path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_content_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    for name in "ab":
        KINDS[kind][0](tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_seal_is_found_in_a_large_file(tmp_path: Path) -> None:
    large = {"w": torch.zeros(2**20), "v": torch.ones(3)}
    sealed.write_tensors(tmp_path / "t", large, {"many": "x" * 2**21})
    assert sealed.check_seal(tmp_path / "t", "file", "")
    table = pa.table({"x": np.arange(400_000)})
    sealed.write_table(tmp_path / "p", table, {"many": "x" * 2**21})
    assert sealed.read_table(tmp_path / "p", "file", "")[1] == {"many": "x" * 2**21}


def test_a_table_of_another_program_has_no_note(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "t.parquet")
    table, note = sealed.read_table(tmp_path / "t.parquet", "file", "")
    assert note is None
    assert table.equals(TABLE)


# What a kill leaves ---------------------------------------------------------------------------

WRITER = """
    import os, signal, sys
    from pathlib import Path
    from keepers.files import atomic_path
    with atomic_path(Path(sys.argv[1])) as partial:
        partial.write_text("half")
        print("writing", flush=True)
        sys.stdin.readline()
"""


def test_the_next_write_sweeps_what_a_kill_left_and_spares_the_living(tmp_path: Path) -> None:
    path = tmp_path / "a [b]*.json"
    (tmp_path / ".a [b]*.json.notes").write_text("mine")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
    left = sorted(tmp_path.glob(".*.partial"))
    assert len(left) == 2
    writers[0].send_signal(signal.SIGKILL)
    writers[0].wait()
    files.write_text(path, "mine")
    assert len(list(tmp_path.glob(".*.partial"))) == 1
    assert path.read_text() == "mine"
    assert writers[1].communicate("go on\n")[0] == ""
    assert writers[1].returncode == 0
    assert path.read_text() == "half"
    assert sorted(os.listdir(tmp_path)) == [".a [b]*.json.notes", "a [b]*.json"]


# A full disk ----------------------------------------------------------------------------------


def _limited(folder: Path, write: Callable[[], object], size: int) -> str:
    """What a write says which no file over `size` bytes is allowed to."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(OSError, match="the disk is full") as raised:
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert raised.value.errno == errno.ENOSPC
    assert not list(folder.glob(".*"))
    return str(raised.value)


@pytest.mark.parametrize("kind", ["text", "table", "tensors", "array"])
def test_a_full_disk_says_for_what_and_how_much(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("x.npy" if kind == "array" else "file")
    random = np.random.default_rng(0).random(50_000)
    writes: dict[str, Callable[[], object]] = {
        "text": lambda: files.write_text(path, "x" * 400_000),
        "table": lambda: sealed.write_table(path, pa.table({"x": random}), {}),
        "tensors": lambda: sealed.write_tensors(path, {"x": torch.from_numpy(random)}),
        "array": lambda: store.write(tmp_path, {"x": torch.from_numpy(random)}),
    }
    if kind != "array":
        path.write_text("old")
    said = _limited(tmp_path, writes[kind], 10_000)
    assert "the disk is full" in said
    assert f": {path} takes up to 0.4 MB, and" in said
    assert f"{path} {'was not written' if kind == 'array' else 'is as it was'}" in said
    if kind != "array":
        assert path.read_text() == "old"


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "a", []

    def note(handle: int) -> None:
        synced.append((os.fstat(handle).st_ino, os.fstat(handle).st_size, path.exists()))

    monkeypatch.setattr(os, "fsync", note)
    with files.atomic_path(path) as partial:
        partial.write_text("whole")
    assert synced == [(path.stat().st_ino, 5, False)]


def test_another_error_is_left_alone(tmp_path: Path) -> None:
    def fail() -> None:
        with files.atomic_path(tmp_path / "a") as partial:
            partial.write_text("half")
            raise KeyError("nobody")

    with pytest.raises(KeyError, match="nobody"):
        fail()
    assert not os.listdir(tmp_path)
