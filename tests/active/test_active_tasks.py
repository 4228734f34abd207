"""Campaigns of several labels and of numbers, by commands and in Python, from start to export."""

from __future__ import annotations

import csv
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import keepers as library
from commands import Keepers
from keepers import Campaign, Vote
from keepers.data import open_source
from keepers.errors import DataError, KeepersError, ParameterError
from keepers.reports.active import active_report

WORDS = {"sport": "goal match", "money": "bank price", "art": "film song"}
FILLER = ("the", "a", "of", "on", "it", "was", "very", "not", "so")


class Tagged:
    """Texts with labels, in files."""

    def __init__(self, folder: Path, n: int = 150) -> None:
        rng = np.random.default_rng(0)
        self.folder = folder
        self.ids = [f"k{at}" for at in range(n)]
        there = rng.random((n, len(WORDS))) < 0.4
        self.labels = [
            tuple(sorted(name for name, has in zip(WORDS, row, strict=True) if has))
            for row in there.tolist()
        ]
        self.texts = [
            " ".join([*rng.choice(FILLER, 5), *(WORDS[name] for name in labels), f"no {at}"])
            for at, labels in enumerate(self.labels)
        ]
        self.truth = dict(zip(self.ids, self.labels, strict=True))
        self.write("pool", range(n - 50))
        self.write("test", range(n - 50, n), labels=True)

    def write(self, name: str, rows: Sequence[int], *, labels: bool = False) -> Path:
        columns: dict[str, Any] = {
            "key": [self.ids[row] for row in rows],
            "text": [self.texts[row] for row in rows],
        }
        if labels:
            columns["label"] = [list(self.labels[row]) for row in rows]
        path = self.folder / f"{name}.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    def start(self, **given: Any) -> Campaign:
        settings: dict[str, Any] = {"labels": [*WORDS], "id": "key", "cold": "k-center"}
        return Campaign.start(
            self.folder / "pool.parquet", campaign=self.folder / "c", **(settings | given)
        )

    def label(self, campaign: Campaign, ids: Sequence[Any], annotator: str = "ann") -> None:
        campaign.record([Vote(item=i, annotator=annotator, label=self.truth[i]) for i in ids])


Command = Callable[..., str]


@pytest.fixture
def command(run: Keepers) -> Command:
    """A command as it is typed; what it said."""

    def typed(line: str, *, fails: bool = False) -> str:
        said = run(*shlex.split(line))
        assert (said.status != 0) == fails, said
        return said.err if fails else said.out

    return typed


@pytest.fixture
def tagged(tmp_path: Path) -> Tagged:
    return Tagged(tmp_path)


