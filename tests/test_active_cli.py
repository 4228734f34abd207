"""`keepers active`: a person's way through a campaign, one JSON object, one sentence for errors."""

from __future__ import annotations

import csv
import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer.main

import forked
from commands import Keepers, Said
from keepers import Campaign
from keepers.campaign import Desk, Planned, PlannedItem, State, Vote
from keepers.cli import active, campaigns
from keepers.data import open_source
from keepers.errors import ParameterError
from keepers.workflows.options.active import CampaignConfig

GOOD, BAD = ("lovely", "great", "superb"), ("awful", "boring", "horrid")
PLAIN = ("film", "story", "actor", "scene", "plot", "music", "night", "city")
QUICK = ("--proxy", "fasttext", "--epochs", "1", "--device", "cpu")
DIGITS = ",".join(map(str, range(10)))


def write(name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with Path(name).open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture
def truth(run: Keepers) -> Mapping[str, str]:
    """`pool.csv` (80 texts without labels), `test.csv`, `labelled.csv`; the labels of the pool."""
    draw = random.Random(0)
    rows: list[tuple[str, str, str]] = []
    for i in range(120):
        words = draw.choices(PLAIN, k=5) + draw.choices(BAD if i % 3 else GOOD, k=2)
        rows.append((f"r{i:03}", f"{' '.join(words)} {i}", "neg" if i % 3 else "pos"))
    write("pool.csv", ["key", "text"], [row[:2] for row in rows[:80]])
    write("test.csv", ["key", "text", "label"], rows[80:])
    write("labelled.csv", ["key", "text", "label"], rows[:10])
    return {key: label for key, _, label in rows[:80]}


@pytest.fixture
def begun(run: Keepers, truth: Mapping[str, str]) -> Mapping[str, str]:
    """A campaign `c` on `pool.csv`, of which nothing is planned yet."""
    start = ("start", "pool.csv", "--campaign", "c", "--id", "key", "--classes", "neg,pos")
    assert run("active", *start, *QUICK).status == 0
    return truth


@pytest.fixture
def digits(run: Keepers) -> None:
    """A campaign `c` on pictures."""
    start = ("start", "digits", "--campaign", "c", "--classes", DIGITS, "--device", "cpu")
    assert run("active", *start).status == 0


def state() -> State:
    return Campaign.open("c").state


def plan(*items: str) -> None:
    """A batch without a proxy."""
    planned = Planned(
        round=len(state().rounds) + 1,
        asked=len(items),
        labels_seen=0,
        method="margin",
        items=tuple(PlannedItem(item=item, rank=rank) for rank, item in enumerate(items)),
    )
    Campaign.open("c").journal.append([planned])


def refused(said: Said, words: str) -> None:
    """The command failed with one sentence that says `words`, and printed nothing else."""
    assert said.status == 2
    assert said.out == ""
    assert words in said.err
    assert said.err.startswith("Error: ")
    assert said.err.count("\n") == 1


# The whole way ------------------------------------------------------------------------------


def test_start_lists_what_it_leaves_out(run: Keepers) -> None:
    write("pool.csv", ["x", "y"], [[n, n % 5] for n in range(20)] + [["nan", 1]])
    write("labelled.csv", ["x", "y", "label"], [[50, 1, "a"], [51, "nan", "b"], [52, 2, "b"]])
    argv = ("start", "pool.csv", "--labelled", "labelled.csv", "--input", "x,y")
    said = run("active", *argv, "--on-bad-row", "skip", "--campaign", "c")
    assert said.status == 0, said.err
    assert "Skipped 1 row that cannot be used: row 20 (id " in said.err
    assert "labelled: Skipped 1 row that cannot be used: row 1 (id " in said.err


def test_a_pool_that_was_moved(run: Keepers, begun: Mapping[str, str]) -> None:
    Path("pool.csv").rename("there.csv")
    status = "active", "status", "--campaign", "c"
    assert "If it was moved: keepers active moved NEW --campaign c" in run(*status).err
    said = run("active", "moved", "there.csv", "--campaign", "c")
    assert said.out == f"The pool data of this campaign are now {Path('there.csv').resolve()}\n"
    assert run(*status).status == 0


def test_a_person_goes_all_the_way(
    run: Keepers, truth: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = ("start", "pool.csv", "--campaign", "c", "--id", "key", "--labelled", "labelled.csv")
    quick = (*QUICK, "--set", "distinct=null")  # features of texts take seconds
    said = run("active", *start, "--test", "test.csv", *quick)
    assert "Started a campaign on 80 examples with 2 classes; 10 already labelled" in said.out
    assert "Next: keepers active query 70 --campaign c" in said.out

    said = run("active", "query", "20", "--campaign", "c", "--out", "batch.csv")
    assert said.out.startswith("Round 1: 20 examples to label, by random\nThe proxy is ")
    assert "right on 40 examples of the test set" in said.out
    assert "20 examples wait for labels: keepers active label --campaign c" in said.out
    rows = list(csv.DictReader(Path("batch.csv").read_text().splitlines()))
    assert [len(rows), list(rows[0])] == [20, ["id", "rank", "text", "label", "line"]]
    assert not {row["id"] for row in rows} & {f"r{i:03}" for i in range(10)}

    write("back.csv", ["id", "label"], [(row["id"], truth[row["id"]]) for row in rows])
    said = run("active", "import", "back.csv", "--campaign", "c", "--annotator", "ann")
    assert said.out == "20 new, 0 changed, 0 already known\n"

    monkeypatch.chdir("c")
    said = run("active", "status", "--train")
    assert said.out.startswith("30 labelled of 80 examples in 1 round by auto")
    assert "Nothing waits for labels: keepers active query 50 --campaign ." in said.out
    assert "report: report.html" in said.out
    assert "<h1>" in Path("report.html").read_text()
    assert "Round 2" in run("active", "query", "10").out


def test_cold_start_and_the_same_batch_again(run: Keepers, digits: None) -> None:
    first = run("active", "query", "6", "--campaign", "c", "--json").json()
    assert [first["round"], len(first["ids"]), first["again"]] == [1, 6, False]
    assert first["facts"]["cold"]
    said = run("active", "query", "6", "--campaign", "c")
    assert "planned before" in said.out
    assert said.out.count("cold start") == 1
    assert "so this is the same batch" in said.err
    again = run("active", "query", "6", "--campaign", "c", "--json").json()
    assert [again["ids"], again["again"]] == [first["ids"], True]
    new = run("active", "query", "6", "--new", "--campaign", "c", "--json").json()
    assert new["round"] == 2
    assert not set(new["ids"]) & set(first["ids"])


def test_pictures(run: Keepers, digits: None) -> None:
    said = run("active", "query", "14", "--campaign", "c")
    assert said.out.count("picture, 8 × 8") == 12
    assert "… and 2 more" in said.out
    source = open_source("digits")
    assert source.labels is not None
    label = dict(zip(source.ids.tolist(), source.labels.tolist(), strict=True))
    write("back.csv", ["id", "label"], [(item, label[item]) for item in state().pending()])
    assert run("active", "import", "back.csv", "--campaign", "c").out.startswith("14 new")
    refused(run("active", "export", "--campaign", "c", "--out", "e.csv"), ".csv files hold no im")
    found = run("active", "export", "--campaign", "c", "--out", "e.parquet", "--json").json()
    assert found == {"labels": 14, "files": {"out": "e.parquet"}}
    assert pq.read_table("e.parquet").num_rows == 14


# Start --------------------------------------------------------------------------------------

POOL = ("pool.csv", "--campaign", "c")


BAD_STARTS = [
    (
        POOL,
        "classes: got none, but there are no labelled or test data to read them from. Give "
        "--classes",
    ),
    (("nowhere.csv", "--campaign", "c"), "classes: got none"),  # asked for before it is read
    (("nowhere.csv", "--campaign", "c", "--classes", "a,b"), "nowhere.csv does not exist"),
    ((*POOL, "--classes", "neg"), "Give at least two names"),
    ((*POOL, "--classes", "neg,neg"), "'neg' occurs twice"),
    ((*POOL, "--classes", "neg,"), "Give at least two names"),
    ((*POOL, "--classes", "neg,good", "--labelled", "labelled.csv"), "'pos'"),
    ((*POOL, "--labelled", "nowhere.csv"), "labelled: nowhere.csv does not exist"),
    ((*POOL, "--classes", "a,b", "--test", "pool.csv"), "test: "),
    ((*POOL, "--classes", "a,b", "--method", "hardest"), "method: got 'hardest'"),
    ((*POOL, "--classes", "a,b", "--proxy", "huge"), "proxy: got 'huge'"),
    ((*POOL, "--classes", "a,b", "--proxy", "mlp"), "proxy: got 'mlp'"),
    ((*POOL, "--classes", "a,b", "--target", "huge"), "target: got 'huge'"),
    ((*POOL, "--classes", "a,b", "--control", "1"), "control: got 1.0"),
    ((*POOL, "--classes", "a,b", "--votes", "0"), "votes: got 0"),
    ((*POOL, "--classes", "a,b", "--features", "embedding"), "features: "),
    ((*POOL, "--classes", "a,b", "--set", "colour=red"), "set: got 'colour'"),
    (("pool.csv", "--campaign", "pool.csv", "--classes", "a,b"), "campaign: "),
]


def test_a_start_that_cannot_be_leaves_nothing(run: Keepers, truth: Mapping[str, str]) -> None:
    for argv, words in BAD_STARTS:
        refused(run("active", "start", *argv), words)
        assert not Path("c").exists()


def test_a_campaign_is_not_begun_twice(run: Keepers, begun: Mapping[str, str]) -> None:
    before = state()
    said = run("active", "start", *POOL, "--classes", "a,b")
    assert said.status == 2
    assert "c already holds a campaign. Continue" in said.err
    assert state() == before


def test_settings_come_from_a_file_and_from_set(run: Keepers, truth: Mapping[str, str]) -> None:
    Path("a.yaml").write_text("classes: [neg, pos]\nproxy: fasttext\nid: key\nvotes: 2\n")
    argv = ("--config", "a.yaml", "--set", "proxy.epochs=3", "--control", "0.2", "--json")
    found = run("active", "start", *POOL, *argv).json()
    assert [found["pool"], found["left"], found["counts"]["labelled"]] == [80, 80, 0]
    settings = state().settings
    assert [settings["proxy"][name] for name in ("model", "epochs")] == ["fasttext", 3]
    assert [settings["votes"], settings["control"], settings["method"]] == [2, 0.2, "auto"]


# Query --------------------------------------------------------------------------------------


BAD_QUERIES = [
    (("0", "--campaign", "c"), "count: got 0. Give a whole number, 1 or more"),
    (("500", "--campaign", "c"), "count: got 500, but 80 examples are left to choose from"),
    (("5", "--campaign", "nowhere"), "campaign: nowhere holds no campaign"),
    (("5",), "campaign: . holds no campaign. Start one with keepers active start"),
    (("5", "--campaign", "c", "--out", "pool.csv"), "out: pool.csv is the data file"),
    (("5", "--campaign", "c", "--out", "test.csv"), "out: test.csv exists. Pass --overwrite"),
    (("5", "--campaign", "c", "--out", "a.xlsx"), "out: got a.xlsx, whose format is not"),
    (("5", "--campaign", "c", "--out", "c/pools/a.csv"), "a place where the campaign itself"),
]


def test_a_query_that_cannot_be_plans_nothing(run: Keepers, begun: Mapping[str, str]) -> None:
    for argv, words in BAD_QUERIES:
        refused(run("active", "query", *argv), words)
        assert state().rounds == ()


def test_the_pool_is_not_written_over(run: Keepers, begun: Mapping[str, str]) -> None:
    before = Path("pool.csv").read_bytes()
    for command in (("query", "5"), ("export",)):
        said = run("active", *command, "--campaign", "c", "--out", "pool.csv", "--overwrite")
        refused(said, "out: pool.csv is the data file")
    assert Path("pool.csv").read_bytes() == before


# Import -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "id,label,annotator,seconds\nr001,neg,ann,2\nr002,pos,,\n"),
        ("a.jsonl", '{"id": "r001", "label": "neg"}\n{"id": "r002", "label": "pos"}\n'),
        ("a.tsv", "label\tid\nneg\tr001\npos\tr002\n"),
    ],
)
def test_labels_come_from_any_format(
    run: Keepers, begun: Mapping[str, str], name: str, text: str
) -> None:
    Path(name).write_text(text)
    found = run("active", "import", name, "--campaign", "c", "--json").json()
    assert found == {
        "new": 2,
        "repeated": 0,
        "changed": 0,
        "quarantined": 0,
        "refused": [],
        "malformed": [],
    }
    again = run("active", "import", name, "--campaign", "c")
    assert again.out == "0 new, 0 changed, 2 already known\n"
    assert dict(state().labels) == {"r001": "neg", "r002": "pos"}


