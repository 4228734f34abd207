"""Which columns of a table are a conversation, and in which of the formats that trainers read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import pyarrow as pa

from keepers.choices import TaskName
from keepers.data.arrow import ArrowColumn, ArrowTable, ArrowType
from keepers.data.columns import LABEL_NAMES
from keepers.data.conversations import check_answered, messages_of, tools_of, written
from keepers.data.material import Material
from keepers.data.source import Source
from keepers.errors import ParameterError
from keepers.tasks import AUTO, Tokens
from keepers.tasks.texts import list_in

CONVERSATION = "conversation"
"""The column that all formats become."""

_TURNS = ("messages", "conversations", "conversation")
_ANSWERS = ("output", "response")
_MORE = ("input", "context")
_PAIR = ("chosen", "rejected")

Read = Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way to write conversations: what it is called, its columns, and how a row is read.

    `read` raises `ValueError` for a row that it cannot read; the text follows the row's name.
    """

    name: str
    columns: tuple[str, ...]
    read: Read


@dataclass(frozen=True, kw_only=True)
class Conversations:
    """The conversations of a table, and the rows that are none, and why.

    `table` has them as JSON in column `name`, in the place of the columns they were made of.
    """

    format: Format
    table: ArrowTable
    name: str
    bad: dict[int, str] = field(default_factory=dict[int, str])


def recognised(
    table: ArrowTable, *, named: Sequence[str] = (), plain: bool = False
) -> Format | None:
    """The format of a table's conversations; None where it holds none.

    Args:
        table: columns as they were read.
        named: the columns that the user names as the input.
        plain: a column of texts is a conversation, too: each text is learnt whole.

    Raises:
        ParameterError: `plain`, and no column could be meant.
    """
    there = set(table.column_names) & set(named or table.column_names)
    turns = [n for n in named or _TURNS if n in there and _holds_turns(table[n])]
    beside = tuple(name for name in ("system", "tools") if name in table.column_names)
    if set(_PAIR) <= there:
        prompt = next((name for name in (*turns, "prompt") if name in there), None)
        return _preference(prompt, beside)
    if turns:
        return _chat(turns[0], beside)
    if {"prompt", "completion"} <= there:
        return _completion(beside)
    answer = next((name for name in _ANSWERS if name in there), None)
    if "instruction" in there and answer is not None:
        more = next((name for name in _MORE if name in there), None)
        others = tuple(n for n in ("system", "history") if n in there)
        return _instructions(answer, more, others)
    if not plain:
        return None
    texts = [name for name in named or ("text",) if name in table.column_names]
    if len(texts) != 1 or not pa.types.is_large_string(table[texts[0]].type):
        raise ParameterError(
            "task",
            f"got 'tokens', and no column is a conversation: {', '.join(table.column_names)}",
            "Call columns messages, or prompt and completion, or instruction and output, or name "
            "one of texts or of turns with --input (input=...)",
        )
    return Format(
        name="plain texts",
        columns=(texts[0],),
        read=lambda row: {"prompt": "", "completion": _text(row, texts[0])},
    )


def conversations_in(
    material: Material,
    named: str | Sequence[str] | None,
    label: str | None,
    task: TaskName,
    like: Source | None,
) -> Conversations | None:
    """The conversations of a material, where they are what is meant; else None.

    Columns of texts that are named, or stand beside a label, are texts, unless the task is said.

    Raises:
        ParameterError: the task is said, and nothing is a conversation.
    """
    asked = task == Tokens.name or (like is not None and like.kind == "chat")
    if (not asked and (task != AUTO or like is not None)) or material.kind is not None:
        return None
    table, names = material.table, [named] if isinstance(named, str) else [*(named or ())]
    found = recognised(table, named=names, plain=asked)
    if found is None:
        return None
    turns = any(name in table.column_names and _holds_turns(table[name]) for name in found.columns)
    texts = names or label is not None or {n.lower() for n in table.column_names} & {*LABEL_NAMES}
    return None if texts and not turns and not asked else read_conversations(table, found)


