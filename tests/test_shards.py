"""Selection over shards, held against the selection of one table."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import sys
import threading
import types
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json as pajson
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import keepers
from keepers import cluster, methods
from keepers.cluster import check_answers
from keepers.data import corrupt_labels, open_source
from keepers.errors import DataError, ExistsError, MissingExtraError, ParameterError, RunError
from keepers.methods import Method
from keepers.methods.by_class import Floor
from keepers.methods.method import top
from keepers.random import generator
from keepers.selectors import facility_location, take_turns
from keepers.selectors.cuts import Search, drawn_keys, order_keys, text_words, turn_ranks
from keepers.shards import covering, cutting, ranking
from keepers.shards.places import find_shards, local_copy
from keepers.shards.store import Store
from keepers.types import Signals
from keepers.workflows import auto
from keepers.workflows.options import advise
from keepers.workflows.shards import score

LIMIT = "RAY_gcs_server_port_wait_time_s"

GIVEN = Method(
    name="given",
    needs=frozenset({"losses"}),
    score=lambda signals: signals.get("losses"),
    select=top,
    summary="",
    when="",
    paper="",
)


def in_shards(table, folder: Path, count: int, seed: int = 0) -> Path:
    """Rows in any order, in files of any size, some empty."""
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.integers(0, table.num_rows + 1, count - 1))
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.split(rng.permutation(table.num_rows), ends)):
        pq.write_table(table.take(pa.array(rows)), folder / f"part-{number}.parquet")
    return folder


def digits(n: int = 600):
    source = open_source("digits")
    inputs = source.inputs.reshape(len(source), -1).astype(np.float32)[:n]
    keys = np.random.default_rng(1).permutation(n)
    return pa.table({"x": list(inputs), "label": source.labels[:n], "key": keys})


class TestWords:
    @pytest.mark.parametrize("kind", [np.float32, np.float64])
    def test_keys_are_in_the_order_of_scores(self, kind):
        values = [0.5, -0.5, 1, 2, -np.inf, np.inf, 0.0, -0.0, 1e-40, -1e-40]
        scores = np.random.default_rng(0).choice(np.array(values, kind), 500)
        want = torch.from_numpy(scores).argsort(descending=True, stable=True)
        keys = order_keys(scores)
        assert keys.argsort(kind="stable").tolist() == want.tolist()
        assert len(np.unique(keys)) == len(np.unique(scores))

    def test_texts_compare_by_their_words(self):
        names = sorted(["", "a", "ab", "abcdefgh", "abcdefghi", "abcdefgi", "b", "é", "日本"])
        column = pa.array(names, pa.large_string())
        _, starts, text = column.buffers()
        starts, text = np.frombuffer(starts, np.int64), np.frombuffer(text, np.uint8)
        words = [text_words(starts[:-1], starts[1:], text, place) for place in (0, 1)]
        found = list(zip(*(each.tolist() for each in words), strict=True))
        assert found == sorted(found)
        assert len(set(found)) == len(names)

    def test_drawn_keys_are_uniform_and_differ_by_seed(self):
        marks = np.arange(10_000, dtype=np.uint64)
        shares = [drawn_keys(marks, seed) / 2**64 for seed in (1, 2)]
        for each in shares:
            counts = np.histogram(each, 10, (0, 1))[0]
            assert abs(counts - 1000).max() < 150
        assert abs(np.corrcoef(*shares)[0, 1]) < 0.05

    def test_a_search_finds_the_last_of_each_group(self):
        rng = np.random.default_rng(0)
        keys = rng.integers(0, 2**32, 1000, dtype=np.uint32)
        classes = rng.integers(0, 3, 1000)
        wanted = np.array([1, 50, 200])
        search = Search.begin(np.arange(3), wanted, 32)
        while not search.is_between_words:
            halves = [slice(0, 300), slice(300, 1000)]
            counts = sum(search.count([keys[half]], classes[half]) for half in halves)
            search = search.narrowed(counts)
        want = [np.sort(keys[classes == c])[n - 1] for c, n in enumerate(wanted)]
        assert search.prefix.tolist() == want

    @pytest.mark.parametrize("seed", range(5))
    def test_turns_are_those_of_take_turns(self, seed):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(1, 20, 6)
        lengths = np.array([rng.integers(0, size + 1) for size in sizes])
        starts = np.concatenate([[0], lengths.cumsum()])
        queues = [torch.arange(a, b) for a, b in pairwise(starts)]
        want = take_turns(queues, sizes.tolist()).tolist()
        found = np.empty(len(want), int)
        for queue, length in enumerate(lengths):
            ranks = turn_ranks(lengths, sizes, queue, np.arange(length))
            found[ranks] = queues[queue].numpy()
        assert found.tolist() == want


@pytest.mark.parametrize("seed", range(24))
def test_the_choice_is_that_of_one_table(seed, tmp_path, monkeypatch):
    """Ties, floors that bind and that the budget does not reach, shares, rows without a class."""
    monkeypatch.setattr(cutting, "FEW", 3)
    monkeypatch.setattr(ranking, "RANGE", 37)
    rng = np.random.default_rng(seed)
    n, num_classes = int(rng.integers(5, 200)), int(rng.integers(2, 7))
    kinds = [
        rng.normal(size=n),
        rng.integers(0, 4, n),
        rng.choice([0.0, -0.0, np.inf, -np.inf, 1.0], n),
        np.zeros(n),
    ]
    scores = kinds[seed % 4].astype([np.float32, np.float64][seed // 4 % 2])
    ids = rng.permutation(10 * n)[:n] - 3 * n
    if seed % 3 == 0:
        ids = np.array(["x" * (int(each) % 23) + str(each) for each in ids], dtype=object)
    labels = rng.choice(num_classes, n, p=rng.dirichlet(np.full(num_classes, 0.4)))
    names = [f"c{label}" if seed % 5 or rng.random() < 0.9 else None for label in labels]
    k, least = int(rng.integers(1, n + 1)), [0, 1, 2, 5, 30][seed % 5]
    balance = "class" if seed % 4 == 1 and None not in names else None

    order = np.array(sorted(range(n), key=ids.tolist().__getitem__))
    known = sorted({name for name in names if name})
    codes = torch.tensor([-1 if names[at] is None else known.index(names[at]) for at in order])
    picks, _ = methods.choose(
        GIVEN,
        [Signals(losses=torch.from_numpy(scores[order]), labels=codes)],
        k,
        balance=codes if balance else None,
        floor=Floor(codes, least),
        generator=generator(0, "test"),
    )
    want = ids[order][picks.positions.numpy()].tolist()

    table = pa.table({"id": ids.tolist(), "label": pa.array(names, pa.string()), "s": scores})
    for count in (1, 4):
        folder = in_shards(table, tmp_path / f"{count}", count, seed)
        given = {"id": "id", "label": "label", "scores": "s", "run": tmp_path / f"run-{count}"}
        kept = keepers.coreset_shards(folder, keep=k, balance=balance, min_per_class=least, **given)
        found = kept.table
        assert found["id"].to_pylist() == want
        assert found["rank"].to_pylist() == list(range(k))
        for row in found.slice(0, 3).to_pylist():
            there = pq.read_table(folder / row["file"]).slice(row["row"], 1).to_pylist()[0]
            assert (there["id"], there["label"], there["s"]) == (
                row["id"],
                row["label"],
                pytest.approx(row["score"]),
            )


@pytest.mark.parametrize(
    ("method", "key"),
    [("entropy", "key"), ("el2n", None), ("stratified", None), ("random", "key")],
)
def test_a_method_chooses_as_from_one_table(method, key, tmp_path):
    table = digits()
    table = pa.concat_tables([table, table.slice(0, 20)]) if key is None else table
    pq.write_table(table, tmp_path / "all.parquet")
    proxy = {"proxy": "mlp", "epochs": 2} if method in ("entropy", "el2n") else {}
    same = {"keep": 0.3, "method": method, "id": key, "label": "label", "input": "x", **proxy}
    want = keepers.coreset(tmp_path / "all.parquet", run=tmp_path / "central", **same)
    found = []
    for count in (1, 5):
        folder = in_shards(table, tmp_path / f"{count}", count)
        kept = keepers.coreset_shards(folder, run=tmp_path / f"run-{count}", **same)
        found.append(kept.table.select(["id", "label", "rank", "score"]))
        assert kept.ids == want.ids
    assert found[0].equals(found[1])


@pytest.mark.parametrize("method", ["margin", "loss"])
def test_scores_are_the_same_to_the_bit_wherever_a_row_stands(method, tmp_path):
    """Rows of ten numbers are not aligned in memory, and the last bits of products go by that."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 900)
    words = [rng.integers(40 * label, 100 + 40 * label, 12) for label in labels]
    texts = [" ".join(f"w{each}" for each in row) for row in words]
    table = pa.table({"text": texts, "label": labels, "key": rng.permutation(900)})
    found = []
    for count in (1, 3, 17):
        folder = in_shards(table, tmp_path / f"{count}", count)
        same = {"keep": 1.0, "method": method, "epochs": 3, "id": "key"}
        kept = keepers.coreset_shards(folder, run=tmp_path / f"run-{count}", **same)
        found.append(kept.table.select(["id", "label", "rank", "score"]))
    assert found[1].equals(found[0])
    assert found[2].equals(found[0])


