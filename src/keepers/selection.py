"""`Selection`: which examples were kept, in what order, and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from keepers.errors import DataError, RunError
from keepers.files import atomic_path

ArrowTable = Any  # pyarrow has no type stubs
COLUMNS = ("id", "row", "label", "kept", "rank", "score", "weight", "reason")
_METADATA_KEY = b"keepers"


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """One row for each example of the input, and the kept ones in pick order.

    `table` has the columns `id, row, label, kept, rank, score, weight, reason` in the order of
    the input. `rank` counts from 0 in pick order and is null where an example is not kept;
    `score` is null where the method has none; `weight` is 0 where an example is not kept.
    `metadata` says how it came about: method, budget, seed, models, fingerprints, costs.
    `evidence` is what a report shows; it is there after a run and not after `read_parquet`.
    """

    table: ArrowTable
    metadata: dict[str, Any]
    evidence: Any = None

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return (
            f"Selection(kept={len(self)} of {self.table.num_rows}, "
            f"method={self.metadata.get('method')!r}, seed={self.metadata.get('seed')!r})"
        )

    @property
    def kept(self) -> ArrowTable:
        """The kept rows of `table`, in pick order."""
        return self.table.filter(self.table["kept"]).sort_by("rank")

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Row numbers of the kept examples, in pick order."""
        return self.kept["row"].to_numpy().copy()

    @property
    def ids(self) -> list[Any]:
        """Ids of the kept examples, in pick order."""
        return self.kept["id"].to_pylist()

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Scores of the kept examples, in pick order; NaN where the method has none."""
        return self.kept["score"].to_numpy(zero_copy_only=False).astype(np.float64)

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """Weights of the kept examples, in pick order."""
        return self.kept["weight"].to_numpy().copy()

    def subset(self, dataset: Any) -> Any:
        """The kept rows of `dataset` in pick order, as the same kind of data set.

        `dataset` is what was selected from: an Arrow table, a pandas or polars frame, a Hugging
        Face data set, a NumPy array, a tensor, a tuple of arrays, a list, or any map-style
        PyTorch data set (which becomes a `torch.utils.data.Subset`).

        Raises:
            DataError: its length is not that of the selection's input.
        """
        rows = self.metadata["data"]["rows"]
        for part in dataset if isinstance(dataset, tuple) else (dataset,):
            if len(part) != rows:
                raise DataError(
                    f"dataset: got {len(part)} rows, but the selection was made from {rows}. "
                    "Pass the data set that was selected from"
                )
        return _take(dataset, self.indices)

    def to_parquet(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write `table`, with `metadata` in the file's own metadata, atomically.

        Raises:
            RunError: `path` exists and `overwrite` is false.
        """
        return write_table(self.table, self.metadata, path, overwrite=overwrite)

    @classmethod
    def read_parquet(cls, path: str | Path) -> Selection:
        """Read what `to_parquet` wrote.

        Raises:
            RunError: missing, unreadable, or not a selection.
        """
        try:
            table = pq.read_table(path)
        except FileNotFoundError:
            raise RunError(f"selection: {path} does not exist") from None
        except (pa.ArrowInvalid, OSError) as error:
            raise RunError(f"selection: {path} is not a readable Parquet file ({error})") from None
        note = (table.schema.metadata or {}).get(_METADATA_KEY)
        if note is None or tuple(table.column_names) != COLUMNS:
            raise RunError(f"selection: {path} was not written by keepers coreset")
        return cls(table=table, metadata=json.loads(note))


def write_table(
    table: ArrowTable, metadata: dict[str, Any], path: str | Path, *, overwrite: bool
) -> Path:
    """Write a table as Parquet, with `metadata` in the file's own metadata, atomically."""
    path = Path(path)
    note = json.dumps(metadata, ensure_ascii=False).encode()
    with atomic_path(path, overwrite=overwrite) as partial:
        pq.write_table(
            table.replace_schema_metadata({_METADATA_KEY: note}), partial, compression="zstd"
        )
    return path


def _take(dataset: Any, rows: npt.NDArray[np.int64]) -> Any:
    if isinstance(dataset, tuple):
        return tuple(_take(part, rows) for part in dataset)
    if isinstance(dataset, pa.Table):
        return dataset.take(pa.array(rows))
    if isinstance(dataset, list):
        return [dataset[row] for row in rows]
    if hasattr(dataset, "iloc"):  # pandas
        return dataset.iloc[rows]
    if hasattr(dataset, "select") and hasattr(dataset, "features"):  # Hugging Face datasets
        return dataset.select(rows)
    if isinstance(dataset, np.ndarray) or hasattr(dataset, "is_contiguous"):
        return dataset[rows]
    if hasattr(dataset, "with_row_index"):  # polars
        return dataset[rows]
    from torch.utils.data import Subset

    return Subset(dataset, rows.tolist())