def read_conversations(table: ArrowTable, found: Format) -> Conversations:
    """The conversations of a table, one for each row."""
    values: list[str | None] = []
    bad: dict[int, str] = {}
    part = table.select(list(found.columns))
    for batch in part.to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            try:
                conversation = found.read(row)
                check_answered(conversation)
                values.append(written(conversation))
            except ValueError as error:
                bad[len(values)] = str(error)
                values.append(None)
    column = pa.chunked_array([pa.array(values, pa.large_string())])
    rest = table.drop_columns(list(found.columns))
    name = CONVERSATION
    while name in rest.column_names:
        name = f"_{name}"
    whole = pa.table({name: column, **{each: rest[each] for each in rest.column_names}})
    return Conversations(format=found, table=whole, name=name, bad=bad)


def _holds_turns(column: ArrowColumn) -> bool:
    """Whether values are lists of turns, or JSON texts of such."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_turn(kind.value_type)
    if not pa.types.is_large_string(kind):
        return False
    texts = filter(None, column.slice(0, 50).to_pylist())
    lists = [list_in(text) for text in texts]
    return bool(lists) and all(
        found and isinstance(found[0], dict) and ({"role", "from"} & {*found[0]}) for found in lists
    )


def _is_turn(kind: ArrowType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    names = {field.name for field in kind}
    return {"role", "content"} <= names or {"from", "value"} <= names


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        raise ValueError(f"has nothing in column '{name}'")
    if not isinstance(value, str):
        raise ValueError(f"holds {type(value).__name__} in column '{name}' in place of a text")
    return value


def _in(name: str, read: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    try:
        return read()
    except ValueError as error:
        raise ValueError(f"column '{name}' {error}") from None


def _with_tools(messages: list[dict[str, Any]], row: Mapping[str, Any]) -> dict[str, Any]:
    tools = tools_of(row.get("tools"))
    return {"messages": messages} | ({"tools": tools} if tools else {})


def _chat(name: str, beside: tuple[str, ...]) -> Format:
    def read(row: Mapping[str, Any]) -> dict[str, Any]:
        return _with_tools(_in(name, lambda: messages_of(row[name], row.get("system"))), row)

    return Format(name="chats", columns=(name, *beside), read=read)


def _completion(beside: tuple[str, ...]) -> Format:
    def read(row: Mapping[str, Any]) -> dict[str, Any]:
        if isinstance(row["completion"], list | tuple):
            before = _in("prompt", lambda: messages_of(row["prompt"], row.get("system")))
            after = _in("completion", lambda: messages_of(row["completion"]))
            return _with_tools(before + after, row)
        return {"prompt": _text(row, "prompt"), "completion": _text(row, "completion")}

    return Format(
        name="prompts and completions", columns=("prompt", "completion", *beside), read=read
    )


def _instructions(answer: str, more: str | None, others: tuple[str, ...]) -> Format:
    """Instructions with their answers, as Alpaca and Dolly write them."""

    def read(row: Mapping[str, Any]) -> dict[str, Any]:
        turns: list[dict[str, Any]] = []
        for asked, answered in row.get("history") or ():
            turns += [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": answered},
            ]
        extra = (more and row.get(more)) or ""
        asked = "\n\n".join(part for part in (_text(row, "instruction"), extra) if part)
        turns.append({"role": "user", "content": asked})
        turns.append({"role": "assistant", "content": _text(row, answer)})
        return {"messages": _in("instruction", lambda: messages_of(turns, row.get("system")))}

    columns = ("instruction", *((more,) if more else ()), answer, *others)
    return Format(name="instructions", columns=columns, read=read)


def _preference(prompt: str | None, beside: tuple[str, ...]) -> Format:
    """Preference pairs: what is learnt is the chosen answer."""

    def read(row: Mapping[str, Any]) -> dict[str, Any]:
        if isinstance(row["chosen"], str) and list_in(row["chosen"]) is None:
            before = "" if prompt is None else _text(row, prompt)
            return {"prompt": before, "completion": row["chosen"]}
        before = []
        if prompt is not None:
            asked = row[prompt]
            turns = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
            before = _in(prompt, lambda: messages_of(turns, row.get("system")))
        after = _in("chosen", lambda: messages_of(row["chosen"]))
        shared = sum(
            1 for _ in takewhile(lambda two: two[0] == two[1], zip(before, after, strict=False))
        )
        if shared == len(before):
            after = after[shared:]
        return _with_tools(before + after, row)

    columns = (*((prompt,) if prompt else ()), *_PAIR, *beside)
    return Format(name="preference pairs", columns=columns, read=read)