def two_halves():
    """Two classes, on either side of a line."""
    points = np.random.default_rng(0).normal(size=(600, 2)).astype(np.float32)
    labels = (points @ np.arange(1, 3) > 0).astype(int)
    return pa.table({"x": list(points), "label": labels, "key": np.arange(600)})


def test_repeated_inputs_are_told_as_of_one_table(tmp_path):
    table = digits(60)
    table = pa.concat_tables([table, table.slice(0, 7), table.slice(3, 2), table.slice(50, 1)])
    heard = []
    keepers.coreset_shards(
        in_shards(table, tmp_path / "pool", 3), keep=10, run=tmp_path / "run", say=heard.append
    )
    said = [each for each in open_source(table).found if "repeat" in each]
    assert said
    assert [each for each in heard if "repeat" in each] == said
    assert said[0].startswith("10 rows repeat")


def test_auto_takes_what_it_takes_of_one_table(tmp_path, monkeypatch):
    """The pilot looks at the sample, here all: it is that of one table with the same methods."""
    for look in ("second_look", "proxy_look"):
        monkeypatch.setattr(auto, look, lambda pilot, rows, *_, **__: (pilot, [*rows]))
    monkeypatch.setattr(advise, "CANDIDATES", ("stratified", "margin"))
    table = two_halves()
    pq.write_table(table, tmp_path / "all.parquet")
    same = {"keep": 0.1, "method": "auto", "id": "key", "label": "label", "input": "x"}
    same |= {"proxy": "mlp", "epochs": 2}
    want = keepers.coreset(tmp_path / "all.parquet", run=tmp_path / "central", **same)
    monkeypatch.setattr(advise, "CANDIDATES", ("stratified", "margin", "facility-location"))
    folder, heard = in_shards(table, tmp_path / "pool", 3), []
    kept = keepers.coreset_shards(folder, run=tmp_path / "run", say=heard.append, **same)
    assert kept.ids == want.ids
    central, found = (each.metadata["auto"] for each in (want, kept))
    assert found["taken"] == central["taken"] == kept.metadata["method"] == "margin"
    assert found["pilot"]["rows"] == central["pilot"]["rows"]
    assert any(each.startswith("auto takes margin: in a pilot on 600 examples") for each in heard)
    assert sum(each["phase"] == "pilot" for each in kept.metadata["costs"]) == 1


def test_auto_makes_no_choice_of_shards_that_turns_out_lopsided(tmp_path, monkeypatch):
    for look in ("second_look", "proxy_look"):
        monkeypatch.setattr(auto, look, lambda pilot, rows, *_, **__: (pilot, [*rows]))
    monkeypatch.setattr(auto, "HARDLY_ANY", 1.01)  # of no class is more kept by all
    pool = in_shards(two_halves(), tmp_path / "pool", 3)
    same = {"keep": 0.1, "id": "key", "label": "label", "input": "x"}
    heard = []
    steps = {"proxy": "mlp", "epochs": 2, "method": "auto"}
    kept = keepers.coreset_shards(pool, **steps, **same, run=tmp_path / "run", say=heard.append)
    safe = keepers.coreset_shards(pool, method="stratified", **same, run=tmp_path / "safe")
    assert kept.ids == safe.ids
    assert kept.metadata["method"] == kept.metadata["auto"]["taken"] == "stratified"
    assert any(each.startswith("auto takes stratified after all: margin") for each in heard)


