"""Files that did not change are neither hashed nor read again, and every change is seen."""

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

from keepers import Campaign, Vote
from keepers.campaign import control
from keepers.data import Source, open_source, readers
from keepers.data.remembered import SETTLED
from keepers.errors import DataError, KeepersWarning
from keepers.reports.active import active_report
from keepers.sealed import read_tensors
from keepers.workflows.active import drift
from keepers.workflows.active.ground import Ground

TIME = "2020-03-01T12:00:00Z"
LATER = SETTLED + 10**9
hashing = sys.modules["keepers.data.hashing"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How far the clock is ahead of that of the files, in nanoseconds."""
    ahead = [LATER]
    import time

    real = time.time_ns
    monkeypatch.setattr("keepers.data.remembered.time.time_ns", lambda: real() + ahead[0])
    return ahead


@pytest.fixture
def hashings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many inputs were hashed, each time that some were."""
    counts: list[int] = []
    hash_all = hashing.digests

    def counted(inputs: Any, progress: Any = None) -> Any:
        counts.append(len(inputs))
        return hash_all(inputs, progress)

    monkeypatch.setattr(hashing, "digests", counted)
    return counts


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files and folders that were read."""
    names: list[str] = []
    read = readers.read_path

    def counted(path: Path, *arguments: Any) -> Any:
        names.append(path.name)
        return read(path, *arguments)

    monkeypatch.setattr(readers, "read_path", counted)
    return names


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
    for name in ("ids", "rows", "digests", "units", "labels"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    for name in ("kind", "shape", "class_names", "columns", "skipped", "num_rows", "identity"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.where.columns(one.rows) == other.where.columns(other.rows)
    assert [one.preview(n) for n in range(len(one))] == [other.preview(n) for n in range(len(one))]
    for place, id in enumerate(one.ids.tolist()):  # noqa: A001
        assert one.examples.position(id) == other.examples.position(id) == place
        assert other.examples.id(place) == id
    assert other.examples.position("nobody") is None


ROWS = ["the first text", "a text that is there twice", "a text that is there twice", "the last"]


WAYS: list[dict[str, Any]] = [
    {},
    {"id": "key"},
    {"id": "name"},
    {"limit": 2},
    {"label": "class"},
    {"input": "text,name"},
    {"input": "size", "on_bad_row": "skip"},
]


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_what_is_recalled_is_what_was_read(
    options: dict[str, Any],
    clock: list[int],
    hashings: list[int],
    readings: list[str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "pool.parquet"
    names = [f"n\u00e9{number}" for number in (3, 1, 2, 0)]
    columns = {"key": [7, 5, 9, 1], "name": names, "class": ["b", None, None, "a"]}
    pq.write_table(pa.table({"text": ROWS, **columns, "size": [1.5, None, 2.0, 1.5]}), path)
    first, second = opened(path, **options), opened(path, **options)
    assert (hashings, readings) == ([4], ["pool.parquet"])
    same(first, second)
    assert readings == ["pool.parquet"] * 2  # the inputs, once they were looked at
    same(first, open_source(path, require_labels=False, **options))


@pytest.mark.parametrize("change", ["longer", "shorter", "another column"])
def test_inputs_that_changed_after_they_were_recalled_are_refused(
    change: str, clock: list[int], tmp_path: Path
) -> None:
    path = write(tmp_path / "pool.jsonl", ROWS)
    opened(path)
    recalled = opened(path)
    lines = path.read_text().splitlines(keepends=True)
    if change == "longer":
        _longer(path)
    elif change == "shorter":
        path.write_text(lines[0])
    else:
        path.write_text("".join(lines).replace('"text"', '"words"'))
    with pytest.raises(DataError, match=r"pool\.jsonl changed since it was opened"):
        recalled.preview(0)


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


def _painted(folder: Path, name: str, colour: int) -> None:
    from PIL import Image

    (folder / name).parent.mkdir(exist_ok=True)
    Image.new("L", (8, 8), colour).save(folder / name)


def _moved(folder: Path) -> None:
    (folder / "a" / "0.png").rename(folder / "b" / "0.png")


def test_pictures_that_come_while_others_are_hashed_are_seen(
    clock: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, aside = tmp_path / "pictures", tmp_path / "aside"
    for number in range(4):
        (aside if number == 3 else folder).mkdir(exist_ok=True)
        _painted(aside if number == 3 else folder, f"{'ab'[number % 2]}/{number}.png", number)
    hash_all = hashing.digests

    def moved_in(*given: Any) -> Any:
        if aside.exists():
            (aside / "b").rename(folder / "c")
            aside.rmdir()
        return hash_all(*given)

    monkeypatch.setattr(hashing, "digests", moved_in)
    assert [len(opened(folder)) for _ in range(2)] == [3, 4]


def test_names_of_pictures_are_not_held_in_the_note(clock: list[int], tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        _painted(folder, f"{'ab'[number % 2]}/a-long-name-{number}.png", number)
    opened(folder)
    _, note = read_tensors(tmp_path / "memory" / "hashed.safetensors", "campaign", "again")
    assert "a-long-name" not in str(note)  # a note may hold 100 MB at most


@pytest.mark.parametrize("listed", [True, False], ids=["in a table", "in a folder"])
def test_pictures_in_files_of_their_own_are_hashed_once(
    listed: bool, clock: list[int], hashings: list[int], tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        _painted(folder, f"{'ab'[number % 2]}/{number}.png", 60 * number)
    path = folder
    if listed:
        path = folder / "table.csv"
        names = [f"{'ab'[n % 2]}/{n}.png" for n in range(4)]
        path.write_text("path,label\n" + "".join(f"{name},{name[0]}\n" for name in names))
    memory = tmp_path / "memory.safetensors"
    before = open_source(path, require_labels=False, memory=memory)
    same(before, open_source(path, require_labels=False, memory=memory))
    assert hashings == [4]
    changes: list[Callable[[], None]] = [lambda: _painted(folder, "b/1.png", 255)]
    if not listed:
        changes += [lambda: _painted(folder, "b/9.png", 200), lambda: _moved(folder)]
    for change in changes:
        change()
        after = open_source(path, require_labels=False, memory=memory)
        assert after.fingerprint != before.fingerprint
        same(after, open_source(path, require_labels=False))
        before = after


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


def test_status_of_an_unchanged_pool_reads_none_of_it(
    clock: list[int], readings: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write(tmp_path / "pool.jsonl", [f"this is text number {n}" for n in range(40)])
    folder = tmp_path / "campaign"
    drawn: list[int] = []
    numbers = control.numbers
    monkeypatch.setattr(
        control, "numbers", lambda ids, seed: drawn.append(len(ids)) or numbers(ids, seed)
    )

    def reserve() -> list[int]:
        with Campaign.open(folder) as campaign:
            assert campaign.status().left == 40
            ground = Ground(
                holdings=campaign.holdings, state=campaign.state, config=campaign.config
            )
            return ground.reserve.tolist()

    Campaign.start(path, campaign=folder, classes=["a", "b"], control=0.3).close()
    before = reserve()
    assert (len(readings), drawn) == (2, [40])
    assert reserve() == before
    assert (len(readings), drawn) == (2, [40])
    memory = folder / "pools" / "control.safetensors"
    content = bytearray(memory.read_bytes())
    content[-3] ^= 1
    memory.write_bytes(content)
    with pytest.warns(KeepersWarning, match="control.safetensors is damaged"):
        assert reserve() == before
    assert drawn == [40, 40]
    _longer(path)
    with Campaign.open(folder) as campaign:
        assert campaign.status().left == 41
    assert drawn == [40, 40, 41]


def test_what_was_shown_is_shown_again_without_reading_the_pool(
    clock: list[int], readings: list[str], tmp_path: Path
) -> None:
    path = write(tmp_path / "pool.jsonl", [f"this is text number {n}" for n in range(40)])
    folder, page = tmp_path / "campaign", tmp_path / "campaign" / "report.html"
    Campaign.start(path, campaign=folder, classes=["a", "b"], cold="random").close()

    def shown() -> str:
        with Campaign.open(folder) as campaign:
            active_report(campaign, campaign.status())
        return page.read_text()

    with Campaign.open(folder) as campaign:
        batch = campaign.query(6)
    first = shown()
    assert all(text in first for text in (batch.ids[0], "this is text number"))
    del readings[:]
    assert (shown(), readings) == (first, [])
    memory = folder / "pools" / "shown.json"
    memory.write_text(memory.read_text().replace("this is", "that was"))
    with pytest.warns(KeepersWarning, match=r"shown\.json is damaged"):
        assert shown() == first
    assert readings == ["pool.jsonl"]
    _longer(path)
    del readings[:]
    shown()
    assert readings == ["pool.jsonl"]
    shown()
    assert readings == ["pool.jsonl"]


def test_what_is_kept_of_texts_without_a_key_is_small(clock: list[int], tmp_path: Path) -> None:
    rows = [f"text {n % 990}" for n in range(1000)]
    first = opened(write(tmp_path / "pool.jsonl", rows))
    same(opened(tmp_path / "pool.jsonl"), first)
    tensors, _ = read_tensors(tmp_path / "memory" / "hashed.safetensors", "campaign", "")
    assert sum(tensor.nbytes for tensor in tensors.values()) < 20 * len(rows)


def test_a_snapshot_that_was_found_whole_is_not_read_again(
    clock: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write(tmp_path / "pool.jsonl", [f"this is text number {n}" for n in range(12)])
    folder, checked = tmp_path / "campaign", list[str]()
    check = drift.check_seal
    monkeypatch.setattr(
        drift, "check_seal", lambda path, *told: checked.append(path.name) or check(path, *told)
    )
    clock[0] = 0
    Campaign.start(path, campaign=folder, classes=["a", "b"]).close()
    del checked[:]
    Campaign.open(folder).close()
    Campaign.open(folder).close()
    assert len(checked) == 2  # it was written just now, and may change within a tick of the clock
    clock[0] = LATER
    Campaign.open(folder).close()
    Campaign.open(folder).close()
    assert len(checked) == 3
    snapshot = folder / "pools" / checked[0]
    content = bytearray(snapshot.read_bytes())
    content[-20] ^= 1
    snapshot.write_bytes(content)
    with pytest.warns(KeepersWarning, match="it was written again"):
        Campaign.open(folder).close()
    Campaign.open(folder).close()
    assert len(checked) == 5


@pytest.mark.parametrize("labels", [20, 110], ids=["too few", "judged"])
def test_a_random_round_of_texts_encodes_only_what_was_asked_before(
    labels: int, tmp_path: Path
) -> None:
    words = np.random.default_rng(0).choice(["red", "green", "blue", "one", "two"], (250, 6))
    rows = [" ".join(row) for row in [*words, *words[:30]]]
    path, draw = write(tmp_path / "pool.jsonl", rows), np.random.default_rng(1)
    folder = tmp_path / "campaign"
    with Campaign.start(path, campaign=folder, classes=["a", "b"], cold="random") as campaign:
        ids = campaign.query(labels).ids
        campaign.record(
            Vote(item=item, annotator="ann", label="ab"[draw.integers(2)], time=TIME)
            for item in ids
        )
    shutil.copytree(folder, tmp_path / "other")
    with Campaign.open(tmp_path / "other") as campaign:
        campaign.measure()  # as `keepers active status --train`: of the whole pool
        (whole,) = campaign.state.trained
    with Campaign.open(folder) as campaign:
        batch = campaign.query(9)
        (few,) = campaign.state.trained
        (cost,) = (each for each in few.facts["costs"] if each["phase"] == "encoding")
    assert batch.method == "random"
    assert cost["examples"] < 2 * 1.3 * labels
    assert (few.seen, few.labels) == (whole.seen, whole.labels)
    for name in ("control", "test_accuracy", "against_random", "unanswered_control"):
        assert few.facts[name] == whole.facts[name], name
