"""Opening data: formats, the columns that are found, identity."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keepers.data import encode, open_source
from keepers.data.source import Source
from keepers.types import EncoderSpec

TEXTS = ["a fine day", "a dull day", "what a film", "two hours lost", "see it twice", "never again"]
LABELS = ["pos", "neg", "pos", "neg", "pos", "neg"]


def reviews(order: list[int] | None = None) -> pa.Table:
    table = pa.table({"text": TEXTS, "label": LABELS, "stars": [5, 1, 4, 2, 5, 1]})
    return table if order is None else table.take(order)


def png_of(values: np.ndarray[Any, Any], form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format=form)
    return buffer.getvalue()


def colours(n: int, size: int = 4) -> list[bytes]:
    return [png_of(np.full((size, size, 3), 10 * i, np.uint8)) for i in range(n)]


def by_id(source: Source) -> dict[Any, int]:
    assert source.labels is not None
    return dict(zip(source.ids.tolist(), source.labels.tolist(), strict=True))


def write_parquet(path: Path) -> Path:
    pq.write_table(reviews(), path / "reviews.parquet")
    return path / "reviews.parquet"


def write_csv(path: Path) -> Path:
    pacsv.write_csv(reviews(), path / "reviews.csv")
    return path / "reviews.csv"


def write_tsv(path: Path) -> Path:
    pacsv.write_csv(reviews(), path / "reviews.tsv", pacsv.WriteOptions(delimiter="\t"))
    return path / "reviews.tsv"


def write_jsonl(path: Path) -> Path:
    lines = [json.dumps(record) for record in reviews().to_pylist()]
    (path / "reviews.jsonl").write_text("\n".join(lines) + "\n")
    return path / "reviews.jsonl"


def write_json(path: Path) -> Path:
    (path / "reviews.json").write_text(json.dumps(reviews().to_pylist()))
    return path / "reviews.json"


def write_shards(path: Path) -> Path:
    folder = path / "shards"
    folder.mkdir()
    for part in range(2):
        shard = reviews().slice(3 * part, 3)
        pq.write_table(shard, folder / f"train-0000{part}-of-00002.parquet")
    pq.write_table(reviews().slice(0, 2), folder / "test-00000-of-00001.parquet")
    return folder


@pytest.mark.parametrize(
    "write", [write_parquet, write_csv, write_tsv, write_jsonl, write_json, write_shards]
)
def test_formats_give_the_same_examples(write: Callable[[Path], Path], tmp_path: Path) -> None:
    source = open_source(write(tmp_path))
    in_memory = open_source(reviews())
    assert source.kind == "text"
    assert source.class_names == ("neg", "pos")
    assert source.ids.tolist() == in_memory.ids.tolist()
    assert source.rows.tolist() == in_memory.rows.tolist()
    assert source.fingerprint == in_memory.fingerprint
    assert [source.preview(p) for p in range(6)] == [TEXTS[row] for row in source.rows]


def test_objects_in_memory_give_the_same_examples() -> None:
    from datasets import Dataset

    expected = open_source(reviews())
    frame = pd.DataFrame(reviews().to_pydict())
    frame["label"] = frame["label"].astype("category")
    for data in (
        frame,
        Dataset.from_dict(reviews().to_pydict()),
        (TEXTS, LABELS),
        [(text, label) for text, label in zip(TEXTS, LABELS, strict=True)],
    ):
        source = open_source(data)
        assert source.ids.tolist() == expected.ids.tolist()
        assert by_id(source) == by_id(expected)


def test_saved_hugging_face_folder_and_its_parts(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    part = Dataset.from_dict(reviews().to_pydict())
    DatasetDict({"train": part, "test": part.select([0, 1])}).save_to_disk(tmp_path / "saved")
    assert len(open_source(tmp_path / "saved")) == 6
    assert len(open_source(tmp_path / "saved", split="test")) == 2


def test_class_names_come_from_the_schema() -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "sense": ClassLabel(names=["zwo", "ein"])})
    data = Dataset.from_dict({"text": TEXTS, "sense": [0, 1, 0, 1, 0, 1]}, features=features)
    source = open_source(data)
    assert source.columns.label == "sense"
    assert source.class_names == ("zwo", "ein")
    assert {source.preview(p): int(source.labels[p]) for p in range(6)}[TEXTS[0]] == 0  # pyright: ignore


def test_hub_pictures_in_parquet(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as Picture

    features = Features({"img": Picture(), "fine_label": ClassLabel(names=["a", "b"])})
    pictures = [{"bytes": data, "path": None} for data in colours(4)]
    data = Dataset.from_dict({"img": pictures, "fine_label": [0, 1, 0, 1]}, features=features)
    data.to_parquet(tmp_path / "p.parquet")
    source = open_source(tmp_path / "p.parquet")
    assert (source.kind, source.shape, source.class_names) == ("image", (3, 4, 4), ("a", "b"))
    assert open_source(data).fingerprint == source.fingerprint
    shown = source.preview(0)
    assert isinstance(shown, bytes)
    pixel = Image.open(io.BytesIO(shown)).getpixel((0, 0))
    assert pixel == (10 * source.rows[0],) * 3


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    for part, count in (("train", 4), ("val", 2)):
        for number, data in enumerate(colours(count)):
            target = tmp_path / "pictures" / part / ("cat" if number % 2 else "ant")
            target.mkdir(parents=True, exist_ok=True)
            (target / f"{number}.PNG").write_bytes(data)
    (tmp_path / "pictures" / "train" / "notes.txt").write_text("not a picture")
    return tmp_path / "pictures"


def test_picture_folder(picture_folder: Path) -> None:
    source = open_source(picture_folder)
    assert (source.kind, len(source), source.class_names) == ("image", 4, ("ant", "cat"))
    assert len(open_source(picture_folder, split="val")) == 2
    # rows number the sorted paths: ant/0, ant/2, cat/1, cat/3
    assert source.labels is not None
    assert source.labels[np.argsort(source.rows)].tolist() == [0, 0, 1, 1]
    paths = open_source(picture_folder, id="path")
    assert paths.ids.tolist() == ["ant/0.PNG", "ant/2.PNG", "cat/1.PNG", "cat/3.PNG"]


def test_moving_a_picture_to_another_class_keeps_its_id(picture_folder: Path) -> None:
    before = open_source(picture_folder)
    (picture_folder / "train/ant/0.PNG").rename(picture_folder / "train/cat/z.PNG")
    after = open_source(picture_folder)
    assert after.ids.tolist() == before.ids.tolist()
    assert after.fingerprint != before.fingerprint


def test_picture_paths_in_a_csv(picture_folder: Path) -> None:
    lines = ["file,label", "cat/1.PNG,x", "ant/0.PNG,y", "cat/3.PNG,y"]
    (picture_folder / "train" / "list.csv").write_text("\n".join(lines))
    source = open_source(picture_folder / "train" / "list.csv")
    assert (source.kind, source.shape) == ("image", (3, 4, 4))
    everything = open_source(picture_folder)
    assert set(source.ids.tolist()) <= set(everything.ids.tolist())


def test_pictures_of_several_sizes_are_said_and_given_a_default(tmp_path: Path) -> None:
    for size in (4, 9):
        (tmp_path / f"class{size}").mkdir()
        (tmp_path / f"class{size}" / "a.png").write_bytes(png_of(np.zeros((size, size), np.uint8)))
    source = open_source(tmp_path)
    assert source.shape == (1, 64, 64)
    assert "several sizes, from 4×4 to 9×9" in source.found[0]
    assert source.info(16).shape == (1, 16, 16)


def test_numbers_become_vectors_and_a_row_number_does_not(tmp_path: Path) -> None:
    lines = ["id,width,height,species"]
    lines += [f"{row},{row * 0.5},{row * row},{'ab'[row % 2]}" for row in range(20)]
    (tmp_path / "flowers.csv").write_text("\n".join(lines))
    source = open_source(tmp_path / "flowers.csv")
    assert source.kind == "vector"
    assert source.columns.input == ("width", "height")
    assert source.columns.label == "species"
    assert any("'id'" in sentence for sentence in source.found)
    place = int(np.flatnonzero(source.rows == 3)[0])
    assert np.asarray(source.inputs)[place].tolist() == [1.5, 9.0]
    assert source.preview(place) == "width=1.5, height=9"
    told = open_source(tmp_path / "flowers.csv", input="height,id", id="id")
    assert told.ids.tolist() == list(range(20))
    assert told.columns.input == ("height", "id")


def test_row_numbers_with_gaps_are_no_input() -> None:
    draw = np.random.default_rng(0)
    numbers = np.sort(draw.choice(300, 90, replace=False)) + 5000
    columns = {"case": numbers, "age": draw.integers(0, 99, 90), "y": draw.integers(0, 2, 90)}
    assert open_source(pa.table(columns)).columns.input == ("age",)
    mixed = columns | {"case": draw.permutation(numbers)}
    assert open_source(pa.table(mixed)).columns.input == ("case", "age")
    amounts = columns | {"case": np.arange(90) ** 2}  # they ascend, and number nothing
    assert open_source(pa.table(amounts)).columns.input == ("case", "age")


def test_lists_of_numbers_are_vectors() -> None:
    values = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float64(), 2)):
        table = pa.table({"embedding": pa.array(values, kind), "y": [1, 0, 1]})
        source = open_source(table)
        assert (source.kind, source.shape) == ("vector", (2,))
        assert np.asarray(source.inputs)[np.argsort(source.rows)].tolist() == values


def test_first_line_of_values_is_no_header(tmp_path: Path) -> None:
    lines = [f'"{row % 2 + 1}","title {row}","the words of review {row}"' for row in range(8)]
    (tmp_path / "amazon.csv").write_text("\n".join(lines) + "\n")
    source = open_source(tmp_path / "amazon.csv", input="2,3")
    assert (source.kind, len(source), source.class_names) == ("text", 8, ("1", "2"))
    assert source.columns.label == "1"
    assert source.preview(0) == f"title {source.rows[0]}\nthe words of review {source.rows[0]}"


def test_a_header_of_column_numbers_is_a_header(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("0,1,2,label\n5,6,7,a\n8,9,1,b\n3,3,3,a\n")
    source = open_source(tmp_path / "n.csv")
    assert (len(source), source.columns.input) == (3, ("0", "1", "2"))


def test_codes_are_not_numbers(tmp_path: Path) -> None:
    lines = ["key,long,width,text,label"]
    lines += [f"0{row}0,9{row:019},{row},words {row},0{row % 2}" for row in range(6)]
    (tmp_path / "c.csv").write_text("\n".join(lines))
    source = open_source(tmp_path / "c.csv", id="key", input="text")
    assert source.ids.tolist() == [f"0{row}0" for row in range(6)]
    assert source.class_names == ("00", "01")
    source = open_source(tmp_path / "c.csv", id="long", input="width")
    assert source.ids.tolist() == [f"9{row:019}" for row in range(6)]
    assert np.asarray(source.inputs)[:, 0].tolist() == list(range(6))


def test_a_column_of_codes_in_one_shard_is_one_in_all(tmp_path: Path) -> None:
    for part, keys in enumerate((["007", "11"], ["12", "13"])):
        lines = [f"{key},the words of {key},{key[-1]}" for key in keys]
        (tmp_path / f"train-{part}.csv").write_text("\n".join(["key,text,label", *lines]))
    source = open_source(tmp_path, id="key")
    assert source.ids.tolist() == ["007", "11", "12", "13"]
    assert source.class_names == ("1", "2", "3", "7")


def test_fractions_with_leading_zeros_stay_numbers(tmp_path: Path) -> None:
    lines = ["x,y,label"] + [f"0{row}.5,{row * row},{'ab'[row % 2]}" for row in range(6)]
    (tmp_path / "n.csv").write_text("\n".join(lines))
    assert open_source(tmp_path / "n.csv").columns.input == ("x", "y")


def test_the_same_bytes_in_another_shape_are_other_data() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (40, 8, 8), dtype=np.uint8)
    labels = [0, 1] * 20
    prints = {
        open_source((values, labels)).fingerprint
        for values in (pictures, pictures.reshape(40, 4, 16), pictures.reshape(40, 16, 4))
    }
    assert len(prints) == 3


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (6, (0, 1)), (8, (1, 0))])
def test_photographs_are_upright(form: str, orientation: int, corner: tuple[int, int]) -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = 255  # top left as stored; 6: turn clockwise, 8: anticlockwise
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=form, exif=exif)
    table = pa.table({"image": [buffer.getvalue()] * 2, "label": [0, 1]})
    source = open_source(table)
    assert source.shape == ((3, 16, 32) if orientation == 1 else (3, 32, 16))
    _, pool = encode(source, EncoderSpec(kind="image"))
    (picture,) = pool.gather(torch.tensor([0]))
    _, _, height, width = picture.shape
    halves = picture[0].mean(0).reshape(2, height // 2, 2, width // 2).mean((1, 3))
    assert divmod(int(halves.argmax()), 2) == corner
    shown = source.preview(0)
    assert isinstance(shown, bytes)
    assert Image.open(io.BytesIO(shown)).size == (width, height)


def test_arrays_of_pictures_in_any_layout() -> None:
    channels_first = np.random.default_rng(0).integers(0, 255, (6, 3, 5, 7), dtype=np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2])
    source = open_source((channels_first, labels))
    assert source.shape == (3, 5, 7)
    assert open_source((channels_first.transpose(0, 2, 3, 1), labels)).ids.tolist() == (
        source.ids.tolist()
    )
    assert open_source((torch.from_numpy(channels_first), labels)).fingerprint == source.fingerprint
    assert open_source((channels_first[:, 0], labels)).shape == (1, 5, 7)


def test_a_torch_data_set() -> None:
    inputs, labels = torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 0, 1])
    source = open_source(torch.utils.data.TensorDataset(inputs, labels))
    assert source.fingerprint == open_source((inputs, labels)).fingerprint


def test_a_torch_data_set_of_pictures() -> None:
    pictures = [Image.open(io.BytesIO(data)) for data in colours(4)]
    source = open_source([(picture, i % 2) for i, picture in enumerate(pictures)])
    assert (source.kind, source.shape) == ("image", (3, 4, 4))


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(st.tuples(st.sampled_from(["u v", "w", "x y"]), st.integers(0, 1)), min_size=4),
    data=st.data(),
)
def test_shuffled_rows_have_the_same_ids(rows: list[tuple[str, int]], data: st.DataObject) -> None:
    rows = [*rows, ("z", 0), ("z", 1)]
    order = data.draw(st.permutations(range(len(rows))))
    shuffled = [rows[place] for place in order]

    def opened(some: list[tuple[str, int]]) -> Source:
        columns = {"text": [text for text, _ in some], "label": [label for _, label in some]}
        return open_source(pa.table(columns), input="text")

    first, second = opened(rows), opened(shuffled)
    assert first.ids.tolist() == second.ids.tolist()
    assert len(set(first.ids.tolist())) == len(rows)
    assert by_id(first) == by_id(second)
    assert first.fingerprint == second.fingerprint
    for source, given_rows in ((first, rows), (second, shuffled)):
        for position, row in enumerate(source.rows.tolist()):
            assert source.preview(position) == given_rows[row][0]
            assert int(source.labels[position]) == given_rows[row][1]  # pyright: ignore


def test_duplicates_are_numbered() -> None:
    source = open_source((["b b", "a a", "b b", "c"], [0, 1, 1, 0]))
    plain = [text for text in source.ids.tolist() if "-" not in text]
    assert len(plain) == 3
    assert [text for text in source.ids.tolist() if "-" in text] == [
        next(p for p in plain if source.preview(source.ids.tolist().index(p)) == "b b") + "-1"
    ]
    assert any("1 row repeats" in sentence for sentence in source.found)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, 0, 1, 1], ()),
        ([0, 1, 1, 1, 1], ("1 input stands there with more than one label (first: rows 0 and 2)",)),
        (["x", "y", None, "y", "y"], ()),
        ([0, 1, 2, 1, 0], ("2 inputs stand there with more than one label (first: rows 1 and 4)",)),
    ],
)
def test_equal_inputs_with_several_labels_are_told(
    labels: list[Any], said: tuple[str, ...]
) -> None:
    table = pa.table({"text": ["b b", "a a", "b b", "c", "a a"], "label": labels})
    source = open_source(table, require_labels=False)
    assert tuple(each for each in source.found if "more than one label" in each) == said


def test_relabelling_keeps_ids() -> None:
    before = open_source(reviews())
    relabelled = reviews().set_column(1, "label", pa.array(["neg"] * 5 + ["pos"]))
    after = open_source(relabelled)
    assert after.ids.tolist() == before.ids.tolist()
    assert after.rows.tolist() == before.rows.tolist()
    assert after.fingerprint != before.fingerprint


def test_integer_keys_sort_by_value_and_string_keys_by_code_point() -> None:
    table = reviews().append_column("key", pa.array([10, 9, 100, 1, 2, -3]))
    assert open_source(table, id="key").ids.tolist() == [-3, 1, 2, 9, 10, 100]
    table = reviews().append_column("key", pa.array(["10", "9", "é", "Z", "a", "z"]))
    assert open_source(table, id="key").ids.tolist() == ["10", "9", "Z", "a", "z", "é"]


def test_keys_with_changed_inputs_change_the_fingerprint() -> None:
    table = reviews().append_column("key", pa.array(range(6)))
    changed = table.set_column(0, "text", pa.array([*TEXTS[:5], "another text"]))
    assert open_source(table, id="key").fingerprint != open_source(changed, id="key").fingerprint


def test_limit_takes_the_same_ids_whatever_the_order() -> None:
    everything = open_source(reviews())
    part = open_source(reviews(), limit=3, seed=4)
    shuffled = open_source(reviews([3, 1, 5, 0, 2, 4]), limit=3, seed=4)
    assert part.ids.tolist() == shuffled.ids.tolist()
    assert len(part) == 3
    assert set(part.ids.tolist()) < set(everything.ids.tolist())
    assert part.num_rows == 6
    draws = {tuple(open_source(reviews(), limit=3, seed=seed).ids.tolist()) for seed in range(8)}
    assert len(draws) > 1
    assert open_source(reviews(), limit=99).ids.tolist() == everything.ids.tolist()


def test_a_test_set_is_opened_like_the_training_set() -> None:
    train = open_source(reviews(), label="label", group="stars")
    test = open_source(pa.table({"text": ["good", "bad"], "label": ["pos", "pos"]}), like=train)
    assert test.class_names == train.class_names
    assert test.labels is not None
    assert test.labels.tolist() == [1, 1]
    assert train.groups is not None
    assert sorted(train.groups.tolist()) == ["1", "1", "2", "4", "5", "5"]


def test_unlabelled_data_needs_no_label() -> None:
    source = open_source(pa.table({"text": TEXTS}), require_labels=False)
    assert source.labels is None
    partly = pa.table({"text": TEXTS, "label": ["a", None, "b", None, "a", ""]})
    source = open_source(partly, require_labels=False)
    assert source.labels is not None
    assert sorted(source.labels.tolist()) == [-1, -1, -1, 0, 0, 1]
    assert source.class_names == ("a", "b")


def test_labels_of_every_type() -> None:
    for values, names in (
        ([True, False, True], ("False", "True")),
        ([2.0, 10.0, 2.0], ("2", "10")),
        ([-1, 1, -1], ("-1", "1")),
        (["b", "a", "b"], ("a", "b")),
    ):
        source = open_source(pa.table({"text": TEXTS[:3], "label": values}))
        assert source.class_names == names
        assert source.labels is not None
        shown = [names[label] for label in source.labels[np.argsort(source.rows)]]
        assert shown == [
            f"{value:g}" if isinstance(value, float) else str(value) for value in values
        ]


def test_take_keeps_everything_aligned() -> None:
    source = open_source(reviews(), group="stars")
    part = source.take([4, 1])
    assert part.ids.tolist() == source.ids[[1, 4]].tolist()
    assert [part.preview(0), part.preview(1)] == [source.preview(1), source.preview(4)]
    assert part.groups is not None
    assert source.groups is not None
    assert part.groups.tolist() == source.groups[[1, 4]].tolist()


def test_real_data(shared_data: Path) -> None:
    cola = open_source(shared_data / "cola")
    assert (len(cola), cola.columns.input, cola.columns.label) == (8551, ("sentence",), "label")
    assert len(open_source(shared_data / "cola", split="validation")) == 527
    test = open_source(shared_data / "sst2" / "test.parquet")
    assert test.class_names == ("negative", "positive")
    rating = open_source(shared_data / "imdb" / "test.parquet", label="rating", limit=100)
    assert rating.class_names == ("1", "2", "3", "4", "7", "8", "9", "10")
    assert rating.columns.input == ("text",)
