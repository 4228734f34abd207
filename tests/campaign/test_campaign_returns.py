from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keepers.campaign import Vote, label_studio_votes, read_returned, read_votes
from keepers.errors import DataError

ALL = "id,label,annotator,time,seconds,skipped\n"


def csv(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def words(votes: list[tuple[str, Vote]]) -> list[tuple[Any, ...]]:
    return [(vote.item, vote.annotator, vote.kind, vote.label) for _, vote in votes]


def test_csv_with_every_column(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        ALL + "7,pos,bob,2026-03-01T10:00:00+01:00,2.5,\n8,,,,,true\n9,neg,,,,no\n10,,,,,\n",
    )
    assert read_votes(path, annotator="ann") == [
        (
            "labels.csv, line 2",
            Vote(
                item="7",
                annotator="bob",
                label="pos",
                time="2026-03-01T09:00:00Z",
                seconds=2.5,
                source="labels.csv",
            ),
        ),
        ("labels.csv, line 3", Vote(item="8", annotator="ann", kind="skip", source="labels.csv")),
        ("labels.csv, line 4", Vote(item="9", annotator="ann", label="neg", source="labels.csv")),
    ]


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
def test_other_delimiters_quotes_and_lines_in_a_value(tmp_path: Path, name: str, mark: str) -> None:
    long = "x" * 200_000
    rows = ["Id,Text,Label", '1,"a ""b"",', f'c {long}",pos', "", "2,it's,neg", '3,"",pos']
    text = "\ufeff" + "\r\n".join(rows).replace(",", mark) + "\r\n"
    votes = read_votes(csv(tmp_path, text, name), annotator="ann")
    assert words(votes) == [
        ("1", "ann", "label", "pos"),
        ("2", "ann", "label", "neg"),
        ("3", "ann", "label", "pos"),
    ]
    assert [where for where, _ in votes] == [f"{name}, line {n}" for n in (2, 5, 6)]


def test_malformed_lines_of_csv_are_named_and_nothing_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    lines = [
        b"id,label,skipped,seconds,time",
        b"1,pos,,,",
        b"2,pos",
        b"3,p\xffos,,,",
        b"4,pos,true,,",
        b"5,pos,,slow,",
        b"6,pos,,,noon",
        b"7,pos,perhaps,,",
        b",pos,,,",
        b"9,neg,,,",
    ]
    path.write_bytes(b"\n".join(lines))
    returned = read_returned(path, annotator="ann")
    assert [vote.item for _, vote in returned.votes] == ["1", "9"]
    told = [
        "line 3: 2 values where 5 were expected; one with a ',' in it needs quotes",
        "line 4: byte 0xff is not UTF-8",
        "line 5: it is skipped and has the label 'pos'. Leave one of them out",
        "line 6: seconds are 'slow'. Give a number",
        "line 7: time: got 'noon'. Give ISO 8601 such as 2026-03-01T12:00:00Z",
        "line 8: skipped is 'perhaps'. Give true or false",
        "line 9: the id is ''. Give the id that keepers wrote",
    ]
    assert list(returned.malformed) == [f"bad.csv, {line}" for line in told]
    with pytest.raises(DataError) as caught:
        read_votes(path, annotator="ann")
    text = str(caught.value)
    assert text.startswith("labels: 7 lines cannot be imported, so none was: bad.csv, line 3:")
    assert "line 7" in text
    assert "line 8" not in text


def test_a_quote_that_is_not_closed_is_named(tmp_path: Path) -> None:
    path = csv(tmp_path, 'id,label\n1,pos\n2,"pos\n3,neg\n')
    with pytest.raises(DataError, match=r"labels\.csv, line 3: a quote is opened but not closed"):
        read_votes(path, annotator="ann")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,label\n1,pos\n", r"has no column 'id'; its columns are: key, label\. Name the col"),
        ("id,class\n1,pos\n", "has no column 'label'; its columns are: id, class"),
        ("1,pos\n2,neg\n", "has no column 'id'; its columns are: 1, pos"),
        ("id,label,id\n1,pos,2\n", "has two columns 'id'"),
        ("id,label,annotation_id\n1,pos,3\n", "short form, which leaves skipped items out"),
        ("", "has no column 'id'; its columns are: none"),
        ("\ufeffid\x00,label\n", "has no column 'id'"),
    ],
)
def test_files_without_the_columns_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^labels: .*labels.csv.*{message}"):
        read_returned(csv(tmp_path, text), annotator="ann")


