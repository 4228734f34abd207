"""Files that did not change are not hashed again, and every change is seen."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keepers import Campaign
from keepers.data import Source, open_source
from keepers.data.remembered import SETTLED
from keepers.errors import KeepersWarning

LATER = SETTLED + 10**9
remembered = sys.modules["keepers.data.remembered"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How far the clock is ahead of that of the files, in nanoseconds."""
    ahead = [LATER]
    import time

    real = time.time_ns
    monkeypatch.setattr("keepers.data.opening.time.time_ns", lambda: real() + ahead[0])
    return ahead


@pytest.fixture
def hashings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many inputs were hashed, each time that some were."""
    counts: list[int] = []
    hash_all = remembered.digests

    def counted(inputs: Any, progress: Any = None) -> Any:
        counts.append(len(inputs))
        return hash_all(inputs, progress)

    monkeypatch.setattr(remembered, "digests", counted)
    return counts


def write(path: Path, rows: list[str]) -> Path:
    path.write_text(
        "".join(f'{{"text": "{row}", "key": {10 * n}}}\n' for n, row in enumerate(rows))
    )
    return path


def opened(path: Path, **options: Any) -> Source:
    memory = path.parent / "memory" / "hashed.safetensors"
    return open_source(path, require_labels=False, memory=memory, **options)


def same(one: Source, other: Source) -> None:
    assert one.fingerprint == other.fingerprint
    assert one.found == other.found
    assert one.ids.dtype == other.ids.dtype
    for name in ("ids", "rows", "digests"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


ROWS = ["the first text", "a text that is there twice", "a text that is there twice", "the last"]


@pytest.mark.parametrize("options", [{}, {"id": "key"}, {"id": "name"}, {"limit": 2}], ids=str)
def test_what_is_recalled_is_what_was_hashed(
    options: dict[str, Any], clock: list[int], hashings: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "pool.parquet"
    names = [f"n{number}" for number in (3, 1, 2, 0)]
    pq.write_table(pa.table({"text": ROWS, "key": [7, 5, 9, 1], "name": names}), path)
    first, second = opened(path, **options), opened(path, **options)
    assert hashings == [4]
    same(first, second)
    same(first, open_source(path, require_labels=False, **options))


def _in_place(path: Path) -> None:
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b"first", b"worst"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _replaced(path: Path) -> None:
    other = path.with_suffix(".other")
    shutil.copy2(path, other)
    _in_place(other)
    other.replace(path)


def _longer(path: Path) -> None:
    with path.open("a") as file:
        file.write('{"text": "one more", "key": 99}\n')


@pytest.mark.parametrize("change", [_in_place, _replaced, _longer])
def test_every_change_is_seen(
    change: Callable[[Path], None], clock: list[int], hashings: list[int], tmp_path: Path
) -> None:
    path = write(tmp_path / "pool.jsonl", ROWS)
    before = opened(path)
    change(path)
    after = opened(path)
    assert len(hashings) == 2
    assert after.fingerprint != before.fingerprint
    same(after, open_source(path, require_labels=False))


def test_nothing_is_kept_of_a_file_that_changed_just_now(
    clock: list[int], hashings: list[int], tmp_path: Path
) -> None:
    path = write(tmp_path / "pool.jsonl", ROWS)
    clock[0] = 0  # a rewrite of the same size in the same tick of the clock would not show
    opened(path)
    assert not (tmp_path / "memory").exists()
    clock[0] = LATER
    opened(path)
    opened(path)
    assert hashings == [4, 4]


def test_reading_in_another_way_is_another_state(
    clock: list[int], hashings: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"text": ROWS, "title": ["t " * n for n in range(1, 5)]}), path)
    for columns in ("text", "title", "text,title", "text,title"):
        same(opened(path, input=columns), open_source(path, require_labels=False, input=columns))
    assert len(hashings) == 3 + 4


def test_a_damaged_memory_is_said_and_made_again(
    clock: list[int], hashings: list[int], tmp_path: Path
) -> None:
    path = write(tmp_path / "pool.jsonl", ROWS)
    before = opened(path)
    memory = tmp_path / "memory" / "hashed.safetensors"
    content = bytearray(memory.read_bytes())
    content[-3] ^= 1
    memory.write_bytes(content)
    with pytest.warns(KeepersWarning, match="hashed.safetensors is damaged"):
        same(before, opened(path))
    same(before, opened(path))
    assert hashings == [4, 4]


def test_pictures_in_files_of_their_own_are_hashed_each_time(
    clock: list[int], tmp_path: Path
) -> None:
    from PIL import Image

    for colour in range(4):
        Image.new("L", (8, 8), 60 * colour).save(tmp_path / f"{colour}.png")
    path = tmp_path / "table.csv"
    path.write_text("path,label\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(4)))
    before = opened(path)
    Image.new("L", (8, 8), 255).save(tmp_path / "1.png")
    assert opened(path).fingerprint != before.fingerprint


def test_a_campaign_hashes_its_pool_once(
    clock: list[int], hashings: list[int], tmp_path: Path
) -> None:
    path = write(tmp_path / "pool.jsonl", [f"this is text number {n}" for n in range(12)])
    folder = tmp_path / "campaign"
    Campaign.start(path, campaign=folder, classes=["a", "b"]).close()
    for _ in range(3):
        Campaign.open(folder).close()
    assert hashings == [12, 12]  # at the start, and when it was first come back to
    _in_place(path)  # "first" is in no text: the same bytes, written again
    Campaign.open(folder).close()
    _longer(path)
    said: list[str] = []
    Campaign.open(folder, say=said.append).close()
    assert hashings == [12, 12, 12, 13]
    assert any("1 row added" in sentence for sentence in said)
