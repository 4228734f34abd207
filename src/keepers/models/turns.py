"""Turns of chats as templates need them, and as texts where a model has no template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keepers.tasks.texts import THOUGHTS, is_learnt, spoken

ASSISTANT = "assistant"


def named(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The same messages, with an id of nine letters for each call of a tool that has none.

    What tools say gets the ids of the calls before it, in their order.

    >>> call = {"function": {"name": "sky", "arguments": {}}}
    >>> asked = {"role": "assistant", "content": "", "tool_calls": [call]}
    >>> found = named([asked, {"role": "tool", "content": "blue"}])
    >>> found[0]["tool_calls"][0]["id"], found[1]["tool_call_id"]
    ('000000000', '000000000')
    """
    found, waiting, count = list[Mapping[str, Any]](), list[str](), 0
    for turn in messages:
        if "tool_calls" in turn:
            calls: list[Any] = []
            for call in turn["tool_calls"]:
                calls.append({"id": f"{count:09d}", **call})
                count += 1
            waiting = [call["id"] for call in calls]
            turn = {**turn, "tool_calls": calls}
        elif turn["role"] == "tool" and waiting:
            turn = {"tool_call_id": waiting[0], **turn}
            waiting = [each for each in waiting if each != turn["tool_call_id"]]
        found.append(turn)
    return found


def plainly(messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[tuple[int, int]]]:
    r"""A chat for a model without a template, and where its answers stand.

    >>> plainly([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    ('### User:\nHi\n\n### Assistant:\nHello', [(29, 34)])
    """
    text, spans = "", list[tuple[int, int]]()
    for turn in messages:
        text += ("\n\n" if text else "") + heading(turn["role"])
        said = "\n\n".join(filter(None, (*map(turn.get, THOUGHTS), spoken(turn))))
        if is_learnt(turn):
            spans.append((len(text), len(text) + len(said)))
        text += said
    return text, spans


def heading(role: str) -> str:
    r"""What a turn begins with where there is no template.

    >>> heading(ASSISTANT)
    '### Assistant:\n'
    """
    return f"### {role.capitalize()}:\n"