BAD_FILES = [
    ("unknown.csv", "id,label\nr001,neg\nnobody,neg\n", "line 3: the pool has no example with", 1),
    ("class.csv", "id,label\nr001,neg\nr002,meh\n", "line 3: 'meh' is not one of the classes", 2),
    ("json.jsonl", '{"id": "r001", "label": "neg"}\n{"id": oops}\n', "json.jsonl, line 2", 1),
    ("wide.csv", "id,label\nr001,neg\nr002,pos,x,y\n", "wide.csv, line 3: 4 values where 2", 1),
    ("two.csv", "id,label\nr001,neg\nr002,neg\nr002,pos\n", "line 4: two says 'pos' of", 1),
]


@pytest.mark.parametrize(("name", "text", "words", "taken"), BAD_FILES)
def test_of_a_file_with_an_error_nothing_is_taken_unless_partial(
    run: Keepers, begun: Mapping[str, str], name: str, text: str, words: str, taken: int
) -> None:
    Path(name).write_text(text)
    refused(run("active", "import", name, "--campaign", "c"), words)
    assert not state().items
    said = run("active", "import", name, "--campaign", "c", "--partial")
    assert said.out.startswith(f"{taken} new, 0 changed")
    assert dict(state().labels) == {"r001": "neg"}
    assert ("Left out: " in said.out) == (name != "class.csv")
    aside = "Of these, 1 names a class that the campaign does not have"
    assert (aside in said.out) == (name == "class.csv")


