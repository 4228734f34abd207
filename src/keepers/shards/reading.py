"""How every shard is read: settled on the first one, and held against each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from keepers.choices import Header, OnBadRow
from keepers.data.arrow import ArrowTable, ArrowType
from keepers.data.columns import LABEL_NAMES, find_columns, told
from keepers.data.guesses import is_list
from keepers.data.material import Material, features_of
from keepers.data.readers import read_table
from keepers.data.source import Columns
from keepers.errors import DataError, ParameterError
from keepers.files import plain
from keepers.shards.places import Shard, local_copy
from keepers.types import Kind
from keepers.words import remedy


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The columns that are read of every shard, and their types, as the `first` one has them.

    `kind` is that of the inputs; None where nobody needs them. `scores` is a column of scores that
    somebody brings.
    """

    columns: Columns
    kind: Kind | None
    scores: str | None
    types: tuple[tuple[str, str], ...]
    first: str
    on_bad_row: OnBadRow

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are needed."""
        return tuple(name for name, _ in self.types)

    def identity(self) -> Any:
        """What results on a shard depend on."""
        return plain([self.columns, self.kind, self.scores, self.on_bad_row])

    def material(self, shard: Shard, path: Path, *, whole: bool = False) -> Material:
        """The rows of a shard: the columns that are needed, or all. One without rows may lack them.

        Raises:
            DataError: it cannot be read, or has other columns than the first shard.
        """
        material = _material(shard, path, self.columns.header, None if whole else self.names)
        if not material.table.num_rows:
            whole_one = _material(shard, path, self.columns.header, None)
            if not whole_one.table.num_rows:
                return whole_one
        for name, family in self.types:
            if name not in material.table.column_names:
                raise DataError(
                    f"data: the shard {shard.name} has no column '{name}', but {self.first} has. "
                    "Give shards of one schema, or leave it out of the data"
                )
            kind = material.table.schema.field(name).type
            if not pa.types.is_null(kind) and _family(kind) != family:
                raise DataError(
                    f"data: column '{name}' holds {kind} in the shard {shard.name}, but {family} "
                    f"in {self.first}. Give shards of one schema"
                )
        return material


def settle(
    shards: Sequence[Shard],
    *,
    input: str | Sequence[str] | None,
    label: str | None,
    id: str | None,
    features: str | None,
    scores: str | None,
    header: Header,
    on_bad_row: OnBadRow,
    needs_inputs: bool,
    needs_labels: bool,
) -> Reading:
    """Which columns are taken, by the first shard that has rows.

    Raises:
        DataError: not one shard has rows.
        ParameterError: a column that is not there, or several that could be meant.
    """
    shard, material = _first(shards, header)
    table = material.table
    for parameter, name in (("scores", scores), ("features", features)):
        if name is not None and name not in table.column_names:
            known = remedy(name, table.column_names, "Its columns are")
            problem = f"got '{name}', which is not a column of {material.name}"
            raise ParameterError(parameter, problem, known)
    rest = [name for name in table.column_names if name != scores or name == id]
    free = replace(material, table=table.select(rest))
    said = told(free.table, input, label, id=id, group=None, features=features)
    kind: Kind | None = None
    if needs_inputs or id is None or input is not None:
        brought = replace(said, brought=features is not None)
        columns, kind = find_columns(free, brought, require_labels=needs_labels)
    else:
        named = [
            name for name in rest if name.lower() in LABEL_NAMES and name not in (id, features)
        ]
        found = label or (named[0] if len(named) == 1 else None)
        columns = Columns(label=found, id=id, features=features)
    if columns.label is not None and "," in columns.label and columns.label not in rest:
        raise ParameterError(
            "label",
            f"got '{columns.label}', several columns",
            "By shard, only classes are supported",
        )
    if needs_labels and columns.label is None:
        raise ParameterError("label", "the data have no labels", "Name the column with --label")
    taken = (*columns.input, columns.label, columns.id, features, scores)
    names = list(dict.fromkeys(name for name in taken if name is not None))
    return Reading(
        columns=replace(columns, label_named=label is not None, header=header),
        kind=kind,
        scores=scores,
        types=tuple((name, _family(table.schema.field(name).type)) for name in names),
        first=shard.name,
        on_bad_row=on_bad_row,
    )


def _first(shards: Sequence[Shard], header: Header) -> tuple[Shard, Material]:
    for shard in shards:
        with local_copy(shard) as path:
            material = _material(shard, path, header, None)
        if material.table.num_rows:
            return shard, material
    raise DataError(f"data: none of the {len(shards):,} shards has a row. Give data with rows")


def _material(shard: Shard, path: Path, header: Header, columns: Sequence[str] | None) -> Material:
    table: ArrowTable = read_table(path, header=header, columns=columns)
    return Material(name=shard.name, table=table, root=path.parent).plain()


def declared_classes(material: Material, label: str) -> list[str] | None:
    """The names of classes that a file declares for integers."""
    feature = features_of(material.table).get(label, {})
    return feature.get("names") if feature.get("_type") == "ClassLabel" else None


def _family(kind: ArrowType) -> str:
    """Types that are read alike."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numbers"
    if is_list(kind):
        return f"lists of {_family(kind.value_type)}"
    return str(kind).removeprefix("large_")
