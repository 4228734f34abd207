"""Which column is the input, which the label: told, or found and said."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from keepers.data.arrow import ArrowTable
from keepers.data.arrow import compute as pc
from keepers.data.guesses import is_flag, is_number
from keepers.data.label_column import flags_of, label_by_name, label_by_values
from keepers.data.looks import (
    MEASURED,
    NUMBERS,
    SAMPLE,
    is_brief,
    is_category,
    is_counter,
    is_key,
    is_like,
    is_numbers,
    is_path,
    is_prose,
    is_vector,
    tells,
    written_beside,
)
from keepers.data.material import Material
from keepers.data.source import Columns
from keepers.data.targets import label_columns
from keepers.errors import AmbiguousError, ParameterError, ambiguous, unknown_name
from keepers.types import Kind

_NARROW = 8  # numbers in a list that is no embedding
_AMOUNTS = 3  # columns of numbers that may be what a row is about, rather than said beside it
_NO_PROSE = (
    NUMBERS,
    r"^(data:[\w/+.-]+;base64,)?[A-Za-z0-9+/_-]{64,}={0,2}$",  # base64
    r"^([A-Za-z]\w*://)?[^\s,;!?]+\.[A-Za-z]\w{1,4}$",  # the name of a file
    r"^[A-Za-z]\w*://\S+$",
    r"^[0-9A-Fa-f-]{16,}$",  # a hash
    r"^\d{4}-\d\d-\d\d([T ]\S+)?$",  # a date
    r"(?s)^\s*(\{.*\}|\[\s*[\[{\"].*\])\s*$",  # JSON
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the user said about the columns; `brought`: features, in a column or beside them."""

    input: tuple[str, ...] = ()
    label: str | None = None
    id: str | None = None
    group: str | None = None
    features: str | None = None
    quality: str | None = None
    brought: bool = False


def told(
    table: ArrowTable, inputs: str | Sequence[str] | None, label: str | None, **other: Any
) -> Told:
    """Read the columns the user named; a comma separates several inputs.

    Raises:
        ParameterError: a column that is not there, with the nearest one that is.
    """
    names = [inputs] if isinstance(inputs, str) else list(inputs or ())
    if len(names) == 1 and names[0] not in table.column_names:
        names = [name.strip() for name in names[0].split(",")]
    said = Told(input=tuple(names), label=label, **other)
    labels = [] if label is None else label_columns(label, table)
    for parameter, chosen in (
        *(("input", name) for name in said.input),
        *(("label", name) for name in labels),
        ("id", said.id),
        ("group", said.group),
        ("quality", said.quality),
    ):
        if chosen is not None and chosen not in table.column_names:
            raise unknown_name(parameter, chosen, table.column_names)
    if said.label is not None and said.label in said.input:
        raise ParameterError("label", f"got '{said.label}', which is also the input", "Name two")
    return said


def find_columns(material: Material, said: Told, *, require_labels: bool) -> tuple[Columns, Kind]:
    """The columns to take, and the kind of input they hold.

    Raises:
        ParameterError: no column, or several, could be meant; they are listed.
    """
    several = [] if said.label is None else label_columns(said.label, material.table)
    set_apart = (said.id, said.group, said.label, said.features, said.quality, *several)
    free = [n for n in material.table.column_names if n not in set_apart]
    strict = require_labels or not said.input
    label = said.label or label_by_name(material, [n for n in free if n not in said.input], strict)
    rest = [name for name in free if name != label]
    if material.kind is not None:
        inputs, kind = (material.input_name,), material.kind
    elif said.input:
        inputs, kind = said.input, kind_of(material, said.input)
    else:
        inputs, kind, label = _find_input(material, rest, label, said, require_labels)
    if label is None:
        left = [name for name in rest if name not in inputs]
        label = flags_of(material, left, kind) if require_labels else None
        label = label or label_by_values(material, left, require_labels)
    found = Columns(input=inputs, label=label, id=said.id, group=said.group, features=said.features)
    return found, kind