def test_auto_asks_the_proxy_that_will_choose(tmp_path):
    """A linear model's margins gain where labels are wrong; a network's put wrong labels first."""
    source = open_source("digits")
    inputs = source.inputs.reshape(len(source), -1).astype(np.float32)[:1100]
    labels = torch.from_numpy(source.labels[:1100])
    wrong, _ = corrupt_labels(labels, 10, 0.2, generator=generator(0, "noise"))
    found = {}
    for name, each, keep in (("wrong", wrong, 0.4), ("right", labels, 0.5)):
        table = pa.table({"x": list(inputs), "label": each.numpy(), "key": np.arange(1100)})
        folder, heard = in_shards(table, tmp_path / name, 2), []
        same = {"keep": keep, "method": "auto", "id": "key", "input": "x", "proxy": "mlp"}
        same |= {"run": tmp_path / f"run-{name}", "say": heard.append}
        kept = keepers.coreset_shards(folder, **same)
        rows = {row["method"]: row for row in kept.metadata["auto"]["pilot"]["rows"]}
        found[name] = kept.metadata["method"], rows["margin"]["proxy"]["mean"], heard[1]
    taken, mean, said = found["wrong"]
    assert taken == "stratified"
    assert mean > 0.05
    assert "margin did better than a random choice where the pilot's model chose, but" in said
    taken, mean, said = found["right"]
    assert taken == "margin"
    assert mean < 0
    assert "; what the proxy chose gained " in said


def test_auto_runs_no_pilot_where_classes_are_counted_beforehand(tmp_path):
    folder = in_shards(digits(300), tmp_path / "pool", 2)
    same = {"keep": 30, "method": "auto", "id": "key", "input": "x", "run": tmp_path / "run"}
    for more, why in (
        ({"balance": "class"}, "--balance class asks for another thing"),
        ({"min_per_class": 2}, "--min-per-class 2 settles most of the choice"),
    ):
        kept = keepers.coreset_shards(folder, **same, **more)
        assert kept.metadata["method"] == "stratified"
        assert why in kept.metadata["auto"]["why"]


def test_a_small_sample_is_drawn_by_ids_and_has_every_class(tmp_path):
    table = digits().append_column("text", pa.array(["a b"] * 600))
    labels = np.array(table["label"])
    rare = np.where(np.arange(600) < 4, "rare", labels.astype(str))
    table = table.set_column(1, "label", pa.array(rare))
    heard, found = [], []
    for count in (2, 3):
        folder = in_shards(table, tmp_path / f"{count}", count)
        kept = keepers.coreset_shards(
            folder, keep=50, method="margin", input="x", id="key", proxy="mlp", epochs=1,
            sample=150, run=tmp_path / f"run-{count}", say=heard.append,
        )  # fmt: skip
        found.append(kept.table["score"].to_pylist())
    assert found[0] == found[1]
    assert any("on 150 examples of 600" in each for each in heard)
    assert kept.metadata["class_names"][-1] == "rare"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["a", "b", "c", "a;b", "b;c", "a;b;c", "a;c"], "may hold labels that ';' separates"),
        ([str(10 * number) for number in range(30)], "may hold amounts"),
        (["a", "b"], ""),
    ],
)
def test_classes_by_shard_that_may_be_labels_or_amounts_are_said(values, words, tmp_path):
    labels = (values * 60)[:60]
    table = pa.table({"text": [f"row {row} of it" for row in range(60)], "label": labels})
    said: list[str] = []
    folder = in_shards(table, tmp_path / "data", 2)
    keepers.coreset_shards(folder, keep=0.5, run=tmp_path / "run", say=said.append)
    warned = [line for line in said if "by shard each of its values is a class" in line]
    assert len(warned) == bool(words)
    assert all(words in line for line in warned)


@pytest.mark.parametrize(
    "label",
    [
        pa.array([f"2020-01-0{1 + row % 3}" for row in range(60)]).cast(pa.date32()),
        pa.array([[f"c{row % 3}"] for row in range(60)]),
        pa.array([row % 3 + 9 for row in range(60)], pa.float64()),
        pa.array([row % 2 == 0 for row in range(60)]),
    ],
    ids=["dates", "lists", "floats", "truths"],
)
def test_classes_are_in_the_order_of_one_table(label, tmp_path):
    table = pa.table({"x": [[float(row)] for row in range(60)], "label": label, "key": range(60)})
    pq.write_table(table, tmp_path / "all.parquet")
    same = {"keep": 20, "method": "stratified", "id": "key", "input": "x", "label": "label"}
    want = keepers.coreset(tmp_path / "all.parquet", run=tmp_path / "central", **same)
    folder = in_shards(table, tmp_path / "pool", 3)
    kept = keepers.coreset_shards(folder, run=tmp_path / "run", **same)
    assert kept.ids == want.ids
    assert kept.metadata["class_names"] == list(open_source(tmp_path / "all.parquet").class_names)


def test_rows_without_a_label_are_left_out_as_of_one_table(tmp_path):
    """Those that are left out keep their numbers among the copies, also alone in a shard."""
    rng = np.random.default_rng(0)
    labels = [None if rng.random() < 0.3 else f"c{rng.integers(3)}" for _ in range(80)]
    inputs = [f"text {row % 11}" for row in range(80)]
    table = pa.table({"a": rng.integers(0, 100, 80), "text": inputs, "label": labels})
    pq.write_table(table, tmp_path / "all.parquet")
    same = {"keep": 20, "method": "stratified", "input": "text", "on_bad_row": "skip"}
    want = keepers.coreset(tmp_path / "all.parquet", run=tmp_path / "central", **same)
    heard = []
    for count in (1, 80):
        folder = in_shards(table, tmp_path / f"{count}", count)
        kept = keepers.coreset_shards(
            folder, run=tmp_path / f"run-{count}", say=heard.append, **same
        )
        assert kept.ids == want.ids
    without = labels.count(None)
    assert [each for each in heard if "Skipped" in each] == [
        f"Skipped {without} rows that cannot be used"
    ] * 2
    del same["on_bad_row"]
    with pytest.raises(DataError, match=r"pass --on-bad-row skip .* \(in the shard part-"):
        keepers.coreset_shards(folder, run=tmp_path / "refused", **same)


