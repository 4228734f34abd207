"""Input that is not what it seems: each case is read right, or is one sentence with a remedy."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset

from keepers import compare, coreset, score
from keepers.cli import main
from keepers.data import check_own, check_run, encode, export, open_source, same_item
from keepers.errors import DataError, KeepersError, ParameterError, RunError
from keepers.models import create
from keepers.types import DataInfo, EncoderSpec

VECTORS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
CLASSES = np.array([0, 1, 0, 1, 0, 1])
TEXTS = ["a fine day", "a dull day", "what a film", "two hours lost"]


def refused(data: Any, *parts: str, kind: type[KeepersError] = DataError, **options: Any) -> None:
    with pytest.raises(kind) as error:
        open_source(data, **options)
    for part in parts:
        assert part in str(error.value)


def labels_of(data: Any) -> list[int]:
    """Labels in the order of the rows."""
    source = open_source(data)
    assert source.labels is not None
    return source.labels[np.argsort(source.rows)].tolist()


# Arrays and tensors -------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["input", "lists", "beside", "target", "quality", "unsigned"])
def test_whole_numbers_that_floats_round(where: str) -> None:
    """Ids of posts, and nanoseconds: over 2^53, which Arrow casts to floats in no safe way."""
    large = [(1 << 60) + at * (1 << 54) + 1 for at in range(40)]
    plain = np.random.default_rng(0).normal(size=40)
    table = pa.table({"x": plain, "z": -plain, "label": ["a", "b"] * 20})
    asked: dict[str, Any] = {}
    if where == "lists":
        table = pa.table({"v": [[each, 1] for each in large], "label": ["a", "b"] * 20})
    elif where == "target":
        table, asked = table.set_column(2, "label", pa.array(large)), {"task": "number"}
    elif where == "beside":
        text = pa.array([f"what was said of it, number {at}, was little" for at in range(40)])
        table = table.append_column("text", text).append_column("u", pa.array(large))
    else:
        kind = pa.uint64() if where == "unsigned" else pa.int64()
        scale = 8 if where == "unsigned" else 1
        table = table.append_column("u", pa.array([scale * each for each in large], kind))
        asked = {"quality": "u"} if where == "quality" else {}
    source = open_source(table, **asked)
    assert len(source) == 40
    assert source.kind == ("text" if where == "beside" else "vector")
    if where in ("input", "unsigned"):
        assert source.columns.input == ("x", "z", "u")
        inputs: Any = source.inputs
        expected = np.array(large, dtype=np.float64) * (8 if where == "unsigned" else 1)
        assert np.array_equal(inputs[:, 2], expected[source.rows].astype(np.float32))


def masked(values: Any, *places: Any) -> Any:
    array = np.ma.array(values)
    for place in places:
        array[place] = np.ma.masked
    return array


def test_masked_values_are_missing_values() -> None:
    inputs = masked(VECTORS, (1, 2), (4, 0))
    refused(
        (inputs, CLASSES),
        "2 rows",
        "row 1: nothing or NaN in column 'input[2]'; row 4: nothing or NaN in column 'input[0]'",
    )
    source = open_source((inputs, CLASSES), on_bad_row="skip")
    assert [row.row for row in source.skipped] == [1, 4]
    assert np.isfinite(np.asarray(source.inputs)).all()
    refused((VECTORS, masked(CLASSES, 1, 4)), "label: 2 of 6 rows have no label", "rows 1, 4")
    refused((masked(TEXTS, 2), [0, 1, 0, 1]), "row 2: no text")
    pictures = masked(np.zeros((6, 4, 4), np.uint8), (2, 1, 1), (3, 0, 0), (3, 0, 1))
    refused((pictures, CLASSES), "input: 2 of 6 pictures have masked values (first: row 2)")
    items = [(row, label) for row, label in zip(inputs, CLASSES, strict=True)]
    refused(items, "row 1: nothing or NaN", "row 4")


def test_masked_arrays_without_a_masked_value_are_arrays() -> None:
    plain = open_source((VECTORS, CLASSES))
    source = open_source((masked(VECTORS), masked(CLASSES)))
    assert source.fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    "labels",
    [CLASSES[:, None], torch.from_numpy(CLASSES)[:, None], [[c] for c in CLASSES.tolist()]],
    ids=["array", "tensor", "lists"],
)
def test_labels_of_one_column_are_classes(labels: Any) -> None:
    assert labels_of((VECTORS, labels)) == CLASSES.tolist()
    table = pa.table({"text": TEXTS, "label": [[0], [1], [1], [0]]})
    assert labels_of(table) == [0, 1, 1, 0]
    assert open_source((VECTORS, np.eye(6)[:, :2])).task.name == "labels"
    several = pa.table({"text": TEXTS, "label": [[0], [1], [], [0]]})
    assert open_source(several).task.name == "labels"
    refused(several, "several labels or numbers", task="class")
    refused(pa.table({"text": TEXTS, "label": [[0], [1], None, [0]]}), "row 2")


def test_tensors_that_numpy_does_not_know() -> None:
    exact = torch.tensor([[0.5, 2.0], [1.0, -3.0]])
    same = open_source((exact, [0, 1]))
    assert open_source((exact.bfloat16(), [0, 1])).fingerprint == same.fingerprint
    assert labels_of((exact, torch.tensor([3, 1]).bfloat16())) == [1, 0]
    assert labels_of([(exact[0].bfloat16(), 1), (exact[1].bfloat16(), 0)]) == [1, 0]
    refused((exact.to_sparse(), [0, 1]), "input: got a sparse tensor", ".to_dense()")
    refused((exact, torch.tensor([0, 1]).to_sparse()), "label: got a sparse tensor")
    refused((torch.zeros(2, 2, device="meta"), [0, 1]), "input: got a tensor of", "on meta")


def test_sparse_matrices() -> None:
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(VECTORS)
    refused((sparse, CLASSES), "input: got the sparse matrix csr_matrix", ".toarray()")
    refused(sparse, "data: got the sparse matrix csr_matrix")


def test_ragged_lists_name_a_row() -> None:
    refused(([[1.0, 2.0], [3.0], [4.0, 5.0]], [0, 1, 0]), "input: ", "mostly 2, but 1 in row 1")
    assert open_source((VECTORS[:3], [[0], [0, 1], [1]])).task.name == "labels"
    refused(([torch.zeros(2), torch.zeros(3)], [0, 1]), "input: ", "mostly 2, but 3 in row 1")


def test_shapes_that_are_no_data() -> None:
    refused((VECTORS, 5), "6 inputs and a single label")
    refused((VECTORS[:0], []), "the inputs hold no row")
    refused((np.zeros((0, 4, 4)), []), "the inputs hold no row")


LONE = "caf\ud800 au lait"


def test_text_with_half_of_a_surrogate_pair(tmp_path: Path) -> None:
    refused((["a b", LONE], [0, 1]), "input: the text in row 1", "'\\ud800'", "surrogate")
    refused((VECTORS[:2], ["a", LONE]), "label: the text in row 1", "surrogate")
    path = tmp_path / "a.json"
    path.write_text('[{"text": "a b", "label": 0},\n {"text": "caf\\ud800", "label": 1}]')
    refused(path, str(path), "column 'text'", "row 1", "surrogate")
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a b", "label": 0}\n{"text": "caf\\ud800", "label": 1}\n')
    refused(path, f"{path}, line 2: 'text' holds '\\ud800'", "surrogate")


def test_texts_among_other_things() -> None:
    values: npt.NDArray[Any] = np.array(["a b", 3, "c d"], dtype=object)
    refused((values, [0, 1, 0]), "input: row 1 holds int 3, which is not a text")
    labels: npt.NDArray[Any] = np.array([1, "a", 2], dtype=object)
    refused((VECTORS[:3], labels), "label: row 1 holds str 'a', but row 0 holds int")


def test_pictures_that_are_no_png() -> None:
    inks = [Image.new("CMYK", (4, 4), (shade, 0, 0, 0)) for shade in (0, 80, 160, 240)]
    assert open_source((inks, [0, 1, 0, 1])).shape == (3, 4, 4)
    refused(([inks[0], 3], [0, 1]), "input: row 1 is int, but row 0 is a picture")
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)).save(
        buffer, format="PNG"
    )
    cut = Image.open(io.BytesIO(buffer.getvalue()[:300]))
    refused(([inks[0], cut], [0, 1]), "the picture in row 1 cannot be read", "truncated")


# Frames and data sets -----------------------------------------------------------------------


def test_frames() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [1.0, 2.0, 3.0], "z": [1, None, "a"], "label": [0, 1, 0]})
    refused(frame, "column 'z' of the frame: row 2 holds str 'a', but row 0 holds int", "one type")
    frame = pandas.DataFrame([[1, 2, 0], [3, 4, 1]], columns=["a", "a", "label"])
    refused(frame, "the frame has several columns named 'a'", "its own name")
    frame = pandas.DataFrame([[1, 2, 0], [3, 4, 1]], columns=[1, "1", "label"])
    refused(frame, "several columns named '1'")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    refused((frame, [0, 1]), "input: column 'b' of the frame holds", "no numbers")
    frame = pandas.DataFrame({"text": pandas.Series(["a b", LONE], dtype=object), "label": [0, 1]})
    refused(frame, "column 'text' of the frame: the text in row 1", "surrogate")
    assert labels_of((VECTORS, pandas.DataFrame({"y": CLASSES}))) == CLASSES.tolist()


class Stream(IterableDataset[Any]):
    """Items that can only be read in turn."""

    def __iter__(self) -> Any:
        yield from zip(VECTORS, CLASSES, strict=True)


def test_streams_are_to_be_read_whole_first() -> None:
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1, 0, 1]})
    stream = whole.to_iterable_dataset()
    remedy = "Read all of it first: datasets.Dataset.from_list(list(data))"
    refused(stream, "got IterableDataset,", remedy, kind=ParameterError)
    parts = datasets.IterableDatasetDict({"train": stream})
    refused(parts, "got IterableDatasetDict", remedy, kind=ParameterError)
    refused(Stream(), "got Stream", "list(data)", kind=ParameterError)
    refused((item for item in TEXTS), "got generator", kind=ParameterError)
    loader = DataLoader([(VECTORS[0], 0)])  # pyright: ignore[reportArgumentType]
    refused(loader, "got DataLoader", ".dataset for a loader", kind=ParameterError)
    assert open_source(datasets.Dataset.from_list(list(stream))).kind == "text"
    assert labels_of(list(Stream())) == CLASSES.tolist()


class Items:
    """A map-style data set that says it has `length` items and fails at one of them."""

    def __init__(self, length: Any, fails_at: int, error: Exception) -> None:
        self.length, self.fails_at, self.error = length, fails_at, error

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        if index == self.fails_at:
            raise self.error
        return VECTORS[index], int(CLASSES[index])


class Transformed:
    """A map-style data set whose items are others each time."""

    def __init__(self) -> None:
        self.draw = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return len(CLASSES)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        inputs = torch.from_numpy(VECTORS[index])
        return inputs + torch.randn(inputs.shape, generator=self.draw), int(CLASSES[index])


def test_random_transforms_are_refused() -> None:
    refused(Transformed(), "item 0 of Transformed changes when it is", "random transforms")
    gaps = [(np.array([np.nan, 1.0], dtype=np.float32), 0), (np.ones(2, dtype=np.float32), 1)]
    with pytest.raises(DataError, match=r"not finite|missing|NaN"):
        open_source(gaps)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([1, 2, 3], [1, 2], False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, {"b": 1}, False),
        ([float("nan"), 2.0], [float("nan"), 2.0], True),
        (float("nan"), float("nan"), True),
        (torch.ones(2).bfloat16(), torch.ones(2).bfloat16(), True),
        (torch.ones(2), torch.ones(3), False),
        (np.array([None, 1.5], dtype=object), np.array([None, 1.5], dtype=object), True),
        (object(), object(), True),
        (Image.new("L", (2, 2)), Image.new("L", (2, 2)), True),
        (Image.new("L", (2, 2)), Image.new("L", (2, 2), 9), False),
        ("a", "b", False),
    ],
)
def test_items_that_are_read_again(one: Any, other: Any, same: bool) -> None:
    assert same_item((one, 0), (other, 0)) is same


def test_items_of_pandas_that_are_read_again() -> None:
    pandas = pytest.importorskip("pandas")
    one, other = pandas.Series([1, 2]), pandas.Series([1, 3])
    assert same_item((one, 0), (one.copy(), 0))
    assert not same_item((one, 0), (other, 0))
    assert same_item((pandas.NA, 0), (pandas.NA, 0))


def test_map_style_data_sets_that_fail() -> None:
    refused(Items(6, 3, RuntimeError("disk gone")), "item 3 of Items", "RuntimeError: disk gone")
    refused(Items(6, 0, KeyError()), "item 0 of Items cannot be read (KeyError)")
    refused(Items(9, -1, KeyError()), "item 6 of Items", "IndexError", "Its len() is 9")
    refused(Items(-1, -1, KeyError()), "data: Items has no length (ValueError")
    refused(Items(None, -1, KeyError()), "data: Items has no length (TypeError")


# CSV ----------------------------------------------------------------------------------------


def test_csv_of_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = "text,label\na b,x\ncafé au lait,y\n"
    path.write_bytes(text.encode("latin-1"))
    refused(path, f"{path}, line 3: byte 0xe9 is not UTF-8", "caf\\xe9 au", "iconv -f LATIN1")
    path.write_bytes("té xt,label\na b,x\n".encode("latin-1"))
    refused(path, f"{path}, line 1: byte 0xe9 is not UTF-8")
    path.write_bytes(text.encode("utf-16"))
    refused(path, f"{path} is UTF-16", "iconv -f UTF-16 -t UTF-8")
    path.write_bytes((text + "cut").encode() + b"\xc3")
    refused(path, f"{path}, line 4: byte 0xc3 is not UTF-8")
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(text.encode("latin-1")))
    refused(packed, f"{packed}, line 3: byte 0xe9")


def test_a_character_on_the_border_of_two_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keepers.data import csv_files

    monkeypatch.setattr(csv_files, "_BLOCK", 7)
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "é€𝄞 a,x\n" * 9)
    assert csv_files.read_csv(path).num_rows == 9
    path.write_bytes(b"text,label\na b,x\nc d,y\ne f,\xe9\n")
    refused(path, "line 4: byte 0xe9")


def test_text_that_is_not_utf8_in_other_formats(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text":"a b","label":1}\n{"text":"café","label":0}\n'.encode("latin-1"))
    refused(path, "a.jsonl: the text in row 1, column 'text', is not UTF-8 (byte 0xe9)")
    raw = pa.array([b"a b", b"caf\xe9"]).cast(pa.binary()).view(pa.string())
    refused(pa.table({"text": raw, "label": [0, 1]}), "the text in row 1, column 'text'")


def test_rubbish_named_csv_is_one_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(np.random.default_rng(0).bytes(20_000))
    refused(path, f"{path} is not a CSV file", "copy or write it again")
    assert capfd.readouterr().err == ""


NUMBERS = "a;b;label\n1.5;2.5;x\n0.25;1.5;y\n-1.5;3.25;x\n1.5;4.5;y\n"


@pytest.mark.parametrize("comma", [False, True], ids=["points", "commas"])
def test_csv_with_semicolons(tmp_path: Path, comma: bool) -> None:
    path = tmp_path / "a.csv"
    path.write_text(NUMBERS.replace(".", ",") if comma else NUMBERS)
    source = open_source(path)
    assert (source.kind, source.columns.input, source.class_names) == (
        "vector",
        ("a", "b"),
        ("x", "y"),
    )
    assert "';' separates the values, as in the first line" in source.found
    path.with_suffix(".plain.csv").write_text(NUMBERS.replace(";", ","))
    assert open_source(path.with_suffix(".plain.csv")).fingerprint == source.fingerprint
    kept = export(path, [0, 2], tmp_path / "kept") / "a.csv"
    lines = path.read_text().splitlines(keepends=True)
    assert kept.read_text() == lines[0] + lines[1] + lines[3]


def test_a_comma_in_the_header_goes_over_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,"la;bel"\na; b,x\nc d,y\ne f,x\ng h,y\n')
    assert open_source(path, label="la;bel").columns.input == ("text",)
    path.write_text('"text, or so";label\n"a, b";x\nc d;y\n')
    assert open_source(path).columns.input == ("text, or so",)


# Pictures in files --------------------------------------------------------------------------


@pytest.mark.parametrize("struct", [False, True], ids=["paths", "structs"])
def test_linked_pictures_that_are_gone_are_skipped_counted_and_listed(
    tmp_path: Path, struct: bool
) -> None:
    names: list[str | None] = [f"{i}.png" for i in range(6)]
    for shade, name in enumerate(names):
        Image.new("L", (4, 4), shade * 20).save(tmp_path / str(name))
    (tmp_path / "1.png").unlink()
    names[4] = None
    column = [{"bytes": None, "path": name} for name in names] if struct else names
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"image": column, "label": [0, 1, 0, 1, 0, 1]}), path)

    def read(on_bad_row: Any) -> Any:
        source = open_source(path, on_bad_row=on_bad_row)
        return encode(source, EncoderSpec(kind="image"), on_bad_row=on_bad_row)

    with pytest.raises(DataError) as error:
        read("error")
    assert "--on-bad-row skip" in str(error.value)
    assert "missing" in str(error.value) if struct else "the picture 1.png" in str(error.value)
    source, pool = read("skip")
    assert len(source) == len(pool) == 4
    assert sorted(row.row for row in source.skipped) == [1, 4]
    assert source.num_rows == 6


class Heard:
    """A `Progress` that remembers."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int]] = []
        self.done: list[int] = []

    def start(self, what: str, total: int) -> None:
        self.phases.append((what, total))

    def advance(self, done: int) -> None:
        self.done.append(done)

    def finish(self) -> None:
        self.done.append(-1)


