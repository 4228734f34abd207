"""Files of one data set to one table: columns by name, values by type, classes by their names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from keepers.data.arrow import ArrowColumn, ArrowTable
from keepers.data.arrow import compute as pc
from keepers.data.material import features_of, plain_table
from keepers.errors import DataError


def joined_tables(tables: Sequence[ArrowTable], files: Sequence[str]) -> ArrowTable:
    """The rows of all tables, which are those of `files`.

    A column is of the widest type that it has in any of them; an empty one takes that of the
    others, and floats that are whole are integers where another file holds integers. Codes of
    classes that the files declare differently are brought to one list of names.

    Raises:
        DataError: a column of types that do not go together, or that declares classes in one file
            and holds bare numbers in another.
    """
    if len(tables) == 1:
        return tables[0]
    features = [features_of(table) for table in tables]
    same = [plain_table(table).replace_schema_metadata(None) for table in tables]
    kept: dict[str, Any] = {}
    for name in dict.fromkeys(name for table in same for name in table.column_names):
        there = [place for place, table in enumerate(same) if name in table.column_names]
        parts = [same[place][name] for place in there]
        found = [features[place].get(name, {}) for place in there]
        where = [files[place] for place in there]
        feature = next(filter(None, found), None)
        names = [each.get("names") if each.get("_type") == "ClassLabel" else None for each in found]
        if any(each != names[0] for each in names):
            parts, feature = _of_one_list(name, parts, names, where)
        if feature:
            kept[name] = feature
        for place, part in zip(there, _of_one_type(name, parts, where), strict=True):
            index = same[place].column_names.index(name)
            same[place] = same[place].set_column(index, name, part)
    note = {"huggingface": json.dumps({"info": {"features": kept}})} if kept else None
    return pa.concat_tables(same, promote_options="default").replace_schema_metadata(note)


def _of_one_list(
    name: str,
    parts: list[ArrowColumn],
    names: list[list[str] | None],
    files: list[str],
) -> tuple[list[ArrowColumn], Any]:
    """Codes of one list of class names and that list's feature, or names where a file has names."""
    texts = any(pa.types.is_large_string(part.type) for part in parts)
    every = list(dict.fromkeys(each for known in names for each in known or ()))
    found: list[ArrowColumn] = []
    for part, known, file in zip(parts, names, files, strict=True):
        if pa.types.is_null(part.type) or pa.types.is_large_string(part.type):
            found.append(part)
            continue
        if known is None:
            raise DataError(
                f"data: column '{name}' of {file} holds {part.type} and declares no classes, and "
                f"another file declares {', '.join(every[:6])}. Write names into both"
            )
        codes = part.cast(pa.int64())
        if len(part) and not -1 <= (pc.min(codes).as_py() or 0) <= (
            pc.max(codes).as_py() or 0
        ) < len(known):
            raise DataError(
                f"data: column '{name}' of {file} holds {pc.min_max(codes).as_py()}, but the "
                f"file declares {len(known)} classes. Correct the labels or the declaration"
            )
        values = [None, *known] if texts else [-1, *map(every.index, known)]  # -1 is no label
        table = pa.array(values, pa.large_string() if texts else pa.int64())
        found.append(pa.chunked_array([table.take(pc.add(codes, 1).combine_chunks())]))
    return found, None if texts else {"names": every, "_type": "ClassLabel"}


def _of_one_type(name: str, parts: list[ArrowColumn], files: list[str]) -> list[ArrowColumn]:
    if any(pa.types.is_integer(part.type) for part in parts):
        parts = [_whole(part) for part in parts]
    try:
        schemas = [pa.schema([(name, part.type)]) for part in parts]
        kind = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
        return [part.cast(kind) for part in parts]
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        held: dict[str, str] = {}
        for part, file in zip(parts, files, strict=True):
            held.setdefault(str(part.type).removeprefix("large_"), file)
        shown = " and ".join(f"{kind} in {file}" for kind, file in held.items())
        raise DataError(
            f"data: the files have different columns: '{name}' holds {shown}. Give values of one "
            "type, or name one file"
        ) from None


def _whole(part: ArrowColumn) -> ArrowColumn:
    """Floats as integers, NaN as nothing, where all are whole: what pandas makes of gaps."""
    if not pa.types.is_floating(part.type):
        return part
    present = pc.if_else(pc.is_nan(part), None, part)
    try:
        return present.cast(pa.int64())
    except pa.ArrowInvalid:
        return part