def test_a_text_beside_the_wrong_id(run: Keepers, begun: Mapping[str, str]) -> None:
    texts = [row["text"] for row in csv.DictReader(Path("pool.csv").read_text().splitlines())]
    rows = [(f"r{i:03}", text, "pos") for i, text in enumerate(texts[:3])]
    texts = [rows[0][1].upper(), "  " + rows[1][1].replace(" ", ", "), rows[2][1][:15] + "..."]
    edited = [(row[0], text, "pos") for row, text in zip(rows, texts, strict=True)]
    write("edited.csv", ["id", "text", "label"], edited)
    assert run("active", "import", "edited.csv", "--campaign", "c").out.startswith("3 new")
    write("wrong.csv", ["id", "text", "label"], [(rows[0][0], edited[1][1], "neg")])
    refused(run("active", "import", "wrong.csv", "--campaign", "c"), "is not that example's")
    write("sorted.csv", ["id", "text", "label"], [rows[0], (*rows[1][:1], *rows[2][1:]), rows[2]])
    words = "sorted.csv, line 3: the text of the id 'r001' is not that example's. Put ids"
    refused(run("active", "import", "sorted.csv", "--campaign", "c"), words)
    said = run("active", "import", "sorted.csv", "--campaign", "c", "--partial", "--annotator", "o")
    assert said.out.startswith("2 new")
    assert f"Left out: {words}" in said.out


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_a_text_beside_the_wrong_id_in_any_format(run: Keepers, suffix: str) -> None:
    texts = ["the plot is thin", "a fine film", "what a bore", " ", "I left after an hour"]
    write("pool.csv", ["key", "Review"], [(f"r{i}", text) for i, text in enumerate(texts)])
    start = ("start", "pool.csv", "--campaign", "c", "--id", "key", "--classes", "neg,pos")
    assert run("active", *start, *QUICK).status == 0

    def write_as(name: str, given: Sequence[str]) -> None:
        rows = [{"id": f"r{i}", "Review": t, "label": "neg"} for i, t in enumerate(given)]
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), name)
        elif suffix in ("csv", "tsv"):
            mark = "\t" if suffix == "tsv" else ","
            lines = [["id", "Review", "label"], *(list(row.values()) for row in rows)]
            Path(name).write_text("".join(mark.join(line) + "\n" for line in lines))
        else:
            lines = [json.dumps(row) for row in rows]
            text = "[" + ",".join(lines) + "]" if suffix == "json" else "\n".join(lines)
            Path(name).write_text(text)

    write_as(f"turned.{suffix}", texts[::-1])
    said = run("active", "import", f"turned.{suffix}", "--campaign", "c")
    refused(said, "Review of the id 'r0' is not that example's")
    write_as(f"blank.{suffix}", ["" for _ in texts])
    assert run("active", "import", f"blank.{suffix}", "--campaign", "c").out.startswith("5 new")
    if suffix == "jsonl":
        half = '{"id": "r1", "Review": "\\ud83d", "label": "pos"}\n'
        Path("half.jsonl").write_text(half)
        assert run("active", "import", "half.jsonl", "--campaign", "c").out.startswith("1 new")