def test_progress_while_files_and_items_are_read(tmp_path: Path) -> None:
    for name in ("a/1", "a/2", "b/3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), int(name[-1])).save(tmp_path / f"{name}.png")
    heard = Heard()
    open_source(tmp_path, progress=heard)
    assert (heard.phases, heard.done) == ([("Reading files", 3)], [1, 2, 3, -1])
    heard = Heard()
    open_source(list(Stream()), progress=heard)
    assert (heard.phases, heard.done) == ([("Reading items", 6)], [1, 2, 3, 4, 5, 6, -1])


# A test set ---------------------------------------------------------------------------------


def test_errors_on_a_test_set_name_it(tmp_path: Path) -> None:
    train = open_source((VECTORS, CLASSES))
    refused(tmp_path / "no.csv", f"test: {tmp_path / 'no.csv'} does not exist", like=train)
    refused((VECTORS, np.full(6, 7)), "test: label: ", "the class '7'", like=train)
    refused(
        (VECTORS[:, :2], CLASSES),
        "test: arrays holds vectors of 2",
        kind=ParameterError,
        like=train,
    )
    refused(None, "test: got NoneType", kind=ParameterError, like=train)
    for name in ("validation_a", "validation_b"):
        pq.write_table(
            pa.table({"text": TEXTS, "label": [0, 1, 0, 1]}), tmp_path / f"{name}.parquet"
        )
    texts = open_source((TEXTS, [0, 1, 0, 1]))
    with pytest.raises(ParameterError) as error:
        open_source(tmp_path, like=texts)
    assert str(error.value).startswith("test: split: ")
    assert str(error.value).endswith("Name its files: validation_a, validation_b")


# Outputs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("r/run.json", "is a file that keepers itself writes in the run directory"),
        ("r/stages/x", "is a file that keepers itself writes"),
        ("link", "is a file that keepers itself writes"),
        ("new/report.html", "is a file that keepers itself writes"),
        ("keepers-runs/x/selection.parquet", "is a file that keepers itself writes"),
        ("new", "is the place of the run directory new"),
        ("new/..", "is the place of the run directory new"),
        ("a.yaml", "is the --config file"),
    ],
)
def test_outputs_over_what_keepers_writes_or_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r").mkdir()
    Path("r/run.json").write_text("{}")
    Path("link").symlink_to("r/run.json")
    Path("a.yaml").write_text("keep: 0.5")
    with pytest.raises(RunError, match=f"^out: {output} {says}.*Name another with --out"):
        check_own(output, "out", run="new", config=Path("a.yaml"))


