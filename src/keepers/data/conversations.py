"""One form for what language models are tuned on: chats, and prompts with their completions.

A conversation is an object of plain values: `{"messages": [{"role", "content", "tool_calls"}],
"tools": [...]}` for a chat, `{"prompt": text, "completion": text}` for what no chat template
belongs to; a plain text has an empty prompt. As an input it is that object as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keepers.tasks.texts import THOUGHTS, is_learnt, spoken

ASSISTANT = "assistant"
ROLES: Mapping[str, str] = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys((ASSISTANT, "gpt", "model", "bot", "chatgpt", "bing", "bard"), ASSISTANT),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "observation", "function", "function_response", "ipython"), "tool"),
    "function_call": ASSISTANT,
}
"""What the roles of other formats are called."""

CALLS = ("function_call",)
"""Roles whose text is a call of a tool, as JSON."""


def written(conversation: Mapping[str, Any]) -> str:
    """A conversation as an input: JSON, alike for alike conversations.

    >>> written({"prompt": "Is 7 prime?", "completion": "Yes"})
    '{"prompt": "Is 7 prime?", "completion": "Yes"}'
    """
    return json.dumps(conversation, ensure_ascii=False)


def messages_of(turns: Any, system: Any = None) -> list[dict[str, Any]]:
    """The messages of a list of turns, `role` and `content` or `from` and `value`.

    A `system` prompt that stands beside them comes first.

    >>> messages_of([{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}])
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]

    Raises:
        ValueError: no turn, an unknown role, a system prompt in the middle, or content that is no
            text; its text follows the name of the column.
    """
    found = [message(turn, place) for place, turn in enumerate(_turns(turns), 1)]
    if system is not None and not isinstance(system, str):
        raise ValueError(f"has {type(system).__name__} instead of a system prompt beside it")
    if system is not None and system.strip():
        first = found[0] if found else {}
        if first.get("role") != "system":
            found.insert(0, {"role": "system", "content": system})
        elif first["content"] != system:
            raise ValueError("has its own system prompt, and another beside it")
    if not found:
        raise ValueError("holds no turn")
    for place, each in enumerate(found[1:], 2):
        if each["role"] == "system":
            if each == found[0]:
                raise ValueError(f"has its system prompt again in turn {place}")
            raise ValueError(f"has a system prompt in turn {place}, after others")
    return found


def _turns(turns: Any) -> Sequence[Any]:
    turns = _read(turns)
    if turns is None:
        raise ValueError("holds nothing")
    if isinstance(turns, Mapping):
        return [turns]
    if not isinstance(turns, list | tuple):
        raise ValueError(f"holds {type(turns).__name__} instead of a list of turns")
    return turns  # pyright: ignore[reportUnknownVariableType]


def message(turn: Any, place: int) -> dict[str, Any]:
    """One turn as a message.

    Raises:
        ValueError: as `messages_of`.
    """
    if not isinstance(turn, Mapping):
        raise ValueError(f"holds {type(turn).__name__} instead of turn {place}")
    given: dict[str, Any] = {key: value for key, value in turn.items() if value is not None}
    name = str(given.get("role", given.get("from"))).lower()
    role = ROLES.get(name)
    if role is None:
        known = ", ".join(dict.fromkeys(ROLES.values()))
        raise ValueError(
            f"has the role {name!r} in turn {place}, which is not one of {known}, nor a known "
            "synonym"
        )
    calls: Any = given.get("tool_calls") or given.get("function_call")
    said = given.get("content", given.get("value"))
    if (said is None or said != said) and not calls:
        raise ValueError(f"has no text in turn {place}")
    text = content(said, place)
    if not calls and name in CALLS:
        calls, text = _read(text), ""
    out: dict[str, Any] = {"role": role, "content": text}
    if calls:
        out["tool_calls"] = [call(each, place) for each in _listed(_read(calls))]
    beside = {"tool": ("name", "tool_call_id"), ASSISTANT: THOUGHTS}
    for key in beside.get(role, ()):
        if isinstance(given.get(key), str) and given[key]:
            out[key] = given[key]
    if role == ASSISTANT and given.get("weight") == 0:
        out["weight"] = 0
    return out


def content(value: Any, place: int) -> str:
    """The text of a turn; of a list of parts, those that are texts, one after another.

    Beside calls of tools there may be none.

    Raises:
        ValueError: a part that is no text, such as a picture, or a value that is none.
    """
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        parts: list[str] = []
        for part in value:  # pyright: ignore[reportUnknownVariableType]
            text = part.get("text") if isinstance(part, Mapping) else part
            if not isinstance(text, str):
                kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
                raise ValueError(f"holds {kind!r} in turn {place}, but only texts are supported")
            parts.append(text)
        return "".join(parts)
    raise ValueError(f"holds {type(value).__name__} instead of a text in turn {place}")


def call(value: Any, place: int) -> dict[str, Any]:
    """One call of a tool: its name and its arguments as an object, and its id if it has one.

    Arguments that are a JSON text are read, so that both spellings are the same conversation.

    Raises:
        ValueError: a call without a name.
    """
    value = _read(value)
    inner = value.get("function", value) if isinstance(value, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise ValueError(f"has a tool call without a name in turn {place}")
    arguments: Any = _read(inner.get("arguments", inner.get("parameters", {})))
    if arguments is None or arguments == "":
        arguments = {}
    found = {"type": "function", "function": {"name": inner["name"], "arguments": bare(arguments)}}
    name = value.get("id")
    return {"id": name, **found} if isinstance(name, str) and name else found


def tools_of(value: Any) -> list[Any]:
    """The tools of a conversation, a list or the JSON text of one; none of a blank text.

    Raises:
        ValueError: a text that is no JSON.
    """
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("has tools that are not JSON") from None
    return [bare(each) for each in _listed(value)] if value else []


def bare(value: Any) -> Any:
    """A value without the keys of objects that hold nothing, which tables add to rows.

    >>> bare({"city": "Rome", "unit": None})
    {'city': 'Rome'}
    """
    if isinstance(value, Mapping):
        return {key: bare(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [bare(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]  # pyright: ignore[reportUnknownVariableType]


def _read(value: Any) -> Any:
    """What a text writes as JSON; the value itself where it is no such text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def check_answered(conversation: Mapping[str, Any]) -> None:
    """Refuse a conversation with nothing to learn.

    Raises:
        ValueError: no answer, or only empty ones.
    """
    if "messages" in conversation:
        said = [each for each in conversation["messages"] if is_learnt(each)]
        if not said:
            only = any(each["role"] == ASSISTANT for each in conversation["messages"])
            of = " but those with a weight of 0" if only else ""
            raise ValueError(f"has no turn of the assistant{of}")
        if not any(each["content"].strip() or "tool_calls" in each for each in said):
            raise ValueError("has an empty answer" if len(said) == 1 else "has only empty answers")
    elif not conversation["completion"].strip():
        raise ValueError("has an empty answer" if conversation["prompt"] else "is empty")


def answers(conversation: Mapping[str, Any]) -> list[str]:
    """The texts that are learnt: what the assistant says, or the completion.

    >>> answers({"prompt": "Is 7 prime?", "completion": "Yes"})
    ['Yes']
    """
    if "messages" not in conversation:
        return [conversation["completion"]]
    return [spoken(each) for each in conversation["messages"] if is_learnt(each)]


def readable(conversation: Mapping[str, Any]) -> str:
    r"""A conversation as a person reads it, and as models of plain texts do.

    >>> readable({"messages": messages_of([{"role": "user", "content": "Hi"}])})
    'user: Hi'
    """
    return "\n\n".join(_lines(conversation))


def _lines(conversation: Mapping[str, Any]) -> Iterator[str]:
    if "messages" not in conversation:
        yield from filter(None, (conversation["prompt"], conversation["completion"]))
        return
    for each in conversation["messages"]:
        yield f"{each['role']}: {spoken(each)}"