def test_copies_among_rows_that_are_left_out_have_their_numbers(tmp_path):
    table = pa.table({"a": [1, 2, 3], "text": ["same"] * 3, "s": [None, 5.0, 4.0]})
    found = []
    for count in (1, 3):
        folder = tmp_path / f"{count}"
        folder.mkdir()
        for number in range(count):
            rows = table.slice(number * 3 // count, 3 // count)
            pq.write_table(rows, folder / f"part-{number}.parquet")
        same = {"keep": 2, "scores": "s", "input": "text", "on_bad_row": "skip"}
        found.append(keepers.coreset_shards(folder, run=tmp_path / f"run-{count}", **same).ids)
    assert found[1] == found[0]
    assert [each[32:] for each in found[0]] == ["-1", "-2"]


def test_labels_that_nobody_needs_may_be_of_any_kind(tmp_path):
    numbers = np.random.default_rng(0).normal(size=60)
    several = [["a", "b"][: row % 3] for row in range(60)]
    for name, label, held in (
        ("numbers", numbers, "fractions such as "),
        ("several", several, "several labels or numbers in each row, not classes"),
    ):
        table = pa.table({"text": ["a b"] * 60, "label": label, "key": range(60), "s": range(60)})
        folder, heard = in_shards(table, tmp_path / name, 3), []
        same = {"id": "key", "run": tmp_path / f"run-{name}", "keep": 3}
        kept = keepers.coreset_shards(folder, scores="s", say=heard.append, **same)
        assert kept.ids == [59, 58, 57]
        assert kept.table["label"].null_count == 3
        keepers.coreset_shards(folder, method="random", **same)
        classes = "By shard, labels are classes: bin numbers, name another column"
        random = "take --method random, which needs none, or leave --shards out"
        alone = "take --method random without --balance, which needs none, or leave --shards out"
        for more, instead in (
            ({"method": "margin"}, f", {random}"),
            ({"method": "stratified", "balance": "class"}, f", {alone}"),
            ({"scores": "s", "label": "label"}, r", or leave --label out \(label=None\)"),
            ({"method": "random", "label": "label"}, r", or leave --label out \(label=None\)"),
        ):
            with pytest.raises(ParameterError, match=classes + instead):
                keepers.coreset_shards(folder, **same, **more)
        same.pop("keep")
        with pytest.raises(ParameterError, match=f"{classes}, or leave --shards out"):
            keepers.score_shards(folder, input="text", label="label", **same)
        said = f"not used: 'label', which holds {held}"
        assert any(each.startswith(said) for each in heard)


def test_columns_that_hold_nothing_in_the_first_shards(tmp_path):
    for number, label in enumerate([None, "x", "y"]):
        rows = {"key": [2 * number, 2 * number + 1], "label": [label] * 2, "s": [1.0, 2.0]}
        table = pa.table({**rows, "s": rows["s"] if number else pa.nulls(2)})
        pq.write_table(table, tmp_path / f"part-{number}.parquet")
    same = {"scores": "s", "id": "key", "label": "label", "on_bad_row": "skip"}
    kept = keepers.coreset_shards(tmp_path, keep=2, run=tmp_path / "run", **same)
    assert kept.ids == [3, 5]
    rows = pa.table({"key": [6, 7], "label": [1, 2], "s": [1.0, 2.0]})
    pq.write_table(rows, tmp_path / "part-3.parquet")
    with pytest.raises(DataError, match=r"'label' holds int64 in the shard part-3\.parquet, but"):
        keepers.coreset_shards(tmp_path, keep=2, run=tmp_path / "run", **same)


def test_copies_are_set_aside_once_over_all_shards(tmp_path):
    inputs = [f"text {number % 30}" for number in range(90)]
    table = pa.table({"key": range(90), "text": inputs, "s": np.arange(90.0)})
    folder = in_shards(table, tmp_path / "pool", 4)
    same = {"scores": "s", "id": "key", "input": "text", "run": tmp_path / "run"}
    kept = keepers.coreset_shards(folder, keep=30, distinct=True, **same)
    assert kept.metadata["copies"] == 60
    assert kept.ids == list(range(29, -1, -1))  # the first by id, highest scores first
    with pytest.raises(ParameterError, match="only 30 examples"):
        keepers.coreset_shards(folder, keep=31, distinct=True, **same)


def test_shards_of_other_formats_and_elsewhere(tmp_path):
    import fsspec

    table = digits(200)
    folder = in_shards(table, tmp_path / "pool", 3)
    same = {"keep": 20, "scores": "key", "id": "key", "min_per_class": 0}
    want = keepers.coreset_shards(folder, run=tmp_path / "a", **same).ids
    assert want == list(range(199, 179, -1))
    files = sorted(folder.glob("*.parquet"))
    lines = tmp_path / "lines"
    lines.mkdir()
    memory = fsspec.filesystem("memory")
    for file in files:
        rows = pq.read_table(file).to_pandas()
        rows.to_json(lines / f"{file.stem}.jsonl", orient="records", lines=True)
        memory.pipe_file(f"/pool/{file.name}", file.read_bytes())
    pajson.read_json(lines / "part-1.jsonl")
    several = [str(folder / "*.parquet"), [str(file) for file in files], "memory://pool/*.parquet"]
    several += [lines, "memory://pool", ",".join(map(str, files))]
    for number, data in enumerate(several):
        assert keepers.coreset_shards(data, run=tmp_path / f"r{number}", **same).ids == want


def squared_distances(points, picks):
    return ((points[:, None] - points[picks][None]) ** 2).sum(2)


class TestCovering:
    @pytest.fixture
    def pool(self, tmp_path, monkeypatch):
        monkeypatch.setattr(covering, "PART", 120)
        monkeypatch.setattr(covering, "TOLD", 5)
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(12, 6)) * 4
        points = (centres[rng.integers(0, 12, 700)] + rng.normal(size=(700, 6))).astype(np.float32)
        table = pa.table({"key": np.arange(700), "vector": list(points)})
        return table, points

    def test_k_center_takes_the_farthest_of_all(self, pool, tmp_path):
        table, points = pool
        same = {"keep": 40, "method": "k-center", "features": "vector", "id": "key"}
        folders = [in_shards(table, tmp_path / str(count), count) for count in (1, 4)]
        found = [
            keepers.coreset_shards(folder, run=tmp_path / f"run-{place}", **same).ids
            for place, folder in enumerate(folders)
        ]
        assert found[0] == found[1]
        picks = found[0][:1]
        while len(picks) < 40:
            nearest = squared_distances(points.astype(np.float64), picks).min(1)
            picks.append(int(nearest.argmax()))
        assert found[0] == picks

    def test_facility_location_loses_little_and_says_how_well_it_covers(self, pool, tmp_path):
        table, points = pool
        same = {"keep": 25, "features": "vector", "id": "key"}
        folders = [in_shards(table, tmp_path / str(count), count) for count in (1, 5)]
        kept = [
            keepers.coreset_shards(folder, run=tmp_path / f"run-{place}", **same)
            for place, folder in enumerate(folders)
        ]
        assert kept[0].ids == kept[1].ids
        assert len(set(kept[0].ids)) == 25
        found, central = (
            squared_distances(points.astype(np.float64), picks).min(1).mean()
            for picks in (kept[0].ids, facility_location(points, 25).tolist())
        )
        alone = ((points - points.mean(0)) ** 2).sum(1).mean()
        assert alone - found >= 0.98 * (alone - central)
        assert f"nearest pick {found:.6g} on average" in kept[0].metadata["how"]

    def test_copies_and_a_budget_of_all(self, tmp_path):
        table = pa.table({"key": range(30), "vector": [[float(n % 3), 0.0] for n in range(30)]})
        folder = in_shards(table, tmp_path / "pool", 3)
        for method in ("k-center", "facility-location"):
            same = {"features": "vector", "id": "key", "method": method}
            kept = keepers.coreset_shards(folder, keep=30, run=tmp_path / method, **same)
            assert sorted(kept.ids) == list(range(30))
            assert len({n % 3 for n in kept.ids[:3]}) == 3


