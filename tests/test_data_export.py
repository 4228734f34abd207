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
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import keepers
from keepers.data import export, open_source
from keepers.data.csv_records import split_records
from keepers.data.readers import read_table
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


def export_refused(data: Any, destination: Path, *words: str) -> None:
    with pytest.raises(RunError) as error:
        export(data, [0], destination, overwrite=True)
    assert str(error.value).startswith(f"export: {destination} ")
    for word in words:
        assert word in str(error.value)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/other.txt").write_text("precious")
    pacsv.write_csv(TABLE, tmp_path / "d/r.csv")
    return tmp_path / "d/r.csv"


def test_never_over_the_data(tmp_path: Path, csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(csv.parent)
    (tmp_path / "link").symlink_to(csv.parent)
    (tmp_path / "e").mkdir()
    (tmp_path / "e/r.csv").symlink_to(csv)
    for folder in (tmp_path, csv.parent, tmp_path / "link", Path(".."), Path(".")):
        export_refused(csv, folder, "contains the data", "Name another folder")
    export_refused("r.csv", csv.parent, "contains the data")
    export_refused(tmp_path / "e/r.csv", tmp_path / "e", "contains the data")
    export_refused(tmp_path / "e/r.csv", csv.parent, "contains the data")
    export_refused(csv.parent, csv.parent / "kept", "lies inside the data", "--export")
    export_refused(tmp_path / "link", csv.parent / "kept", "lies inside the data")
    assert (csv.parent / "other.txt").read_text() == "precious"
    assert kept_texts(csv) == TEXTS
    assert kept_texts(export(csv, KEPT, csv.parent / "kept") / "r.csv") == EXPECTED


def test_only_an_earlier_export_or_an_empty_folder_is_replaced(tmp_path: Path, csv: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "thesis")
    out = export(csv, KEPT, tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert kept_texts(tmp_path / "thesis") == EXPECTED
    export(csv, [0], out, overwrite=True)
    assert kept_texts(tmp_path / "thesis") == [TEXTS[0]]
    export_refused(out, out, "lies inside the data")  # an export that is the data of the next
    (tmp_path / "thesis/.keepers-export").unlink()
    export_refused(csv, out, "files that keepers did not export")
    assert kept_texts(tmp_path / "thesis") == [TEXTS[0]]


CODES = (
    '\ufeffid,"text",when,price\r\n'
    '00123,"a ""fine""\r\nday, it was",2020-01-05,1.50\r\n'
    "\r\n"
    '00124,plain,2020-01-06T10:00:00Z,2.00\r\n'
    '7,"quoted without need",,1e5\r\n'
    '00125,last, ,3'
)  # fmt: skip


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz"])
def test_csv_records_are_copied_as_they_stand(tmp_path: Path, name: str) -> None:
    with pa.output_stream(str(tmp_path / name)) as out:
        out.write(CODES.encode())
    with pa.input_stream(str(export(tmp_path / name, [0, 3], tmp_path / "kept") / name)) as file:
        lines = file.read().decode().split("\r\n")
    whole = CODES.split("\r\n")
    assert lines == ['id,"text",when,price', whole[1], whole[2], whole[6]]


@settings(deadline=None)
@given(
    rows=st.lists(
        st.tuples(*[st.tuples(st.text('a0,"\n\r ', max_size=4), st.booleans())] * 2), min_size=1
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    last=st.booleans(),
)
def test_csv_records_are_those_that_are_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[tuple[str, bool], tuple[str, bool]]],
    end: str,
    last: bool,
) -> None:
    def written(value: str, quoted: bool) -> str:
        needed = quoted or set(value) & set(',"\r\n')
        return '"' + value.replace('"', '""') + '"' if needed else value

    path = tmp_path_factory.mktemp("csv") / "r.csv"
    lines = [",".join(written(*cell) for cell in row) for row in rows]
    text = end.join(["left,right", *lines]) + (end if last or lines[-1] == "," else "")
    path.write_bytes(text.encode())
    header, records = split_records(path)
    assert header == f"left,right{end}".encode()
    assert [record.decode().removesuffix(end) for record in records] == lines
    assert read_table(path).num_rows == len(rows)


def test_compressed_json_lines_are_copied_as_they_stand(tmp_path: Path) -> None:
    lines = [f'{{"when": "2020-01-0{row + 1}",  "label": {row % 2}}}\n' for row in range(6)]
    with pa.output_stream(str(tmp_path / "r.jsonl.gz")) as out:
        out.write("".join(lines).encode())
    out = export(tmp_path / "r.jsonl.gz", KEPT, tmp_path / "kept")
    with pa.input_stream(str(out / "r.jsonl.gz")) as file:
        assert file.read().decode() == "".join(lines[row] for row in sorted(KEPT))


def test_pictures_that_a_table_names_come_along(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "in").mkdir(parents=True)
    names = [f"in/{number}.png" for number in range(6)]
    for number, name in enumerate(names):
        Image.new("L", (4, 4), number).save(data / name)
    Image.new("L", (4, 4)).save(tmp_path / "outside.png")
    table = pa.table({"file": names, "label": [0, 1] * 3, "other": ["../outside.png"] * 6})
    structs = [{"bytes": None, "path": name} for name in names]
    pacsv.write_csv(table, data / "list.csv")
    pq.write_table(table, data / "list.parquet")
    pq.write_table(pa.table({"image": structs, "label": [0, 1] * 3}), data / "hub.parquet")
    (data / "bare.csv").write_text("".join(f"{i % 2},{name}\n" for i, name in enumerate(names)))
    (data / "list.jsonl").write_text("".join(json.dumps(r) + "\n" for r in table.to_pylist()))
    for name in ("list.csv", "list.parquet", "hub.parquet", "bare.csv", "list.jsonl"):
        out = export(data / name, KEPT, tmp_path / name)
        copied = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
        assert copied == ["in/1.png", "in/2.png", "in/4.png"], name
        if name != "bare.csv":  # its three rows no longer show that they have no header
            how = {} if name == "hub.parquet" else {"input": "file"}
            assert len(open_source(out / name, **how)) == 3
    assert not list(export(data / "bare.csv", [], tmp_path / "none").rglob("*.png"))


def test_rows_that_are_not_there(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "r.parquet")
    for rows in ([6], [-1, 2]):
        with pytest.raises(DataError, match="has 6 rows"):
            export(tmp_path / "r.parquet", rows, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_file_put_into_an_export_is_never_replaced(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("text,label\none,a\ntwo,b\nthree,a\n")
    export(data, [0, 1], tmp_path / "out")
    export(data, [1, 2], tmp_path / "out", overwrite=True)
    (tmp_path / "out" / "mine.txt").write_text("precious")
    with pytest.raises(RunError, match="did not export"):
        export(data, [0], tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "mine.txt").read_text() == "precious"


# Weights --------------------------------------------------------------------------------------

WEIGHTS = [0.5, 2.0, 0.1 + 0.2]


@pytest.mark.parametrize("name", ["csv", "tsv.gz", "parquet", "jsonl", "json"])
def test_weights_stand_behind_the_other_columns(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"reviews.{name}"
    rows = TABLE.to_pylist()
    rows[1]["text"] = "a dull\u2028day"
    table = pa.Table.from_pylist(rows)
    if name == "parquet":
        pq.write_table(table, path)
    elif name.startswith(("csv", "tsv")):
        with pa.output_stream(str(path)) as out:
            mark = "\t" if name.startswith("tsv") else ","
            pacsv.write_csv(table, out, pacsv.WriteOptions(delimiter=mark))
    elif name == "jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n")
    else:
        path.write_text(json.dumps(rows, indent=2))
    plain, weighed = (
        export(path, KEPT, tmp_path / folder, weights=weights) / path.name
        for folder, weights in (("plain", None), ("weighed", WEIGHTS))
    )
    before, after = read_table(plain), read_table(weighed)
    assert after.column_names == ["text", "label", "weight"]
    assert after["weight"].to_pylist() == [WEIGHTS[1], WEIGHTS[2], WEIGHTS[0]]
    assert after.drop_columns("weight").to_pylist() == before.to_pylist()
    if name == "jsonl":
        for one, two in zip(plain.open("rb"), weighed.open("rb"), strict=True):
            assert two.startswith(one.rstrip()[:-1] + b', "weight": ')


def test_weights_of_several_files_and_of_a_column_of_that_name(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for part in range(3):
        rows = [{"text": f"{part} {at}", "label": at % 2, "weight": at} for at in range(4)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{part}.jsonl").write_text(text)
    kept = [9, 1, 0, 8]
    export(folder, kept, tmp_path / "out", weights=np.array(kept) / 10)
    found = [
        json.loads(line)
        for part in range(3)
        for line in (tmp_path / "out" / f"{part}.jsonl").read_text().splitlines()
    ]
    assert [row["text"] for row in found] == ["0 0", "0 1", "2 0", "2 1"]
    assert [row["keepers_weight"] for row in found] == [0.0, 0.1, 0.8, 0.9]
    assert [row["weight"] for row in found] == [0, 1, 0, 1]


def test_datasets_reads_weights_beside_its_features(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    given = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1] * 3})
    given = given.cast_column("label", datasets.ClassLabel(names=["a", "b"]))
    given.to_parquet(str(tmp_path / "reviews.parquet"))
    out = export(tmp_path / "reviews.parquet", KEPT, tmp_path / "out", weights=WEIGHTS)
    again = datasets.Dataset.from_parquet(
        str(out / "reviews.parquet"), cache_dir=str(tmp_path / "cache")
    )
    assert again.features["label"].names == ["a", "b"]
    assert again["weight"][:] == [WEIGHTS[1], WEIGHTS[2], WEIGHTS[0]]


def test_a_core_set_with_weights_exports_them(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = [{"x": draw.normal(size=4).tolist(), "label": n % 2} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options: dict[str, Any] = {"keep": 10, "epochs": 1, "device": "cpu", "run": tmp_path / "run"}
    for method in ("craig", "random"):
        out = tmp_path / method
        kept = keepers.coreset(tmp_path / "rows.jsonl", method=method, export=out, **options)
        found = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
        assert [row["x"] for row in found] == [rows[row]["x"] for row in sorted(kept.indices)]
        weights = dict(zip(kept.indices.tolist(), kept.weights.tolist(), strict=True))
        assert kept.weighted == (method == "craig")
        for row, written in zip(sorted(weights), found, strict=True):
            assert written.get("weight", 1.0) == weights[row]