NO_LABELS = [
    ("nowhere.csv", "labels: nowhere.csv does not exist"),
    ("pool.csv", "pool.csv has no column 'label'; its columns are: key, text"),
    ("c", "c is not a file of labels"),
    ("c/campaign.db", "campaign.db is not a file of labels"),
]


def test_what_is_no_file_of_labels(run: Keepers, begun: Mapping[str, str]) -> None:
    for name, words in NO_LABELS:
        refused(run("active", "import", name, "--campaign", "c"), words)
        refused(run("active", "import", name, "--campaign", "c", "--partial"), words)


# Status, export, classes --------------------------------------------------------------------


def test_status_before_anything(run: Keepers, begun: Mapping[str, str]) -> None:
    said = run("active", "status", "--campaign", "c", "--train")
    assert said.out.startswith("0 labelled of 80 examples in 0 rounds by auto")
    assert "there is no proxy to measure yet" in said.err
    assert Path("c/report.html").exists()


def test_status_tells_what_should_be_noted_once(run: Keepers, truth: Mapping[str, str]) -> None:
    start = ("start", *POOL, "--id", "key", "--classes", "neg,pos", "--control", "0")
    assert run("active", *start, *QUICK).status == 0
    plan("r001", "r002", "r003")
    votes = [Vote(item=f"r{i:03}", annotator="a", label=truth[f"r{i:03}"]) for i in range(40)]
    Campaign.open("c").record(votes)
    assert run("active", "status", "--campaign", "c", "--train").err.count("Note: ") == 0
    Campaign.open("c").record([Vote(item="r050", annotator="a", label="neg")])
    said = run("active", "status", "--campaign", "c")
    assert said.err.startswith("Note: 1 label")
    assert said.err.endswith("since the proxy was measured: keepers active status --train\n")
    assert said.err.count("\n") == 1
    rows = list(csv.reader(Path("pool.csv").read_text().splitlines()))
    write("pool.csv", rows[0], rows[2:])
    said = run("active", "status", "--campaign", "c")
    assert said.err.count("The pool changed: 0 rows added, 1 removed") == 1


