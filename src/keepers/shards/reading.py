"""How every shard is read: settled on the first one, and held against each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from keepers.choices import Header, OnBadRow
from keepers.data.arrow import ArrowTable, ArrowType
from keepers.data.columns import find_columns, told
from keepers.data.guesses import is_list
from keepers.data.label_column import LABEL_NAMES
from keepers.data.labels import Missing, NoClassesError, is_single, read_labels
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
    somebody brings. `labelled`: rows without a label are left out. `notes` is what is to be said.
    """

    columns: Columns
    kind: Kind | None
    scores: str | None
    types: tuple[tuple[str, str], ...]
    first: str
    on_bad_row: OnBadRow
    labelled: bool = False
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are needed."""
        return tuple(name for name, _ in self.types)

    def identity(self) -> Any:
        """What results on a shard depend on."""
        return plain([self.columns, self.kind, self.scores, self.on_bad_row, self.labelled])

    def material(self, shard: Shard, path: Path, *, whole: bool = False) -> Material:
        """The rows of a shard: the columns that are needed, or all. One without rows may lack them.

        Raises:
            DataError: it cannot be read, or has other columns than the first shard.
        """
        header, skip = self.columns.header, self.on_bad_row == "skip"
        material = _material(shard, path, header, None if whole else self.names, skip)
        if not material.table.num_rows:
            whole_one = _material(shard, path, header, None, skip)
            if not whole_one.table.num_rows:
                return whole_one
        for name, family in self.types:
            if name not in material.table.column_names:
                raise DataError(
                    f"data: the shard {shard.name} has no column '{name}', but {self.first} has. "
                    "Give shards of one schema, or leave it out of the data"
                )
            kind = material.table.schema.field(name).type
            if not pa.types.is_null(kind) and family not in (_family(kind), _NOTHING):
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
    unlabelled: str = "",
) -> Reading:
    """Which columns are taken, by the first shard that has rows.

    `unlabelled` says how to do without the labels that are needed, for an error; "" if one cannot.

    Raises:
        DataError: not one shard has rows.
        ParameterError: a column that is not there, or several that could be meant.
    """
    skip = on_bad_row == "skip"
    shard, material = _first(shards, header, skip)
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
    notes: tuple[str, ...] = ()
    if columns.label is not None and (problem := _no_classes(table, columns.label)):
        if needs_labels or label is not None:
            remedies = ["bin numbers", "name another column"]
            if needs_labels:
                remedies += [*([unlabelled] if unlabelled else []), "leave --shards out"]
            else:
                remedies += ["leave --label out (label=None), as no label is needed here"]
            raise ParameterError(
                "label",
                f"got '{columns.label}', which holds {problem}",
                f"By shard, labels are classes: {', '.join(remedies[:-1])}, or {remedies[-1]}",
            )
        notes = (f"not used: '{columns.label}', which holds {problem}, not classes",)
        columns = replace(columns, label=None)
    if needs_labels and columns.label is None:
        raise ParameterError("label", "the data have no labels", "Name the column with --label")
    taken = (*columns.input, columns.label, columns.id, features, scores)
    names = list(dict.fromkeys(name for name in taken if name is not None))
    families = {name: _family(table.schema.field(name).type) for name in names}
    for other in shards if _NOTHING in families.values() else ():
        with local_copy(other) as path:
            schema = _material(other, path, header, names, skip).table.schema
        for name in names:
            if families[name] == _NOTHING and name in schema.names:
                families[name] = _family(schema.field(name).type)
        if _NOTHING not in families.values():
            break
    return Reading(
        columns=replace(columns, label_named=label is not None, header=header),
        kind=kind,
        scores=scores,
        types=tuple(families.items()),
        first=shard.name,
        on_bad_row=on_bad_row,
        labelled=needs_labels and skip,
        notes=notes,
    )


def _first(shards: Sequence[Shard], header: Header, skip: bool) -> tuple[Shard, Material]:
    for shard in shards:
        with local_copy(shard) as path:
            material = _material(shard, path, header, None, skip)
        if material.table.num_rows:
            return shard, material
    raise DataError(f"data: none of the {len(shards):,} shards has a row. Give data with rows")


def _material(
    shard: Shard, path: Path, header: Header, columns: Sequence[str] | None, skip: bool
) -> Material:
    bad: dict[int, str] = {}
    table = read_table(path, header=header, columns=columns, bad=bad if skip else None)
    return Material(name=shard.name, table=table, root=path.parent, bad=bad).plain()


def _no_classes(table: ArrowTable, label: str) -> str:
    """What a column holds that cannot be read as classes; nothing where it can."""
    if label not in table.column_names:
        return "several labels, in columns"
    if is_list(table.schema.field(label).type):
        return "" if is_single(table[label]) else "several labels or numbers in each row"
    try:
        read_labels(table[label], label, missing=Missing(required=False))
    except NoClassesError as error:
        return error.held
    except DataError:
        return "values that cannot be read as classes"
    return ""


def declared_classes(material: Material, label: str) -> list[str] | None:
    """The names of classes that a file declares for integers."""
    feature = features_of(material.table).get(label, {})
    return feature.get("names") if feature.get("_type") == "ClassLabel" else None


_NOTHING = "null"
"""The family of a column that holds nothing; that of a shard that holds something counts."""


def _family(kind: ArrowType) -> str:
    """Types that are read in the same way."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numbers"
    if is_list(kind):
        return f"lists of {_family(kind.value_type)}"
    return str(kind).removeprefix("large_")
