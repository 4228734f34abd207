"""Bad input: each error names what was given, what was found, and the remedy."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import keepers
from keepers import Selection
from keepers.data import encode, open_source
from keepers.errors import DataError, KeepersError, ParameterError
from keepers.types import EncoderSpec

TEXTS = ["a fine day", "a dull day", "what a film", "two hours lost"]


def says(error: pytest.ExceptionInfo[BaseException], *parts: str) -> None:
    for part in parts:
        assert part in str(error.value)


def refused(data: Any, *parts: str, kind: type[KeepersError] = DataError, **options: Any) -> None:
    with pytest.raises(kind) as error:
        open_source(data, **options)
    says(error, *parts)


def test_missing_file_names_the_nearest_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "reviews.parquet").touch()
    refused(
        tmp_path / "review.parquet",
        "review.parquet does not exist",
        f"Did you mean {tmp_path / 'reviews.parquet'}",
    )
    refused(tmp_path / "zzz.csv", f"The folder {tmp_path} holds: reviews.parquet")
    refused(tmp_path / "no" / "such" / "folder", "does not exist")


def test_hub_name_without_a_network_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    refused("nobody/nothing", "does not exist", "Hugging Face hub", "no network")


@pytest.mark.parametrize("keep", [0, 10, 0.5, -5])
def test_truncated_parquet(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.parquet"
    pq.write_table(pa.table({"text": TEXTS, "label": [0, 1, 0, 1]}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    refused(path, f"{path} is not a readable Parquet file")


def test_damaged_parquet_page(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"text": TEXTS * 50, "label": [0, 1] * 100}), path)
    whole = bytearray(path.read_bytes())
    whole[4:60] = b"\xff" * 56
    path.write_bytes(whole)
    refused(path, f"{path} is not a readable Parquet file")


def test_csv_with_a_short_record(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("text,label\nfine day,a\nno label here\nbad day,b\n")
    refused(path, "1 values where 2 were expected", "'no label here'", str(path))
    path.write_text("Reviews of May\ntext,label\nfine,pos\nbad,neg\n")
    refused(path, "record 2: 2 values", "leave out the line before it ('Reviews of May') where it")


def test_csv_with_a_return_in_a_value_as_pandas_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "tweets.csv"
    frame = pd.DataFrame({"text": ["a fine\rday", "a bad day"], "label": ["pos", "neg"]})
    frame.to_csv(path, index=False)
    refused(path, "1 values where 2 were expected: 'a fine'", "carriage return in it needs quotes")
    frame.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC)
    assert len(open_source(path)) == 2


def test_jsonl_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "a b", "label": 1}\n{"text": "c d", "label": }\n')
    refused(path, f"{path}, line 2")
    path.write_text('{"text": "a b", "label": 1}\n\n{"text": "c d", "label": "x"}\n')
    skip = "Give values of one type, or pass --on-bad-row skip (on_bad_row='skip') to leave such"
    refused(path, f"{path}, line 3", "'label' is str, but int in the lines before", skip)
    path = tmp_path / "bad.json"
    path.write_text('[{"text": "a b", "label": 1}, {"text": "c d", "label": "x"}]')
    refused(path, "row 1 holds str 'x', but row 0 holds int", skip)
    path.write_text('[{"text": "a b",\n "label": 1},\n oops]')
    refused(path, f"{path}, line 3")


def test_unknown_format_and_empty_data(tmp_path: Path) -> None:
    (tmp_path / "data.xlsx").touch()
    refused(tmp_path / "data.xlsx", "unknown format", "Parquet, CSV")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "holds no Parquet, CSV, JSONL or picture file")
    refused(pa.table({"text": pa.array([], pa.string()), "label": []}), "has no rows")
    refused(42, "got int", kind=ParameterError)


def test_splits(tmp_path: Path) -> None:
    table = pa.table({"text": TEXTS, "label": [0, 1, 0, 1]})
    for name in ("test", "validation"):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    refused(tmp_path, "none is called train", "test, validation", kind=ParameterError)
    refused(tmp_path, "got 'tset'", "test, validation", kind=ParameterError, split="tset")
    refused(tmp_path / "test.parquet", "is one file", kind=ParameterError, split="test")
    training = open_source(tmp_path, split="test")
    assert len(training) == 4
    assert (
        "not read, because they are not in the split 'test': validation.parquet" in training.found
    )
    assert open_source(tmp_path, like=training).name.endswith("(test)")
    (tmp_path / "test.parquet").unlink()
    assert open_source(tmp_path, like=training).name.endswith("(validation)")  # the only part


def test_a_line_that_is_an_object_of_parts(tmp_path: Path) -> None:
    rows = [{"text": text, "label": "x"} for text in TEXTS]
    (tmp_path / "parts.jsonl").write_text(json.dumps({"train": rows, "test": rows}))
    refused(tmp_path / "parts.jsonl", "is an object of lists of rows: train, test", ".json")


def test_pictures_without_classes(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    refused(tmp_path, "are not in sub-folders", "sub-folder named after it", "metadata.csv")
    assert open_source(tmp_path, require_labels=False).labels is None


def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    try:
        Image.new("L", (4, 4)).save(os.fsencode(tmp_path) + b"/a/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    refused(tmp_path, "caf\\xe9.png", "is not UTF-8. Rename it")


def test_links_that_go_round_in_circles(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / name / "1.png")
    (tmp_path / "a/back").symlink_to(tmp_path)
    (tmp_path / "a/b").symlink_to(tmp_path / "b")
    (tmp_path / "b/a").symlink_to(tmp_path / "a")
    names = open_source(tmp_path, id="path").ids.tolist()
    assert names == ["a/1.png", "a/b/1.png", "b/1.png", "b/a/1.png"]


def test_unknown_column_names_the_nearest() -> None:
    table = pa.table({"text": TEXTS, "label": [0, 1, 0, 1]})
    for parameter in ("input", "label", "id", "group"):
        refused(
            table,
            f"{parameter}: got 'labl'",
            "Did you mean 'label'",
            kind=ParameterError,
            **{parameter: "labl"},
        )


def test_ambiguous_columns_are_listed() -> None:
    two_labels = pa.table({"text": TEXTS, "class": [0, 1, 0, 1], "target": [0, 1, 1, 1]})
    refused(two_labels, "label: several", "'class', 'target'", "--label", kind=ParameterError)
    two_texts = pa.table({"title": TEXTS, "body": TEXTS, "label": [0, 1, 0, 1]})
    refused(two_texts, "input: several", "'title', 'body'", "--input", kind=ParameterError)
    by_value = pa.table({"text": TEXTS * 9, "a": [0, 1] * 18, "b": [2, 3] * 18})
    refused(by_value, "label: several", "'a', 'b'", kind=ParameterError, input="text")
    none = pa.table({"text": TEXTS})
    refused(none, "looks like a class label", "the columns are: text", kind=ParameterError)
    refused(pa.table({"label": [0, 1]}), "looks like a picture, a text", kind=ParameterError)


def with_labels(labels: Any) -> pa.Table:
    return pa.table({"text": [f"text number {i}" for i in range(len(labels))], "label": labels})


def test_unusable_labels() -> None:
    refused(with_labels(["a"] * 4), "only one class (a)", "at least 2")
    refused(with_labels(["a", None, "b", ""]), "2 of 4 rows have no label", "rows 1, 3")
    refused(with_labels([0.0, None, 1.0, float("nan")]), "2 of 4 rows have no label")
    refused(with_labels(pa.nulls(4)), "4 of 4 rows have no label")
    refused(with_labels([0.5, 1.25, 2.0]), "fractions such as 0.5", "--task number", task="class")
    refused(with_labels([[0], [0, 1], [1]]), "several labels or numbers", task="class")
    refused(with_labels(list(range(1000))), "1,000 different values", "continuous target or a key")
    refused((np.zeros((3, 2), np.float32), np.eye(3)), "one 1 in each row", kind=ParameterError)
    refused((np.zeros((3, 2), np.float32), [0, 1]), "3 inputs and 2 labels")


def test_labels_that_no_class_number_holds() -> None:
    refused(with_labels(pa.array([2**64 - 1, 0, 1], pa.uint64())), "label: column 'label' (uint64)")
    refused(with_labels([1e300, 0.0, 1.0]), "cannot be read as classes", "64 bits", "--task number")
    refused(with_labels([b"\xff", b"a", b"\xff"]), "label: column 'label' (large_binary)")


def test_files_of_different_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": TEXTS, "label": [0, 1, 0, 1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": TEXTS, "label": list("xyxy")}), tmp_path / "b.parquet")
    refused(
        tmp_path,
        "the files have different columns: 'label' holds int64 in a.parquet",
        "and string in b.parquet",
    )


def test_declared_classes_and_the_mark_for_unlabelled() -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b"])})
    data = Dataset.from_dict({"text": TEXTS, "label": [0, 1, -1, 1]}, features=features)
    refused(data, "1 of 4 rows have no label", "row 2")
    source = open_source(data, require_labels=False)
    assert source.labels is not None
    assert sorted(source.labels.tolist()) == [-1, 0, 1, 1]
    table = data.with_format("arrow")[:].set_column(1, "label", pa.array([0, 1, 5, 1]))
    table = table.replace_schema_metadata(features.arrow_schema.metadata)
    refused(table, "holds 5", "declares 2 classes")


def test_test_set_of_other_classes_or_columns() -> None:
    train = open_source(with_labels(["a", "b", "a", "b"]))
    refused(with_labels(["a", "c"]), "the class 'c'", "a, b", like=train)
    refused((np.zeros((2, 2), np.float32), ["a", "b"]), "vectors", kind=ParameterError, like=train)
    numbers = (np.random.default_rng(0).random((4, 3)), [0, 1, 0, 1])
    other = (np.random.default_rng(0).random((4, 2)), [0, 1, 0, 1])
    refused(other, "vectors of 2 numbers", "of 3", kind=ParameterError, like=open_source(numbers))


def test_nan_features_name_column_and_row() -> None:
    table = pa.table(
        {
            "width": [1.0, 2.0, float("nan"), 4.0, 5.0],
            "height": [1.0, None, 3.0, float("inf"), 5.0],
            "label": [0, 1, 0, 1, 1],
        }
    )
    refused(
        table,
        "3 rows",
        "row 1: nothing or NaN in column 'height'",
        "row 2: nothing or NaN in column 'width'",
        "row 3: an infinite number",
        "--on-bad-row skip",
    )
    source = open_source(table, on_bad_row="skip")
    assert sorted(source.rows.tolist()) == [0, 4]
    assert [row.row for row in source.skipped] == [1, 2, 3]
    assert source.num_rows == 5
    vectors = pa.table({"x": [[1.0, 2.0], [3.0], [1.0, 1.0]], "label": [0, 1, 0]})
    refused(vectors, "mostly 2, but 1 in row 1")


def test_missing_texts() -> None:
    table = pa.table({"text": ["a b", None, "c d", "e f"], "label": [0, 1, 1, 0]})
    refused(table, "row 1: no text in column 'text'")
    source = open_source(table, on_bad_row="skip")
    assert len(source) == 3
    assert [(row.row, row.problem) for row in source.skipped] == [(1, "no text in column 'text'")]


def test_duplicate_and_missing_keys() -> None:
    table = with_labels([0, 1, 0, 1])
    refused(
        table.append_column("key", pa.array([7, 8, 7, 8])),
        "2 keys",
        "7 in rows 0 and 2; 8 in rows 1 and 3",
        id="key",
    )
    refused(table.append_column("key", pa.array(["a", None, "b", "c"])), "no key", id="key")


@pytest.mark.parametrize("keys", [[7, None, 0, 9, 7], ["a", None, "", "c", "a"]])
def test_a_row_without_a_key_is_a_bad_row(tmp_path: Path, keys: list[Any]) -> None:
    rows = [{"text": f"t {at}", "label": at % 2, "key": key} for at, key in enumerate(keys[:4])]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + '\n{"text": "t 4", "lab')
    with pytest.raises(DataError, match="line 5"):
        open_source(path, id="key")
    source = open_source(path, id="key", on_bad_row="skip")
    assert sorted(source.ids.tolist()) == sorted([keys[0], keys[2], keys[3]])
    assert {each.row: each.id for each in source.skipped} == {1: None, 4: None}
    problems = {each.row: each.problem for each in source.skipped}
    assert problems[1] == "no key in column 'key'"
    assert problems[4].startswith("line 5: ")
    found = keepers.coreset(path, keep=2, id="key", on_bad_row="skip", run=tmp_path / "run")
    assert found.table["id"].to_pylist().count(None) == 2
    assert Selection.read_parquet(found.to_parquet(tmp_path / "kept.parquet")).ids == found.ids
    assert "row 1: no key in column &#39;key&#39;" in keepers.report(found).read_text()
    path.write_text("\n".join(json.dumps(row | {"key": keys[0]}) for row in rows))
    with pytest.raises(DataError, match="in rows 0 and 1"):
        open_source(path, id="key", on_bad_row="skip")


def test_columns_of_one_name() -> None:
    table = pa.Table.from_arrays([pa.array(TEXTS), pa.array([0, 1, 0, 1])], ["label", "label"])
    refused(table, "several columns named 'label'")


def test_limit() -> None:
    refused("digits", "limit: got 0", kind=ParameterError, limit=0)


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(shade).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format="JPEG")
    return buffer.getvalue()


@pytest.fixture
def damaged() -> pa.Table:
    data = [picture(shade) for shade in range(6)]
    data[2] = data[2][:-300]
    data[4] = b"this is no picture"
    return pa.table({"image": [*data, None], "label": [0, 1, 0, 1, 0, 1, 0]})


def test_corrupt_picture_names_row_and_id(damaged: pa.Table) -> None:
    source = open_source(damaged.append_column("key", pa.array(range(100, 107))), id="key")
    with pytest.raises(DataError) as error:
        encode(source, EncoderSpec(kind="image"))
    says(error, "row 2 (id 102)", "truncated", "--on-bad-row skip")


def test_corrupt_pictures_are_skipped_counted_and_listed(damaged: pa.Table) -> None:
    source = open_source(damaged)
    reduced, pool = encode(source, EncoderSpec(kind="image"), on_bad_row="skip")
    assert sorted(row.row for row in reduced.skipped) == [2, 4, 6]
    problems = {row.row: row.problem for row in reduced.skipped}
    assert "truncated" in problems[2]
    assert "not a picture" in problems[4]
    assert "missing" in problems[6]
    assert all(row.id == source.ids[source.rows == row.row][0] for row in reduced.skipped)
    assert len(pool) == len(reduced) == 4
    alone, expected = encode(open_source(damaged.take([0, 1, 3, 5])), EncoderSpec(kind="image"))
    assert alone.ids.tolist() == reduced.ids.tolist()
    assert bool((pool.rows == expected.rows).all())  # pyright: ignore


@pytest.mark.parametrize("name", ["../secret.png", "{}/secret.png", "link.png", "sub/secret.png"])
@pytest.mark.parametrize("struct", [False, True])
def test_pictures_outside_the_folder_of_the_data(tmp_path: Path, name: str, struct: bool) -> None:
    name = name.format(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "secret.png")
    Image.new("L", (4, 4)).save(folder / "good.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "sub").symlink_to(tmp_path)
    paths = ["good.png"] * 1500 + [name, str(folder / "good.png")]
    column = [{"bytes": None, "path": path} for path in paths] if struct else paths
    labels = [0, 1] * 751
    pq.write_table(pa.table({"image": column, "label": labels}), folder / "p.parquet")
    refused(folder / "p.parquet", f"row 1500 names the picture '{name}'", "Put pictures into")
    inside = pa.table({"image": column[-1:] * 2, "label": [0, 1]})
    pq.write_table(inside, folder / "p.parquet")
    assert len(open_source(folder / "p.parquet")) == 2


def test_formats_that_start_other_programs_are_no_pictures() -> None:
    eps = io.BytesIO()
    Image.new("RGB", (4, 4)).save(eps, format="EPS")
    table = pa.table({"image": [eps.getvalue(), picture(0)], "label": [0, 1]})
    with pytest.raises(DataError, match="not a picture in a known format"):
        encode(open_source(table), EncoderSpec(kind="image"))


def test_no_good_picture_at_all() -> None:
    table = pa.table({"image": [b"x", b"y"], "label": [0, 1]})
    refused(table, "not one picture could be read")


def test_a_model_for_another_kind_of_input() -> None:
    with pytest.raises(ParameterError, match="reads text inputs, but digits holds image"):
        encode(open_source("digits"), EncoderSpec(kind="text", scheme="hashed", buckets=8))
