"""Texts that hold several labels: what separates these, found or told."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from keepers.data.arrow import ArrowColumn
from keepers.errors import DataError
from keepers.tasks import Task
from keepers.tasks.texts import DELIMITERS, list_in, split

_ADJACENT = re.compile(r"['\"]\s+['\"]|['\"]{2}\w")
"""Texts beside each other, as NumPy writes them, which Python would join."""

LONGEST, MOST = 60, 2000
"""Characters of a label, and different ones, where a field is split without being told so."""


OTHERS = ("/", "\t", "\n", "#", "&", "+", " ")
"""What may separate labels, too, and is not read as that."""


def delimiter_of(column: ArrowColumn, marks: Sequence[str] = DELIMITERS) -> str | None:
    """What separates labels in a column of texts whose parts recur; None where nothing does.

    There have to be at most half as many different parts as different texts, nearly every part has
    to be in several rows, and rows have to differ in how many they hold: `Oil, crude` and `20,3`
    are classes, or keys.

    >>> delimiter_of(pa.chunked_array([["a|b", "b|c", "a|c", "a", "b", "c", "a|b|c"]]))
    '|'
    >>> delimiter_of(pa.chunked_array([["Paris, France", "Lyon, France"] * 9]))
    """
    if not (pa.types.is_large_string(column.type) or pa.types.is_string(column.type)):
        return None
    sizes = Counter(text for text in column.to_pylist() if text)
    for mark in marks:
        if sum(size for text, size in sizes.items() if mark in text) * 100 < column.length():
            continue
        parts: Counter[str] = Counter()
        for text, size in sizes.items():
            parts.update(dict.fromkeys(set(split(text, mark)), size))
        counts = {len(split(text, mark)) for text in sizes}
        if len(counts) < 2 or 2 * len(parts) > len(sizes) or len(parts) > MOST:
            continue
        recurring = sum(size > 1 for size in parts.values())
        if recurring >= 0.9 * len(parts) and max(map(len, parts)) <= LONGEST:
            return mark
    return None


def lists_in(column: ArrowColumn, least: int = 2) -> ArrowColumn:
    """A column of texts all of which write lists, as JSON or Python does, as those lists.

    Blank texts are nothing. Other columns, and lists of fewer than `least` values each, stay as
    they are.

    >>> texts = pa.chunked_array([["['a, b', 'c']", '["c"]', "set()"]])
    >>> lists_in(texts).to_pylist(), lists_in(pa.chunked_array([["[a]", "['b']"]])).to_pylist()
    ([['a, b', 'c'], ['c'], []], ['[a]', "['b']"])
    """
    if not (pa.types.is_large_string(column.type) or pa.types.is_string(column.type)):
        return column
    found: list[list[Any] | None] = []
    for text in column.to_pylist():
        if text is None or not text.strip():
            found.append(None)
            continue
        row = _list_of(text.strip())
        if row is None:
            return column
        found.append(row)
    if max((len(row) for row in found if row is not None), default=0) < least:
        return column
    try:
        return pa.chunked_array([pa.array(found)])
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # of several types
        return column


def _list_of(text: str) -> list[Any] | None:
    if text == "set()":
        return []
    if text[0] not in "[({":
        return None
    found: Any = list_in(text)
    if found is None and not _ADJACENT.search(text):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return None
    if isinstance(found, set | frozenset):
        found = sorted(found, key=str)
    return [*found] if isinstance(found, list | tuple) else None


def delimiter_for(column: ArrowColumn, name: str, like: Task | None) -> str | None:
    """What separates labels; in a test set, what leaves those that are known."""
    if like is not None:
        texts = [text for text in column.to_pylist() if text]
        for mark in (None, *DELIMITERS):
            if all(part in like.names for text in texts for part in split(text, mark)):
                return mark
    return delimiter_of(column) or _only_delimiter(column, name)


def _only_delimiter(column: ArrowColumn, name: str) -> str | None:
    """The delimiter of a field that is said to hold labels; None where none is in it.

    Raises:
        DataError: several could be it; or none is there, and another mark seems to separate labels.
    """
    texts = [text for text in column.to_pylist() if text]
    there = [mark for mark in DELIMITERS if any(mark in text for text in texts)]
    if len(there) > 1:
        raise DataError(
            f"label: column '{name}' holds {' and '.join(map(repr, there))}, and either could "
            "separate labels. Write lists, or use one separator"
        )
    other = None if there else delimiter_of(column, OTHERS)
    if other is not None:
        shown = next(text for text in texts if other in text)[:LONGEST]
        raise DataError(
            f"label: column '{name}' holds {shown!r}, and labels are not separated by {other!r}. "
            f"Write lists, or separate them by one of {' '.join(DELIMITERS)}"
        )
    return there[0] if there else None
