"""What is taken for the input and the label in real files; tables of pictures; deep pixels."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from keepers.data import encode, export, open_source
from keepers.errors import DataError, ParameterError
from keepers.types import EncoderSpec

COUNT = 40
TEXTS = [f"so it is, {row}" for row in range(COUNT)]
LABELS = ["yes", "no"] * (COUNT // 2)
NUMBERS = np.random.default_rng(0).integers(0, 255, (COUNT, 64))

NO_PROSE = {
    "pixels": [" ".join(map(str, row)) for row in NUMBERS.tolist()],
    "embedding": [str((row / 255).tolist()) for row in NUMBERS],
    "base64": ["iVBORw0KGgo" * 12 + f"{row:04}==" for row in range(COUNT)],
    "uri": [f"data:image/png;base64,{'iVBORw0KGgo' * 12}{row:04}" for row in range(COUNT)],
    "file": [f"a/long/way/to/the/recordings/of/the/last/summer/{row}.wav" for row in range(COUNT)],
    "url": [f"https://example.org/items/{row}?with=a+long+question&more=1" for row in range(COUNT)],
    "meta": [json.dumps({"by": "someone", "why": f"because of {row}"}) for row in range(COUNT)],
    "hash": [f"{row:064x}" for row in range(COUNT)],
    "when": [f"2024-01-{1 + row % 28:02}T10:00:{row:02}.123456Z" for row in range(COUNT)],
}


@pytest.mark.parametrize(
    "remarks",
    [
        ["an adult in its first year"] * COUNT,
        [f"not enough of it, {row}" if row < COUNT // 3 else None for row in range(COUNT)],
    ],
    ids=["the same", "mostly missing"],
)
def test_a_text_that_tells_no_rows_apart_is_no_input(remarks: list[str | None]) -> None:
    table = pa.table({"remark": remarks, "label": LABELS})
    numbers = open_source(table.append_column("wing", pa.array(NUMBERS[:, 0])))
    assert (numbers.kind, numbers.columns.input) == ("vector", ("wing",))
    texts = open_source(table.append_column("words", pa.array([f"{row}." for row in TEXTS])))
    assert (texts.kind, texts.columns.input) == ("text", ("words",))
    alone = open_source(table, on_bad_row="skip")  # nothing else is there
    assert (alone.kind, alone.columns.input) == ("text", ("remark",))


@pytest.mark.parametrize("name", NO_PROSE)
def test_what_is_no_prose_is_not_taken_for_the_text(name: str) -> None:
    source = open_source(pa.table({name: NO_PROSE[name], "words": TEXTS, "label": LABELS}))
    assert (source.kind, source.columns.input) == ("text", ("words",))


def test_names_of_pictures_that_are_not_there_say_how_to_take_the_text(tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    lines = [f"some/where/{row}.jpg,it was day {row} of many,{'ab'[row % 2]}" for row in range(8)]
    path.write_text("\n".join(["file,caption,label", *lines]))
    with pytest.raises(DataError, match="or name another column than 'file' with --input"):
        open_source(path)
    assert open_source(path, input="caption").kind == "text"


@pytest.mark.parametrize("name", ["pixels", "embedding"])
def test_numbers_in_texts_are_vectors_where_there_is_no_text(name: str) -> None:
    source = open_source(pa.table({name: NO_PROSE[name], "label": LABELS}))
    assert (source.kind, source.shape) == ("vector", (64,))
    values = np.asarray(source.inputs)[np.argsort(source.rows)]
    expected = NUMBERS if name == "pixels" else NUMBERS / 255
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def prodigy(answers: list[str], **more: Any) -> pa.Table:
    rows = len(answers)
    return pa.table(
        {"text": TEXTS[:rows], "answer": answers, "_task_hash": list(range(7, 7 + rows)), **more}
    )


def test_the_answer_of_a_prodigy_export_is_no_label() -> None:
    answers = ["accept", "accept", "reject", "accept", "ignore"] * 8
    table = prodigy(answers, label=["POS", "NEG"] * 20)
    with pytest.raises(DataError, match=r"16 rows .*row 2: its answer is 'reject'"):
        open_source(table)
    source = open_source(table, on_bad_row="skip")
    assert (source.columns.label, len(source), len(source.skipped)) == ("label", 24, 16)
    rejected = prodigy(["reject"] * 40, label=["POS", "NEG"] * 20)
    with pytest.raises(
        DataError, match=r"'reject', not 'accept'.*Correct them, or give other data"
    ):
        open_source(rejected)  # no other input would help, nor leaving all rows out
    with pytest.raises(DataError, match=r"40 rows .*Correct them, or give other data"):
        open_source(rejected, on_bad_row="skip")
    choices = prodigy(["accept"] * 40, accept=[["POS"], ["NEG"]] * 20)
    assert open_source(choices).class_names == ("NEG", "POS")
    assert open_source(prodigy(answers), label="answer").class_names == (
        *("accept", "ignore", "reject"),
    )


@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
@pytest.mark.parametrize("named", [None, "words"])
def test_an_input_without_one_usable_row_may_be_the_wrong_one(named: Any, on_bad_row: Any) -> None:
    """What bad rows need follows from what is bad: another input, or other labels."""
    table = pa.table({"words": pa.array([None] * 8, pa.string()), "label": ["a", "b"] * 4})
    words = "or name another column than 'words' with --input"
    with pytest.raises(DataError, match=rf"no text in column 'words'.*{words}"):
        open_source(table, input=named, on_bad_row=on_bad_row)


# --- a folder of pictures and a table of them --------------------------------------------------


def picture_folder(folder: Path, inside: str = "") -> Path:
    for row in range(4):
        path = folder / inside / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 10 * row).save(path)
    return folder


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("inside", ["", "train", "images"])
def test_the_metadata_of_a_picture_folder_is_read(form: str, inside: str, tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "pictures", inside)
    above = "images/" if inside == "images" else ""
    rows = [{"file_name": f"{above}{row}.png", "label": "ba"[row % 2]} for row in (3, 1, 0, 2)]
    meta = folder / ("" if above else inside) / f"metadata.{form}"
    if form == "csv":
        text = "\n".join(["file_name,label", *(f"{r['file_name']},{r['label']}" for r in rows)])
    else:
        text = "\n".join(map(json.dumps, rows))
    meta.write_text(text + "\n")
    source = open_source(folder, id="path")
    assert source.kind == "image"
    assert source.class_names == ("a", "b")
    assert source.labels is not None
    assert source.labels.tolist() == [1, 0, 1, 0]
    assert any(f"metadata.{form}" in sentence for sentence in source.found)
    if inside != "train":
        kept = export(folder, [1, 2], tmp_path / "kept")
        again = open_source(kept, id="path")
        assert again.labels is not None
        assert again.labels.tolist() == [0, 1]


def test_metadata_that_does_not_fit_its_pictures(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path)
    meta = folder / "metadata.csv"
    for text, message in (
        (
            "file_name,label\n9.png,a\n",
            r"row 0 of .* describes the picture '9\.png', which does "
            "not",
        ),
        ("file_name,label\n0.png,a\n0.png,b\n", "describe the picture 0.png twice"),
        ("picture,label\n0.png,a\n", "has no column 'file_name'"),
        (
            "file_name,label\n0.png,a\n1.png,b\n",
            "2 of 4 rows have no label in column 'label'",
        ),
    ):
        meta.write_text(text)
        with pytest.raises(DataError, match=message):
            open_source(folder)
    half = open_source(folder, require_labels=False)
    assert "2 of 4 pictures are not in the metadata" in half.found


# --- pictures of any depth ---------------------------------------------------------------------


def encoded(values: np.ndarray[Any, Any], form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format=form)
    return buffer.getvalue()


def read_back(*pictures: bytes) -> Any:
    source = open_source(pa.table({"image": pa.array(pictures), "label": [0, 1]}))
    source, pool = encode(source, EncoderSpec(kind="image"))
    return (pool.gather(torch.from_numpy(np.argsort(source.rows)))[0] * 255).round()[:, 0]


RAMP = np.linspace(0, 1, 16).reshape(4, 4)
DEPTHS = [
    (RAMP.astype(np.float32), "TIFF", (RAMP * 255).round()),
    ((RAMP * 200).astype(np.float32), "TIFF", (RAMP * 200).round()),
    ((RAMP * 65535).astype(np.uint16), "TIFF", (RAMP * 65535).astype(int) >> 8),
    ((RAMP * 65535).astype(np.uint16), "PNG", (RAMP * 65535).astype(int) >> 8),
    ((RAMP * 255).astype(np.uint8), "PNG", (RAMP * 255).astype(int)),
]


@pytest.mark.parametrize(("values", "form", "expected"), DEPTHS)
def test_floats_and_16_bits_are_not_black(values: Any, form: str, expected: Any) -> None:
    found = read_back(encoded(values, form), encoded(values[::-1].copy(), form))
    assert np.abs(found[0].numpy() - expected).max() <= 0.51
    assert np.abs(found[1].numpy() - expected[::-1]).max() <= 0.51


@pytest.mark.parametrize(
    ("values", "form", "message"),
    [
        ((RAMP * 5000).astype(np.float32), "TIFF", "float32 numbers from 0 to 5000"),
        ((RAMP - 0.5).astype(np.float32), "TIFF", "from -0.5 to 0.5"),
        ((RAMP * np.nan).astype(np.float32), "TIFF", "from nan to nan"),
        ((RAMP * 240).astype(np.uint16), "PNG", "none over 240: it would be black"),
        ((RAMP * 240).astype(np.int32), "TIFF", "none over 240: it would be black"),
        ((RAMP * 2000 - 1000).astype(np.int32), "TIFF", "int32 numbers from -1000 to 1000"),
    ],
)
def test_numbers_that_are_no_pixels_are_refused(values: Any, form: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_back(encoded(values, form), encoded(values, form))


def test_pictures_whose_sizes_differ_greatly_are_told() -> None:
    sizes = [(8, 300), (20, 10), (100, 110)]
    pictures = [encoded(np.zeros(size, np.uint8), "PNG") for size in sizes]
    source = open_source(pa.table({"image": pictures, "label": [0, 1, 1]}))
    assert "from 20×10 to 100×110 pixels; brought" in source.found[0]
    pictures[1] = encoded(np.zeros((8, 8), np.uint8), "PNG")
    source = open_source(pa.table({"image": pictures, "label": [0, 1, 1]}))
    assert "from 8×8 to 100×110 pixels (they differ greatly" in source.found[0]


def test_texts_that_hold_nothing_are_told() -> None:
    held = open_source((["", " \t", "a text", "another", "\u3000"], ["yes", "no"] * 2 + ["no"]))
    assert any(sentence.startswith("3 texts are empty") for sentence in held.found)
    assert not any("empty" in sentence for sentence in open_source((TEXTS, LABELS)).found)


def test_a_few_numbers_beside_a_text_are_not_the_input() -> None:
    spans = [[row, 3] if row % 4 else None for row in range(COUNT)]
    table = pa.table({"text": TEXTS, "span": spans, "label": LABELS})
    assert open_source(table).columns.input == ("text",)
    assert open_source(table.drop(["text"]).drop_null()).columns.input == ("span",)
    wide = [[float(row + at) for at in range(9)] for row in range(COUNT)]
    assert open_source(table.set_column(1, "embedding", [wide])).columns.input == ("embedding",)


def test_names_beside_numbers_are_asked_for() -> None:
    """Of 312 tables of R with a class or a number to tell, 19 have such a column of names."""
    draw = np.random.default_rng(0)
    names = [f"Core i{row % 9} {row}" for row in range(COUNT)]
    amounts = {name: draw.normal(size=COUNT) for name in ("clock", "power", "process size")}
    table = pa.table({"chip": names, **amounts, "label": LABELS})
    with pytest.raises(ParameterError) as error:
        open_source(table)
    assert str(error.value) == (
        "input: the texts of 'chip' are as brief as names, and 3 columns hold numbers. Name the "
        "text, --input chip, or the numbers: --input 'clock,power,process size' (input=...)"
    )
    assert open_source(table, input="chip").kind == "text"
    assert open_source(table, input="clock,power,process size").kind == "vector"
    embedded = table.append_column("embedding", [draw.normal(size=(COUNT, 4)).tolist()])
    assert open_source(embedded, features="embedding").columns.input == ("chip",)
    assert open_source(table.drop(["clock"])).columns.input == ("chip",)
    flags = {name: np.arange(COUNT) % 3 % 2 for name in ("mild", "severe", "other")}
    beside = pa.table({"chip": names, **flags, "label": LABELS})
    assert open_source(beside).columns.input == ("chip",)
    longer = [f"{text}, and so it goes on" for text in TEXTS]
    assert open_source(table.set_column(0, "chip", [longer])).columns.input == ("chip",)


def test_rows_without_a_label_are_told() -> None:
    table = pa.table({"text": ["a", "b", "Total: 2"], "label": ["x", "y", None]})
    assert "1 row has no label (row 2)" in open_source(table, require_labels=False).found
    none = pa.table({"text": ["a", "b"], "label": pa.nulls(2, pa.string())})
    assert not any("no label" in each for each in open_source(none, require_labels=False).found)
    objects = pa.table({"text": ["a", "b"], "label": [{"value": "x"}, {"value": "y"}]})
    found = open_source(objects, require_labels=False).found
    assert "no classes can be read from 'label'" in found


def test_a_picture_of_a_folder_is_named_by_its_file(tmp_path: Path) -> None:
    for name in ("a/one.png", "b/two.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("L", (8, 8), 9).save(tmp_path / name)
    spoilt = tmp_path / "b" / "two.png"
    spoilt.write_bytes(spoilt.read_bytes()[:40])  # its size can be read, its pixels cannot
    held = open_source(tmp_path)
    spec = EncoderSpec(kind="image", size=(8, 8), channels=1)
    with pytest.raises(DataError, match=r"b/two\.png\) of .* cannot be decoded"):
        encode(held, spec)