def test_status_as_json_has_the_forecast(run: Keepers, begun: Mapping[str, str]) -> None:
    found = run("active", "status", "--campaign", "c", "--goal", "0.9", "--json").json()
    assert found["forecast"] == {"goal": 0.9, "points": 0}
    assert found["files"] == {"report": "c/report.html"}
    refused(run("active", "status", "--campaign", "c", "--goal", "95"), "goal: got 95.0")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_export(run: Keepers, begun: Mapping[str, str], suffix: str) -> None:
    plan("r005", "r003")
    vote = Vote(item="r003", annotator="ann", label="pos", seconds=2.5, time="2026-03-01")
    Campaign.open("c").record([vote])
    out = f"labels.{suffix}"
    said = run("active", "export", "--campaign", "c", "--out", out)
    assert said.out == f"Wrote 1 labelled example\nout: {out}\n"
    refused(run("active", "export", "--campaign", "c", "--out", out), f"{out} exists. Pass --over")
    argv = ("--campaign", "c", "--out", out, "--overwrite", "--json")
    assert run("active", "export", *argv).json() == {"labels": 1, "files": {"out": out}}
    row: Mapping[str, Any]
    if suffix == "csv":
        row = next(csv.DictReader(Path(out).read_text().splitlines()))
    elif suffix == "jsonl":
        row = json.loads(Path(out).read_text())
    else:
        row = pq.read_table(out).to_pylist()[0]
    expected = {"id": "r003", "row": 3, "label": "pos", "round": 1, "part": "selected"}
    expected |= {"method": "margin", "rank": 1, "annotators": "ann", "seconds": 2.5}
    assert {name: str(row[name]) for name in expected} == {k: str(v) for k, v in expected.items()}


