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
    the input, and behind them what leads back to files: `path` of a picture, `file` and
    `file_row` (from 0) where the data are several files, `line` (from 1) in CSV and JSON lines.
    `rank` counts from 0 in pick order and is null where an example is not kept;
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

        `dataset` holds what was selected from, in any order, with rows more or fewer: an Arrow
        table, a pandas or polars frame, a Hugging Face data set, a NumPy array, a tensor, a tuple
        of arrays (of which the first holds the inputs), a list, or any map-style PyTorch data set
        (which becomes a `torch.utils.data.Subset`). Its rows are found by their keys, or by the
        hash of their inputs, for which it is read once. A warning says how many are not there.

        For what cannot be read so (transformed inputs, weights) there is `indices`.

        Raises:
            KeepersError: it cannot be read, or holds no kept example.
        """
        import warnings

        from keepers.data.matching import matching_rows  # reading takes long to import

        if isinstance(dataset, tuple) and len(lengths := {len(part) for part in dataset}) > 1:
            raise DataError(
                f"dataset: got arrays of {', '.join(map(str, sorted(lengths)))} rows. Give arrays "
                "of one length"
            )
        ranks = self.table["rank"].fill_null(self.table.num_rows).to_numpy()
        wanted = np.argsort(ranks, kind="stable")[: len(self)]
        about = self.metadata["data"]
        rows = matching_rows(
            dataset,
            wanted.tolist(),
            ids=self.table["id"].to_pylist(),
            labels=self.table["label"].to_pylist(),
            columns=about["columns"],
        )
        missing = int((rows < 0).sum())
        if missing == len(self):
            known = about["columns"]["id"]
            by = f"the key in column '{known}'" if known else "the hash of their input"
            raise DataError(
                f"dataset: not one of the {len(self):,} kept examples is in it. They are known by "
                f"{by}. Pass the data that were selected from ({about['name']}), in any order; "
                "where its rows stand in that order but hold other inputs (transformed ones), take "
                "them by number: selection.indices"
            )
        if missing:
            warnings.warn(
                f"dataset: {missing:,} of the {len(self):,} kept examples are not in it",
                stacklevel=2,
            )
        return _take(dataset, rows[rows >= 0])

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
        if note is None or tuple(table.column_names[: len(COLUMNS)]) != COLUMNS:
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
