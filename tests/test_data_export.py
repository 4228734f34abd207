"""Exporting kept rows in the format the data came in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from keepers.data import export, open_source
from keepers.errors import DataError, RunError

KEPT = [4, 1, 2]
TEXTS = ["a fine day", "a dull\nday", "what, a film", 'two "hours"', "see it twice", "never again"]
TABLE = pa.table({"text": TEXTS, "label": ["b", "a", "b", "a", "b", "a"]})


def kept_texts(path: Path) -> list[str]:
    source = open_source(path, require_labels=False)
    return [str(source.preview(p)) for p in np.argsort(source.rows)]


EXPECTED = [TEXTS[1], TEXTS[2], TEXTS[4]]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz"])
def test_csv(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"reviews.{suffix}"
    options = pacsv.WriteOptions(delimiter="\t" if suffix == "tsv" else ",")
    with pa.output_stream(str(path)) as out:
        pacsv.write_csv(TABLE, out, options)
    out = export(path, KEPT, tmp_path / "kept")
    assert kept_texts(out / path.name) == EXPECTED


def test_csv_without_a_header_stays_without(tmp_path: Path) -> None:
    lines = [f"{row % 2},the words of {row}" for row in range(6)]
    (tmp_path / "r.csv").write_text("\n".join(lines))
    out = export(tmp_path / "r.csv", KEPT, tmp_path / "kept")
    assert kept_texts(out / "r.csv") == [f"the words of {row}" for row in sorted(KEPT)]


def test_jsonl_keeps_the_lines_as_they_are(tmp_path: Path) -> None:
    lines = [f'{{"text":  "number {row}",   "label": {row % 2}}}' for row in range(6)]
    (tmp_path / "r.jsonl").write_text("\n\n".join(lines))
    out = export(tmp_path / "r.jsonl", KEPT, tmp_path / "kept")
    assert (out / "r.jsonl").read_text().splitlines() == [lines[row] for row in sorted(KEPT)]


def test_json_array(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(TABLE.to_pylist()))
    out = export(tmp_path / "r.json", KEPT, tmp_path / "kept")
    assert json.loads((out / "r.json").read_text()) == TABLE.take(sorted(KEPT)).to_pylist()


def test_parquet_keeps_its_schema_and_shards(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b"])})
    data = Dataset.from_dict({"text": TEXTS, "label": [0, 1] * 3}, features=features)
    for part in range(2):
        data.select(range(3 * part, 3 * part + 3)).to_parquet(tmp_path / f"in/train-{part}.parquet")
    out = export(tmp_path / "in", KEPT, tmp_path / "kept")
    assert kept_texts(out) == EXPECTED
    assert open_source(tmp_path / "in").class_names == ("a", "b")
    shards = [pq.read_table(out / f"train-{part}.parquet") for part in range(2)]
    assert [len(shard) for shard in shards] == [2, 1]
    assert shards[0].schema.metadata == features.arrow_schema.metadata


def test_picture_folder(tmp_path: Path) -> None:
    for number in range(6):
        target = tmp_path / "in" / "train" / "ab"[number % 2]
        target.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(target / f"{number}.png")
    out = export(tmp_path / "in", KEPT, tmp_path / "kept")
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert names == ["a/2.png", "a/4.png", "b/3.png"]
    assert (out / "a/2.png").read_bytes() == (tmp_path / "in/train/a/2.png").read_bytes()


def test_data_in_memory_becomes_parquet(tmp_path: Path) -> None:
    assert kept_texts(export(TABLE, KEPT, tmp_path / "table")) == EXPECTED
    frame = pd.DataFrame(TABLE.to_pydict())
    assert kept_texts(export(frame, KEPT, tmp_path / "frame")) == EXPECTED
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    out = export((values, [0, 1, 0, 1, 0, 1]), KEPT, tmp_path / "arrays")
    source = open_source(out, require_labels=False)
    order = np.argsort(source.rows)
    assert np.asarray(source.inputs)[order].tolist() == values[sorted(KEPT)].tolist()
    digits = open_source(export("digits", range(50), tmp_path / "digits"))
    assert digits.shape == (1, 8, 8)
    assert digits.preview(0) in {
        open_source("digits").preview(p) for p in np.flatnonzero(open_source("digits").rows < 50)
    }


def test_an_existing_folder_needs_overwrite(tmp_path: Path) -> None:
    out = export(TABLE, KEPT, tmp_path / "kept")
    with pytest.raises(RunError, match="--overwrite"):
        export(TABLE, [0], out)
    assert kept_texts(out) == EXPECTED
    assert kept_texts(export(TABLE, [0], out, overwrite=True)) == [TEXTS[0]]
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file"):
        export(TABLE, [0], tmp_path / "file", overwrite=True)


def test_a_failure_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = export(TABLE, KEPT, tmp_path / "kept")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(OSError, match="No space"):
        export(TABLE, [0], out, overwrite=True)
    assert kept_texts(out) == EXPECTED
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_rows_that_are_not_there(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "r.parquet")
    for rows in ([6], [-1, 2]):
        with pytest.raises(DataError, match="has 6 rows"):
            export(tmp_path / "r.parquet", rows, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
