"""The formats of what language models are tuned on: read alike, cut, and written as they came."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import keepers
from commands import Keepers
from keepers.data import open_source
from keepers.data.conversations import answers, readable
from keepers.errors import DataError, KeepersError, ParameterError

ASKED, ANSWERED = "Is 7 prime?", "Yes, it is."


def turns(*texts: str, names: Sequence[str] = ("user", "assistant"), keys: str = "role content"):
    role, content = keys.split()
    return [{role: names[at % 2], content: text} for at, text in enumerate(texts)]


def shared(*texts: str) -> list[dict[str, str]]:
    return turns(*texts, names=("human", "gpt"), keys="from value")


CHAT = {"messages": turns(ASKED, ANSWERED)}
FORMATS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "messages": ({"messages": turns(ASKED, ANSWERED)}, CHAT),
    "sharegpt": ({"conversations": shared(ASKED, ANSWERED)}, CHAT),
    "alpaca": ({"instruction": ASKED, "input": "", "output": ANSWERED}, CHAT),
    "dolly": ({"instruction": ASKED, "context": "", "response": ANSWERED}, CHAT),
    "chats in prompts": (
        {"prompt": turns(ASKED), "completion": turns(ANSWERED, names=("assistant", "user"))},
        CHAT,
    ),
    "prompts": (
        {"prompt": ASKED, "completion": ANSWERED},
        {"prompt": ASKED, "completion": ANSWERED},
    ),
    "pairs": (
        {"prompt": turns(ASKED), "chosen": turns(ASKED, ANSWERED), "rejected": turns(ASKED, "No")},
        CHAT,
    ),
    "pairs without a prompt": (
        {"chosen": turns(ASKED, ANSWERED), "rejected": turns(ASKED, "No")},
        CHAT,
    ),
    "pairs of texts": (
        {"prompt": ASKED, "chosen": ANSWERED, "rejected": "No"},
        {"prompt": ASKED, "completion": ANSWERED},
    ),
    "sharegpt pairs": (
        {
            "conversations": shared(ASKED),
            "chosen": {"from": "gpt", "value": ANSWERED},
            "rejected": {"from": "gpt", "value": "No"},
        },
        CHAT,
    ),
}


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def first(path: Path, **reading: Any) -> dict[str, Any]:
    source = open_source(path, **reading)
    assert source.kind == "chat"
    at = source.rows.tolist().index(0)
    return json.loads(source.inputs[at].as_py())  # pyright: ignore


OTHER = {
    "messages": turns("a", "b"),
    "conversations": shared("a"),
    "prompt": "a",
    "completion": "b",
    "chosen": "b",
    "rejected": "c",
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_every_format_is_found_by_itself(tmp_path: Path, name: str, kind: str) -> None:
    row, expected = FORMATS[name]
    rows = [row | {"source": "one"}, json.loads(json.dumps(row).replace("7", "9"))]
    path = tmp_path / f"data.{kind}"
    if kind == "jsonl":
        lines(path, rows)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    else:
        pq.write_table(pa.table({key: [row.get(key) for row in rows] for key in rows[0]}), path)
    assert first(path) == expected
    assert keepers.coreset(path, keep=1, method="random", run=tmp_path / "run").indices.size == 1


@pytest.mark.skipif(not hasattr(pa, "JsonType"), reason="pyarrow has no type of JSON")
@pytest.mark.parametrize("at", ["turn", "content", "column"])
def test_json_as_a_type_is_read(tmp_path: Path, at: str) -> None:
    """`datasets` keeps objects of different keys so: turns with calls, contents of parts."""
    call = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    said = [
        [*turns("a"), {"role": "assistant", "content": "", "tool_calls": [call]}],
        turns("b", "c"),
    ]
    kind, texts = pa.json_(pa.utf8()), [list(map(json.dumps, each)) for each in said]
    if at == "turn":
        inner = pa.array([*texts[0], *texts[1]], pa.utf8()).cast(kind)
        column = pa.ListArray.from_arrays([0, 2, 4], inner)
    elif at == "column":
        column = pa.array(list(map(json.dumps, said)), pa.utf8()).cast(kind)
    else:
        said[0] = [turns("a")[0], {"role": "assistant", "content": [{"type": "text", "text": "c"}]}]
        flat = [*said[0], *said[1]]
        contents = pa.array([json.dumps(each["content"]) for each in flat], pa.utf8()).cast(kind)
        roles = pa.array([each["role"] for each in flat])
        inner = pa.StructArray.from_arrays([roles, contents], ["role", "content"])
        column = pa.ListArray.from_arrays([0, 2, 4], inner)
    path = tmp_path / "typed.parquet"
    pq.write_table(pa.table({"messages": column}), path)
    plain = lines(tmp_path / "plain.jsonl", [{"messages": each} for each in said])
    assert list(open_source(path).ids) == list(open_source(plain).ids)
    keepers.coreset(path, keep=1, method="longest", export=tmp_path / "out", run=tmp_path / "run")
    assert pq.read_schema(tmp_path / "out" / "typed.parquet").field("messages").type == column.type


def test_plain_texts_are_conversations_where_that_is_said(tmp_path: Path) -> None:
    path = lines(tmp_path / "t.jsonl", [{"text": "A page of text."}, {"text": "Another page."}])
    assert first(path, task="tokens") == {"prompt": "", "completion": "A page of text."}
    other = lines(tmp_path / "o.jsonl", [{"body": "A page of text."}, {"body": "Another page."}])
    with pytest.raises(ParameterError, match="task: got 'tokens', but no column is a conversation"):
        open_source(other, task="tokens")
    assert first(other, task="tokens", input="body")["completion"] == "A page of text."


def test_columns_beside_a_label_stay_texts(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"Question number {at}",
            "completion": f"Answer number {at} is long",
            "label": at % 2,
        }
        for at in range(6)
    ]
    path = lines(tmp_path / "t.jsonl", rows)
    assert open_source(path, input="completion").kind == "text"
    assert open_source(path, input="prompt,completion").kind == "text"
    assert open_source(path, task="tokens", label="label").kind == "chat"


def test_a_label_beside_conversations_is_asked_about(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Question {at}", "output": f"Answer {at}", "kind": "ab"[at % 2]}
        for at in range(20)
    ]
    path = lines(tmp_path / "t.jsonl", rows)
    assert open_source(path).kind == "chat"
    with pytest.raises(
        ParameterError, match=r"task: t\.jsonl holds instructions .* Add --task tok"
    ):
        open_source(path, label="kind")
    assert open_source(path, input="output", label="kind").kind == "text"
    found = open_source(path, label="kind", task="tokens").found
    assert "2 sources from 'kind': a, b" in found


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Is it good or bad, this one?", "output": 1},
        {"prompt": "Is it good or bad, this one?", "completion": 1},
        {"text": "Is it good or bad, this one?", "chosen": 1, "rejected": 0},
    ],
)
def test_columns_of_those_names_that_hold_no_texts_stay_what_they_were(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    numbers = [name for name, value in row.items() if isinstance(value, int)]
    rows = [{**row, **dict.fromkeys(numbers, at % 2), "text": f"film no {at}"} for at in range(20)]
    path = lines(tmp_path / "t.jsonl", rows)
    assert open_source(path, input="text", label=numbers[0]).kind == "text"


HISTORIES: dict[str, Any] = {
    "pairs": [["a", "b"]],
    "messages": turns("a", "b"),
    "a JSON text": json.dumps([["a", "b"]]),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_comes_before_an_instruction(tmp_path: Path, name: str) -> None:
    row = {"instruction": ASKED, "output": ANSWERED, "history": HISTORIES[name]}
    expected = {"messages": turns("a", "b", ASKED, ANSWERED)}
    assert first(lines(tmp_path / "h.jsonl", [row])) == expected


def test_what_stands_beside_a_prompt_is_read(tmp_path: Path) -> None:
    row = {"prompt": ASKED, "completion": ANSWERED, "system": "Be brief."}
    expected = {"prompt": f"Be brief.\n\n{ASKED}", "completion": ANSWERED}
    assert first(lines(tmp_path / "s.jsonl", [row])) == expected
    row = {"question": ASKED, "chosen": ANSWERED, "rejected": "No"}
    expected = {"prompt": ASKED, "completion": ANSWERED}
    assert first(lines(tmp_path / "q.jsonl", [row])) == expected
    row = {
        "prompt": json.dumps(turns(ASKED)),
        "completion": json.dumps(turns(ANSWERED, names=("assistant", ""))),
    }
    assert first(lines(tmp_path / "j.jsonl", [row])) == CHAT


def test_conversations_beside_a_label_are_told_how(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{at}", "completion": f"c{at}", "label": at % 2 == 0} for at in range(6)]
    path = lines(tmp_path / "kto.jsonl", rows)
    with pytest.raises(ParameterError, match="add --task tokens for prompts and completions"):
        open_source(path)
    assert open_source(path, task="tokens").kind == "chat"


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_half_a_surrogate_pair_is_a_bad_row(tmp_path: Path, kind: str) -> None:
    rows = [{"messages": turns("a", each)} for each in ("b", "half of a face: \ud83d", "c")]
    path = tmp_path / f"data.{kind}"
    path.write_text("\n".join(map(json.dumps, rows)) if kind == "jsonl" else json.dumps(rows))
    with pytest.raises(DataError, match="half of a surrogate pair, which UTF-8 cannot hold"):
        open_source(path)
    source = open_source(path, on_bad_row="skip")
    assert sorted(source.rows.tolist()) == [0, 2]
    assert "half of a surrogate pair" in source.skipped[0].problem


@pytest.mark.parametrize("kind", ["jsonl", "json"])
@pytest.mark.parametrize("broken", [False, True])
def test_a_value_of_another_type_is_a_bad_row(tmp_path: Path, kind: str, broken: bool) -> None:
    rows: list[dict[str, Any]] = [{"messages": turns("a", f"{at}"), "id": at} for at in range(6)]
    rows[0]["id"] = "first"
    rows[3]["messages"] = "user: a"
    rows[4]["id"] = None
    written = [*map(json.dumps, rows)]
    if broken and kind == "jsonl":
        written[5] = written[5][:-3]
    path = tmp_path / f"data.{kind}"
    path.write_text("\n".join(written) if kind == "jsonl" else json.dumps(rows))
    with pytest.raises(DataError, match=r"Give values of one type|Correct the line"):
        open_source(path)
    source = open_source(path, on_bad_row="skip")
    bad = [0, 3, 5] if broken and kind == "jsonl" else [0, 3]
    assert [each.row for each in source.skipped] == bad
    assert source.skipped[0].problem == "'id' is str, but number in most rows"
    assert source.skipped[1].problem == "'messages' is str, but list or object in most rows"
    assert sorted({*source.rows.tolist(), *bad}) == [*range(6)]


def test_one_damaged_text_of_turns_is_a_bad_row(tmp_path: Path) -> None:
    rows = [{"messages": json.dumps(turns(f"{at}", "b"))} for at in range(8)]
    rows[3] = {"messages": rows[3]["messages"][:-4]}
    path = lines(tmp_path / "d.jsonl", rows)
    with pytest.raises(DataError, match="row 3: column 'messages' holds str instead of a list"):
        open_source(path)


def test_an_older_spelling_of_calls(tmp_path: Path) -> None:
    said = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    row = {"messages": [{"role": "user", "content": "go"}, said]}
    call = {"type": "function", "function": {"name": "f", "arguments": {}}}
    found = first(lines(tmp_path / "f.jsonl", [row]))["messages"][1]
    assert found == {"role": "assistant", "content": "", "tool_calls": [call]}


def test_systems_tools_and_calls(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"city": "text"}}}
    call = {"name": "weather", "arguments": {"city": "Rome"}}
    expected = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "And in Rome?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"type": "function", "function": call}],
            },
            {"role": "tool", "content": "12 degrees"},
            {"role": "assistant", "content": "12 degrees."},
        ],
        "tools": [tool],
    }
    shared_row = {
        "conversations": [
            {"from": "human", "value": "And in Rome?"},
            {"from": "function_call", "value": json.dumps(call)},
            {"from": "observation", "value": "12 degrees"},
            {"from": "gpt", "value": "12 degrees."},
        ],
        "system": "Be brief.",
        "tools": json.dumps([tool]),
    }
    assert first(lines(tmp_path / "s.jsonl", [shared_row])) == expected
    as_objects = {"messages": json.loads(json.dumps(expected["messages"])), "tools": [tool]}
    as_texts = json.loads(json.dumps(as_objects))
    as_texts["messages"][2]["tool_calls"][0]["function"]["arguments"] = json.dumps({"city": "Rome"})
    assert first(lines(tmp_path / "o.jsonl", [as_objects])) == expected
    assert first(lines(tmp_path / "t.jsonl", [as_texts])) == expected
    mixed = lines(tmp_path / "m.jsonl", [as_objects, as_texts])
    found = open_source(mixed)
    assert len(set(found.digests.tolist())) == 1  # both spellings are one conversation
    assert "Rome" in answers(expected)[0]
    assert readable(expected).startswith("system: Be brief.\n\nuser: And in Rome?")


def test_what_a_table_adds_to_the_arguments_of_calls_is_left_out(tmp_path: Path) -> None:
    def row(**arguments: str) -> dict[str, Any]:
        call = {"function": {"name": "f", "arguments": arguments}}
        said = {"role": "assistant", "content": "", "tool_calls": [call]}
        return {"messages": [{"role": "user", "content": "go"}, said]}

    rows = [row(city="Rome"), row(unit="C")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    given = first(tmp_path / "p.parquet")["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert given == {"city": "Rome"}
    of_lines = open_source(lines(tmp_path / "l.jsonl", rows))
    assert of_lines.ids.tolist() == open_source(tmp_path / "p.parquet").ids.tolist()


BAD: dict[str, tuple[Any, str]] = {
    "no turn": ({"messages": []}, "column 'messages' holds no turn"),
    "no answer": ({"messages": turns(ASKED)}, "has no turn of the assistant"),
    "an empty answer": ({"messages": turns(ASKED, " ")}, "has an empty answer"),
    "an unknown role": (
        {"messages": [*turns(ASKED, ANSWERED), {"role": "narrator", "content": "x"}]},
        "column 'messages' has the role 'narrator' in turn 3, which is not one of user, "
        "assistant, system, tool, nor a known synonym",
    ),
    "a system prompt in the middle": (
        {"messages": [*turns(ASKED), {"role": "system", "content": "x"}, *turns("a", "b")]},
        "column 'messages' has a system prompt in turn 2, after others",
    ),
    "its system prompt again": (
        {"messages": [{"role": "system", "content": "x"}] * 2 + turns("a", "b")},
        "column 'messages' has its system prompt again in turn 2",
    ),
    "only answers of no weight": (
        {"messages": [*turns("a"), {"role": "assistant", "content": "b", "weight": 0}]},
        "has no turn of the assistant but those with a weight of 0",
    ),
    "a turn of nothing": (
        {"messages": [{"role": "user", "content": None}, *turns("b", names=("assistant",))]},
        "column 'messages' has no text in turn 1",
    ),
    "a turn without a text": (
        {"messages": [*turns(ASKED), {"role": "assistant"}]},
        "column 'messages' has no text in turn 2",
    ),
    "nothing": ({"messages": None}, "column 'messages' holds nothing"),
}


@pytest.mark.parametrize("name", BAD)
def test_rows_that_are_no_conversations(tmp_path: Path, name: str) -> None:
    row, problem = BAD[name]
    path = lines(tmp_path / "bad.jsonl", [{"messages": turns("a", "b")}, row])
    with pytest.raises(DataError, match=r"1 row of bad\.jsonl cannot be used") as found:
        open_source(path)
    assert f"row 1: {problem}" in str(found.value)
    source = open_source(path, on_bad_row="skip")
    assert [(each.row, problem in each.problem) for each in source.skipped] == [(1, True)]


def test_pictures_in_turns_are_refused(tmp_path: Path) -> None:
    picture = [{"type": "image_url", "image_url": {"url": "x"}}]
    path = lines(
        tmp_path / "p.jsonl",
        [
            {"messages": turns("a", "b")},
            {
                "messages": [
                    {"role": "user", "content": picture},
                    *turns("b", names=("assistant",) * 2),
                ]
            },
        ],
    )
    with pytest.raises(
        DataError, match="holds 'image_url' in turn 1, but only texts are supported"
    ):
        open_source(path)


def test_broken_lines_are_skipped_and_listed(run: Keepers, tmp_path: Path) -> None:
    good = [json.dumps({"messages": turns(f"a{at}", f"b{at}")}) for at in range(4)]
    path = tmp_path / "c.jsonl"
    text = "\n".join([good[0], '{"messages": [{"role"', "", "[1]", *good[1:]]) + "\n"
    path.write_text(text)
    done = run("coreset", path, "--keep", "4", "--method", "random")
    assert "line 4: not an object" in done.err or "line 2" in done.err
    words = ("--on-bad-row", "skip", "--keep", "100%", "--method", "random", "--export", "out")
    done = run("coreset", path, *words)
    assert done.status == 0, done.err
    assert "Skipped 2 rows that cannot be used: row 1" in done.err
    assert "line 2: " in done.err
    assert "line 4: not an object" in done.err
    assert Path("out/c.jsonl").read_text() == "".join(f"{line}\n" for line in good)


@pytest.mark.parametrize(
    ("beside", "told"), [(None, "'prompt', 'completion'"), ("a", "'completion'")]
)
def test_mixed_formats_are_told_by_row(tmp_path: Path, beside: str | None, told: str) -> None:
    path = lines(
        tmp_path / "m.jsonl",
        [
            {
                "messages": turns("a", "b"),
                "prompt": beside,
            },  # as in sets that keep it for reference
            {"prompt": "a", "completion": "b"},
        ],
    )
    words = rf"row 1: column 'messages' holds nothing \(the row has {told}: another format\)"
    with pytest.raises(DataError, match=words):
        open_source(path)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_is_written_as_it_stood(run: Keepers, tmp_path: Path, indent: int | None) -> None:
    rows = [
        {"instruction": f"Was ist {at}?", "input": "", "output": "ä" * (at + 1), "extra": 1.50}
        for at in range(5)
    ]
    rows[0] = {"output": "first", "input": "x", "instruction": "in another order"}  # no extra
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows, indent=indent).replace("1.5", "1.50"))
    words = ("--keep", "3", "--method", "longest", "--export", "out")
    assert run("coreset", path, *words).status == 0
    expected = json.dumps([rows[0], *rows[3:]], indent=indent).replace("1.5", "1.50")
    assert Path("out/a.json").read_text() == expected


def test_every_row_of_a_list_counts_whatever_the_first_one_has(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps(
            [{"text": f"one two {n}"} | ({"label": "ab"[n % 2]} if n else {}) for n in range(30)]
        )
    )
    source = open_source(path, require_labels=False)
    assert source.columns.label == "label"


def test_sources_are_strata(run: Keepers, tmp_path: Path) -> None:
    rows = [
        {
            "messages": turns(f"q{at}", "answer " * (at + 1)),
            "source": "few" if at % 5 == 0 else "many",
        }
        for at in range(20)
    ]
    path = lines(tmp_path / "c.jsonl", rows)
    words = ("--keep", "10", "--label", "source", "--out", "k.parquet")
    done = run("coreset", path, *words)
    assert "auto takes stratified" in done.err
    kept = pq.read_table("k.parquet").to_pylist()
    assert sum(row["kept"] and row["label"] == "few" for row in kept) == 2
    done = run("coreset", path, *words, "--method", "longest", "--balance", "class", "--overwrite")
    assert done.status == 0, done.err
    kept = pq.read_table("k.parquet").to_pylist()
    assert sum(row["kept"] and row["label"] == "few" for row in kept) == 4


def test_a_selection_finds_its_rows_in_shuffled_data(tmp_path: Path) -> None:
    rows = [{"instruction": f"q{at}", "input": "", "output": "a" * (at + 1)} for at in range(9)]
    path = lines(tmp_path / "c.jsonl", rows)
    selection = keepers.coreset(path, keep=3, method="longest", run=tmp_path / "run")
    cut = selection.subset(rows[::-1])
    assert sorted(len(row["output"]) for row in cut) == [7, 8, 9]


def test_csv_with_turns_as_json(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["messages", "n"])
        writer.writerow([json.dumps(turns(ASKED, ANSWERED)), 1])
        writer.writerow([json.dumps(turns("a", "b")), 2])
    assert first(path) == CHAT


def test_other_workflows_say_that_they_take_none(tmp_path: Path) -> None:
    path = lines(tmp_path / "c.jsonl", [{"messages": turns(f"{at}", "b")} for at in range(20)])
    told = "which only keepers coreset, score, compare, advise, il and train"
    with pytest.raises(KeepersError, match=told):
        keepers.compare_online(path, test=0.5, run=tmp_path / "run")


@pytest.mark.parametrize("more", [(), ("--classes", "a,b")])
def test_a_campaign_says_that_it_does_not_ask_about_them(
    run: Keepers, tmp_path: Path, more: tuple[str, ...]
) -> None:
    path = lines(tmp_path / "c.jsonl", [{"messages": turns(f"{at}", "b")} for at in range(4)])
    done = run("active", "start", path, "--campaign", "camp", *more)
    assert done.status == 2
    assert "pool: c.jsonl holds conversations" in done.err
    assert "name a column of texts with --input and the classes with --classes" in done.err
    assert not Path("camp/campaign.db").exists()


def test_a_frame_with_gaps_in_turns_is_told_by_row(tmp_path: Path) -> None:
    gap = [{"role": "user", "content": np.nan}, {"role": "assistant", "content": "b"}]
    frame = pd.DataFrame({"messages": [turns("a", "b"), gap]})
    with pytest.raises(DataError, match=r"row 1: .* has no text in turn 1"):
        open_source(frame)


def test_ids_of_calls_stay(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {}}}
    messages = [
        *turns("a"),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "b", "tool_call_id": "c1"},
    ]
    assert first(lines(tmp_path / "i.jsonl", [{"messages": messages}]))["messages"] == messages


def test_auto_takes_a_random_part_of_conversations_without_a_source(tmp_path: Path) -> None:
    path = lines(tmp_path / "c.jsonl", [{"messages": turns(f"{n}?", f"{n}!")} for n in range(40)])
    found = keepers.coreset(path, keep=0.5, run=tmp_path / "run", say=lambda _: None)
    assert found.metadata["auto"]["taken"] == found.metadata["method"] == "random"
    assert len(found.indices) == 20
