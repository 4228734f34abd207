"""A selection is found again in data of any order, leads back to files, and shows itself."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import keepers
from commands import Keepers
from keepers import Selection
from keepers.errors import KeepersError

N = 40


def reviews(n: int = N) -> pa.Table:
    return pa.table(
        {
            "text": [f"film number {i} was {'fine' if i % 2 else 'bad'}" for i in range(n)],
            "label": ["pos" if i % 2 else "neg" for i in range(n)],
            "stars": list(range(n)),
        }
    )


def chosen(data: Any, folder: Path, **given: Any) -> Selection:
    return keepers.coreset(data, method="random", run=folder / "run", **({"keep": 10} | given))


@pytest.fixture
def selection(tmp_path: Path) -> Selection:
    return chosen(reviews(), tmp_path)


# subset -------------------------------------------------------------------------------------


@pytest.mark.parametrize("keyed", [False, True])
def test_a_shuffled_frame_gives_the_same_examples(tmp_path: Path, keyed: bool) -> None:
    selection = chosen(reviews(), tmp_path, **({"id": "stars"} if keyed else {}))
    expected = selection.indices.tolist()
    frame = reviews().to_pandas()
    shuffled = frame.sample(frac=1, random_state=3)
    assert shuffled["stars"].tolist() != frame["stars"].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert selection.subset(shuffled)["stars"].tolist() == expected
        more = reviews(60).to_pandas().sample(frac=1, random_state=4)
        assert selection.subset(more)["stars"].tolist() == expected


def test_shuffled_data_of_every_kind(selection: Selection) -> None:
    import datasets

    order = random.Random(5).sample(range(N), N)
    table = reviews().take(pa.array(order))
    texts, labels = table["text"].to_pylist(), table["label"].to_pylist()
    expected = selection.indices.tolist()
    assert selection.subset(table)["stars"].to_pylist() == expected
    assert selection.subset(datasets.Dataset(table))["stars"][:] == expected
    wanted = reviews()["text"].take(pa.array(expected)).to_pylist()
    assert selection.subset(texts) == wanted
    assert selection.subset(np.array(texts)).tolist() == wanted
    pairs = list(zip(texts, labels, strict=True))
    assert [text for text, _ in selection.subset(pairs)] == wanted
    _, numbers = selection.subset((np.array(texts), np.array(order)))
    assert numbers.tolist() == expected
    part = selection.subset(Pairs(pairs))
    assert [part[i][0] for i in range(len(part))] == wanted


class Pairs(torch.utils.data.Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def test_what_is_no_longer_there_is_said(selection: Selection) -> None:
    frame = reviews().to_pandas()
    gone = selection.indices[:3]
    with pytest.warns(UserWarning, match="3 of the 10 kept examples are not in it"):
        left = selection.subset(frame.drop(index=gone))
    assert left["stars"].tolist() == selection.indices[3:].tolist()


def test_data_of_other_inputs_are_refused(selection: Selection, tmp_path: Path) -> None:
    upper = [text.upper() for text in reviews()["text"].to_pylist()]
    for data in (upper, reviews().set_column(0, "text", pa.array(upper))):
        with pytest.raises(KeepersError, match=r"it has none of the 10 kept .* selection.indices"):
            selection.subset(data)
    with pytest.raises(KeepersError, match="dataset: got arrays of 39, 40 rows"):
        selection.subset((np.array(upper), np.arange(39)))
    for other in ("reviews.csv", tmp_path, {"train": reviews()}):  # a Subset of letters or splits
        with pytest.raises(
            KeepersError,
            match=r"dataset: got .*, which has no rows to select\. "
            r"Read",
        ):
            selection.subset(other)
    keyed = chosen(reviews(), tmp_path / "keyed", id="stars")
    with pytest.raises(KeepersError, match="dataset: it has no column 'stars' with the k"):
        keyed.subset(reviews().drop_columns(["stars"]))


def test_copies_with_different_labels_are_told_apart(tmp_path: Path) -> None:
    table = pa.table({"text": ["a film", "a film", "a plot", "the end"], "label": list("xyxy")})
    for seed in range(8):
        selection = chosen(table, tmp_path / str(seed), keep=2, seed=seed)
        label = {row["text"] + row["label"] for row in selection.subset(table).to_pylist()}
        only = table.filter(pa.array([False, True, True, True]))  # "a film" as y alone is left
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = {row["text"] + row["label"] for row in selection.subset(only).to_pylist()}
        assert found == label - {"a filmx"}
        longer = pa.concat_tables([table, table.take(pa.array([1, 0, 1]))])
        rows = selection.subset(longer).to_pylist()
        assert {row["text"] + row["label"] for row in rows} == label
        assert len(rows) == 2


def test_a_selection_that_was_read_finds_its_rows_too(selection: Selection, tmp_path: Path) -> None:
    again = Selection.read_parquet(selection.to_parquet(tmp_path / "kept.parquet"))
    shuffled = reviews().to_pandas().sample(frac=1, random_state=3)
    assert again.subset(shuffled)["stars"].tolist() == selection.indices.tolist()


# Back to the files --------------------------------------------------------------------------


def picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 6), value, dtype=np.uint8)).save(path)


def test_pictures_of_a_folder_have_their_paths(tmp_path: Path, run: Keepers) -> None:
    for part, start in (("train", 0), ("test", 100)):
        for i in range(12):
            picture(tmp_path / "pics" / part / "ab"[i % 2] / f"{i}.png", start + i)
    assert (
        run("coreset", "pics", "--keep", "5", "--method", "random", "--out", "k.parquet").status
        == 0
    )
    table = pq.read_table("k.parquet")
    for row in table.to_pylist():
        assert row["path"].startswith(f"train/{row['label']}/")
        assert (tmp_path / "pics" / row["path"]).is_file()
    assert len(set(table["path"].to_pylist())) == 12
    assert Selection.read_parquet("k.parquet").kept["path"].to_pylist()


def test_pictures_named_in_a_column_have_its_value(tmp_path: Path) -> None:
    for i in range(6):
        picture(tmp_path / "pics" / f"{i}.png", 20 * i)
    rows = [f"pics/{i}.png,{'ab'[i % 2]}" for i in (3, 1, 5, 0, 2, 4)]
    (tmp_path / "t.csv").write_text("\n".join(["file,label", *rows]))
    table = chosen(tmp_path / "t.csv", tmp_path, keep=3).table
    assert table["path"].to_pylist() == [row.split(",")[0] for row in rows]
    assert table["line"].to_pylist() == [2, 3, 4, 5, 6, 7]


def test_shards_say_file_row_and_line(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name, start, count in (("part-0", 0, 7), ("part-1", 7, 5)):
        rows = reviews().slice(start, count).to_pylist()
        lines = [json.dumps(row) for row in rows]
        lines.insert(2, "")  # a blank line is no row
        (tmp_path / "d" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    table = chosen(tmp_path / "d", tmp_path, keep=3).table
    assert table["file"].to_pylist() == ["part-0.jsonl"] * 7 + ["part-1.jsonl"] * 5
    assert table["file_row"].to_pylist() == [*range(7), *range(5)]
    assert table["line"].to_pylist() == [1, 2, 4, 5, 6, 7, 8, 1, 2, 4, 5, 6]
    for row in table.to_pylist():
        text = (tmp_path / "d" / row["file"]).read_text().split("\n")[row["line"] - 1]
        assert json.loads(text)["stars"] == row["row"]


def test_records_of_several_lines_say_where_they_begin(tmp_path: Path) -> None:
    text = 'text,label\n"a film\n\nto ""see""",x\nthe plot,y\n\n"the\ncast",x\nan end,y\n'
    (tmp_path / "t.csv").write_text(text)
    table = chosen(tmp_path / "t.csv", tmp_path, keep=2).table
    assert table["line"].to_pylist() == [2, 5, 7, 9]
    assert "file" not in table.column_names


