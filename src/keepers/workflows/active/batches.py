"""A batch: what to label next, and the file of it that people fill in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from keepers.campaign import Planned, State
from keepers.campaign.records import inert_cells
from keepers.workflows.active.labelled import (
    check_no_data,
    id_column,
    input_columns,
    label_columns,
    write_as_suffix_says,
)
from keepers.workflows.active.opening import Holdings


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What to label next: ids in the order to label them.

    `facts` say what is known of the proxy that chose; `again` that this batch was planned before.
    """

    round: int
    ids: tuple[int | str, ...]
    method: str
    facts: Mapping[str, Any]
    again: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, planned: Planned, *, again: bool = False) -> Self:
        """The batch that a round planned."""
        return cls(
            round=planned.round,
            ids=tuple(each.item for each in planned.items),
            method=planned.method,
            facts=planned.facts,
            again=again,
        )


def untouched(state: State) -> Planned | None:
    """The last batch, if nothing of it was answered or sent."""
    if not state.rounds:
        return None
    last = state.rounds[-1]
    before = set(last.facts.get("answered", ()))
    items = [state.item(each.item) for each in last.items if each.item not in before]
    fresh = all(item.status == "planned" and not item.votes for item in items)
    return last if items and fresh else None


def write_batch(state: State, holdings: Holdings, batch: Batch, out: Path, overwrite: bool) -> Path:
    """Write `id`, `rank`, the input, an empty `label` and what leads back to the files.

    Parquet, CSV or JSON lines by the suffix of `out`; no cell of CSV is a formula. In CSV several
    numbers have a column each. Control items are not told apart, so that nobody labels them
    otherwise.
    """
    check_no_data(state, out)
    flat = out.suffix.lower() == ".csv"
    placed = {item: holdings.position(item) for item in batch.ids}
    places = [place for place in placed.values() if place is not None]
    ids = [item for item, place in placed.items() if place is not None]
    table = pa.table(
        {
            "id": id_column(holdings.source, ids),
            "rank": pa.array(range(len(ids)), pa.int64()),
            **input_columns(holdings.source, places, state.question.names if flat else None),
            **label_columns(state, [state.item(item).label for item in ids], flat=flat),
            **holdings.source.where.columns(holdings.source.rows[places]),
        }
    )
    if flat:
        table = inert_cells(table)  # people open it in a spreadsheet
    return write_as_suffix_says(table, holdings.source, out, overwrite=overwrite)
