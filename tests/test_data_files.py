"""Real files: headers, quotes, shards, JSON documents, long values."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import keepers
from keepers.campaign.returns import read_votes
from keepers.data import Source, export, open_source
from keepers.data.headers import is_header
from keepers.errors import DataError, ParameterError

WORDS = ["it was a fine day", "the film is dull", "what a lovely view", "two hours of rain"]


def named(source: Source) -> list[str]:
    """The class of each row, in the order of the file."""
    assert source.labels is not None
    by_row = dict(zip(source.rows.tolist(), source.labels.tolist(), strict=True))
    return [source.class_names[by_row[row]] for row in sorted(by_row)]


def texts(source: Source) -> list[str | bytes]:
    return [source.preview(place) for place in np.argsort(source.rows).tolist()]


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- header lines ------------------------------------------------------------------------------

ROWS = [[f"{WORDS[row % 4]} number {row}", "good" if row % 3 else "bad"] for row in range(12)]


@pytest.mark.parametrize(
    ("first", "below", "header"),
    [
        (["review", "2023"], ROWS, True),
        (["2023", "review"], [row[::-1] for row in ROWS], True),
        (["150", "4", "setosa"], [["5.1", "3.5", "0"], ["4.9", "3.0", "1"]] * 3, True),
        (
            ["What did you like most about it?", "When"],
            [["a", f"2024-01-{d:02}"] for d in (1, 2)],
            True,
        ),
        (["a long first text of its own", "good"], ROWS, False),
        (["a text", "3"], [[f"{w} now", str(n % 5)] for n, w in enumerate(WORDS * 4)], False),
        (["My favourite food is anything."], [[word] for word in WORDS], False),
        (["text"], [[word] for word in WORDS], True),
        (["1", "2.5"], [["2", "3.5"]], False),
        (["0", "1", "2", "label"], [["5", "6", "7", "a"]], True),
        (["a", "b"], [], True),
    ],
)
def test_a_header_is_judged_by_what_is_below(
    first: list[str], below: list[list[str]], header: bool
) -> None:
    assert is_header(first, below) is header


@pytest.mark.parametrize("mark", [",", "\t", ";", "|"])
def test_header_lines_are_no_examples_and_examples_no_header(mark: str, tmp_path: Path) -> None:
    suffix = "tsv" if mark == "\t" else "csv"
    lines = [mark.join(row) for row in ROWS]
    headed = written(tmp_path / f"h.{suffix}", "\n".join([mark.join(["review", "2023"]), *lines]))
    source = open_source(headed)
    assert (len(source), source.class_names) == (12, ("bad", "good"))
    assert source.columns.label == "2023"
    bare = written(tmp_path / f"b.{suffix}", "\n".join(lines))
    source = open_source(bare)
    assert (len(source), source.class_names, source.columns.input) == (12, ("bad", "good"), ("1",))
    assert any("--header yes" in sentence for sentence in source.found)
    kept = export(bare, [0, 5], tmp_path / "kept")
    assert (kept / f"b.{suffix}").read_text() == f"{lines[0]}\n{lines[5]}\n"


def test_what_is_said_of_the_header_decides_for_test_sets_and_exports_too(tmp_path: Path) -> None:
    lines = [f"{word},{word[:2]}" for word in WORDS]
    path = written(tmp_path / "plain.csv", "\n".join(lines))
    source = open_source(path, header="no", label="2")
    assert (len(source), named(source)) == (4, ["it", "th", "wh", "tw"])
    assert len(open_source(written(tmp_path / "t.csv", lines[1]), like=source)) == 1
    assert len(open_source(path, header="yes", require_labels=False, input=WORDS[0])) == 3
    kept = export(path, [0], tmp_path / "kept", header="no")
    assert (kept / "plain.csv").read_text() == lines[0] + "\n"
    with pytest.raises(ParameterError, match="header: got 'maybe'"):
        open_source(path, header="maybe")  # pyright: ignore[reportArgumentType]


def test_the_separator_line_of_excel(tmp_path: Path) -> None:
    lines = ["text;label", *(f"{word}, really;{word[:2]}" for word in WORDS)]
    path = written(tmp_path / "excel.csv", "\ufeffsep=;\r\n" + "\r\n".join(lines))
    source = open_source(path)
    assert texts(source) == [f"{word}, really" for word in WORDS]
    kept = export(path, [2], tmp_path / "kept") / "excel.csv"
    assert kept.read_bytes() == f"sep=;\r\ntext;label\r\n{lines[3]}\r\n".encode()
    assert texts(open_source(kept, require_labels=False)) == [f"{WORDS[2]}, really"]
    votes = written(tmp_path / "votes.csv", "sep=|\nid|label\n3|pos\n")
    assert [vote.label for _, vote in read_votes(votes, annotator="ann")] == ["pos"]


# --- quotes ------------------------------------------------------------------------------------


def test_a_quote_at_the_start_of_tab_separated_text_is_a_character(tmp_path: Path) -> None:
    rows = [f"{WORDS[row % 4]}, {row}\t{'ab'[row % 2]}" for row in range(120)]
    for row in (3, 17, 40, 41, 90, 119):
        rows[row] = f'"{WORDS[row % 4]}" he said{row}\t{"ab"[row % 2]}'
    rows[60] = '"all of it in quotes"\ta'
    path = written(tmp_path / "q.tsv", "text\tlabel\n" + "\n".join(rows) + "\n")
    source = open_source(path)
    assert texts(source) == [row.split("\t")[0] for row in rows]
    assert named(source) == [row.split("\t")[1] for row in rows]
    kept = export(path, [3, 4], tmp_path / "kept") / "q.tsv"
    assert kept.read_text() == "\n".join(["text\tlabel", rows[3], rows[4], ""])


@pytest.mark.parametrize("lines", [False, True])
def test_tab_separated_text_that_pandas_quoted_is_unquoted(lines: bool, tmp_path: Path) -> None:
    values = ['he said "well" once', '"so" they say', *WORDS]
    values += ["over\ntwo lines\twith a tab"] if lines else []
    frame = pd.DataFrame({"text": values, "label": (["a", "b"] * 4)[: len(values)]})
    frame.to_csv(tmp_path / "p.tsv", sep="\t", index=False)
    assert texts(open_source(tmp_path / "p.tsv")) == values


def test_a_quote_in_the_middle_of_a_quoted_value_is_refused_with_its_line(tmp_path: Path) -> None:
    lines = ["text,label", '"fine, really",a', '"I loved it,b', 'the "best" of all,a', "so so,b"]
    path = written(tmp_path / "bad.csv", "\n".join(lines))
    with pytest.raises(DataError, match="line 3: the value"):
        open_source(path)
    lines[2] = 'I "loved" it at 5" tall,b'
    path.write_text("\n".join(lines))
    assert texts(open_source(path))[1] == 'I "loved" it at 5" tall'


def test_texts_that_begin_with_a_quote_are_refused_where_the_next_one_closes_it(
    tmp_path: Path,
) -> None:
    lines = ["text,label"] + [f"{WORDS[i % 4]} {i},{'ab'[i % 2]}" for i in range(12)]
    for row in (1, 5):  # read as one value, from the first of them to the second
        lines[row] = f'"{lines[row]}'
    path = written(tmp_path / "open.csv", "\n".join(lines))
    with pytest.raises(DataError, match="line 2: the value"):
        open_source(path)
    path.write_text("\n".join(lines[:5]))
    with pytest.raises(DataError, match=r"line 2: the value .* has a quote in the middle"):
        open_source(path)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize("before", ["", "sep={mark}{end}"])
def test_blank_lines_before_the_header_are_none(
    form: str, end: str, before: str, tmp_path: Path
) -> None:
    mark = {"csv": ",", "tsv": "\t"}[form]
    rows = [f"{word}{mark}{name}" for word, name in zip(WORDS, "abab", strict=True)]
    lines = ["", "", f"text{mark}label", *rows]
    text = before.format(mark=mark, end=end) + end.join(lines) + end
    path = tmp_path / f"blank.{form}"
    path.write_bytes(text.encode())
    source = open_source(path)
    assert texts(source) == WORDS
    assert source.class_names == ("a", "b")
    found = source.where.columns(np.arange(2))["line"].to_pylist()
    assert found == [4 + bool(before), 5 + bool(before)]


@pytest.mark.parametrize("above", [",", "Report of 2024,"])
def test_a_line_above_the_header_is_refused(above: str, tmp_path: Path) -> None:
    lines = [above, "text,label", *(f"{text},{name}" for text, name in ROWS)]
    path = written(tmp_path / "title.csv", "\n".join(lines))
    with pytest.raises(DataError, match=r"the second looks like their names \('text,label'\)"):
        open_source(path)
    names = (above.strip(",") or "unnamed 1", "unnamed 2")
    said = open_source(path, input=names[0], label=names[1], header="yes")
    assert len(said) == len(ROWS) + 1
    path.write_text("\n".join([",text,label", *(f"{n},{t},{c}" for n, (t, c) in enumerate(ROWS))]))
    assert len(open_source(path)) == len(ROWS)  # a column of row numbers has no name in pandas


def test_a_header_among_the_records_is_refused(tmp_path: Path) -> None:
    part = ["text,label", *(f"{text},{row % 2}" for row, (text, _) in enumerate(ROWS))]
    path = written(tmp_path / "two.csv", "\n".join(part * 2))
    with pytest.raises(DataError, match="record 14: this line repeats the column names"):
        open_source(path)
    with pytest.raises(DataError, match="an example, rename a column in the first line and"):
        open_source(path, header="yes")
    renamed = path.read_text().replace("text,label", "words,label", 1)
    said = open_source(written(tmp_path / "renamed.csv", renamed), header="yes")
    assert len(said) == 2 * len(ROWS) + 1
    path.write_text("\n".join([*part, "text,0", "label,1"]))  # words that name a column, too
    assert len(open_source(path)) == len(ROWS) + 2


# --- values as they are written ----------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
def test_a_value_of_five_megabytes(form: str, tmp_path: Path) -> None:
    long = "word " * 1_000_000
    frame = pd.DataFrame({"text": [long, *WORDS[1:]], "label": ["a", "b", "a", "b"]})
    path = tmp_path / f"long.{form}"
    if form == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=form == "jsonl")
    source = open_source(path)
    assert max(map(len, texts(source))) == len(long)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_dates_and_times_stay_as_they_are_written(form: str, tmp_path: Path) -> None:
    when = ["2024-01-02", "2024-01-03T10:00", "2024-01-04 11:00:00", "2024-01-05"]
    frame = pd.DataFrame({"text": WORDS, "when": when, "at": ["10:30", "9:15", "10:30", "9:15"]})
    path = tmp_path / f"d.{form}"
    if form == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    source = open_source(path, input="text", label="at", id="when")
    assert sorted(source.ids.tolist()) == when
    assert source.class_names == ("10:30", "9:15")


def test_columns_and_keys_of_one_name(tmp_path: Path) -> None:
    csv = written(tmp_path / "c.csv", "text,label,label\na b,1,2\nc d,2,1\n")
    with pytest.raises(DataError, match="several columns named 'label'"):
        open_source(csv)
    pq.write_table(pa.Table.from_arrays([pa.array(WORDS)] * 2, ["a", "a"]), tmp_path / "p.parquet")
    with pytest.raises(DataError, match="several columns named 'a'"):
        open_source(tmp_path / "p.parquet")
    twice = '{"text": "a b", "label": 1}\n{"text": "c d", "label": 2, "label": 1}\n'
    with pytest.raises(DataError, match="line 2: the key 'label' occurs twice"):
        open_source(written(tmp_path / "k.jsonl", twice))


def test_values_deep_within_each_other_are_refused(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(60):
        deep = {"a": [deep]}
    lines = [json.dumps({"text": "a b", "label": 0}), json.dumps({"text": "c d", "meta": deep})]
    with pytest.raises(DataError, match="line 2: values are nested more than 100 deep"):
        open_source(written(tmp_path / "deep.jsonl", "\n".join(lines)))


def test_a_header_with_columns_that_have_no_name(tmp_path: Path) -> None:
    lines = ["v1,v2,,,", *(f'{"ab"[row % 2]},"{word}, {row}",,,' for row, word in enumerate(WORDS))]
    source = open_source(written(tmp_path / "spam.csv", "\n".join(lines)), label="v1")
    assert texts(source) == [f"{word}, {row}" for row, word in enumerate(WORDS)]
    frame = pd.DataFrame({"text": WORDS, "label": list("abab")}, index=[7, 8, 9, 4])
    frame.to_csv(tmp_path / "indexed.csv")
    assert open_source(tmp_path / "indexed.csv", id="unnamed 1").ids.tolist() == [4, 7, 8, 9]


# --- JSON documents ----------------------------------------------------------------------------


def test_a_json_object_of_parts(tmp_path: Path) -> None:
    rows = [{"text": word, "label": word[0]} for word in WORDS]
    path = written(tmp_path / "all.json", json.dumps({"train": rows, "test": rows[:2]}))
    train = open_source(path)
    assert (len(train), train.name) == (4, "all.json (train)")
    assert len(open_source(path, split="test")) == 2
    assert len(open_source(path, like=train)) == 2
    with pytest.raises(ParameterError, match=r"split: got 'val', .* Its parts are: test, train"):
        open_source(path, split="val")
    kept = export(path, [1], tmp_path / "kept", split="test") / "all.json"
    assert json.loads(kept.read_text()) == [rows[1]]
    meta = written(tmp_path / "m.json", json.dumps({"version": 2, "data": rows}, indent=1))
    assert texts(open_source(meta)) == WORDS
    for other in ({"text": "a", "label": "b"}, {"columns": ["text"], "data": [["a"], ["b"]]}):
        with pytest.raises(DataError, match=r"holds one object with the keys .* Give a list of"):
            open_source(written(tmp_path / "o.json", json.dumps(other)))


def test_json_columns_as_pandas_writes_them(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": WORDS, "label": list("abab")})
    frame.to_json(tmp_path / "f.json")
    written(tmp_path / "l.json", json.dumps(frame.to_dict("list")))
    for name in ("f.json", "l.json"):
        source = open_source(tmp_path / name)
        assert (texts(source), named(source)) == (WORDS, list("abab"))


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
@pytest.mark.parametrize("more", [0, 0.5])
def test_numbers_over_64_bits_beside_what_is_read(tmp_path: Path, name: str, more: float) -> None:
    beside = [more, *(2**70 + at for at in range(11))]
    rows = [{"text": f"row {at}", "label": at % 2, "beside": beside[at]} for at in range(12)]
    lines = name.endswith("l")
    text = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
    (tmp_path / name).write_text(text)
    source = open_source(tmp_path / name)
    assert len(source) == 12
    export(tmp_path / name, [3, 5], tmp_path / "out")
    written = (tmp_path / "out" / name).read_text()
    found = list(map(json.loads, written.splitlines())) if lines else json.loads(written)
    assert found == [rows[3], rows[5]]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
@pytest.mark.parametrize("wrong", [[1, "x"], {"a": 1}, "x", [[1], 2]])
def test_what_is_no_vector_is_left_out_and_does_not_make_texts_of_all(
    tmp_path: Path, name: str, wrong: Any
) -> None:
    rows = [{"x": [at, at / 2], "label": "ab"[at % 2]} for at in range(9)]
    rows[4]["x"] = wrong
    text = "\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows)
    with pytest.raises(DataError, match=r"(row 4 holds|line 5: 'x' is) .*on_bad_row='skip'"):
        open_source(written(tmp_path / name, text))
    source = open_source(written(tmp_path / name, text), on_bad_row="skip")
    assert (source.kind, len(source), source.skipped[0].row) == ("vector", 8, 4)
    assert "but list of numbers in most rows" in source.skipped[0].problem


def test_lists_of_which_most_are_empty_are_no_vectors(tmp_path: Path) -> None:
    rows = [{"text": f"row {at}", "label": "ab"[at % 2], "tools": []} for at in range(9)]
    rows[4]["tools"] = [{"name": "f"}]
    rows[5]["tools"] = [3, "x"]
    text = "\n".join(map(json.dumps, rows))
    source = open_source(written(tmp_path / "r.jsonl", text), on_bad_row="skip")
    assert (len(source), source.skipped) == (9, ())


@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
@pytest.mark.parametrize(
    "arguments",
    [
        [[1, "x"], [1, 2], [{"a": 1}], [3, 4]],  # as many are vectors as are none
        [[1, 2], [1, 2, 3], [3], ["x", 1]],  # numbers, but of no one length
        [{"a": 1}, {"a": "x"}, {"a": [1]}, {}],
    ],
)
def test_lists_and_objects_of_any_sort_are_texts(
    tmp_path: Path, arguments: list[Any], on_bad_row: Any
) -> None:
    rows = [
        {"text": f"row {at}", "label": "ab"[at % 2], "arguments": arguments[at % 4]}
        for at in range(12)
    ]
    path = written(tmp_path / "r.jsonl", "\n".join(map(json.dumps, rows)))
    source = open_source(path, input="text", on_bad_row=on_bad_row)
    assert (source.kind, len(source), source.skipped) == ("text", 12, ())


def test_compressed_json(tmp_path: Path) -> None:
    rows = [{"text": word, "label": word[0]} for word in WORDS]
    with gzip.open(tmp_path / "r.json.gz", "wt") as file:
        json.dump(rows, file)
    with gzip.open(tmp_path / "r.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, rows)))
    for name in ("r.json.gz", "r.jsonl.gz"):
        assert texts(open_source(tmp_path / name)) == WORDS


# --- shards ------------------------------------------------------------------------------------


def shard(path: Path, names: list[str] | None, labels: list[Any]) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    kind = ClassLabel(names=names) if names else Value("string" if labels[0] in "ab" else "int64")
    rows = {"text": [f"{path.stem} {row} of it" for row in range(len(labels))], "label": labels}
    features = Features({"text": Value("string"), "label": kind})
    Dataset.from_dict(rows, features=features).to_parquet(path)


def test_shards_whose_classes_come_in_another_order(tmp_path: Path) -> None:
    shard(tmp_path / "0.parquet", ["neg", "pos"], [0, 1, 1, -1])
    shard(tmp_path / "1.parquet", ["pos", "neutral", "neg"], [0, 1, 2, -1])
    source = open_source(tmp_path, require_labels=False)
    assert source.class_names == ("neg", "pos", "neutral")
    labels = source.labels
    assert labels is not None
    assert labels[np.argsort(source.rows)].tolist() == [0, 1, 1, -1, 1, 2, 0, -1]


def test_shards_of_names_and_of_codes(tmp_path: Path) -> None:
    shard(tmp_path / "0.parquet", ["b", "a"], [0, 1, 1])
    pq.write_table(pa.table({"text": WORDS, "label": list("abab")}), tmp_path / "1.parquet")
    assert named(open_source(tmp_path)) == ["b", "a", "a", "a", "b", "a", "b"]
    pq.write_table(pa.table({"text": WORDS, "label": [0, 1, 0, 1]}), tmp_path / "1.parquet")
    with pytest.raises(
        DataError, match=r"'label' of 1.parquet holds int64 and declares no classes"
    ):
        open_source(tmp_path)


SHARDS: list[tuple[Any, Any, list[Any]]] = [
    (pa.nulls(2), pa.array([1, 2]), [None, None, 1, 2]),
    (pa.array([1, 2]), pa.array([3.0, None]), [1, 2, 3, None]),
    (pa.array([1, 2]), pa.array([3.0, float("nan")]), [1, 2, 3, None]),
    (pa.array([1, 2]), pa.array([3.5, 4.0]), [1.0, 2.0, 3.5, 4.0]),
    (pa.array([1, 2], pa.int8()), pa.array([300, 4], pa.int16()), [1, 2, 300, 4]),
    (pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "d"]), ["a", "b", "c", "d"]),
    (pa.array(["a", "b"], pa.large_string()), pa.array(["c", None]), ["a", "b", "c", None]),
    (pa.array([[1], [2]]), pa.array([[0.5], [1.0]]), [[1.0], [2.0], [0.5], [1.0]]),
]


@pytest.mark.parametrize(("first", "second", "expected"), SHARDS)
def test_shards_of_several_types(
    first: Any, second: Any, expected: list[Any], tmp_path: Path
) -> None:
    from keepers.data.reading import read_material

    for order in (1, -1):
        for place, values in enumerate([first, second][::order]):
            pq.write_table(pa.table({"x": values}), tmp_path / f"{place}.parquet")
        found = read_material(tmp_path, None).table["x"].to_pylist()
        assert found == (expected if order == 1 else expected[2:] + expected[:2])


def test_csv_shards_of_numbers_and_texts(tmp_path: Path) -> None:
    for part, labels in enumerate((["1", "2"], ["x", "01"], ["", ""])):
        rows = [f"{WORDS[row]} {part},{label}" for row, label in enumerate(labels)]
        written(tmp_path / f"train-{part}.csv", "\n".join(["text,label", *rows]))
    source = open_source(tmp_path, require_labels=False)
    assert source.class_names == ("01", "1", "2", "x")
    assert source.labels is not None
    assert int((source.labels == -1).sum()) == 2


def test_a_json_column_of_datasets(tmp_path: Path) -> None:
    from datasets import Dataset, Features, Json, Value

    features = Features({"text": Value("string"), "label": Json(), "meta": Json()})
    rows = {"text": WORDS, "label": ["pos", "neg", "pos", "neg"], "meta": [1, "a", None, {"b": 2}]}
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "j.parquet")
    assert named(open_source(tmp_path / "j.parquet")) == rows["label"]
    rows["label"] = ["pos", {"a": 1}, "neg", "neg"]
    with pytest.raises(DataError, match=r"label: column 'label' holds objects"):
        open_source(Dataset.from_dict(rows, features=features))


# --- spreadsheets ------------------------------------------------------------------------------


def test_a_batch_holds_no_formulas_and_is_read_back_unchanged(tmp_path: Path) -> None:
    starts = ["=1+1", "+x", "-x", "@x", "\tx", "'=x", "'tis"]
    keys = [f"{start}{row}" for row, start in enumerate(starts * 4)]
    pool = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"key": keys, "text": [f"{key} is a text" for key in keys]}), pool)
    campaign = keepers.Campaign.start(
        pool, campaign=tmp_path / "c", classes=["=yes", "-no"], id="key", control=0.0
    )
    batch = campaign.query(20)
    from keepers.workflows.active.batches import write_batch

    out = write_batch(campaign.state, campaign.holdings, batch, tmp_path / "batch.csv", False)
    sheet = pd.read_csv(out, dtype=str, keep_default_na=False)
    cells = [cell for name in ("id", "text") for cell in sheet[name]]
    assert not any(cell[0] in "=+-@\t\r" for cell in cells)
    sheet["label"] = ["=yes", "'-no"] * 10
    sheet.to_csv(out, index=False)
    campaign.record(read_votes(out, annotator="ann"))
    assert set(campaign.state.labels) == set(batch.ids) <= set(keys)
    assert set(campaign.state.labels.values()) == {"=yes", "-no"}
    campaign.close()
