"""A batch as a file that people fill in: id, what to label, and an empty column for the label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from keepers.campaign import State
from keepers.workflows.active.labelled import (
    check_no_data,
    id_column,
    input_column,
    write_as_suffix_says,
)
from keepers.workflows.active.opening import Holdings


def write_batch(state: State, holdings: Holdings, batch: Any, out: Path, overwrite: bool) -> Path:
    """Write `id`, `rank`, the input and an empty `label`, in the order to label them.

    Parquet, CSV or JSON lines by the suffix of `out`. Control items are not told apart, so that
    nobody labels them otherwise.
    """
    check_no_data(state, out)
    places = [holdings.position[item] for item in batch.ids if item in holdings.position]
    ids = [item for item in batch.ids if item in holdings.position]
    name, values = input_column(holdings.source, places)
    table = pa.table(
        {
            "id": id_column(holdings.source, ids),
            "rank": pa.array(range(len(ids)), pa.int64()),
            name: values,
            "label": pa.array([state.item(item).label for item in ids], pa.string()),
        }
    )
    return write_as_suffix_says(table, holdings.source.kind, out, overwrite=overwrite)