def test_only_skips_need_no_labels(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,skipped\n1,yes\n2,\n")
    assert words(read_votes(path, annotator="ann")) == [("1", "ann", "skip", None)]


def test_jsonl_keeps_the_types_of_ids(tmp_path: Path) -> None:
    rows = [
        {"id": 7, "label": "pos", "text": "<b>"},
        {"id": "7", "label": 1, "annotator": "bob"},
        {"id": 8, "label": None},
        {"id": 9, "skipped": True, "time": "2026-03-01", "seconds": 3},
    ]
    path = csv(tmp_path, "\n".join(map(json.dumps, rows)) + "\n\n", "labels.jsonl")
    votes = read_votes(path, annotator="ann")
    assert words(votes) == [
        (7, "ann", "label", "pos"),
        ("7", "bob", "label", "1"),
        (9, "ann", "skip", None),
    ]
    assert (votes[2][1].time, votes[2][1].seconds) == ("2026-03-01T00:00:00.000000Z", 3.0)


def test_malformed_lines_of_jsonl_are_named(tmp_path: Path) -> None:
    lines = [
        '{"id": 1, "label": "pos"}',
        '{"id": 2, "label": "pos"',
        "[3]",
        '{"id": 4.5, "label": "pos"}',
        '{"id": 5, "label": ["pos"]}',
        '{"id": 6}',
        '{"label": "pos"}',
        '{"id": 8, "label": "pos", "seconds": -1}',
        '{"id": 9, "label": "neg"}',
    ]
    path = csv(tmp_path, "\n".join(lines), "bad.jsonl")
    returned = read_returned(path, annotator="ann")
    assert [vote.item for _, vote in returned.votes] == [1, 9]
    starts = [
        "line 2: Expecting ',' delimiter",
        "line 3: not an object",
        "line 4: the id is 4.5",
        "line 5: the label is ['pos'], which is not a text",
        "line 6: it has no 'label'",
        "line 7: it has no 'id'",
        "line 8: seconds: got -1.0. Give 0 or more",
    ]
    assert len(returned.malformed) == len(starts)
    for told, start in zip(returned.malformed, starts, strict=True):
        assert told.startswith(f"bad.jsonl, {start}")


def test_a_json_array_is_read_and_its_broken_line_named(tmp_path: Path) -> None:
    rows = [{"id": 1, "label": "pos"}, {"id": 2}]
    returned = read_returned(csv(tmp_path, json.dumps(rows), "a.json"), annotator="ann")
    assert words(list(returned.votes)) == [(1, "ann", "label", "pos")]
    assert returned.malformed == (
        "a.json, record 2: it has no 'label'. Give each an id and a label",
    )
    broken = csv(tmp_path, '[{"id": 1,\n"label": "pos"},\n{"id" 2}]', "b.json")
    with pytest.raises(DataError, match=r"^labels: .*b\.json, line 3: Expecting ':' delimiter"):
        read_returned(broken, annotator="ann")
    latin = tmp_path / "c.jsonl"
    latin.write_bytes(b'{"id": 1}\n{"id": "\xe9"}')
    with pytest.raises(DataError, match=r"c\.jsonl, line 2: byte 0xe9 is not UTF-8"):
        read_returned(latin, annotator="ann")


def test_parquet_with_times_and_flags(tmp_path: Path) -> None:
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    table = pa.table(
        {
            "id": pa.array([3, 4, 5, None], pa.int64()),
            "label": pa.array(["pos", None, None, "neg"]).dictionary_encode(),
            "skipped": pa.array([False, True, None, None]),
            "time": pa.array([moment, None, None, None], pa.timestamp("ns", "UTC")),
            "seconds": pa.array([1.5, None, None, float("nan")]),
            "vector": pa.array([[1.0]] * 4),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    returned = read_returned(tmp_path / "a.parquet", annotator="ann")
    assert words(list(returned.votes)) == [(3, "ann", "label", "pos"), (4, "ann", "skip", None)]
    assert returned.votes[0][1].time == "2026-03-01T12:00:00.000000Z"
    assert returned.malformed == (
        "a.parquet, row 3: the id is None. Give the id that keepers wrote",
    )
    pq.write_table(table.rename_columns(["key", *table.column_names[1:]]), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet has no column 'id'"):
        read_returned(tmp_path / "b.parquet", annotator="ann")
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"^labels: .*c\.parquet is not a readable Parquet file"):
        read_returned(tmp_path / "c.parquet", annotator="ann")


def test_paths_that_hold_no_labels_are_told(tmp_path: Path) -> None:
    csv(tmp_path, ALL)
    with pytest.raises(DataError, match=r"^labels: .*label\.csv does not exist\. Did you mean"):
        read_votes(tmp_path / "label.csv", annotator="ann")
    for path in (csv(tmp_path, "", "a.txt"), tmp_path):
        with pytest.raises(DataError, match=r"is not a file of labels\. Give CSV"):
            read_votes(path, annotator="ann")


def annotation(id: int, user: Any, choices: list[str], **other: Any) -> dict[str, Any]:
    result = [
        {"from_name": "note", "type": "textarea", "value": {"text": ["why"]}},
        {"from_name": "label", "type": "choices", "value": {"choices": choices}},
    ]
    return {
        "id": id,
        "completed_by": user,
        "was_cancelled": False,
        "lead_time": 2.5,
        "created_at": "2026-03-01T12:00:00.000000Z",
        "updated_at": "2026-03-01T12:00:05.123456Z",
        "result": result,
        **other,
    }


def task(id: int, item: Any, *annotations: dict[str, Any]) -> dict[str, Any]:
    data = {"text": "<script>", "item_id": item}
    return {"id": id, "data": data, "annotations": list(annotations), "predictions": []}


TASKS = [
    task(1, 12, annotation(5, 1, ["pos"]), annotation(6, {"id": 2, "email": "b@c.de"}, ["neg"])),
    task(2, "a7", annotation(7, 1, [], was_cancelled=True, lead_time=None, result=[])),
    task(3, 13),
]


@pytest.mark.parametrize("lines", [False, True])
def test_the_full_export_of_label_studio(tmp_path: Path, lines: bool) -> None:
    text = "\n".join(map(json.dumps, TASKS)) if lines else json.dumps(TASKS, indent=1)
    path = csv(tmp_path, text, "export.jsonl" if lines else "export.json")
    votes = read_votes(path, annotator="ann")
    assert words(votes) == [
        (12, "label-studio-1", "label", "pos"),
        (12, "label-studio-2", "label", "neg"),
        ("a7", "label-studio-1", "skip", None),
    ]
    assert votes[0] == (
        f"{path.name}, task 1, annotation 5",
        Vote(
            item=12,
            annotator="label-studio-1",
            label="pos",
            time="2026-03-01T12:00:05.123456Z",
            seconds=2.5,
            source="label-studio",
        ),
    )
    pulled = label_studio_votes(TASKS, where="http://127.0.0.1:8080").votes
    assert [vote for _, vote in pulled] == [vote for _, vote in votes]


def test_annotations_that_are_no_votes_are_named() -> None:
    tasks = [
        task(1, 12, annotation(5, 1, ["pos", "neg"]), annotation(6, None, ["neg"])),
        task(2, None, annotation(7, 1, ["pos"])),
        task(3, 14, annotation(8, 1, ["pos"], result=[])),
        task(4, 15, annotation(9, 1, ["pos"], lead_time="long")),
        {"id": 5, "data": {"item_id": 16}, "annotations": 3},
        "task",
        task(7, 17, annotation(10, 1, ["pos"], updated_at="soon")),
    ]
    returned = label_studio_votes(tasks, where="x.json", annotator="ann")
    assert words(list(returned.votes)) == [(12, "ann", "label", "neg")]
    assert list(returned.malformed) == [
        "x.json, task 1, annotation 5: it holds the choices ['pos', 'neg'], but must hold "
        "exactly one class",
        "x.json, task 2: its data has the item_id None, which is not an id. Give tasks that "
        "keepers sent",
        "x.json, task 3, annotation 8: it holds the choices [], but must hold exactly one class",
        "x.json, task 4, annotation 9: the lead_time 'long' is not a number",
        "x.json, task 5: its annotations are no list. Export them as JSON (the full form)",
        "x.json, task 6: no task with data. Export the annotations as JSON (the full form)",
        "x.json, task 7, annotation 10: time: got 'soon'. Give ISO 8601 such as "
        "2026-03-01T12:00:00Z",
    ]


def test_the_short_json_of_label_studio_is_refused(tmp_path: Path) -> None:
    rows = [{"id": 5, "item_id": 12, "label": "pos", "annotator": 1, "annotation_id": 9}]
    with pytest.raises(DataError, match="short form, which leaves skipped items out"):
        read_returned(csv(tmp_path, json.dumps(rows), "min.json"), annotator="ann")


SOUND = {
    "a.csv": (ALL + '7,"p,os",bob,2026-03-01,2.5,\n8,,,,,true\n' * 3).encode(),
    "a.json": json.dumps(TASKS, indent=1).encode(),
    "a.jsonl": b'{"id": 1, "label": "pos"}\n' * 4,
}


@pytest.mark.parametrize("name", SOUND)
def test_damage_anywhere_is_told_or_read(tmp_path: Path, name: str) -> None:
    draw = random.Random(0)
    refused: list[str] = []
    for _ in range(100):
        broken = bytearray(SOUND[name])
        for _ in range(draw.randrange(1, 4)):
            broken[draw.randrange(len(broken))] = draw.randrange(256)
        (tmp_path / name).write_bytes(broken[: draw.randrange(len(broken)) + 1])
        try:
            refused += read_returned(tmp_path / name, annotator="ann").malformed
        except DataError as error:
            refused.append(str(error).removeprefix("labels: "))
    assert len(refused) > 30
    assert all(name in told for told in refused)