class TestResuming:
    def test_a_shard_is_scored_once_though_the_pass_is_cut_short(self, tmp_path, monkeypatch):
        folder = in_shards(digits(), tmp_path / "pool", 4)
        away, here = tmp_path / "away.parquet", folder / "part-2.parquet"
        heard: list[str] = []

        def say(sentence):
            heard.append(sentence)
            if sentence.startswith("Proxy") and not away.exists() and len(heard) < 5:
                shutil.move(here, away)

        same = {"keep": 60, "method": "loss", "input": "x", "id": "key", "proxy": "mlp"}
        same |= {"epochs": 1, "run": tmp_path / "run", "say": say}
        with pytest.raises(
            DataError,
            match=r"part-2\.parquet disappeared during the work\. "
            r"Restore.*kept",
        ):
            keepers.coreset_shards(folder, **same)
        shutil.move(away, here)
        heard += [""] * 5
        kept = keepers.coreset_shards(folder, **same)
        assert any("found finished in the run directory" in each for each in heard)
        assert "2 shards scored before: found finished" in heard
        fresh = keepers.coreset_shards(folder, **{**same, "run": tmp_path / "other"})
        assert kept.table.equals(fresh.table)

    def test_what_is_damaged_is_made_again(self, tmp_path):
        folder = in_shards(digits(100), tmp_path / "pool", 2)
        same = {"keep": 9, "scores": "key", "id": "key", "run": tmp_path / "run"}
        want = keepers.coreset_shards(folder, **same).ids
        damaged = next((tmp_path / "run").rglob("*.scores.npy"))
        content = bytearray(damaged.read_bytes())
        content[-1] ^= 255
        damaged.write_bytes(content)
        with pytest.warns(keepers.errors.KeepersWarning, match="checksum"):
            assert keepers.coreset_shards(folder, **same).ids == want

    def test_a_shard_that_is_added_leaves_the_others(self, tmp_path):
        folder = in_shards(digits(100), tmp_path / "pool", 2)
        same = {"keep": 9, "scores": "key", "id": "key", "run": tmp_path / "run"}
        keepers.coreset_shards(folder, **same)
        (index,) = (tmp_path / "run" / "shards").iterdir()
        before = {path: path.stat().st_mtime_ns for path in index.iterdir()}
        more = pa.table({"x": [[0.0] * 64], "label": [1], "key": [1000]})
        pq.write_table(more, folder / "part-9.parquet")
        assert keepers.coreset_shards(folder, **same).ids[0] == 1000
        assert all(path.stat().st_mtime_ns == time for path, time in before.items())

    def test_rows_without_a_label_are_refused_of_an_index_that_is_found_too(self, tmp_path):
        for name, label in (("a", "x"), ("b", None)):
            table = {"k": [f"{name}1", f"{name}2"], "s": [0.5, 1.0], "label": ["y", label]}
            pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
        same = {"keep": 2, "scores": "s", "id": "k", "run": tmp_path / "r"}
        message = r"1 row has no label in column 'label' \(first: row 1\).*in the shard b\.parquet"
        found = []
        for balance in ("class", None, "class"):
            if balance is None:
                assert keepers.coreset_shards(tmp_path, **same).ids == ["a2", "a1"]
            else:
                with pytest.raises(DataError, match=message):
                    keepers.coreset_shards(tmp_path, balance=balance, **same)
            (index,) = (tmp_path / "r" / "shards").glob("index-*")
            found.append({path: path.stat().st_mtime_ns for path in index.iterdir()})
        assert found[0] == found[1] == found[2]

    def test_a_store_holds_what_was_written_whole(self, tmp_path):
        store = Store(tmp_path)
        store.write("k", {"a": np.arange(3)}, {"n": 3})
        assert store.is_there("k")
        assert not store.is_there("other")
        assert store.read("k")["a"].tolist() == [0, 1, 2]
        (tmp_path / "k.json").unlink()
        assert not store.is_there("k")