def test_parquet_shards_say_file_and_row(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for shard in range(2):
        name = f"train-{shard:05}-of-00002.parquet"
        pq.write_table(reviews().slice(10 * shard, 10), tmp_path / "d" / name)
    table = chosen(tmp_path / "d", tmp_path, keep=3).table
    assert table["file"].to_pylist()[9:11] == [f"train-0000{i}-of-00002.parquet" for i in (0, 1)]
    assert table["file_row"].to_pylist() == [*range(10)] * 2
    assert "line" not in table.column_names


def test_a_campaign_s_files_have_paths_and_open_by_themselves(tmp_path: Path) -> None:
    for i in range(8):
        picture(tmp_path / "pics" / f"{i}.png", 20 * i)
    campaign = keepers.Campaign.start(
        tmp_path / "pics", campaign=tmp_path / "c", classes=["a", "b"], control=0.0
    )
    ids = campaign.query(4).ids
    campaign.record(
        keepers.Vote(item=item, annotator="ann", label="ab"[n % 2]) for n, item in enumerate(ids)
    )
    table = pq.read_table(campaign.export(tmp_path / "out.parquet"))
    for row in table.to_pylist():
        assert Image.open(tmp_path / "pics" / row["path"]).getpixel((0, 0)) == 20 * row["row"]
    opened = keepers.data.open_source(tmp_path / "out.parquet")
    assert (opened.columns.input, opened.columns.label) == (("picture",), "label")


# A frame, a notebook, and files from Python -------------------------------------------------


def test_a_frame_and_a_notebook(tmp_path: Path) -> None:
    table = reviews().set_column(
        1, "label", pa.array(["<b>" if i % 4 else "pos" for i in range(N)])
    )
    selection = chosen(table, tmp_path)
    assert selection.to_pandas()["id"].tolist() == selection.table["id"].to_pylist()
    shown = selection._repr_html_()
    assert "10 of 40 examples kept" in shown
    assert "<td>&lt;b&gt;</td>" in shown
    assert "<svg" not in shown  # random has no scores
    scored = keepers.coreset(
        table,
        method="entropy",
        keep=10,
        proxy="fasttext",
        epochs=1,
        label="label",
        run=tmp_path / "s",
    )
    assert scored._repr_html_().count('fill="#2563a8"') == 40


def test_python_writes_what_the_command_writes(tmp_path: Path) -> None:
    pq.write_table(reviews(), tmp_path / "reviews.parquet")
    given: dict[str, Any] = {"out": tmp_path / "k.parquet", "export": tmp_path / "kept"}
    selection = chosen(tmp_path / "reviews.parquet", tmp_path, **given)
    assert (
        Selection.read_parquet(tmp_path / "k.parquet").indices.tolist()
        == selection.indices.tolist()
    )
    exported = pq.read_table(tmp_path / "kept" / "reviews.parquet")
    assert exported["stars"].to_pylist() == sorted(selection.indices.tolist())
    for name, message in (("out", "out: .* exists"), ("export", "export: .* exists")):
        with pytest.raises(KeepersError, match=message):
            chosen(tmp_path / "reviews.parquet", tmp_path, **{name: given[name]})
    with pytest.raises(KeepersError, match=r"out: .* is the data file"):
        chosen(tmp_path / "reviews.parquet", tmp_path, out=tmp_path / "reviews.parquet")
    chosen(tmp_path / "reviews.parquet", tmp_path, **given, overwrite=True)


# Data sets of dictionaries and streams ------------------------------------------------------


def test_items_that_are_dictionaries(tmp_path: Path) -> None:
    rows = [{"review": row["text"], "sentiment": row["label"]} for row in reviews().to_pylist()]
    source = keepers.data.open_source(Pairs(rows), input="review", label="sentiment")
    assert (source.kind, len(source), source.class_names) == ("text", N, ("neg", "pos"))
    selection = chosen(Pairs(rows), tmp_path)
    part = selection.subset(Pairs(rows[::-1]))
    assert [part[i]["review"] for i in range(3)] == [
        rows[i]["review"] for i in selection.indices[:3]
    ]


@pytest.mark.parametrize("form", ["tensor", "pil", "vector"])
def test_dictionaries_of_pictures_and_vectors(form: str) -> None:
    arrays = np.random.default_rng(0).integers(0, 255, (12, 6, 6, 3), dtype=np.uint8)
    inputs: list[Any] = {
        "tensor": [torch.from_numpy(a).permute(2, 0, 1) for a in arrays],
        "pil": [Image.fromarray(a) for a in arrays],
        "vector": [torch.from_numpy(a).flatten().float() for a in arrays],
    }[form]
    items = [{"image": x, "label": torch.tensor(i % 2)} for i, x in enumerate(inputs)]
    source = keepers.data.open_source(Pairs(items))
    assert source.kind == ("vector" if form == "vector" else "image")
    assert source.shape == ((108,) if form == "vector" else (3, 6, 6))
    assert source.class_names == ("0", "1")


def test_items_that_cannot_be_used(tmp_path: Path) -> None:
    tokens = [{"input_ids": torch.arange(5), "labels": i % 2} for i in range(6)]
    uneven = [{"text": "a", "label": 0}, {"text": "b"}]
    for items, message in (
        (tokens, "data: items hold 'input_ids', which are token ids, but no text"),
        (uneven, "data: item 1 of Pairs has the parts 'text', but item 0 has 'text', 'label'"),
        ([{}], "data: item 0 of the data set is dict. Give"),
    ):
        with pytest.raises(KeepersError, match=message):
            keepers.coreset(Pairs(items), run=tmp_path)


class Stream(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([("a film", 0), ("a plot", 1)])


def test_streams_are_refused_with_what_to_do(tmp_path: Path) -> None:
    import datasets

    hugging: Any = datasets.Dataset.from_list([{"text": "a"}]).to_iterable_dataset()
    for data in (Stream(), iter([("a", 0)]), hugging):
        with pytest.raises(
            KeepersError,
            match=r"data: got .* in order\. Read all of it first",
        ):
            keepers.coreset(data, run=tmp_path)
        with pytest.raises(KeepersError, match=r"dataset: got .* no length and no items by index"):
            keepers.with_ids(data)
    losses = list(Stream())
    assert len(keepers.with_ids(losses)) == 2