def test_other_files_may_lie_in_a_run_directory(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    check_own(tmp_path / "kept.parquet", "out", run=tmp_path, config=tmp_path / "a.yaml")
    check_own(tmp_path / "new" / "stages" / "a", "out", run=None, config=None)


def test_a_run_directory_inside_the_data(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run: .* lies inside the data .* Name another with --run"):
        check_run(tmp_path, tmp_path / "run")
    with pytest.raises(RunError, match="lies inside the data"):
        check_run(str(tmp_path), tmp_path)
    check_run(tmp_path, tmp_path / "keepers-runs" / "a")  # where the default is
    check_run(tmp_path, tmp_path.parent / "run")
    check_run((VECTORS, CLASSES), tmp_path)


# Models of the user's own -------------------------------------------------------------------

OWN: dict[str, tuple[str, str]] = {
    "fails:model": ("def model(info):\n    return 1 / 0\n", "ZeroDivisionError: division by zero"),
    "quits:model": ("import sys\nsys.exit(2)\n", "SystemExit: 2"),
    "torn:model": ("def (\n", "SyntaxError: invalid syntax (torn.py, line 1)"),
    "needs:model": ("import no_such_thing\n", "No module named 'no_such_thing'"),
    "os.path:join": ("", "TypeError: expected str"),
}


@pytest.mark.parametrize("name", OWN)
def test_failures_of_a_factory_name_the_parameter_and_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    code, cause = OWN[name]
    monkeypatch.chdir(tmp_path)
    if code:
        Path(name.partition(":")[0] + ".py").write_text(code)
    info = DataInfo(kind="vector", shape=(3,), num_classes=2)
    with pytest.raises(ParameterError) as error:
        create(name, info, seed=0, parameter="target")
    assert str(error.value).startswith(f"target: '{name}' failed: ")
    assert cause in str(error.value)
    assert (f"{name.partition(':')[0]}.py" in str(error.value)) == bool(code)
    assert error.value.__cause__ is not None


# The command line ---------------------------------------------------------------------------


def keepers(arguments: str, cwd: Path) -> tuple[int, str, str]:
    """`keepers ...` as a shell runs it: exit status, stdout, stderr."""
    line = f'"{sys.executable}" -c "from keepers.cli import main; main()" {arguments}'
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_closed_streams_leave_no_traceback(tmp_path: Path) -> None:
    assert keepers("methods --json | true", tmp_path) == (1, "", "")
    assert keepers("--help >&-", tmp_path) == (0, "", "")
    assert keepers("--nonsense <&- >&- 2>&-", tmp_path) == (2, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_is_one_sentence(tmp_path: Path) -> None:
    status, _, err = keepers("--help >/dev/full", tmp_path)
    said = "No space left on device. Free some space and run the same command again: finished work"
    assert (status, err) == (1, f"Error: {said} is kept\n")


def cli(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr(sys, "argv", ["keepers", *argv])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize("out", ["x.csv", "x.jsonl", "x.JSON", "x.csv.gz"])
@pytest.mark.parametrize("command", ["coreset", "coreset --shards", "score", "il"])
def test_a_file_of_parquet_is_not_named_as_one_of_text(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    out: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.csv").write_text("text,label\n" + "a b,x\nc d,y\n" * 20)
    argv = [*command.split(), "d.csv", "--out", out]
    assert cli(monkeypatch, *argv) == 2
    said = capsys.readouterr().err
    assert f"out: got {out}, but the file is Parquet. Name it x.parquet" in said
    assert ("--export" in said) == (command == "coreset")
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]


def test_rows_of_shards_that_are_skipped_are_not_said_to_be_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"row {at}" if at != 3 else None, "label": "ab"[at % 2]} for at in range(20)]
    Path("d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    argv = ["score", "d.jsonl", "--shards", "--on-bad-row", "skip", "--epochs", "1", "--out", "s"]
    monkeypatch.setattr(sys, "argv", ["keepers", *argv])
    main()
    assert "Scored 19 rows of 1 shard by entropy" in capsys.readouterr().out
    assert pq.read_table("s/d.parquet").num_rows == 19


@pytest.mark.parametrize("command", ["coreset", "score", "compare"])
def test_the_configuration_file_is_never_replaced(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("device: cpu")
    argv = [command, "digits", *(["--test", "0.2"] if command == "compare" else [])]
    assert cli(monkeypatch, *argv, "--config", "a.yaml", "--out", "a.yaml", "--overwrite") == 2
    assert "out: a.yaml is the --config file" in capsys.readouterr().err
    own = "r/run.json" if command == "compare" else "r/selection.parquet"
    assert cli(monkeypatch, *argv, "--run", "r", "--out", own, "--overwrite") == 2
    assert f"out: {own} is a file that keepers itself writes" in capsys.readouterr().err
    assert Path("a.yaml").read_text() == "device: cpu"
    assert not Path("r").exists()


@pytest.mark.parametrize("test", ["1", "9", "0.0001"])
def test_a_test_split_of_too_few_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], test: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli(monkeypatch, "compare", "digits", "--test", test, "--run", "r") == 2
    said = capsys.readouterr().err
    assert f"test: got '{test}', which splits off" in said
    assert "Give a fraction such as 0.2, or a count of 10 or more" in said
    assert not Path("r").exists()


def test_a_run_inside_the_folder_of_the_data_is_refused_before_anything_is_read(
    tmp_path: Path,
) -> None:
    for run in (coreset, score):
        with pytest.raises(RunError, match=r"run: .* lies inside the data"):
            run(tmp_path, run=tmp_path / "run")
    for data, test in ((tmp_path, 0.2), ("digits", tmp_path)):
        with pytest.raises(RunError, match=r"run: .* lies inside the data"):
            compare(data, test=test, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
