"""Core-sets, scores, irreducible losses and training where targets are labels or numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import keepers
from commands import Keepers
from keepers import methods
from keepers.data import open_source
from keepers.errors import DataError, KeepersError, ParameterError
from keepers.reports.advise import advice_report
from keepers.reports.compare import compare_report
from keepers.reports.coreset import report
from keepers.tasks import Labels, Number
from keepers.workflows.offered import signals_for

pytestmark = pytest.mark.usefixtures("few_words")

N = 240
WORDS = {"sport": "goal match", "politics": "vote party", "money": "bank price", "art": "film song"}


def texts() -> pa.Table:
    """Texts with up to three labels, each of which brings words of its own."""
    at = np.random.default_rng(0)
    rows: list[list[str]] = []
    for place in range(N):
        count = place % 4
        rows.append(sorted(at.choice(list(WORDS), size=count, replace=False).tolist()))
    said = [
        " ".join([*(word for name in row for word in WORDS[name].split() * 2), f"row {place}"])
        for place, row in enumerate(rows)
    ]
    return pa.table({"text": said, "labels": rows})


def numbers() -> pa.Table:
    """Vectors, and a number that depends on the first two of them."""
    at = np.random.default_rng(1)
    x = at.normal(size=(N, 4))
    y = 100 + 20 * x[:, 0] - 10 * np.maximum(x[:, 1], 0) + at.normal(size=N)
    columns = {f"x{number}": x[:, number] for number in range(4)}
    return pa.table({**columns, "price": y})


DATA: Mapping[str, tuple[pa.Table, Mapping[str, Any], Any]] = {
    "labels": (texts(), {}, Labels),
    "number": (numbers(), {"label": "price"}, Number),
}
OFFERED = [
    (task, name)
    for task, (_, _, kind) in DATA.items()
    for name, row in methods.METHODS.items()
    if not row.replacement and row.needs <= signals_for(kind)
]


def select(task: str, run: Path, **options: Any) -> keepers.Selection:
    table, columns, _ = DATA[task]
    return keepers.coreset(table, run=run, **{**columns, **options})


@pytest.mark.parametrize(("task", "method"), OFFERED)
def test_contract_of_every_method_and_task(task: str, method: str, tmp_path: Path) -> None:
    members = {"ensemble": 2, "epochs": 40}  # of models that take long
    ensemble = {} if method != "committee" else members
    selection = select(task, tmp_path / "run", method=method, keep=60, val=0.2, **ensemble)
    found = selection.table.to_pydict()
    assert sum(found["kept"]) == 60
    assert selection.metadata["n"] == N - selection.metadata["validation"]
    held_out = [reason == "held out for validation" for reason in found["reason"]]
    assert sum(held_out) == selection.metadata["validation"] > 0
    assert not any(kept and out for kept, out in zip(found["kept"], held_out, strict=True))
    page = report(selection).read_text()
    assert method in page
    assert "0 classes" not in page
    if methods.get(method).needs - {"labels"}:
        score = {"labels": "average precision", "number": "R²"}[task]
        assert f"{score} of the proxy" in page
        assert selection.metadata["data"]["score"] == score
    again = select(task, tmp_path / "again", method=method, keep=60, val=0.2, **ensemble)
    assert again.ids == selection.ids
    reached = selection.metadata["proxy_validation_accuracy"]
    if methods.get(method).needs - {"labels"}:
        assert reached > 0.6  # of average precision, of R²
    else:
        assert reached is None


@pytest.mark.parametrize("task", DATA)
def test_a_shuffled_table_gives_the_same_choice(task: str, tmp_path: Path) -> None:
    table, columns, _ = DATA[task]
    order = np.random.default_rng(3).permutation(N)
    options: Any = {**columns, "keep": 0.25, "method": "loss"}
    one = keepers.coreset(table, run=tmp_path / "one", **options)
    other = keepers.coreset(table.take(order), run=tmp_path / "other", **options)
    assert set(one.ids) == set(other.ids)


def test_every_label_keeps_an_example_and_every_part_of_the_range(tmp_path: Path) -> None:
    for task in DATA:
        source = open_source(DATA[task][0], **DATA[task][1])
        assert source.strata is not None
        kept = select(task, tmp_path / task, method="loss", keep=30, min_per_class=2)
        places = np.isin(source.ids, kept.ids)
        counts = np.bincount(source.strata[places], minlength=len(source.strata_names))
        there = np.bincount(source.strata, minlength=len(source.strata_names))
        assert (counts >= np.minimum(there, 2)).all()


def test_every_label_of_an_example_counts_in_what_is_said(tmp_path: Path) -> None:
    every = [set(row) for row in texts()["labels"].to_pylist()]
    selection = select("labels", tmp_path, method="label-entropy", keep=0.3, min_per_class=0)
    kept = selection.table.filter(selection.table["kept"])["row"].to_pylist()
    page = report(selection).read_text()
    for name in WORDS:
        mine, there = sum(name in every[row] for row in kept), sum(name in row for row in every)
        row = rf'title="{name}">{name}</span>.*?<span class="number soft">(.*?)</span>'
        found = re.search(row, page, re.DOTALL)
        assert found is not None
        assert found[1] == f"{mine} of {there}"
    without = sum(not every[row] for row in kept)
    assert f"{without} of {sum(not row for row in every)}" in page
    assert "Overall 30% is kept" in page


@pytest.mark.parametrize("task", DATA)
def test_advice_is_of_what_leads_in_the_task(task: str, tmp_path: Path) -> None:
    table, columns, _ = DATA[task]
    methods = ["facility-location", "loss"]
    advice = keepers.advise(table, keep=[0.3], methods=methods, run=tmp_path, **columns)
    rows = {row["method"]: row for row in advice.result["rows"]}
    assert [*rows] == ["stratified", "facility-location", "loss"]
    score = {"labels": "average precision", "number": "R²"}[task]
    assert advice.result["score"] == score
    error = advice.result["pilot"]["error_everything"]
    assert f"On held-out data, 1 - {score} was" in advice.sentences[1]
    assert f"{error:.3f} for everything" in advice.sentences[1]
    assert 0 <= error <= advice.result["pilot"]["errors"]["0.3"] < 0.5
    assert advice.result["label_noise"] is None
    assert rows["loss"]["fresh"] is None
    assert "1 − " + score in advice_report(advice.result, tmp_path / "page.html").read_text(
        encoding="utf-8"
    )
    other = {"labels": "entropy", "number": "badge"}[task]
    with pytest.raises(ParameterError, match=f"'{other}', which is not offered here"):
        keepers.advise(table, methods=[other], run=tmp_path / "other", **columns)


@pytest.mark.parametrize(("task", "method"), [("labels", "entropy"), ("number", "badge")])
def test_a_method_of_classes_is_refused_and_others_are_named(
    task: str, method: str, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=r"needs .*predictions, but the targets are .*loss"):
        select(task, tmp_path / "run", method=method)
    with pytest.raises(ParameterError, match="the targets are classes"):
        keepers.coreset("digits", method="mmc", limit=100, run=tmp_path / "digits")
    with pytest.raises(ParameterError, match="compares several"):
        select("number", tmp_path / "one", method="committee", ensemble=1)


@pytest.mark.parametrize("task", DATA)
def test_auto_falls_back_or_says_what_a_pilot_found(task: str, tmp_path: Path) -> None:
    said: list[str] = []
    selection = select(task, tmp_path / "run", keep=0.3, say=said.append)
    assert selection.metadata["auto"]["taken"] in ("stratified", "random", "facility-location")
    assert any(sentence.startswith("auto takes ") for sentence in said)
    assert len(selection) == 72


@pytest.mark.parametrize("task", DATA)
def test_irreducible_losses_and_training(task: str, tmp_path: Path) -> None:
    table, columns, _ = DATA[task]
    said: list[str] = []
    result = keepers.train(
        table,
        test=0.2,
        keep=0.5,
        epochs=60,
        il_epochs=40,
        hand_over=False,
        run=tmp_path / "run",
        say=said.append,
        **columns,
    )
    assert result.metadata["task"] == task
    assert result.metadata["accuracy"] > 0.7
    score = {"labels": "average precision", "number": "R²"}[task]
    assert any(f"test {score} " in sentence for sentence in said)
    quality = result.metadata["irreducible"]["quality"]
    assert quality["score"] == score
    assert quality["majority"] < quality["accuracy"] <= 1
    assert result.metadata["irreducible"]["task"]["task"] == task
    loaded = keepers.load_model(result.weights)
    assert loaded.task is not None
    assert loaded.task.name == task
    assert list(loaded.task.names) == result.metadata["irreducible"]["task"]["names"]


@pytest.mark.parametrize("task", DATA)
def test_nothing_is_selected_of_labels_and_numbers_unless_it_is_asked_for(
    task: str, tmp_path: Path
) -> None:
    table, columns, _ = DATA[task]
    said: list[str] = []
    given: dict[str, Any] = {"steps": 2, "say": said.append, **columns}
    plain = keepers.train(table, run=tmp_path / "plain", **given)
    assert plain.metadata["selected_by"] == plain.metadata["select"] == "uniform"
    assert not plain.made_losses
    assert any(words.startswith("Every step is uniform: of several labels") for words in said)
    for name, asked in {"keep": {"keep": 0.5}, "il_epochs": {"il_epochs": 1}}.items():
        found = keepers.train(table, run=tmp_path / name, **given, **asked)
        assert found.metadata["selected_by"] == "rho-loss"


def test_a_loaded_model_gives_numbers_in_the_units_of_the_data(tmp_path: Path) -> None:
    table, columns, _ = DATA["number"]
    result = keepers.train(
        table, select="uniform", epochs=40, model="mlp", run=tmp_path / "run", **columns
    )
    rows = np.column_stack([table[f"x{number}"].to_numpy() for number in range(4)])
    with torch.no_grad():
        said = keepers.load_model(result.weights).module(torch.from_numpy(rows).float())[:, 0]
    truth = table["price"].to_numpy()
    assert 1 - np.square(said.numpy() - truth).mean() / truth.var() > 0.8


@pytest.mark.parametrize("task", DATA)
def test_losses_of_other_targets_are_refused(task: str, tmp_path: Path) -> None:
    table, columns, _ = DATA[task]
    losses = keepers.irreducible_losses(table, epochs=2, run=tmp_path / "il", **columns)
    path = losses.save(tmp_path / "il.parquet")
    name = columns.get("label", "labels")
    at = table.column_names.index(name)
    values = table[name].to_pylist()
    other = table.set_column(at, name, pa.array(values[1:] + values[:1]))
    with pytest.raises(ParameterError, match=r"another label than|on another scale"):
        keepers.train(other, il=path, epochs=1, run=tmp_path / "train", **columns)


def test_scores_are_written_with_what_the_targets_are(tmp_path: Path) -> None:
    scores = keepers.score(texts(), method="label-entropy", run=tmp_path / "run")
    rows = scores.table.sort_by("row").to_pydict()
    assert rows["label"][:2] == ["", rows["label"][1]]
    assert all(0 <= value <= 0.7 for value in rows["score"])


def test_a_test_set_keeps_to_the_labels_and_numbers_of_the_training(tmp_path: Path) -> None:
    source = open_source(texts())
    strange = pa.table({"text": ["row a", "row b"], "labels": [["sport"], ["weather"]]})
    with pytest.raises(DataError, match="'weather', which the training data does not have"):
        open_source(strange, like=source)
    few = open_source(pa.table({"text": ["row a"], "labels": [["sport", "art"]]}), like=source)
    assert few.task.names == source.task.names
    priced = open_source(numbers(), label="price")
    whole = numbers().slice(0, 5)
    whole = whole.set_column(4, "price", pa.array([1, 2, 3, 4, 5]))
    again = open_source(whole, like=priced)
    assert again.task == priced.task


READ: list[tuple[str, Any, str, tuple[str, ...]]] = [
    ("lists", [["a", "b"], ["b"], [], ["a"]] * 6, "labels", ("a", "b")),
    ("numbers of labels", [[2, 14], [2], [14], []] * 6, "labels", ("2", "14")),
    ("multi-hot", [[1, 0, 1], [0, 1, 1], [0, 0, 0], [1, 1, 0]] * 6, "labels", ("0", "1", "2")),
    ("separated", ["x|y", "y|z", "x", "z|x|y", "z", "y"] * 4, "labels", ("x", "y", "z")),
    ("fractions", [0.5, 1.25, 2.0, 3.0] * 6, "number", ("label",)),
    ("several numbers", [[0.5, 1], [1.5, 2], [0, 0], [3, 1]] * 6, "number", None),  # type: ignore[list-item]
    ("two factors", ["Oil, crude", "Gas, crude", "Oil, raw", "Gas, raw"] * 6, "class", None),
    ("decimal commas", [f"{20 + i % 3},{i % 3}" for i in range(24)], "class", None),
    ("a scale", ["agree", "agree, strongly", "no", "no, strongly"] * 6, "class", None),
    ("places", ["Paris, France", "Lyon, France", "Rome, Italy"] * 8, "class", None),  # type: ignore[list-item]
    ("classes", [["a"], ["b"], ["a"], ["b"]] * 6, "class", ("a", "b")),
]


@pytest.mark.parametrize(("what", "values", "task", "names"), READ, ids=[row[0] for row in READ])
def test_what_targets_are_is_found(what: str, values: Any, task: str, names: Any) -> None:
    source = open_source(pa.table({"text": [f"text {i}" for i in range(24)], "label": values}))
    assert source.task.name == task
    if names is not None:
        assert source.task.names == names


def test_columns_of_flags_are_several_labels_and_are_found() -> None:
    table = pa.table(
        {
            "comment": [f"comment number {i}" for i in range(24)],
            "toxic": [0, 1, 1, 0] * 6,
            "rude": [False, True, False, False] * 6,
        }
    )
    source = open_source(table)
    assert source.task.names == ("toxic", "rude")
    assert source.shown_labels([0])[0] in ("", "toxic", "toxic, rude")
    named = open_source(table, label="rude,toxic")
    assert named.task.names == ("rude", "toxic")
    assert "2 labels from 'toxic, rude'" in source.found[1]


@pytest.mark.parametrize(
    ("targets", "shown"),
    [
        ({"label": ["a", None, "b", "a", "b", ""] * 4}, ["a", "b", "a", "b"]),
        ({"label": [["a"], None, ["b"], [], ["a", "b"], None] * 4}, ["a", "b", "", "a, b"]),
        ({"label": [1.5, None, 2.5, 0.0, 7.0, math.nan] * 4}, ["1.5", "2.5", "0", "7"]),
        ({"label": [1.5, None, 2.5, 0, 7, None] * 4, "y": [0, 1, 2, 3, 4, 5] * 4}, None),
    ],
    ids=["class", "labels", "number", "numbers"],
)
def test_rows_without_a_target_are_left_out_where_that_is_asked_for(
    targets: dict[str, Any], shown: list[str] | None
) -> None:
    table = pa.table({"words": [f"row {row} of it" for row in range(24)], **targets})
    given: dict[str, Any] = {"label": ",".join(targets), "input": "words"}
    with pytest.raises(DataError, match=r"have no label .* or pass --on-bad-row skip"):
        open_source(table, **given)
    source = open_source(table, **given, on_bad_row="skip")
    left = [row for row in range(24) if row % 6 not in (1, 5)]
    assert sorted(source.rows.tolist()) == left
    assert {each.row: each.problem for each in source.skipped} == {
        row: f"no label in '{given['label']}'" for row in range(24) if row % 6 in (1, 5)
    }
    if shown:
        order = source.rows.argsort()
        assert source.shown_labels(order[:4]) == shown
    nothing = table.set_column(1, "label", pa.nulls(24, table["label"].type))
    with pytest.raises(DataError, match=r"24 of 24 rows have no label .* or give other data"):
        open_source(nothing, **given, task=source.task.name, on_bad_row="skip")


def test_a_row_that_cannot_be_read_is_not_said_to_lack_a_label(tmp_path: Path) -> None:
    lines = [f'{{"words": "row {row} of it", "label": "{"ab"[row % 2]}"}}' for row in range(12)]
    lines[3] = '{"words": "row'
    lines[5] = '{"words": "", "label": null}'
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    source = open_source(tmp_path / "rows.jsonl", on_bad_row="skip")
    problems = {each.row: each.problem for each in source.skipped}
    assert problems[3].startswith("line 4: ")
    assert problems[5] == "no label in 'label'"


def test_what_is_said_of_all_rows_is_of_those_with_labels() -> None:
    words = [f"row {row} of it" for row in range(12)]
    given: dict[str, Any] = {"on_bad_row": "skip"}
    hot = pa.table({"words": words, "label": [None, *[[1, 0], [0, 1]] * 5, [1, 0]]})
    with pytest.raises(ParameterError, match="exactly one 1 in each row"):
        open_source(hot, **given)
    same = pa.table({"words": words, "label": [None, *[["a", "b"]] * 11]})
    with pytest.raises(DataError, match="the same labels in all rows"):
        open_source(same, **given)
    tags = pa.table({"words": words, "label": [None, *[["a"], ["a", "b"], []] * 3, ["b"], ["a"]]})
    task = open_source(tags, **given).task
    assert isinstance(task, Labels)
    assert (task.counts, task.total) == ((7, 4), 11)


BAD: list[tuple[Any, Mapping[str, Any], str]] = [
    ([[["a"], ["b"]]] * 12, {}, "holds lists of lists"),
    ([["a"], None, ["b"], ["a", "b"]] * 3, {}, r"3 of 12 rows have no label in 'label' \(rows 1"),
    (
        [["a"], None, ["b", "a"]] * 4,
        {},
        r"Label them, write an empty list, \[\], where a row has no",
    ),
    ([1.5, None, 2.5, float("nan")] * 3, {}, r"6 of 12 rows have no label in 'label'"),
    ([1.5, float("inf"), 2.5, 3.0] * 3, {}, "is infinite, or over 3e38, in rows 1, 5, 9"),
    (["1", "2.5", "many", "3"] * 3, {"task": "number"}, "'many' in row 2 of column 'label' is no"),
    (["a,b", "b;c", "a", "c"] * 3, {"task": "labels"}, "holds ',' and ';', and either could"),
    (["a/b", "b/c", "a", "c", "b", "a/b/c"] * 3, {"task": "labels"}, "not separated by '/'"),
    (["a b", "b c", "a", "c", "b", "a b c"] * 3, {"task": "labels"}, "'a b', .* by one of , ; |"),
    (
        [f"['{v}']" for v in ("a' 'b", "a", "b' 'c", "c", "b", "a' 'c")] * 3,
        {"task": "labels"},
        "lists, or",
    ),
    ([2.5] * 12, {"task": "number"}, "'label' is the same number in all rows"),
    (
        [1e9 + i / 7 for i in range(12)],
        {},
        "'label' varies by only 0.493 around 1e[+]09, too little",
    ),
    ([[1.5, 2.5], [1.5]] * 6, {}, "lists of 1, 2 numbers|lists of 1 and 2 numbers"),
    (
        ["a", "b", "c", "a"] * 3,
        {"task": "number"},
        "'a' in row 0 of column 'label' is not a number",
    ),
    ([1, 2, 3] * 4, {"task": "lables"}, "Did you mean 'labels'"),
    ([[1, 0], [0, 1]] * 6, {}, "exactly one 1 in each row"),
    ([["a"], [], ["a"], []] * 3, {}, "holds 1 label"),
    ([["a", "b"]] * 12, {}, "'label' holds the same labels in all rows"),
    ([0, 1] * 6, {"task": "labels"}, "'label' holds 0 and 1, which is one label. Name several"),
    ([f"{i / 7:.2f} kg" for i in range(30)], {}, r"If it holds numbers, .*: '0.00 kg' is none"),
    ([f"{i},5" for i in range(30)], {}, "write them like 3.5: '0,5' is none"),
    (["?", *(f"{i}.5" for i in range(30))], {}, r"like 3.5: '\?' is none"),
    ([f"{i / 7:.3f}" for i in range(30)], {}, r"30 different values in 30 rows.*--task number"),
    (
        [f"key {i}" for i in range(30)],
        {},
        r"a key or a text rather than a class\. [^-]*--label \(label=...\)$",
    ),
]


@pytest.mark.parametrize(("values", "options", "message"), BAD)
def test_bad_targets_are_named(values: Any, options: Mapping[str, Any], message: str) -> None:
    table = pa.table({"text": [f"text {i}" for i in range(len(values))], "label": values})
    with pytest.raises(KeepersError, match=message):
        open_source(table, **options)


def test_texts_of_python_sets_and_names_of_two_words_are_read() -> None:
    said = [f"text {i}" for i in range(24)]
    sets = ["{'a', 'b'}", "set()", "{'b'}", "{'a'}"] * 6
    source = open_source(pa.table({"text": said, "label": sets}), task="labels")
    assert source.task.names == ("a", "b")
    assert source.shown_labels().count("") == 6
    names = ["very good", "good", "very bad", "bad"] * 6
    assert len(open_source(pa.table({"text": said, "label": names}), task="labels").task.names) == 4


def test_lists_in_texts_are_lists_whatever_their_labels_hold() -> None:
    rows = [["Paris, France", "art"], [], ["art"], ["Paris, France"], ["Lyon; Rhône"]] * 5
    said = [f"text {i}" for i in range(25)]
    for written in (json.dumps, repr, lambda row: repr(tuple(row))):
        table = pa.table({"text": said, "label": [written(row) for row in rows]})
        source = open_source(table)
        assert source.task.names == ("Lyon; Rhône", "Paris, France", "art")
        shown = [", ".join(sorted(rows[row])) for row in source.rows]
        assert source.shown_labels() == shown
        part = table.take([2, 3, 1])  # no row has two
        assert open_source(part, like=source).task.names == source.task.names
    hot = pa.table(
        {"text": said, "label": ["[1, 0, 1]", "[0, 1, 0]", "[0, 0, 0]", "[1, 1, 0]", ""] * 5}
    )
    with pytest.raises(DataError, match=r"5 of 25 rows have no label in 'label'.* \[\], where"):
        open_source(hot)
    assert open_source(hot, on_bad_row="skip").task.names == ("0", "1", "2")


def test_columns_of_labels_may_be_more_than_half_the_rows() -> None:
    draw = np.random.default_rng(0).random((30, 40)) < 0.2
    columns = {f"tag {at}": draw[:, at].astype(int) for at in range(40)}
    table = pa.table({"text": [f"text {i}" for i in range(30)], **columns})
    assert open_source(table, label=",".join(columns)).task.num_outputs == 40
    rows = [[name for name, has in zip(columns, row, strict=True) if has] for row in draw]
    lists = pa.table({"text": table["text"], "label": rows})
    with pytest.raises(DataError, match="40 different labels in 30 rows: keys or texts"):
        open_source(lists)


def test_empty_cells_among_columns_of_labels_are_told_from_0() -> None:
    flags = {name: [1, None, 0] * 4 for name in ("a", "b")}
    table = pa.table({"text": [f"text {i}" for i in range(12)], **flags})
    with pytest.raises(DataError, match="write 0 where a row does not have a label, or pass"):
        open_source(table, label="a,b")


def test_lists_of_texts_that_recur_are_found_where_nothing_else_could_be_the_label() -> None:
    table = texts().rename_columns(["text", "tags"])
    source = open_source(table)
    assert source.columns.label == "tags"
    assert source.task.names == ("art", "money", "politics", "sport")
    kind = table.append_column("kind", pa.array(["x", "y"] * (N // 2)))
    assert open_source(kind).columns.label == "kind"
    words = pa.array([[f"{row} {place}" for place in range(3)] for row in range(N)])
    for more in (words, pa.array([[1, 2, 3]] * N), pa.array([[0.5, 1.5]] * N)):
        with pytest.raises(KeepersError, match="no column of table looks like a class label"):
            open_source(pa.table({"text": table["text"], "more": more}))
    with pytest.raises(ParameterError, match="could be the label: 'tags', 'again'"):
        open_source(table.append_column("again", table["tags"]))


def test_names_of_labels_that_differ_in_white_space_are_said() -> None:
    rows = [["joy"], ["joy ", "anger"], ["N/A"], []] * 6
    table = pa.table({"text": [f"text {i}" for i in range(24)], "label": rows})
    said = " ".join(open_source(table).found)
    assert "Warning: the labels 'joy' and 'joy ' differ only in case or white space" in said
    assert "Warning: 'N/A' is treated as a label" in said


def test_lists_of_one_number_are_numbers() -> None:
    said = [f"text {i}" for i in range(24)]
    source = open_source(pa.table({"text": said, "label": [[i / 7] for i in range(24)]}))
    assert source.task.name == "number"
    classes = open_source(pa.table({"text": said, "label": [[i % 2] for i in range(24)]}))
    assert classes.class_names == ("0", "1")


def test_columns_that_are_neither_flags_nor_numbers_are_named() -> None:
    said = {"text": [f"text {i}" for i in range(24)]}
    words = {name: ["yes", "no"] * 12 for name in ("a", "b", "c", "d")}
    with pytest.raises(DataError, match=r"label: a, b, c, … hold no numbers\. Name columns of 0"):
        open_source(pa.table({**said, **words}), label="a,b,c,d")
    signs = {name: [-1, 1] * 12 for name in ("a", "b")}
    with pytest.raises(ParameterError, match="the columns a, b hold -1 and 1 alone"):
        open_source(pa.table({**said, **signs}), label="a,b")
    assert (
        open_source(pa.table({**said, **signs}), label="a,b", task="number").task.name == "number"
    )


def test_whole_numbers_that_stand_in_few_rows_are_asked_about() -> None:
    table = pa.table(
        {"text": [f"text {i}" for i in range(90)], "label": [i // 3 for i in range(90)]}
    )
    with pytest.raises(ParameterError, match="--task class or --task number"):
        open_source(table)
    assert open_source(table, task="number").task.name == "number"
    assert len(open_source(table, task="class").class_names) == 30
    # Prices have gaps, numbers of classes mostly none.
    for step, several in ((1, False), (97, True)):
        values = [step * (i % 40) for i in range(400)]
        table = pa.table({"text": [f"text {i}" for i in range(400)], "label": values})
        if several:
            with pytest.raises(ParameterError, match="40 different whole numbers in 400 rows"):
                open_source(table)
        else:
            assert len(open_source(table).class_names) == 40
    # Days in a hospital: hardly a gap, but long stays are rare.
    days = [day for day in range(1, 41) for _ in range(max(1, 200 // day**2))]
    table = pa.table({"text": [f"text {i}" for i in range(len(days))], "label": days})
    assert len(days) > 5 * 40
    with pytest.raises(ParameterError, match="40 different whole numbers"):
        open_source(table)
    assert len(open_source(table, task="class").class_names) == 40


def test_targets_go_through_a_file(tmp_path: Path) -> None:
    for name, (table, columns, _) in DATA.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(table, path)
        selection = keepers.coreset(
            path,
            keep=20,
            method="random",
            run=tmp_path / f"run-{name}",
            export=tmp_path / name,
            **columns,
        )
        kept = pq.read_table(tmp_path / name)
        assert (
            kept.schema.field(columns.get("label", "labels")).type
            == table.schema.field(columns.get("label", "labels")).type
        )
        assert kept.num_rows == len(selection) == 20


@pytest.mark.parametrize("task", DATA)
def test_a_loop_of_ones_own_knows_the_targets_by_their_losses(task: str, tmp_path: Path) -> None:
    table, columns, _ = DATA[task]
    losses = keepers.irreducible_losses(table, epochs=30, run=tmp_path / "il", **columns)
    path = losses.save(tmp_path / "il.parquet")
    source = open_source(table, **columns)
    targets: Any = source.targets
    width = source.task.num_outputs
    model = torch.nn.Linear(3, width)
    choose = keepers.RhoLoss(type(losses).load(path), keep=0.25)
    at = torch.arange(16)
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    y = targets[at]
    ids = source.ids[at.numpy()].tolist()
    chosen = choose(model, (x, y, ids))
    with torch.no_grad():
        expected = source.task.losses(model(x), y) - torch.tensor(losses.of(source))[at]
    order = expected.argsort(descending=True, stable=True)[:4]
    assert chosen.ids == [ids[place] for place in order.tolist()]
    assert chosen.batch[1].shape == (4, width)
    if task == "number":  # one number for each example may be flat
        flat = keepers.RhoLoss(losses, keep=0.25)(model, (x, y[:, 0], ids))
        assert flat.ids == chosen.ids
    with pytest.raises(ParameterError):
        choose(torch.nn.Linear(3, width + 1), (x, y, ids))
    with pytest.raises(ParameterError, match=f"task: got 'class', but the losses .* '{task}'"):
        keepers.RhoLoss(losses, task="class")
    with pytest.raises(ParameterError, match=r"task: got 'clas', .* Did you mean 'class'"):
        keepers.BatchSelector("loss", task="clas")


def test_a_loop_without_losses_is_told_what_labels_are() -> None:
    draw = torch.Generator().manual_seed(0)
    model, x = torch.nn.Linear(3, 4), torch.randn(16, 3, generator=draw)
    y = (torch.rand(16, 4, generator=draw) < 0.3).float()
    chosen = keepers.BatchSelector("gradient-norm", task="labels", keep=4)(model, (x, y, range(16)))
    norms = (model(x).sigmoid() - y).norm(dim=1)
    assert chosen.rows.tolist() == norms.argsort(descending=True)[:4].tolist()
    with pytest.raises(ParameterError, match=r"labels: got torch\.float32"):
        keepers.BatchSelector("gradient-norm", keep=4)(model, (x, y, range(16)))


@pytest.mark.parametrize("task", DATA)
def test_an_online_comparison_with_noise(task: str, tmp_path: Path) -> None:
    table, columns, _ = DATA[task]
    given: Mapping[str, Any] = {
        **columns,
        "test": 0.25,
        "noise": 0.2,
        "methods": ["rho-loss", "gradient-norm"],
        "keep": 0.5,
        "epochs": 4,
        "il_epochs": 4,
        "seeds": 2,
    }
    found = keepers.compare_online(table, run=tmp_path / "run", **given)
    score = {"labels": "average precision", "number": "R²"}[task]
    assert found.result["data"]["score"] == score
    assert found.result["corruption"]["corrupted"] == round(0.2 * 180)
    assert {row["method"] for row in found.result["rows"]} >= {"rho-loss", "gradient-norm"}
    page = compare_report(found.result, tmp_path / "page.html").read_text()
    assert f"Final {score}" in page
    assert "accuracy" not in page.replace('id="accuracy"', "")
    right = {"labels": "Right label by label", "number": "Within half a standard deviation"}[task]
    assert right in page
    assert "lassified" not in page
    for name, value in (("relevance", 1), ("structured_noise", 0.2)):
        with pytest.raises(ParameterError, match=f"{name}: got a value, but the targets are"):
            keepers.compare_online(
                table, run=tmp_path / name, **{**given, "noise": 0.0, name: value}
            )


def test_flags_among_features_are_never_taken_for_labels() -> None:
    at = np.random.default_rng(0)
    columns = {name: at.integers(0, 2, 60) for name in ("smoker", "married", "parent")}
    table = pa.table({**columns, "age": at.normal(40, 9, 60)})
    together = "or columns of 0 and 1 for several labels: --label smoker,married,parent$"
    with pytest.raises(ParameterError, match=f"several columns could be the label.*{together}"):
        open_source(table)
    named = open_source(table.rename_columns(["a b", "c", "d", "age"]), label="a b,d")
    assert named.task.names == ("a b", "d")
    with pytest.raises(ParameterError, match=r"--label 'a b,c,d'$"):
        open_source(table.rename_columns(["a b", "c", "d", "age"]))
    named = open_source(table, label="smoker,parent")
    assert named.columns.input == ("married", "age")
    assert named.task.names == ("smoker", "parent")


def test_lists_of_labels_come_beside_texts(tmp_path: Path) -> None:
    said = texts()["text"].to_pylist()
    rows = texts()["labels"].to_pylist()
    selection = keepers.coreset((said, rows), keep=20, method="random", run=tmp_path / "run")
    assert len(selection) == 20
    with pytest.raises(DataError, match="240 inputs but 239 labels"):
        open_source((said, rows[:-1]))


@pytest.mark.parametrize(
    "model", ["sklearn.neighbors:KNeighborsClassifier", "sklearn.tree:DecisionTreeClassifier"]
)
def test_a_label_that_no_training_row_has_is_unlikely(model: str, tmp_path: Path) -> None:
    at = np.random.default_rng(0)
    x = at.normal(size=(80, 3)).astype(np.float32)
    y = np.zeros((80, 3), dtype=int)
    y[:, 0], y[:, 1] = x[:, 0] > 0, x[:, 1] > 0
    scores = keepers.score((x, y), method="loss", proxy=f"sklearn:{model}", run=tmp_path / "run")
    assert float(np.mean(scores.table["score"].to_numpy())) < 1


def test_losses_know_the_scale_they_were_made_on(tmp_path: Path) -> None:
    table = numbers()
    losses = keepers.irreducible_losses(table, label="price", epochs=1, run=tmp_path / "il")
    path = losses.save(tmp_path / "il.parquet")
    prices = table["price"].to_numpy()
    other = table.set_column(4, "price", pa.array(100 * prices))
    with pytest.raises(ParameterError, match="on another scale"):
        keepers.train(other, label="price", il=path, epochs=1, run=tmp_path / "train")


def test_comparisons_and_advice_are_told_what_targets_are(run: Keepers) -> None:
    """Genres between bars are labels by themselves, and classes where a person says so."""
    kinds = ("war", "crime", "art", "war|crime", "war|art", "crime|art", "war|crime|art")
    genres = [kinds[i % 7] for i in range(N)]
    said = [f"{genre.replace('|', ' ')} {place}" for place, genre in enumerate(genres)]
    table = pa.table({"text": said, "genre": genres})
    pq.write_table(table, "films.parquet")
    compare = ("compare", "films.parquet", "--test", "0.3", "--seeds", "1", "--json")
    quick = ("--methods", "random", "--keep", "0.5", "--proxy", "linear", "--target", "linear")
    found = run(*compare, *quick).json()
    assert found["score"] == "average precision"
    page = compare_report(found, "page.html").read_text()
    assert "errors are 1 − average precision" in page
    as_classes = run(*compare, *quick, "--task", "class").json()
    assert "score" not in as_classes
    assert as_classes["data"]["num_classes"] == 7
    refused = run("advise", "films.parquet", "--online")
    assert refused.status == 2
    assert "task: the targets are several labels" in refused.err
    assert "--task class reads classes" in refused.err
    asked = ("advise", "films.parquet", "--labelling", "--budgets", "20")
    assert run(*asked, "--json").json()["score"] == "average precision"
    advice = run(*asked, "--methods", "margin", "--task", "class", "--json")
    assert advice.json()["data"]["num_classes"] == 7


@pytest.mark.parametrize(("task", "method"), [("labels", "label-entropy"), ("number", "committee")])
def test_scores_without_a_method_are_by_how_unsure_a_model_is(
    task: str, method: str, tmp_path: Path
) -> None:
    table, columns, _ = DATA[task]
    options = {**columns, "epochs": 1, "run": tmp_path / "run"}
    found = keepers.score(table, **options)
    assert found.metadata["method"] == method
    assert found.table.equals(keepers.score(table, method=method, **options).table)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("labels", r"Test average precision [\d.]+%, worst label [\d.]+%"),
        ("number", r"Test R² [\d.-]+%, worst part of the range [\d.-]+%"),
    ],
)
def test_training_says_what_it_measured(task: str, said: str, run: Keepers, tmp_path: Path) -> None:
    table, columns, _ = DATA[task]
    pq.write_table(table, tmp_path / "data.parquet")
    named = [word for name, value in columns.items() for word in (f"--{name}", str(value))]
    done = run(
        *("train", str(tmp_path / "data.parquet"), *named, "--select", "uniform"),
        *("--test", "0.3", "--epochs", "1", "--run", str(tmp_path / "run")),
    )
    words = done.out + done.err
    assert re.search(said, words), words
    assert "worst class" not in words
    assert "accuracy" not in words


def test_columns_that_are_not_used_are_said_to_be_more(tmp_path: Path) -> None:
    more = {f"note {place}": [f"a b {place} {row}" for row in range(N)] for place in range(12)}
    table, columns, _ = DATA["number"]
    for name, values in more.items():
        table = table.append_column(name, pa.array(values))
    source = open_source(table, input="x0,x1", **columns)
    assert source.columns.input == ("x0", "x1")
    said = next(each for each in source.found if each.startswith("not used"))
    assert said.endswith("'note 7', …")
    assert said.count("'") == 20