def test_classes_are_renamed_and_come_back(run: Keepers, begun: Mapping[str, str]) -> None:
    votes = [Vote(item=item, annotator="a", label=begun[item]) for item in ("r000", "r001")]
    Campaign.open("c").record(votes)
    rename = ("--rename", "neg=bad", "--rename", "pos=good", "--campaign", "c")
    said = run("active", "classes", "bad, good", *rename)
    assert said.out == "Version 2 of the classes: bad, good\n"
    assert dict(state().labels) == {"r000": "good", "r001": "bad"}
    found = run("active", "classes", "bad,fair", "--campaign", "c", "--json").json()
    assert [found["version"], found["classes"]] == [3, ["bad", "fair"]]
    assert state().quarantined == ("r000",)
    run("active", "classes", "bad,fair,good", "--campaign", "c")
    assert dict(state().labels) == {"r000": "good", "r001": "bad"}


BAD_CLASSES = [
    (("neg",), "classes: got 1. Give at least two names"),
    (("neg,neg",), "'neg' occurs twice"),
    (("neg,good", "--rename", "pos"), "rename: got 'pos'. Give OLD=NEW"),
    (("neg,good", "--rename", "=good"), "rename: got '=good'"),
    (("neg,good", "--rename", "old=good"), "got 'old', which is not known"),
    (("neg,good", "--rename", "pos=better"), "'pos' becomes 'better', which is not a class"),
]


def test_classes_that_cannot_be(run: Keepers, begun: Mapping[str, str]) -> None:
    for argv, words in BAD_CLASSES:
        refused(run("active", "classes", *argv, "--campaign", "c"), words)
        assert state().classes == ("neg", "pos")


