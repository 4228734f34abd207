"""Rows of a material to ids and digests, in canonical order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.data import ids
from keepers.data.arrow import compute as pc
from keepers.data.inputs import PictureFiles, RawInputs, digests
from keepers.data.material import Material
from keepers.data.source import Columns
from keepers.types import Progress


@dataclass(frozen=True, kw_only=True, eq=False)
class Hashed:
    """Rows (n,) in the order of their sorted ids, and beside them their ids and digests.

    `repeats` counts rows with the input of another, `unread` are those that could not be read.
    """

    rows: npt.NDArray[np.int64]
    ids: npt.NDArray[Any]
    digests: npt.NDArray[np.bytes_]
    repeats: int
    unread: dict[int, str] = field(default_factory=dict[int, str])

    def take(self, places: npt.NDArray[np.int64]) -> Hashed:
        """Those at some places."""
        return Hashed(
            rows=self.rows[places],
            ids=self.ids[places],
            digests=self.digests[places],
            repeats=self.repeats,
        )

    def places(self, rows: Iterable[int]) -> list[int]:
        """Where some rows stand."""
        wanted = list(rows)
        if not wanted:
            return []
        place = np.empty(len(self.rows), dtype=np.int64)
        place[self.rows] = np.arange(len(self.rows))
        return place[wanted].tolist()


def hashed(
    material: Material,
    inputs: RawInputs,
    columns: Columns,
    progress: Progress | None,
    bad: dict[int, str] | None = None,
) -> Hashed:
    """Hash the inputs, and make the ids; rows without a key are noted as `bad` where it is given.

    Raises:
        DataError: keys that are missing or not unique.
    """
    hashes, unread = digests(inputs, progress)
    table = material.table
    if columns.id is not None:
        names: Any = ids.key_ids(table[columns.id], columns.id, bad)
    else:
        beside = [name for name in table.column_names if name not in columns.input]
        if isinstance(material.inputs, PictureFiles):
            beside = [name for name in beside if name == columns.label]
        names = ids.content_ids(hashes, table.select(beside), columns.label)
    rows = ids.id_order(names)
    return Hashed(
        rows=rows,
        ids=names[rows],
        digests=hashes[rows],
        repeats=num_repeats(hashes),
        unread=unread,
    )


def num_repeats(hashes: npt.NDArray[np.bytes_]) -> int:
    """How many rows have the input of another before them."""
    return len(hashes) - pc.count_distinct(pa.array(hashes)).as_py()
