"""How one value names a class, one text several labels, and what a turn says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

DELIMITERS = (",", ";", "|")

WHOLE = re.compile(r"([-+]?\d+)(?:\.0*)?")
"""A whole number, as it is or as pandas or a spreadsheet writes it."""

_NO_LABEL = ("", "nan", "<na>", "nat")


def label_text(value: Any) -> str | None:
    """The class that one value names, or None where it names none: the one rule for labels.

    None, NaN, a text that is blank and what pandas writes for NaN are no label.

    >>> [label_text(value) for value in ("pos", 1, 1.0, True, " ", "nan", None)]
    ['pos', '1', '1', 'True', None, None, None]
    """
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return None if text.strip().lower() in _NO_LABEL else text


def readings(text: str) -> Iterator[str]:
    """A label as it was given, then as pandas or a spreadsheet may have rewritten it.

    >>> list(readings("1.0")), list(readings("TRUE"))
    (['1.0', '1'], ['TRUE', 'True', 'true'])
    """
    yield text
    whole = WHOLE.fullmatch(text.strip())
    if whole:
        yield whole.group(1)
    elif text.strip().lower() in ("true", "false"):
        yield from (word for word in (text.strip().title(), text.strip().lower()) if word != text)


def list_in(text: str) -> list[Any] | None:
    """The list that a text writes as JSON; None where it writes none.

    >>> list_in('["a", "b"]'), list_in("[a, b]"), list_in("a, b")
    (['a', 'b'], None, None)
    """
    if not text.strip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("list[Any]", found) if isinstance(found, list) else None


def split(text: str, mark: str | None) -> list[str]:
    """The labels in a text; all of it is one where nothing separates them."""
    if mark is None:
        return [text.strip()] if text.strip() else []
    text = text.strip()
    if text == "set()":  # as Python writes an empty set
        return []
    if text[:1] + text[-1:] in ("[]", "{}", "()"):
        text = text[1:-1]
    parts = (part.strip() for part in text.split(mark))
    return [
        part[1:-1] if part[:1] in "'\"" and part[:1] == part[-1:] else part
        for part in parts
        if part
    ]


THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""The keys of a turn beside its content that hold what was thought before it."""


def is_learnt(turn: Mapping[str, Any]) -> bool:
    """Whether a turn is an answer, and not one that a weight of 0 leaves out.

    >>> is_learnt({"role": "assistant", "content": "Hi", "weight": 0})
    False
    """
    return turn["role"] == "assistant" and turn.get("weight") != 0


def spoken(turn: Mapping[str, Any]) -> str:
    """What a turn of a conversation says, its calls of tools as JSON after the text.

    >>> spoken({"role": "assistant", "content": "Hello"})
    'Hello'
    """
    calls = (json.dumps(e["function"], ensure_ascii=False) for e in turn.get("tool_calls", ()))
    return "\n".join(filter(None, (turn["content"], *calls)))
