"""Whether the first record of a CSV file names the columns: by the values below it."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|\.\d+)([eE][-+]?\d+)?%?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?")
_NOTHING = ("", "nan", "na", "n/a", "null", "none", "?", "-")
_USUAL = (
    *("label", "labels", "class", "target", "category", "sentiment", "text", "sentence", "review"),
    *("content", "comment", "tweet", "message", "title", "body", "question", "document", "id"),
    *("image", "file", "filename", "file_name", "path", "pixels", "source", "key", "split"),
)
_FREE = 4  # words, from which on values are free text rather than names


def is_number(cell: str) -> bool:
    """Whether a cell holds a number."""
    return _NUMBER.fullmatch(cell.strip()) is not None


def is_header(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether the cells of the first record are names, judged by the records `below` it.

    Each column has a say: a name over numbers, dates or few different values speaks for a header,
    a cell that is among few different values, or free text over free text, against it. Where they
    say nothing, a record without a number in it is a header.

    >>> is_header(["review", "2023"], [["so so", "good"], ["well", "bad"]] * 4)
    True
    >>> is_header(["so it goes on", "good"], [["not well", "bad"], ["fine", "good"]] * 4)
    False
    """
    if _counts_up(first):
        return True
    said = sum(
        _says(cell.strip(), [record[place].strip() for record in below])
        for place, cell in enumerate(first)
    )
    return said > 0 if said else not any(map(is_number, first))


def names_columns(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether a record names all columns, one of them as columns usually are.

    >>> names_columns(["text", "label"], [["so so", "good"], ["well", "bad"]] * 4)
    True
    """
    usual = any(cell.strip().lower() in _USUAL for cell in first)
    return usual and all(first) and is_header(first, below)


def _says(cell: str, values: Sequence[str]) -> int:
    values = [value for value in values if value.lower() not in _NOTHING]
    if cell.lower() in _NOTHING or not values:
        return 0
    for kind in (_NUMBER, _DATE):
        if all(kind.fullmatch(value) for value in values) and not kind.fullmatch(cell):
            return 2
    different = set(values)
    few = len(values) > 1 and len(different) <= max(1, len(values) // 2)
    if few and cell in different:
        return -2
    if cell.lower() in _USUAL:
        return 2
    if is_number(cell) and all(map(is_number, values)):
        return 0
    if few:
        return 1
    words = sum(len(value.split()) for value in values) / len(values)
    if words < _FREE:
        return 0
    return -1 if len(cell.split()) >= _FREE else int(cell.isidentifier())


def _counts_up(header: Sequence[str]) -> bool:
    """Whether the numbers in a header are columns numbered 0, 1, 2, ... or 1, 2, 3, ..."""
    numbers = [cell.strip() for cell in header if is_number(cell)]
    return any(
        numbers == [str(start + place) for place in range(len(numbers))] and len(numbers) > 2
        for start in (0, 1)
    )
