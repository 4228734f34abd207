"""What a column holds, by its type and the first of its values: paths, prose, keys, classes."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from keepers.data.arrow import ArrowColumn, ArrowTable, ArrowType
from keepers.data.arrow import compute as pc
from keepers.data.guesses import is_list, is_number
from keepers.data.pictures import SUFFIXES

SAMPLE = 1000
"""Values of a column that are read to judge it."""

LOOKED_AT = 100_000
"""Values of a column that are read to see whether they differ, or recur."""

ROWS, PART = 20, 0.1
"""Ascending whole numbers are row numbers if there are at least `ROWS`, and at least this part of
the range is left: training data, say, after test data were split off."""

MEASURED = ("round", "rank", "score", "votes", "seconds")
"""Columns of numbers that a campaign exports beside an input."""

_EXPORTED = {"copy_of", "part", "annotators", *MEASURED}
_PLACES = ("row", "file_row", "line")

BRIEF = 5
"""Words up to which texts are brief, on average."""

NUMBERS = r"^[\s\[(]*[-+]?\.?\d[\d.eE+-]*([\s,;]+[-+]?\.?\d[\d.eE+-]*){7,}[\s\])]*$"
"""Texts that are lists of numbers."""

_ID_NAMES = ("id", "ids", "idx", "index", "key", "uid", "uuid", "row", "guid")
_ANSWERS = ("accept", "reject", "ignore")


def is_list_of_objects(kind: ArrowType) -> bool:
    """Whether values of a type are lists of objects."""
    return is_list(kind) and pa.types.is_struct(kind.value_type)


def is_path(column: ArrowColumn) -> bool:
    """Whether a column holds the paths of pictures."""
    if not pa.types.is_large_string(column.type):
        return False
    part = [value for value in column.slice(0, SAMPLE).to_pylist() if value]
    return bool(part) and all(value.lower().endswith(SUFFIXES) for value in part)


def is_like(column: ArrowColumn, *patterns: str) -> bool:
    """Whether nearly all texts of a column are of one of the patterns."""
    if not pa.types.is_large_string(column.type):
        return False
    part = column.slice(0, SAMPLE)
    part = part.filter(pc.greater(pc.utf8_length(part).fill_null(0), 0))
    return len(part) > 0 and any(
        pc.mean(pc.match_substring_regex(part, pattern).cast(pa.float64())).as_py() > 0.9
        for pattern in patterns
    )


def written_beside(names: Sequence[str]) -> frozenset[str]:
    """The columns of numbers that a campaign wrote into what it exported; none in other files.

    >>> sorted(written_beside(["a", "copy_of", "part", "annotators", *MEASURED]))
    ['file_row', 'line', 'rank', 'round', 'row', 'score', 'seconds', 'votes']
    >>> sorted(written_beside(["a", "score"]))
    []
    """
    return frozenset({*MEASURED, *_PLACES} if set(names) >= _EXPORTED else ())


def is_numbers(column: ArrowColumn) -> bool:
    """Whether texts are lists of equally many numbers, as embeddings and pixels are written."""
    if not is_like(column, NUMBERS):
        return False
    return len(pc.unique(pc.list_value_length(split_numbers(column.slice(0, SAMPLE))))) == 1


def split_numbers(column: ArrowColumn) -> ArrowColumn:
    """The numbers in texts such as `0 34 255` or `[0.1, 0.2]`, as texts."""
    return pc.split_pattern_regex(pc.utf8_trim(column, " \t\n[]()"), r"[\s,;]+")


def is_prodigy(table: ArrowTable, name: str) -> bool:
    """Whether a column says what a person thought of the label, as Prodigy exports it."""
    if name != "answer" or name not in table.column_names:
        return False
    values = table[name]
    return pa.types.is_large_string(values.type) and {
        value for value in pc.unique(values).to_pylist() if value
    }.issubset(_ANSWERS)


def turned_down(table: ArrowTable, label: str | None) -> dict[int, str]:
    """Rows of a Prodigy export whose label nobody accepted, and why."""
    if label is None or label == "answer" or not is_prodigy(table, "answer"):
        return {}
    answers = enumerate(table["answer"].to_pylist())
    return {
        row: f"its answer is {given!r}, not 'accept'" for row, given in answers if given != "accept"
    }


def is_prose(column: ArrowColumn) -> bool:
    """Whether most of a column's values are texts with a space."""
    if not pa.types.is_large_string(column.type) or is_category(column):
        return False
    spaced = pc.match_substring(column.slice(0, SAMPLE), " ").cast(pa.float64())
    return (pc.mean(spaced).as_py() or 0) > 0.5


def is_brief(column: ArrowColumn) -> bool:
    """Whether texts have so few words that they may be the names of what the rows are about."""
    words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(column.slice(0, SAMPLE)))
    return (pc.mean(pc.list_value_length(words)).as_py() or 0) <= BRIEF


def tells(column: ArrowColumn) -> bool:
    """Whether most texts of a column are there, and not all the same."""
    column = column.slice(0, LOOKED_AT)
    held = column.filter(pc.greater(pc.utf8_length(column).fill_null(0), 0))
    return len(held) > len(column) / 2 and (len(column) < ROWS or len(pc.unique(held)) > 1)


def is_vector(kind: ArrowType) -> bool:
    """Whether values of a type are lists of numbers."""
    return is_list(kind) and is_number(kind.value_type)


def is_key(column: ArrowColumn, name: str) -> bool:
    """Whether a column numbers or names the rows: no input, unless it is named as one."""
    lower = name.lower()
    if lower in _ID_NAMES or lower.startswith("unnamed") or lower.endswith("_id"):
        return True
    if not pa.types.is_integer(column.type):
        return False
    values = column.drop_null()
    return (
        len(values) > 2
        and pc.min(values).as_py() in (0, 1)
        and pc.max(values).as_py() - pc.min(values).as_py() == len(values) - 1
        and len(pc.unique(values)) == len(values)
    )


def is_counter(column: ArrowColumn) -> bool:
    """Whether whole numbers ascend from row to row with few gaps: numbers of rows, some gone."""
    if not pa.types.is_integer(column.type) or len(column) - column.null_count < ROWS:
        return False
    values = column.drop_null()
    span = values[-1].as_py() - values[0].as_py() + 1
    ascending = pc.all(pc.greater(values[1:], values[:-1])).as_py()
    return ascending and span <= len(values) / PART


def is_category(column: ArrowColumn) -> bool:
    """Whether a column holds a few values again and again, as one of classes does."""
    kind = column.type
    if not (
        pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_large_string(kind)
    ):
        return False
    return _recur(column, len(column))


def is_tags(column: ArrowColumn) -> bool:
    """Whether a column holds lists of a few texts that recur, as those of labels do."""
    kind = column.type
    if not is_list(kind) or not _is_text(kind.value_type):
        return False
    return _recur(pc.list_flatten(column.slice(0, LOOKED_AT)), len(column))


def _is_text(kind: ArrowType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _recur(values: ArrowColumn, rows: int) -> bool:
    distinct = len(pc.unique(values.slice(0, LOOKED_AT).drop_null()))
    return 2 <= distinct <= min(1000, max(10, rows // 10)) and distinct < rows / 2
