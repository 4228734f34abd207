"""Which columns of a table are a conversation, and in which of the formats that trainers read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import pyarrow as pa

from keepers.choices import TaskName
from keepers.data.arrow import ArrowColumn, ArrowTable, ArrowType
from keepers.data.conversations import check_answered, messages_of, tools_of, written
from keepers.data.label_column import LABEL_NAMES
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
_PROMPTS = ("prompt", "question", "instruction")
_KNOWN = frozenset({*_TURNS, *_ANSWERS, *_MORE, *_PAIR, *_PROMPTS, "completion", "text"})

_JSON: Any = getattr(pa, "JsonType", ())  # older versions of pyarrow have none

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
    texts = {name for name in there if _holds_texts(table[name])}
    turns = [n for n in named or _TURNS if n in there and _holds_turns(table[n])]
    beside = tuple(name for name in ("system", "tools") if name in table.column_names)
    if all(name in texts or (name in there and _holds_turns(table[name])) for name in _PAIR):
        prompt = next((name for name in (*turns, *_PROMPTS) if name in there), None)
        return _preference(prompt, beside)
    if turns:
        return _chat(turns[0], beside)
    pair = ("prompt", "completion")
    if all(name in texts or (name in there and _holds_turns(table[name])) for name in pair):
        return _completion(beside)
    answer = next((name for name in _ANSWERS if name in texts), None)
    if "instruction" in texts and answer is not None:
        more = next((name for name in _MORE if name in texts), None)
        others = tuple(n for n in ("system", "history") if n in there)
        return _instructions(answer, more, others)
    if not plain:
        return None
    texts = [name for name in named or ("text",) if name in table.column_names]
    if len(texts) != 1 or not pa.types.is_large_string(table[texts[0]].type):
        raise ParameterError(
            "task",
            f"got 'tokens', but no column is a conversation: {', '.join(table.column_names)}",
            "Name the columns messages, or prompt and completion, or instruction and output; or "
            "name a column of texts or turns with --input (input=...)",
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
    if len(names) == 1 and names[0] not in table.column_names:
        names = [name.strip() for name in names[0].split(",")]
    found = recognised(table, named=names, plain=asked)
    if found is None:
        return None
    turns = any(name in table.column_names and _holds_turns(table[name]) for name in found.columns)
    if asked or turns:
        return read_conversations(table, found)
    if names or label in found.columns or {n.lower() for n in table.column_names} & {*LABEL_NAMES}:
        return None
    if label is not None:
        raise ParameterError(
            "task",
            f"{material.name} holds {found.name} ({', '.join(found.columns)}), but '{label}' is "
            "named as the label",
            "Add --task tokens (task='tokens') to select conversations, or --task class and "
            "--input to classify a text",
        )
    return read_conversations(table, found)


def read_conversations(table: ArrowTable, found: Format) -> Conversations:
    """The conversations of a table, one for each row."""
    values: list[str | None] = []
    bad: dict[int, str] = {}
    part = table.select(list(found.columns))
    decoders = {each.name: _decoder(each.type) for each in part.schema}
    for batch in part.to_batches(max_chunksize=4096):
        for written_row in batch.to_pylist():
            try:
                row = {name: decoders[name](value) for name, value in written_row.items()}
                conversation = found.read(row)
                check_answered(conversation)
                values.append(written(conversation))
            except ValueError as error:
                bad[len(values)] = str(error)
                values.append(None)
    _name_other_formats(table, found, bad)
    column = pa.chunked_array([pa.array(values, pa.large_string())])
    rest = table.drop_columns(list(found.columns))
    name = CONVERSATION
    while name in rest.column_names:
        name = f"_{name}"
    whole = pa.table({name: column, **{each: rest[each] for each in rest.column_names}})
    return Conversations(format=found, table=whole, name=name, bad=bad)


def _name_other_formats(table: ArrowTable, found: Format, bad: dict[int, str]) -> None:
    """Add to what is said of bad rows the columns of other formats that they alone fill."""
    good = next((place for place in range(len(table)) if place not in bad), None)
    others = [
        name
        for name in table.column_names
        if name in _KNOWN
        and name not in found.columns
        and (good is None or not table[name][good].as_py())
    ]
    for place, why in bad.items():
        if held := [f"'{name}'" for name in others if table[name][place].as_py()]:
            bad[place] = f"{why} (the row has {', '.join(held)}: another format)"


def _holds_texts(column: ArrowColumn) -> bool:
    return pa.types.is_large_string(column.type) or pa.types.is_null(column.type)


def _holds_turns(column: ArrowColumn) -> bool:
    """Whether values are lists of turns, one turn, or, most of them, JSON texts of such lists."""
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if is_list and not _is_json(kind.value_type):
        return _is_turn(kind.value_type)
    if not is_list and not _is_json(kind) and not pa.types.is_large_string(kind):
        return _is_turn(kind)
    decode = _decoder(kind)
    lists = [_list_of(value, decode) for value in filter(None, column.slice(0, 50).to_pylist())]
    found = [
        isinstance(each[0], dict) and bool({"role", "from"} & {*each[0]}) for each in lists if each
    ]
    return 2 * sum(found) > len(lists)


def _list_of(value: Any, decode: Callable[[Any], Any]) -> list[Any] | None:
    """A list, or the one that a text writes as JSON."""
    try:
        found = decode(value)
    except ValueError:
        return None
    found = list_in(found) if isinstance(found, str) else found
    return found if isinstance(found, list) else None


def _is_json(kind: ArrowType) -> bool:
    """Whether values are JSON texts by type, as `datasets` keeps objects of different keys."""
    return isinstance(kind, _JSON)


def _decoder(kind: ArrowType) -> Callable[[Any], Any]:
    """What makes plain values of those of a type, which may hold JSON at any depth."""
    if _is_json(kind):
        return lambda value: None if value is None else json.loads(value)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _decoder(kind.value_type)
        if inner is not _as_it_is:
            return lambda value: None if value is None else [inner(each) for each in value]
    elif pa.types.is_struct(kind):
        fields = {each.name: _decoder(each.type) for each in kind}
        if any(each is not _as_it_is for each in fields.values()):
            return lambda value: (
                None if value is None else {name: fields[name](value[name]) for name in value}
            )
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _is_turn(kind: ArrowType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    names = {field.name for field in kind}
    return bool({"role", "from"} & names) and bool({"content", "value"} & names)


def _text(row: Mapping[str, Any], name: str, *, needed: bool = True) -> str:
    value = row.get(name)
    if value is None:
        if needed:
            raise ValueError(f"has an empty column '{name}'")
        return ""
    if not isinstance(value, str):
        raise ValueError(f"holds {type(value).__name__} instead of a text in column '{name}'")
    return value


def _before(row: Mapping[str, Any]) -> str:
    """The system prompt of a prompt that is a text."""
    system = _text(row, "system", needed=False)
    return f"{system}\n\n" if system else ""


def _in(name: str, read: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    try:
        return read()
    except ValueError as error:
        raise ValueError(f"column '{name}' {error}") from None


def _with_tools(messages: list[dict[str, Any]], row: Mapping[str, Any]) -> dict[str, Any]:
    tools = tools_of(row.get("tools"))
    return {"messages": messages} | ({"tools": tools} if tools else {})


def _asked(name: str, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of a prompt, a text or turns; none where there is none."""
    asked = row[name]
    if asked is None:
        return []
    if isinstance(asked, str) and list_in(asked) is None:
        asked = [{"role": "user", "content": asked}]
    return _in(name, lambda: messages_of(asked, row.get("system")))