class TestBadInput:
    def test_ids_in_two_shards_name_both(self, tmp_path):
        for number, keys in enumerate(([1, 2, 3], [4, 3, 5])):
            pq.write_table(pa.table({"k": keys, "s": [0.5] * 3}), tmp_path / f"p{number}.parquet")
        message = r"1 id stands in several shards: 3 in row 2 of p0\.parquet and row 1 of p1"
        with pytest.raises(DataError, match=message):
            keepers.coreset_shards(tmp_path, keep=2, scores="s", id="k", run=tmp_path / "r")

    def test_another_schema_names_the_shard(self, tmp_path):
        pq.write_table(pa.table({"k": [1, 2], "s": [0.5, 1]}), tmp_path / "a.parquet")
        same = {"keep": 2, "scores": "s", "id": "k", "run": tmp_path / "r"}
        pq.write_table(pa.table({"k": [3, 4], "t": [0.5, 1]}), tmp_path / "b.parquet")
        with pytest.raises(DataError, match=r"b\.parquet has no column 's', but a\.parquet has"):
            keepers.coreset_shards(tmp_path, **same)
        pq.write_table(pa.table({"k": ["3", "4"], "s": [0.5, 1]}), tmp_path / "b.parquet")
        with pytest.raises(DataError, match=r"'k' holds large_string in the shard b\.parquet"):
            keepers.coreset_shards(tmp_path, **same)

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (
                {"k": [3.5, 4.0]},
                "id: column 'k' holds other keys in the shard b.parquet, but whole",
            ),
            ({"x": [[1.0], [2.0]]}, "input: column 'x' holds vectors of 1 number in the shard b"),
            ({"e": [[1.0]] * 2}, "features: column 'e' holds vectors of 1 number in the shard b"),
        ],
    )
    def test_keys_and_vectors_of_another_kind_name_both_shards(self, more, message, tmp_path):
        vectors = [[0.0, 1.0], [1.0, 0.0]]
        rows = {"k": [1, 2], "label": ["a", "b"], "x": vectors, "e": vectors}
        pq.write_table(pa.table(rows), tmp_path / "a.parquet")
        pq.write_table(pa.table({**rows, "k": [3, 4], **more}), tmp_path / "b.parquet")
        given = {"features": "e"} if "e" in more else {"input": "x", "method": "margin"}
        with pytest.raises(DataError, match=re.escape(message)):
            keepers.coreset_shards(tmp_path, keep=2, id="k", run=tmp_path / "r", **given)

    def test_pictures_that_cannot_be_decoded_are_left_out(self, tmp_path):
        def picture(number: int) -> dict[str, bytes]:
            out = io.BytesIO()
            Image.fromarray(np.full((8, 8), number, np.uint8)).save(out, "png")
            return {"bytes": out.getvalue()[: 20 if number in (3, 15) else None]}

        for start in (0, 10):
            rows = range(start, start + 10)
            given = {"k": rows, "image": [picture(n) for n in rows], "label": [n % 2 for n in rows]}
            pq.write_table(pa.table(given), tmp_path / f"p{start}.parquet")
        same = {"keep": 1.0, "method": "margin", "id": "k", "epochs": 1, "run": tmp_path / "r"}
        with pytest.raises(DataError, match=r"\(id 3\).*cannot be decoded.*--on-bad-row skip"):
            keepers.coreset_shards(tmp_path, **same)
        kept = keepers.coreset_shards(tmp_path, on_bad_row="skip", **same)
        assert sorted(kept.ids) == sorted({*range(20)} - {3, 15})
        assert kept.metadata["skipped"] == 2

    def test_a_budget_under_the_floors_is_told(self, tmp_path):
        table = pa.table(
            {"k": range(20), "s": [float(n) for n in range(20)], "label": ["a", "b"] * 10}
        )
        pq.write_table(table, tmp_path / "a.parquet")
        heard: list[str] = []
        same = {"keep": 4, "id": "k", "run": tmp_path / "r", "say": heard.append}
        kept = keepers.coreset_shards(tmp_path, scores="s", min_per_class=12, **same)
        assert sorted(kept.ids) == [16, 17, 18, 19]
        told = [each for each in heard if "4 examples are too few for 12 of each class" in each]
        assert len(told) == 1
        assert told[0].endswith("It takes 20")

    def test_rows_that_cannot_be_used_name_the_shard(self, tmp_path):
        pq.write_table(pa.table({"k": [1, 2], "s": [0.5, None]}), tmp_path / "a.parquet")
        same = {"keep": 1, "scores": "s", "id": "k", "run": tmp_path / "r"}
        with pytest.raises(
            DataError,
            match=r"row 1: no score in column "
            r"'s'.*shard a\.parquet",
        ):
            keepers.coreset_shards(tmp_path, **same)
        kept = keepers.coreset_shards(tmp_path, on_bad_row="skip", **same)
        assert (kept.ids, kept.metadata["skipped"]) == ([1], 1)

    def test_an_empty_shard_is_said(self, tmp_path):
        table = pa.table({"k": [1, 2], "s": [0.5, 1.0]})
        pq.write_table(table.slice(0, 0), tmp_path / "a.parquet")
        heard = []
        same = {"keep": 1, "scores": "s", "id": "k", "run": tmp_path / "r", "say": heard.append}
        with pytest.raises(DataError, match="none of the 1 shards has a row"):
            keepers.coreset_shards(tmp_path, **same)
        pq.write_table(table, tmp_path / "b.parquet")
        assert keepers.coreset_shards(tmp_path, **same).ids == [2]
        assert "No row in a.parquet" in heard
        pq.write_table(pa.table({"other": pa.array([], pa.int8())}), tmp_path / "c.parquet")
        assert keepers.coreset_shards(tmp_path, **same).ids == [2]
        assert "No row in a.parquet, c.parquet" in heard
        pq.write_table(pa.table({"other": [1]}), tmp_path / "c.parquet")
        with pytest.raises(DataError, match=r"c\.parquet has no column 'k', but b\.parquet has"):
            keepers.coreset_shards(tmp_path, **same)

    def test_files_of_one_name_are_named_with_their_folders(self, tmp_path):
        for year, keys in (("2024", [1, 2]), ("2025", [2, 3])):
            (tmp_path / "pool" / year).mkdir(parents=True)
            table = pa.table({"k": keys, "s": [0.5, 1.0]})
            pq.write_table(table, tmp_path / "pool" / year / "part.parquet")
        same = {"keep": 2, "scores": "s", "id": "k", "run": tmp_path / "r"}
        message = r"2 in row 1 of 2024/part\.parquet and row 0 of 2025/part\.parquet"
        with pytest.raises(DataError, match=message):
            keepers.coreset_shards(tmp_path / "pool", **same)

    def test_a_damaged_shard_keeps_the_finished_ones(self, tmp_path):
        pq.write_table(pa.table({"k": [1, 2], "s": [0.5, 1]}), tmp_path / "a.parquet")
        (tmp_path / "b.parquet").write_bytes(b"PAR1 nothing")
        same = {"keep": 1, "scores": "s", "id": "k", "run": tmp_path / "r"}
        with pytest.raises(DataError, match=r"b\.parquet is not a readable Parquet file"):
            keepers.coreset_shards(tmp_path, **same)
        assert len(list((tmp_path / "r").rglob("*.scores.npy"))) == 1

    def test_a_shard_that_changes_under_way(self, tmp_path):
        file = tmp_path / "a.jsonl"
        file.write_text('{"k": 1}\n')
        (shard,) = find_shards(file)
        file.write_text('{"k": 1}\n{"k": 2}\n')
        with pytest.raises(DataError, match="changed during the work"), local_copy(shard):
            pass

    @pytest.mark.parametrize(
        ("given", "error", "message"),
        [
            ({"method": "k-center"}, ParameterError, "there are none"),
            ({"method": "auto", "method_options": {"a": 1}}, ParameterError, "options for 'auto'"),
            (
                {"features": "s", "min_per_class": 2},
                ParameterError,
                "min_per_class: got 2, but covering f",
            ),
            ({"method": "badge"}, ParameterError, "needs all examples at once"),
            ({"method": "entropy", "proxy": "linear"}, ParameterError, "scikit-learn fits"),
            ({"scores": "s", "method": "loss"}, ParameterError, "together with scores"),
            ({"scores": "none"}, ParameterError, "not a column of a.parquet"),
            ({"keep": 3, "scores": "s"}, ParameterError, "only 2 examples"),
            ({"method": "margin", "ensemble": 2, "input": "s"}, ParameterError, "by rank"),
            ({"out": "old.parquet", "scores": "s"}, ExistsError, "old.parquet exists"),
        ],
    )
    def test_what_does_not_go_together(self, given, error, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("old.parquet").touch()
        table = pa.table({"k": [1, 2], "s": [0.5, 1.0], "label": ["a", "b"]})
        Path("d").mkdir()
        pq.write_table(table, "d/a.parquet")
        with pytest.raises(error, match=message):
            keepers.coreset_shards("d", id="k", run=tmp_path / "r", **{"keep": 1, **given})

    def test_outputs_stand_apart_from_the_shards(self, tmp_path):
        folder = in_shards(digits(60), tmp_path / "pool", 2)
        before = [path.read_bytes() for path in sorted(folder.iterdir())]
        same = {"id": "key", "input": "x", "epochs": 1}
        for data, out, message in (
            (folder, folder, "holds shards"),
            (f"{folder}/*.parquet", folder, "holds shards"),
            (folder, folder / "scores", "would be read as a shard"),
            (f"{tmp_path}/*/*.parquet", tmp_path / "scores", "would be read as a shard"),
        ):
            with pytest.raises(ParameterError, match=message):
                keepers.score_shards(
                    data,
                    out=out,
                    overwrite=True,
                    run=tmp_path / f"run-{len(list(tmp_path.iterdir()))}",
                    **same,
                )
        same = {"id": "key", "keep": 9, "method": "random"}
        (tmp_path / "link").symlink_to(folder)
        for data in (
            folder,
            *(f"{tmp_path}/{each}/*.parquet" for each in ("pool", "link", "pool/**")),
        ):
            with pytest.raises(ParameterError, match="would be read as a shard"):
                keepers.coreset_shards(
                    data,
                    out=folder / "kept.parquet",
                    run=tmp_path / f"kept-{len(list(tmp_path.iterdir()))}",
                    **same,
                )
        assert [path.read_bytes() for path in sorted(folder.iterdir())] == before
        kept = folder / "kept.parquet"  # no shard of the next command
        keepers.coreset_shards(f"{folder}/part-*.parquet", out=kept, run=tmp_path / "last", **same)
        assert kept.exists()

    def test_files_of_other_parts_are_said(self, tmp_path):
        folder, heard = in_shards(digits(90), tmp_path / "pool", 3), []
        (folder / "part-1.parquet").rename(folder / "test.parquet")
        same = {"keep": 5, "method": "random", "id": "key", "run": tmp_path / "run"}
        keepers.coreset_shards(folder, say=heard.append, **same)
        assert "not in the split 'test': part-0.parquet, part-2.parquet" in heard[0]

    def test_scores_that_are_cut_short_are_not_there(self, tmp_path, monkeypatch):
        folder = in_shards(digits(60), tmp_path / "pool", 3)
        same = {"id": "key", "input": "x", "run": tmp_path / "run", "epochs": 1}
        whole, written = score.write_scores, []

        def cut_short(work, item):
            if written:
                raise KeyboardInterrupt
            written.append(whole(work, item))

        monkeypatch.setattr(score, "write_scores", cut_short)
        with pytest.raises(KeyboardInterrupt):
            keepers.score_shards(folder, out=tmp_path / "out", **same)
        assert not (tmp_path / "out").exists()
        monkeypatch.undo()
        made = keepers.score_shards(folder, out=tmp_path / "out", **same)
        assert sorted(made.paths) == sorted((tmp_path / "out").glob("*.parquet"))
        with pytest.raises(ExistsError):
            keepers.score_shards(folder, out=tmp_path / "out", **same)
        keepers.score_shards(folder, out=tmp_path / "out", overwrite=True, **same)

    @pytest.mark.parametrize("named", [True, False])
    def test_scores_over_earlier_ones_replace_all_of_them_or_none(
        self, named, tmp_path, monkeypatch
    ):
        folder = in_shards(digits(60), tmp_path / "pool", 3)
        same = {"id": "key", "input": "x", "run": tmp_path / "run", "epochs": 1}
        same |= {"overwrite": True} | ({"out": tmp_path / "out"} if named else {})

        def files(made):
            return {path.name: path.read_bytes() for path in made.paths[0].parent.iterdir()}

        before = files(first := keepers.score_shards(folder, **same))
        (folder / "part-0.parquet").unlink()
        whole, written = score.write_scores, []

        def cut_short(work, item):
            if written:
                raise KeyboardInterrupt
            written.append(whole(work, item))
            return written[0]

        monkeypatch.setattr(score, "write_scores", cut_short)
        with pytest.raises(KeyboardInterrupt):
            keepers.score_shards(folder, method="margin", **same)
        assert files(first) == before
        monkeypatch.undo()
        after = files(made := keepers.score_shards(folder, method="margin", **same))
        assert {path.name for path in made.paths} == {"part-1.parquet", "part-2.parquet"}
        assert after.keys() - {".keepers-export"} == {path.name for path in made.paths}
        if named:
            (tmp_path / "out" / "mine.txt").write_text("mine")
            with pytest.raises(RunError, match="holds files that keepers did not export"):
                keepers.score_shards(folder, **same)
            assert (tmp_path / "out" / "mine.txt").read_text() == "mine"

    @pytest.mark.parametrize(
        ("kind", "message"),
        [(pa.int64(), "beyond 2\\^53"), (pa.string(), "holds string|holds large_string")],
    )
    def test_scores_that_are_none(self, kind, message, tmp_path):
        values = pa.array([2**60 + row for row in range(60)]).cast(kind)
        folder = in_shards(digits(60).append_column("s", values), tmp_path / "pool", 2)
        same = {"id": "key", "run": tmp_path / "run", "keep": 3}
        with pytest.raises(DataError, match=message):
            keepers.coreset_shards(folder, scores="s", **same)

    def test_lines_that_cannot_be_read_are_left_out(self, tmp_path):
        folder = tmp_path / "pool"
        folder.mkdir()
        for part in range(2):
            lines = [f'{{"text": "a {2 * part + row}", "s": {row}}}' for row in range(2)]
            (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
        with (folder / "1.jsonl").open("a") as file:
            file.write('{"text": "a 9", "s"\n')
        same = {"scores": "s", "keep": 2, "run": tmp_path / "run"}
        with pytest.raises(DataError, match=r"1\.jsonl, line 3"):
            keepers.coreset_shards(folder, **same)
        kept = keepers.coreset_shards(folder, on_bad_row="skip", **same)
        assert sorted(kept.table["row"].to_pylist()) == [1, 1]
        assert kept.metadata["skipped"] == 1

    def test_several_processes(self, tmp_path, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "2")
        (tmp_path / "a.jsonl").write_text('{"k": 1, "s": 2}\n')
        with pytest.raises(ParameterError, match="torchrun started 2 processes"):
            keepers.coreset_shards(tmp_path, scores="s", id="k", run=tmp_path / "r")

    def test_paths_that_mean_nothing(self, tmp_path):
        with pytest.raises(DataError, match="does not exist"):
            find_shards(tmp_path / "none")
        with pytest.raises(DataError, match=r"no file matches.*Quote a glob"):
            find_shards(str(tmp_path / "*.parquet"))
        with pytest.raises(DataError, match="no Parquet, CSV or JSON lines file at memory"):
            find_shards("memory://nowhere/*.parquet")
        (tmp_path / "a.jsonl").write_text("{}\n")
        with pytest.raises(DataError, match="named twice"):
            find_shards([tmp_path / "a.jsonl", tmp_path / "a.jsonl"])


class TestCommands:
    def test_coreset_and_score_take_shards(self, run, tmp_path):
        in_shards(digits(300), tmp_path / "pool", 2)
        pool = ("pool", "--shards", "--id", "key", "--input", "x", "--proxy", "mlp")
        said = run("coreset", *pool, "--method", "loss", "--epochs", "1", "--keep", "10%", "--json")
        found = said.json()
        assert (found["k"], found["n"], found["shards"]) == (30, 300, 2)
        kept = keepers.Kept.read_parquet(found["files"]["out"])
        assert len(kept.ids) == len(kept) == 30
        assert "methods that keep the hardest examples" in said.err
        said = run("score", *pool, "--method", "loss", "--epochs", "1", "--out", "scored")
        assert "2 shards scored before: found finished" in said.err
        assert said.out.startswith("Scored 300 rows of 2 shards by loss")
        scores = pq.read_table(tmp_path / "scored")
        best = scores.sort_by([("score", "descending"), ("id", "ascending")])["id"][:5]
        assert best.to_pylist() == kept.ids[:5]
        said = run("coreset", "pool", "--shards", "--features", "x", "--id", "key", "--keep", "9")
        assert said.out.startswith("Kept 9 of 300 examples by facility-location, of 2 shards")
        again = run("score", *pool, "--method", "loss", "--out", "scored")
        assert again.status == 2
        assert "scored exists" in again.err

    def test_options_of_one_table_are_refused(self, run, tmp_path):
        said = run("coreset", "pool", "--workers", "2")
        assert "Add --shards" in said.err


class TestWithoutRay:
    def test_no_ray_names_the_extra(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", None)
        (tmp_path / "a.jsonl").write_text('{"k": 1, "s": 2}\n')
        same = {"keep": 1, "scores": "s", "id": "k", "run": tmp_path / "r"}
        with pytest.raises(MissingExtraError, match=r"--workers needs the extra 'ray'"):
            keepers.coreset_shards(tmp_path, workers=2, **same)
        assert keepers.coreset_shards(tmp_path, workers=1, **same).ids == [1]

    def test_an_address_that_does_not_answer(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(RunError, match=f"{address} does not answer"):
            check_answers(address)
        with pytest.raises(RunError, match="which is not an address"):
            check_answers("cluster")

    def test_a_server_that_is_no_ray_is_tried_three_times(self, monkeypatch):
        ray, tried = types.ModuleType("ray"), []

        def init(**_):
            tried.append(os.environ[LIMIT])
            raise ConnectionError("Failed to connect")

        ray.init, ray.is_initialized = init, lambda: False
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.delenv(LIMIT, raising=False)
        message = r"no cluster at 'auto' \(Failed to connect\). Start one with 'ray start --head'"
        for own in (None, "40"):
            if own is not None:
                monkeypatch.setenv(LIMIT, own)
            with pytest.raises(RunError, match=message), cluster.connected(None, "auto", "--ray"):
                pass
            assert os.environ.get(LIMIT) == own
        assert tried == ["3", "40"]

    @pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n", b"", None])
    def test_something_else_that_answers(self, said, monkeypatch):
        monkeypatch.setattr(cluster, "ANSWERS_WITHIN", 0.3)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port, held = server.getsockname()[1], []

            def serve():
                held.append(server.accept()[0])
                if said is not None:
                    held[0].sendall(said)
                    held[0].close()

            serving = threading.Thread(target=serve)
            serving.start()
            message = "does not answer .timed out" if said is None else ("the server at .* not Ray")
            with pytest.raises(RunError, match=message):
                check_answers(f"127.0.0.1:{port}")
            serving.join()
            held[0].close()