def _find_input(
    material: Material,
    names: Sequence[str],
    label: str | None,
    said: Told,
    require_labels: bool,
) -> tuple[tuple[str, ...], Kind, str | None]:
    """The input; where features are brought, vectors are it only if nothing else is."""
    strong: list[tuple[Callable[[Material, str], bool], Kind]] = [(_is_picture, "image")]
    if not said.brought:
        strong.append((_is_vector, "vector"))
    for accepts, kind in strong:
        fitting = [name for name in names if accepts(material, name)]
        held = [name for name in fitting if not is_path(material.table[name])]
        fitting = held or fitting  # paths beside the pictures themselves say where they are from
        if kind == "vector" and _are_beside_a_text(material, names, fitting):
            continue
        if len(fitting) > 1:
            raise ambiguous("input", fitting)
        if fitting:
            return (fitting[0],), kind, label
    texts = _texts(material, names)
    if texts:
        kind = "vector" if is_numbers(material.table[texts[0]]) else "text"
        if kind == "text" and not said.brought:
            _check_no_name(material, texts[0], [name for name in names if name != label])
        return (texts[0],), kind, label
    if said.features is not None:
        return (said.features,), "vector", label
    if said.brought:
        fitting = [name for name in names if _is_vector(material, name)]
        if fitting:
            return (fitting[0],), "vector", label
    if label is None:
        # The numbers beside the label are the features, so the label has to be known first.
        label = label_by_values(material, names, required=require_labels)
    chosen = tuple(_numbers(material, [name for name in names if name != label]))
    if not chosen:
        raise ParameterError(
            "input",
            f"no column of {material.name} looks like a picture, a text or numbers; the columns "
            "are: " + ", ".join(map(_with_fields, material.table.schema)),
            "Name it with --input (input=...); values within objects need columns of their own",
        )
    return chosen, "vector", label


def _numbers(material: Material, names: Sequence[str]) -> list[str]:
    """The columns of numbers that do not number the rows."""
    beside = written_beside(material.table.column_names)
    columns = {name: material.table[name] for name in names if name not in beside}
    return [
        name
        for name, each in columns.items()
        if is_number(each.type) and not (is_key(each, name) or is_counter(each))
    ]


def _check_no_name(material: Material, text: str, names: Sequence[str]) -> None:
    """Refuse to guess where a text may be the name of what several columns of numbers tell of."""
    numbers = _numbers(material, names)
    amounts = [n for n in numbers if n not in MEASURED and not is_flag(material.table[n])]
    if len(amounts) >= _AMOUNTS and is_brief(material.table[text]):
        raise AmbiguousError(
            "input",
            f"the texts of '{text}' are as brief as names, and {len(numbers)} columns hold numbers",
            f"Name the text, --input {shlex.quote(text)}, or the numbers: --input "
            f"{shlex.quote(','.join(numbers))} (input=...)",
        )


def _with_fields(field: Any) -> str:
    inside = [each.name for each in field.type] if pa.types.is_struct(field.type) else []
    return f"{field.name} (objects of {', '.join(inside)})" if inside else field.name


def _texts(material: Material, names: Sequence[str]) -> list[str]:
    """The columns that may be the text, the longest first; others only where none is prose.

    A column whose texts are all the same, or mostly missing, is left out where there are other
    texts, or numbers.
    """
    lengths: dict[str, float] = {}
    numbers = any(
        is_number(material.table[name].type) and not is_key(material.table[name], name)
        for name in names
    )
    for name in names:
        column = material.table[name]
        is_text = pa.types.is_large_string(column.type) and not is_category(column)
        if is_text and not is_key(column, name) and (is_prose(column) or not numbers):
            lengths[name] = pc.mean(pc.utf8_length(column.slice(0, SAMPLE))).as_py() or 0.0
    telling = {name: length for name, length in lengths.items() if tells(material.table[name])}
    lengths = telling if telling or numbers else lengths
    prose = [name for name in lengths if not is_like(material.table[name], *_NO_PROSE)]
    order = sorted(prose or lengths, key=lambda name: -lengths[name])
    if len(order) > 1 and lengths[order[1]] > lengths[order[0]] / 2:
        raise ambiguous("input", order)
    return order


def kind_of(material: Material, names: Sequence[str]) -> Kind:
    """The kind of input that some columns hold together.

    Raises:
        ParameterError: several columns that are not all numbers, or one of another type.
    """
    if all(is_number(material.table[name].type) for name in names):
        return "vector"
    if len(names) == 1:
        if _is_picture(material, names[0]):
            return "image"
        if _is_vector(material, names[0]) or is_numbers(material.table[names[0]]):
            return "vector"
    if all(pa.types.is_large_string(material.table[name].type) for name in names):
        return "text"
    types = ", ".join(f"'{name}' ({material.table[name].type})" for name in names)
    raise ParameterError(
        "input",
        f"got {types}, which cannot be read",
        "Name one column of pictures, texts or lists of numbers, or several of numbers or texts",
    )


def _is_picture(material: Material, name: str) -> bool:
    if material.features.get(name, {}).get("_type") == "Image":
        return True
    column = material.table[name]
    kind = column.type
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return is_path(column) and material.root is not None


def _is_vector(material: Material, name: str) -> bool:
    return is_vector(material.table[name].type)


def _are_beside_a_text(material: Material, names: Sequence[str], vectors: Sequence[str]) -> bool:
    """Whether lists of a few numbers stand beside a text: places in it, or what some rows have."""
    parts = [material.table[name].slice(0, SAMPLE) for name in vectors]
    widest = [pc.max(pc.list_value_length(part)).as_py() or 0 for part in parts]
    return all(width <= _NARROW for width in widest) and any(
        is_prose(material.table[name]) for name in names
    )