def test_labels_do_not_go_with_a_pool_that_changed_where_that_cannot_be_written_down(
    run: Keepers, begun: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan("r001")
    write("one.csv", ["id", "label"], [("r001", "neg")])
    assert run("active", "import", "one.csv", "--campaign", "c").status == 0
    pool = Path("pool.csv")
    pool.write_text(pool.read_text().replace("r001,", "r001,another text and ", 1))
    monkeypatch.setattr("keepers.campaign.journal.os.access", lambda _, mode: mode == os.R_OK)
    said = run("active", "export", "--out", "labels.csv", "--campaign", "c")
    assert said.status == 2
    assert "pool.csv changed since c was last written to" in said.err
    assert not Path("labels.csv").exists()


def test_a_campaign_that_cannot_be_written_to_is_read(
    run: Keepers, begun: Mapping[str, str], tmp_path: Path
) -> None:
    plan("r001", "r002", "r003")
    write("two.csv", ["id", "label"], [("r001", "neg"), ("r002", "pos")])
    write("third.csv", ["id", "label"], [("r003", "neg")])
    assert run("active", "import", "two.csv", "--campaign", "c").status == 0
    held = {path: path.read_bytes() for path in Path("c").rglob("*") if path.is_file()}
    places = [Path("c"), *Path("c").rglob("*")]
    for place in places:
        place.chmod(place.stat().st_mode & ~0o222)
    commands = {
        "status": ("status",),
        "export": ("export", "--out", "labels.csv"),
        "same": ("import", "two.csv"),
        "label": ("label", "--port", "0"),
        "import": ("import", "third.csv"),
        "query": ("query", "5"),
        "train": ("status", "--train"),
    }
    jobs = [
        {"argv": ["active", *each, "--campaign", "c"], "cwd": str(tmp_path), "obey": True}
        for each in commands.values()
    ]
    try:
        done = dict(zip(commands, forked.run(*jobs), strict=True))
    finally:
        for place in places:
            place.chmod(place.stat().st_mode | 0o200)
    assert [each for each in commands if not done[each].status] == ["status", "export", "same"]
    assert done["status"].stdout.startswith("2 labelled of 80 examples")
    assert len(Path("labels.csv").read_text().splitlines()) == 3
    assert "0 new, 0 changed, 2 already known" in done["same"].stdout
    for name, each in done.items():
        told, *errors = each.stderr.splitlines()
        assert told == "c cannot be written to: the campaign is shown in its last state", name
        assert len(errors) == bool(each.status), each.stderr
    assert "c cannot be written to, so no label would be kept. Make the" in done["label"].stderr
    for name in ("import", "query", "train"):
        assert "Free some space, or make the folder writable" in done[name].stderr
    assert {path: path.read_bytes() for path in Path("c").rglob("*") if path.is_file()} == held


# Labelling fronts ---------------------------------------------------------------------------


def test_label_serves_the_desk_of_the_campaign(
    run: Keepers, begun: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[Desk, Mapping[str, Any]]] = []

    def serve(desk: Desk, **given: Any) -> None:
        served.append((desk, given))

    monkeypatch.setattr("keepers.integrations.labelling.serve", serve)
    assert run("active", "label", "--campaign", "c", "--port", "0").status == 0
    desk, given = served[0]
    assert desk.state.campaign == state().campaign
    assert given == {"host": "127.0.0.1", "port": 0}


def test_label_studio_is_told_what_the_proxy_said(
    run: Keepers, begun: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = [["r001", "neg", 0.75], ["r002", "pos", 0.5], ["r003", "neg", 0.25]]
    items = tuple(PlannedItem(item=f"r00{n}", rank=n) for n in (1, 2, 3))
    Campaign.open("c").journal.append(
        [
            Planned(
                round=1,
                asked=3,
                labels_seen=0,
                method="margin",
                items=items,
                facts={"predictions": predictions},
            )
        ]
    )
    Campaign.open("c").record([Vote(item="r002", annotator="a", label="pos")])
    run("active", "classes", "bad,pos", "--rename", "neg=bad", "--campaign", "c")
    asked: list[Mapping[str, Any]] = []

    def exchange(desk: Desk, url: str, **given: Any) -> dict[str, Any]:
        asked.append({"url": url, **given})
        return {"pulled": {"new": 1}}

    monkeypatch.setattr("keepers.integrations.label_studio.exchange", exchange)
    said = run("active", "label-studio", "http://localhost:1", "--campaign", "c", "--json")
    assert said.json() == {"pulled": {"new": 1}}
    assert asked[0]["predictions"] == {"r001": ("bad", 0.75), "r003": ("bad", 0.25)}
    assert [asked[0]["variable"], asked[0]["every"]] == ["LABEL_STUDIO_TOKEN", None]


def test_label_studio_needs_its_token(
    run: Keepers, begun: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpx")
    monkeypatch.delenv("SECRET", raising=False)
    argv = ("http://localhost:1", "--campaign", "c", "--token-variable", "SECRET")
    refused(run("active", "label-studio", *argv), "SECRET: the environment variable is not set")


# The same as in Python ----------------------------------------------------------------------


def test_options_are_spelt_as_in_python_and_explained() -> None:
    commands: Mapping[str, Any] = typer.main.get_command(active.app).commands  # type: ignore[attr-defined]
    ours = {
        "start",
        "query",
        "import",
        "label",
        "label-studio",
        "status",
        "export",
        "classes",
        "moved",
    }
    assert set(commands) == ours | {"simulate"}
    for command in map(commands.__getitem__, sorted(ours)):
        assert command.help
        for parameter in command.params:
            assert parameter.help, (command.name, parameter.name)
            if parameter.param_type_name == "option":
                assert parameter.opts[0] == f"--{parameter.name.rstrip('_').replace('_', '-')}"


def test_every_command_that_works_alone_prints_one_json_object(run: Keepers, digits: None) -> None:
    item = Campaign.open("c").holdings.source.ids[0]
    write("back.csv", ["id", "label"], [(item, "7")])
    for argv in (
        ("query", "3"),
        ("import", "back.csv"),
        ("status", "--train"),
        ("export", "--out", "e.parquet"),
        ("classes", "6,7"),
        ("moved", "digits"),
    ):
        assert isinstance(run("active", *argv, "--campaign", "c", "--json").json(), dict), argv


def test_names_of_classes_are_given_in_one_text_or_in_a_list() -> None:
    assert campaigns.class_names(" neg , pos") == ["neg", "pos"]
    assert CampaignConfig(classes=["a, b", cast("str", 0)]).classes == ("a, b", "0")


@pytest.mark.parametrize("given", [[True, False], {"neg": 1}, 3, [["a"]]])
def test_what_names_no_classes(given: Any) -> None:
    with pytest.raises(ParameterError, match=r"^classes: got .* Give names, in quotes"):
        CampaignConfig(classes=given)
