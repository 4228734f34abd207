from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from active_worlds import World, make_world

import keepers
from keepers import Campaign, Vote
from keepers.data import open_source
from keepers.errors import RunError

HOSTILE = '<script>alert("x")</script>, "quoted"\nand = a new line — Ω'


def read_jsonl(path: Path) -> Any:
    return pa.Table.from_pylist([json.loads(line) for line in path.read_text("utf-8").splitlines()])


def read_csv(path: Path) -> Any:
    lines: Any = pyarrow.csv.ParseOptions(newlines_in_values=True)
    return pyarrow.csv.read_csv(path, parse_options=lines)


READERS: dict[str, Callable[[Path], Any]] = {
    ".parquet": pq.read_table,
    ".csv": read_csv,
    ".jsonl": read_jsonl,
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def texts(folder: Path, column: str = "review", n: int = 40) -> Campaign:
    """A campaign on texts, of which 24 are labelled, two of them by two people."""
    rows = [f"a {word} film, number {i}" for i, word in enumerate(["fine", "bad"] * (n // 2))]
    rows[3] = HOSTILE
    keys = [f"review-{i:02}" for i in range(n)]
    table = pa.table({"name": keys, column: rows, "stars": list(range(n))})
    pq.write_table(table, folder / "pool.parquet")
    campaign = Campaign.start(
        folder / "pool.parquet",
        campaign=folder / "campaign",
        classes=["neg", "pos"],
        id="name",
        input=column,
        proxy={"model": "fasttext", "options": {"buckets": 256, "dim": 4}},
        method="margin",
        epochs=2,
        control=0.25,
        cold="random",
        distinct=None,
    )
    for number in range(2):
        batch = campaign.query(12)
        campaign.record(
            [
                Vote(
                    item=item,
                    annotator="ann",
                    label="pos" if int(str(item)[-2:]) % 2 == 0 else "neg",
                    seconds=2.0,
                    time=f"2020-03-0{number + 1}",
                )
                for item in batch.ids
            ]
        )
    twice = campaign.state.rounds[0].items[:2]
    campaign.record(
        [
            Vote(
                item=each.item,
                annotator="Ben, B.",
                label=campaign.state.labels[each.item],
                seconds=0.5,
                time="2020-03-05",
            )
            for each in twice
        ]
    )
    return campaign


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_labels_with_where_they_come_from(tmp_path: Path, suffix: str) -> None:
    campaign = texts(tmp_path)
    out = campaign.export(tmp_path / f"labels{suffix}")
    rows = READERS[suffix](out).to_pylist()
    assert len(rows) == 24
    pool = pq.read_table(tmp_path / "pool.parquet")
    state = campaign.state
    methods = {1: "random", 2: "margin"}
    for row in rows:
        item = state.item(row["id"])
        assert row["review"] == pool["review"][row["row"]].as_py()
        assert pool["name"][row["row"]].as_py() == row["id"]
        assert (row["label"], row["part"], row["rank"]) == (item.label, item.part, item.rank)
        assert (row["round"], row["method"]) == (item.round, methods[item.round or 0])
        assert row["score"] == item.score or row["score"] == pytest.approx(item.score)
    assert [row["id"] for row in rows] == list(state.labels)
    first = rows[0]
    assert (first["annotators"], first["votes"], first["seconds"]) == ("Ben, B., ann", 2, 2.5)
    assert str(first["time"]).startswith("2020-03-05")
    assert {row["part"] for row in rows} == {"selected", "control"}

    opened = open_source(out, id="id", input="review", label="label")
    assert len(opened) == 24
    assert opened.class_names == ("neg", "pos")
    by_id = dict(zip(opened.ids.tolist(), opened.labels.tolist(), strict=True))  # type: ignore[union-attr]
    assert {item: ("neg", "pos")[number] for item, number in by_id.items()} == dict(state.labels)


def test_what_is_exported_opens_by_itself(tmp_path: Path) -> None:
    """The input and the label are found without being named, and a core-set is selected."""
    out = texts(tmp_path).export(tmp_path / "labels.parquet")
    opened = open_source(out)
    assert opened.columns.input == ("review",)
    assert opened.columns.label == "label"
    selection = keepers.coreset(out, keep=0.5, method="random", run=tmp_path / "run")
    assert len(selection.ids) == 12


def test_hostile_text_is_kept_as_it_is(tmp_path: Path) -> None:
    campaign = texts(tmp_path)
    campaign.record([Vote(item="review-03", annotator="ann", label="neg", time="2020-05-01")])
    for suffix, read in READERS.items():
        rows = read(campaign.export(tmp_path / f"out{suffix}")).to_pylist()
        assert [row["review"] for row in rows if row["id"] == "review-03"] == [HOSTILE]


def test_vectors(world: World) -> None:
    campaign = world.start()
    world.label(campaign, campaign.query(12).ids)
    rows = pq.read_table(campaign.export(world.folder / "out.parquet")).to_pylist()
    for row in rows:
        assert row["x"] == world.x[world.ids.index(row["id"])].tolist()
        assert isinstance(row["id"], int)
    opened = open_source(world.folder / "out.parquet", id="id")
    assert opened.kind == "vector"
    lines = read_jsonl(campaign.export(world.folder / "out.jsonl")).to_pylist()
    assert [row["id"] for row in lines] == [row["id"] for row in rows]
    with pytest.raises(RunError, match=r"out: \.csv files hold no vectors\. .* \.jsonl or"):
        campaign.export(world.folder / "out.csv")


def test_pictures(tmp_path: Path) -> None:
    campaign = Campaign.start(
        "digits",
        campaign=tmp_path / "campaign",
        classes=[str(digit) for digit in range(10)],
        cold="random",
        distinct=None,
    )
    digits = open_source("digits")
    truth = dict(zip(digits.ids.tolist(), digits.labels.tolist(), strict=True))  # type: ignore[union-attr]
    batch = campaign.query(30)
    campaign.record([Vote(item=i, annotator="o", label=str(truth[i])) for i in batch.ids])
    out = campaign.export(tmp_path / "out.parquet")
    opened = open_source(out, id="id")
    assert (opened.kind, len(opened)) == ("image", 30)
    place = {name: number for number, name in enumerate(digits.ids.tolist())}
    for position, name in enumerate(opened.ids.tolist()):
        assert opened.preview(position) == digits.preview(place[name])
    for suffix in (".csv", ".jsonl"):
        with pytest.raises(RunError, match=rf"out: \{suffix} files hold no images"):
            campaign.export(tmp_path / f"out{suffix}")


@pytest.mark.parametrize("column", ["time", "votes", "label", "annotators", "row"])
def test_an_input_whose_column_has_a_name_of_ours(tmp_path: Path, column: str) -> None:
    rows = READERS[".parquet"](texts(tmp_path, column).export(tmp_path / "o.parquet")).to_pylist()
    assert all("film" in row["text"] or row["text"] == HOSTILE for row in rows)
    assert {row["label"] for row in rows} == {"neg", "pos"}


def test_an_export_of_nothing(world: World) -> None:
    campaign = world.start()
    table = pq.read_table(campaign.export(world.folder / "out.parquet"))
    assert table.num_rows == 0
    assert table.column_names[:4] == ["id", "row", "x", "label"]


def test_what_was_brought_and_what_lies_outside_the_pool(world: World) -> None:
    world.write(rows=range(40))
    labelled = world.write("labelled", range(36, 44), labels=True)
    campaign = world.start(labelled=labelled)
    rows = pq.read_table(campaign.export(world.folder / "out.parquet")).to_pylist()
    found = {row["id"]: row for row in rows}
    assert set(found) == set(world.ids[36:44])
    assert {row["part"] for row in rows} == {"brought"}
    assert found[139]["row"] == 39
    assert found[141]["row"] == -1
    assert {row["round"] for row in rows} == {None}
    assert {row["annotators"] for row in rows} == {"labelled"}


def test_labels_are_named_as_today_and_removed_items_left_out(world: World) -> None:
    campaign = world.start()
    batch = campaign.query(12)
    world.label(campaign, batch.ids)
    campaign.reclassify(["A", "b"], {"a": "A"})
    gone = batch.ids[0]
    world.write(rows=[r for r, i in enumerate(world.ids) if i != gone])
    rows = pq.read_table(world.open().export(world.folder / "out.parquet")).to_pylist()
    expected = {i: {"a": "A", "b": "b"}.get(world.truth[i]) for i in batch.ids if i != gone}
    assert {row["id"]: row["label"] for row in rows} == {i: n for i, n in expected.items() if n}


def test_where_an_export_may_not_go(world: World) -> None:
    campaign = world.start(labelled=world.write("labelled", range(6), labels=True))
    before = world.pool.read_bytes()
    for path, overwrite, message in (
        (world.pool, True, r"out: .*pool.parquet is the data file"),
        (world.folder / "labelled.parquet", True, r"out: .* is the data file"),
        (world.folder, True, r"out: .* format is not known"),
        (world.folder / "out.xlsx", True, r"format is not known. Give a file that ends in \.parq"),
        (world.pool, False, r"out: .*pool.parquet"),
    ):
        with pytest.raises(RunError, match=message):
            campaign.export(path, overwrite=overwrite)
    assert world.pool.read_bytes() == before
    out = campaign.export(world.folder / "out.parquet")
    with pytest.raises(RunError, match=r"out: .*out.parquet exists. Pass --overwrite"):
        campaign.export(out)
    assert campaign.export(out, overwrite=True) == out
    link = world.folder / "link.parquet"
    link.symlink_to(world.pool)
    with pytest.raises(RunError, match="is the data file"):
        campaign.export(link, overwrite=True)