def _earlier(history: Any) -> list[dict[str, Any]]:
    """The turns of a history: pairs of a question and its answer, or messages."""
    given = list_in(history) if isinstance(history, str) else history
    if not given:
        if isinstance(history, str) and history.strip():
            raise ValueError("has a history that is not a list, in column 'history'")
        return []
    if not isinstance(given, list):
        raise ValueError(f"holds {type(given).__name__} instead of a list in column 'history'")
    if isinstance(given[0], Mapping):
        return _in("history", lambda: messages_of(given))
    turns: list[dict[str, Any]] = []
    for pair in given:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError("has no pairs of a question and its answer in column 'history'")
        turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return turns


def _chat(name: str, beside: tuple[str, ...]) -> Format:
    def read(row: Mapping[str, Any]) -> dict[str, Any]:
        return _with_tools(_in(name, lambda: messages_of(row[name], row.get("system"))), row)

    return Format(name="chats", columns=(name, *beside), read=read)


def _completion(beside: tuple[str, ...]) -> Format:
    def read(row: Mapping[str, Any]) -> dict[str, Any]:
        given = row["completion"]
        if not isinstance(given, str) or list_in(given) is not None:
            before = _asked("prompt", row)
            after = _in("completion", lambda: messages_of(given))
            return _with_tools(before + after, row)
        prompt = _before(row) + _text(row, "prompt", needed=False)
        return {"prompt": prompt, "completion": given}

    return Format(
        name="prompts and completions", columns=("prompt", "completion", *beside), read=read
    )


def _instructions(answer: str, more: str | None, others: tuple[str, ...]) -> Format:
    """Instructions with their answers, as Alpaca and Dolly write them."""

    def read(row: Mapping[str, Any]) -> dict[str, Any]:
        turns = _earlier(row.get("history"))
        extra = _text(row, more, needed=False) if more else ""
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
            before = "" if prompt is None else _text(row, prompt, needed=False)
            return {"prompt": _before(row) + before, "completion": row["chosen"]}
        before = [] if prompt is None else _asked(prompt, row)
        after = _in("chosen", lambda: messages_of(row["chosen"]))
        shared = sum(
            1 for _ in takewhile(lambda two: two[0] == two[1], zip(before, after, strict=False))
        )
        if shared == len(before):
            after = after[shared:]
        return _with_tools(before + after, row)

    columns = (*((prompt,) if prompt else ()), *_PAIR, *beside)
    return Format(name="preference pairs", columns=columns, read=read)