def numbers(folder: Path, n: int = 150) -> dict[int, tuple[float, float]]:
    """A pool of vectors and a test set with two numbers; the numbers of the pool by key."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 4)).astype(np.float32)
    price = (20 + 3 * x[:, 0] + rng.standard_normal(n) / 4).round(3)
    size = (5 - 2 * x[:, 1] + rng.standard_normal(n) / 4).round(3)
    for name, rows in (("pool", range(100)), ("test", range(100, n))):
        columns: dict[str, Any] = {
            "key": [*rows],
            "x": pa.array([x[row].tolist() for row in rows], pa.list_(pa.float32())),
        }
        if name == "test":
            columns |= {"price": price[100:], "size": size[100:]}
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return {row: (float(price[row]), float(size[row])) for row in range(100)}


def test_a_campaign_of_labels_by_commands(tagged: Tagged, command: Command) -> None:
    folder, campaign = tagged.folder, tagged.folder / "c"
    where = f"--campaign {campaign}"
    begun = command(
        f"active start {folder}/pool.parquet {where} --task labels --labels sport,money,art "
        f"--id key --test {folder}/test.parquet"
    )
    assert "with 3 labels; 0 already labelled" in begun
    for count in (20, 30):
        batch = folder / f"batch-{count}.csv"
        command(f"active query {count} {where} --out {batch}")
        rows = list(csv.DictReader(batch.open()))
        assert {row["label"] for row in rows} == {""}
        for row in rows:
            row["label"] = "|".join(tagged.truth[row["id"]]) or "[]"
        with batch.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        assert f"{count} new" in command(f"active import {batch} {where}")
    shown = command(f"active status --train --goal 0.9 {where}")
    assert "average precision" in shown
    assert "Labels: " in shown
    assert "class" not in shown.replace("classified", "")
    facts = json.loads(command(f"active status {where} --json"))
    assert (facts["task"], facts["score"]) == ("labels", "average precision")
    found = facts["trained"][-1]["accuracy"]
    assert found["low"] <= found["value"] <= found["high"]
    page = (campaign / "report.html").read_text()
    assert "Average precision by labels" in page
    assert "Labels: selected against control labels" in page
    for suffix in ("parquet", "jsonl", "csv"):
        command(f"active export {where} --out {folder}/out.{suffix}")
    found = pq.read_table(folder / "out.parquet").to_pylist()
    assert {row["id"]: tuple(row["label"]) for row in found} == {
        row["id"]: tagged.truth[row["id"]] for row in found
    }
    again = library.coreset(
        folder / "out.csv", input="text", label="label", task="labels", keep=0.5
    )
    assert again.metadata["data"]["score"] == "average precision"  # what is written can be read
    written = {row["id"]: row["label"] for row in csv.DictReader((folder / "out.csv").open())}
    assert all((text == "[]") == (not tagged.truth[name]) for name, text in written.items())


def test_hostile_returns_of_labels(tagged: Tagged, command: Command) -> None:
    campaign = tagged.start()
    ids = campaign.query(5).ids
    back = tagged.folder / "back.csv"
    back.write_text(f"id,label\n{ids[0]},sport|mony\n{ids[1]},art\n{ids[2]},[]\nk999,art\n")
    said = command(f"active import {back} --campaign {campaign.path}", fails=True)
    assert "line 2: 'mony' is not one of the labels (did you mean 'money'?)" in said
    assert "line 5: the pool has no example with the id 'k999'" in said
    assert not campaign.state.labels
    said = command(f"active import {back} --campaign {campaign.path} --partial")
    assert "Of these, 1 names a label that the campaign does not have" in said
    assert campaign.state.labels == {ids[1]: ("art",), ids[2]: ()}
    command(f"active classes sport,mony,art --rename money=mony --campaign {campaign.path}")
    assert campaign.state.labels[ids[0]] == ("mony", "sport")


def test_labelled_data_bring_labels_and_their_names(tagged: Tagged) -> None:
    some = tagged.write("some", range(10), labels=True)
    campaign = tagged.start(labels=None, task="labels", labelled=some)
    assert campaign.state.classes == ("art", "money", "sport")
    assert campaign.state.labels == {i: tagged.truth[i] for i in sorted(tagged.ids[:10])}
    again = Campaign.open(tagged.folder / "c")
    assert again.state.labels == campaign.state.labels
    assert len(again.query(10)) == 10


def test_a_pool_that_is_labelled_in_part(tagged: Tagged) -> None:
    rows: list[Any] = [[*labels] for labels in tagged.labels[:30]]
    rows[5:] = [None] * 25
    table = pa.table({"key": tagged.ids[:30], "text": tagged.texts[:30], "tags": rows})
    pq.write_table(table, tagged.folder / "pool.parquet")
    campaign = tagged.start(label="tags")
    assert campaign.state.labels == {i: tagged.truth[i] for i in sorted(tagged.ids[:5])}
    text = ["|".join(row) or "[]" if row is not None else "" for row in rows]
    lines = [",".join(row) for row in zip(tagged.ids, tagged.texts, text, strict=False)]
    (tagged.folder / "pool.csv").write_text("\n".join(["key,text,tags", *lines]))
    other = Campaign.start(
        tagged.folder / "pool.csv",
        campaign=tagged.folder / "d",
        labels=[*WORDS],
        id="key",
        label="tags",
    )
    assert other.state.labels == campaign.state.labels


def test_a_campaign_of_two_numbers_by_commands(tmp_path: Path, command: Command) -> None:
    truth = numbers(tmp_path)
    where = f"--campaign {tmp_path / 'c'}"
    begun = command(
        f"active start {tmp_path}/pool.parquet {where} --numbers price,size --input x --id key "
        "--votes 2 --tolerance 0.5,10"
    )
    assert "with 2 numbers" in begun
    batch = tmp_path / "batch.jsonl"
    command(f"active query 40 {where} --out {batch}")
    ids = [json.loads(line)["id"] for line in batch.read_text().splitlines()]
    for who, off in (("ann", 0.0), ("ben", 0.2)):
        lines = [{"id": i, "label": [truth[i][0] + off, truth[i][1]]} for i in ids]
        lines[0]["label"][0] += 5 * off  # one number too far off
        (tmp_path / f"{who}.jsonl").write_text("\n".join(map(json.dumps, lines)))
        command(f"active import {tmp_path}/{who}.jsonl {where}")
    state = Campaign.open(tmp_path / "c").state
    assert state.disputed == (ids[0],)
    assert state.labels[ids[1]] == pytest.approx((truth[ids[1]][0] + 0.1, truth[ids[1]][1]))
    shown = command(f"active status --train {where}")
    assert "R²" in shown
    page = (tmp_path / "c" / "report.html").read_text()
    assert "R² by labels" in page
    assert "The numbers are too far apart" in page
    assert 'id="classes"' not in page


@pytest.mark.parametrize(
    ("asks", "column", "answers"),
    [
        ("--classes cheap,dear", "label", ["cheap", "dear"]),
        ("--labels red,blue", "label", ["red|blue", "[]"]),
        ("--numbers price", "label", ["2", "-3.5"]),
    ],
)
def test_the_batch_of_a_table_is_csv_for_every_task(
    tmp_path: Path, command: Command, asks: str, column: str, answers: list[str]
) -> None:
    draw = np.random.default_rng(0).normal(size=(30, 3)).round(3)
    lines = [",".join(map(str, [f"r{at}", *row])) for at, row in enumerate(draw.tolist())]
    pool = tmp_path / "pool.csv"
    pool.write_text("\n".join(["car,weight,rank,label cost", *lines]))
    where = f"--campaign {tmp_path / 'c'}"
    command(f"active start {pool} {where} {asks} --id car --input 'weight,rank,label cost'")
    command(f"active query 6 {where} --out {tmp_path / 'batch.csv'}")
    filled = list(csv.DictReader((tmp_path / "batch.csv").open()))
    assert [*filled[0]] == ["id", "rank", "weight", "input.rank", "label cost", column, "line"]
    for row in filled:
        shown = [row["weight"], row["input.rank"], row["label cost"]]
        assert [*map(float, shown)] == draw[int(row["id"][1:])].tolist()
        assert row[column] == ""
    for row, answer in zip(filled, answers, strict=False):
        row[column] = answer
    back = tmp_path / "back.csv"
    with back.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*filled[0]])
        writer.writeheader()
        writer.writerows(filled)
    assert command(f"active import {back} {where}").startswith("2 new")
    command(f"active export {where} --out {tmp_path / 'out.csv'}")
    opened = open_source(tmp_path / "out.csv", require_labels=False)
    assert opened.columns.input == ("weight", "input.rank", "label cost")
    assert opened.columns.label == column


def test_ids_may_come_back_under_the_name_of_their_own_column(
    tagged: Tagged, command: Command
) -> None:
    campaign = tagged.start()
    first, second, third = campaign.query(3).ids
    (tagged.folder / "a.csv").write_text(f"Key,label\n{first},art\n")
    (tagged.folder / "b.jsonl").write_text(json.dumps({"key": second, "label": ["money"]}))
    pq.write_table(pa.table({"key": [third], "label": [["art"]]}), tagged.folder / "c.parquet")
    for name in ("a.csv", "b.jsonl", "c.parquet"):
        assert command(f"active import {tagged.folder / name} --campaign {campaign.path}")[0] == "1"
    assert campaign.state.labels == {first: ("art",), second: ("money",), third: ("art",)}


def test_numbers_are_written_in_columns_that_can_be_filled_in(
    tmp_path: Path, command: Command
) -> None:
    rows = "\n".join(f"{at},film number {at}" for at in range(20))
    (tmp_path / "pool.csv").write_text(f"key,text\n{rows}\n")
    campaign = Campaign.start(
        tmp_path / "pool.csv", campaign=tmp_path / "c", numbers=["plot", "sound"], id="key"
    )
    command(f"active query 4 --campaign {tmp_path / 'c'} --out {tmp_path / 'batch.csv'}")
    filled = list(csv.DictReader((tmp_path / "batch.csv").open()))
    assert [row["plot"] for row in filled] == [""] * 4
    for at, row in enumerate(filled[:2]):
        row["plot"], row["sound"] = str(at), str(at + 0.5)
    filled[2]["plot"] = "3"
    lines = [",".join(row.values()) for row in filled]
    (tmp_path / "back.csv").write_text("\n".join([",".join(filled[0]), *lines]))
    said = command(f"active import {tmp_path / 'back.csv'} --campaign {tmp_path / 'c'}", fails=True)
    assert "line 4: '' is not a number" in said
    command(f"active import {tmp_path / 'back.csv'} --campaign {tmp_path / 'c'} --partial")
    found = {i: campaign.state.labels[i] for i in campaign.state.labels}
    assert sorted(found.values()) == [(0.0, 0.5), (1.0, 1.5)]
    command(f"active export --campaign {tmp_path / 'c'} --out {tmp_path / 'out.csv'}")
    assert {row["sound"] for row in csv.DictReader((tmp_path / "out.csv").open())} == {"0.5", "1.5"}


@pytest.mark.parametrize("method", ["label-entropy", "label-margin", "mmc", "k-center", "random"])
def test_every_kind_of_method_for_labels(tagged: Tagged, method: str) -> None:
    campaign = tagged.start(method=method, test=tagged.folder / "test.parquet")
    tagged.label(campaign, campaign.query(20).ids)
    batch = campaign.query(10)
    assert (batch.method, len(set(batch.ids))) == (method, 10)
    predictions = batch.facts["predictions"]
    assert bool(predictions) == (method != "random")
    for _, labels, probability in predictions:
        assert set(labels) <= set(WORDS)
        assert 0 < probability <= 1


@pytest.mark.parametrize("method", ["committee", "greedy-sampling", "k-center", "auto"])
def test_every_kind_of_method_for_numbers(tmp_path: Path, method: str) -> None:
    truth = numbers(tmp_path)
    campaign = Campaign.start(
        tmp_path / "pool.parquet",
        campaign=tmp_path / "c",
        numbers=["price", "size"],
        input="x",
        id="key",
        method=method,
        test=tmp_path / "test.parquet",
        proxy="linear",
    )
    for _ in range(2):
        batch = campaign.query(20)
        campaign.record([Vote(item=i, annotator="ann", label=truth[int(i)]) for i in batch.ids])
    assert batch.method == ("random" if method == "auto" else method)
    facts = campaign.measure()
    assert facts is not None
    low, high = facts["test_interval"]
    assert low < facts["test_accuracy"] <= high
    assert facts["test_accuracy"] > 0.8


def test_what_does_not_fit_is_refused(tagged: Tagged) -> None:
    for given, problem in [
        ({"labels": ["art"]}, "labels: got 1. Give at least two names"),
        ({"labels": None, "task": "labels"}, "labels: got none"),
        ({"task": "number"}, "labels: the task is 'number'"),
        ({"classes": ["a", "b"]}, "labels: got classes, too"),
        ({"method": "margin"}, "method: got 'margin', which is not offered here"),
        ({"tolerance": 1.0}, "tolerance: got one, but no number is labelled"),
        ({"labels": None, "numbers": ["a", "b"], "tolerance": [1, 2, 3]}, "tolerance: got 3 for 2"),
        ({"labels": None, "numbers": ["a"], "method": "mmc"}, "method: got 'mmc'"),
    ]:
        with pytest.raises(ParameterError) as caught:
            tagged.start(**given)
        assert problem in str(caught.value)
    some = tagged.write("some", range(10), labels=True)
    with pytest.raises(KeepersError, match="money"):
        tagged.start(labels=["price", "art", "sport"], labelled=some)
    assert not (tagged.folder / "c").exists()


def test_cold_until_labels_differ(tagged: Tagged) -> None:
    campaign = tagged.start(method="mmc", control=0.0)
    batch = campaign.query(4)
    campaign.record([Vote(item=i, annotator="ann", label=()) for i in batch.ids])
    assert campaign.measure() is None
    assert campaign.status().is_cold
    batch = campaign.query(4)
    assert batch.facts["cold"]
    campaign.record([Vote(item=i, annotator="ann", label=("art",)) for i in batch.ids])
    assert not campaign.query(4).facts["cold"]
    assert "average precision" in active_report(campaign, campaign.status()).read_text().lower()


def test_numbers_that_are_all_alike_are_cold(tmp_path: Path) -> None:
    numbers(tmp_path)
    campaign = Campaign.start(
        tmp_path / "pool.parquet", campaign=tmp_path / "c", numbers=["price"], input="x", id="key"
    )
    batch = campaign.query(5)
    campaign.record([Vote(item=i, annotator="ann", label=7.0) for i in batch.ids])
    assert campaign.measure() is None
    with pytest.raises(ParameterError, match="cannot be changed"):
        campaign.reclassify(["cost"])
    with pytest.raises(DataError, match="is 2 numbers"):
        campaign.record([Vote(item=batch.ids[0], annotator="ann", label=[1.0, 2.0])])


def test_a_kill_while_planning_loses_nothing(tagged: Tagged) -> None:
    campaign = tagged.start(method="mmc", test=tagged.folder / "test.parquet")
    tagged.label(campaign, campaign.query(20).ids)
    campaign.close()
    words = ["active", "query", "15", "--campaign", str(tagged.folder / "c"), "--json"]
    for wait in (1.0, 3.0):
        process = subprocess.Popen(
            [sys.executable, "-c", "from keepers.cli import main; main()", *words],
            stdout=subprocess.DEVNULL,
        )
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
    after = Campaign.open(tagged.folder / "c").query(15)
    (tagged.folder / "other").mkdir()
    other = Tagged(tagged.folder / "other")
    never = other.start(method="mmc", test=other.folder / "test.parquet")
    other.label(never, never.query(20).ids)
    assert never.query(15).ids == after.ids
