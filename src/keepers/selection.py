"""`Selection`: which examples were kept, in what order, and why."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from keepers.errors import DamagedError, DataError, KeepersWarning, RunError
from keepers.sealed import ArrowTable, read_table, write_table

COLUMNS = ("id", "row", "label", "kept", "rank", "score", "weight", "reason")
_SHOWN, _BINS = 12, 40  # classes and bars in a notebook
_DAMAGED = (
    "Make it again with the same command, or restore a copy. If you changed the table yourself "
    "in pyarrow, write it without the old schema metadata"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """One row for each example of the input, and the kept examples in pick order.

    `table` has the columns `id, row, label, kept, rank, score, weight, reason` in the order of
    the input. Further columns lead back to files: `path` for pictures, `file` and
    `file_row` (from 0) for several files, `line` (from 1) for CSV and JSON lines.
    `rank` counts from 0 in pick order, and is null if the example is not kept;
    `score` is null if the method has none; `weight` is 0 if the example is not kept.
    `metadata` says how the selection was made: method, budget, seed, models, fingerprints, costs.
    `evidence` is the content of a report; it exists after a run, but not after `read_parquet`.
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
        """Scores of the kept examples, in pick order; NaN if the method has none."""
        return self.kept["score"].to_numpy(zero_copy_only=False).astype(np.float64)

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """Weights of the kept examples, in pick order."""
        return self.kept["weight"].to_numpy().copy()

    @property
    def weighted(self) -> bool:
        """Whether the kept examples have weights other than 1."""
        return bool((self.weights != 1).any())

    def subset(self, dataset: Any) -> Any:
        """The kept rows of `dataset` in pick order, as the same type of data set.

        `dataset` holds the data of the selection in any order, possibly with more or fewer rows: an
        Arrow table, a pandas or polars frame, a Hugging Face data set, a NumPy array, a tensor, a
        tuple of arrays (the first holds the inputs), a list, or any map-style PyTorch data set
        (which becomes a `torch.utils.data.Subset`). Rows are found by their keys, or by the
        hash of their inputs, for which all rows are read once. A warning says how many are missing.

        If the rows cannot be recognised (transformed inputs, for example), use `indices`.

        Raises:
            KeepersError: the data set cannot be read, or holds no kept example.
        """
        from keepers.data.matching import matching_rows  # reading takes long to import

        if isinstance(dataset, str | os.PathLike | Mapping):
            raise DataError(
                f"dataset: got {type(dataset).__name__}, which has no rows to select. Read it "
                "first, for example pandas.read_csv(path), or take one split; `keepers coreset "
                "--export` writes the kept rows of files"
            )
        if isinstance(dataset, tuple) and len(lengths := {len(part) for part in dataset}) > 1:
            raise DataError(
                f"dataset: got arrays of {', '.join(map(str, sorted(lengths)))} rows. Give arrays "
                "of one length"
            )
        ranks = self.table["rank"].fill_null(self.table.num_rows).to_numpy()
        wanted = np.argsort(ranks, kind="stable")[: len(self)]
        about = self.metadata.get("data")
        if about is None:
            raise DataError(
                "dataset: the selection was written by another program, so the meaning of its "
                "ids is unknown. Take the rows yourself, by selection.indices or selection.ids"
            )
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
                f"dataset: it has none of the {len(self):,} kept examples, which are identified "
                f"by {by}. Pass the data of the selection ({about['name']}), in any order; if "
                "the rows are in the same order but have other inputs (transformed ones), take "
                "them by number: selection.indices"
            )
        if missing:
            warnings.warn(
                f"dataset: {missing:,} of the {len(self):,} kept examples are not in it",
                stacklevel=2,
            )
        return _take(dataset, rows[rows >= 0])

    def to_pandas(self) -> Any:
        """The table as a pandas frame, in the order of the input.

        Raises:
            RunError: pandas is not installed.
        """
        try:
            return self.table.to_pandas()
        except ModuleNotFoundError:
            raise RunError("to_pandas: pandas is not installed. pip install pandas") from None

    def _repr_html_(self) -> str:
        """What a notebook shows: counts, the classes, and how scores are spread."""
        about = self.metadata
        said = about["method"], about["seed"], about["data"]["name"]
        by, seed, name = (escape(str(each)) for each in said)
        lines = [
            f"<b>{len(self):,} of {self.table.num_rows:,} examples kept</b> by {by}, seed {seed}, "
            f"of {name}"
        ]
        names = self.table["label"].value_counts().to_pylist()
        of_kept = self.kept["label"].value_counts().to_pylist()
        chosen = {each["values"]: each["counts"] for each in of_kept}
        rows = [
            f"<tr><td>{escape(str(each['values']))}</td>"
            f"<td>{chosen.get(each['values'], 0):,}</td><td>{each['counts']:,}</td></tr>"
            for each in sorted(names, key=lambda each: -each["counts"])
            if each["values"] is not None
        ]
        more = f"<tr><td>and {len(rows) - _SHOWN} more</td></tr>" if len(rows) > _SHOWN else ""
        if not rows:
            return f"<div>{''.join(lines)}{self._spread()}</div>"
        head = "<tr><th>class</th><th>kept</th><th>of</th></tr>"
        lines.append(f"<table>{head}{''.join(rows[:_SHOWN])}{more}</table>")
        return f"<div>{''.join(lines)}{self._spread()}</div>"

    def _spread(self) -> str:
        """A histogram of the scores as SVG, the kept ones dark; nothing where there are none."""
        scores = self.table["score"].to_numpy().astype(np.float64)
        known = np.isfinite(scores)
        if not known.any():
            return ""
        is_kept = self.table["kept"].to_numpy()
        edges = np.histogram_bin_edges(scores[known], _BINS)
        every, _ = np.histogram(scores[known], edges)
        dark, _ = np.histogram(scores[known & is_kept], edges)
        bars = "".join(
            f'<rect x="{8 * place}" y="{80 - height:.1f}" width="7" height="{height:.1f}" '
            f'fill="{colour}"/>'
            for counts, colour in ((every, "#bbb"), (dark, "#2563a8"))
            for place, height in enumerate(80 * counts / every.max())
        )
        words = f"scores from {edges[0]:.3g} to {edges[-1]:.3g}; kept ones dark"
        return f'<svg width="{8 * _BINS}" height="80" role="img">{bars}</svg><div>{words}</div>'

    def to_parquet(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write `table`, with `metadata` in the file's own metadata, atomically.

        Raises:
            RunError: `path` exists and `overwrite` is false.
        """
        return write_table(Path(path), self.table, self.metadata, overwrite=overwrite)

    @classmethod
    def read_parquet(cls, path: str | Path) -> Selection:
        """Read a file of `to_parquet`, or a selection that you changed and wrote yourself.

        A table that another program wrote (pandas, polars) has no checksum and no `metadata`. Its
        columns are checked and used unchanged, with a warning.

        Raises:
            DamagedError: the file is not as `to_parquet` wrote it.
            RunError: the file is missing, unreadable, or not a selection.
        """
        try:
            table, note = read_table(Path(path), "selection", _DAMAGED)
        except FileNotFoundError:
            raise RunError(f"selection: {path} does not exist") from None
        except DamagedError:
            raise
        except (DataError, OSError) as error:
            raise RunError(f"selection: {path} is not a readable Parquet file ({error})") from None
        if not set(COLUMNS) <= set(table.column_names):
            raise RunError(f"selection: {path} was not written by keepers coreset")
        if note is None:
            table, note = _rewritten(table, path), {"method": None}
        return cls(table=table, metadata=note)


def _rewritten(table: ArrowTable, path: str | Path) -> ArrowTable:
    """A selection that another program wrote, with the types of one of ours."""
    types = {"row": pa.int64(), "kept": pa.bool_(), "rank": pa.int64(), "weight": pa.float64()}
    for name, kind in types.items():
        try:
            column = table[name].cast(kind)  # pandas has floats where values are missing
        except pa.ArrowInvalid as error:
            raise RunError(f"selection: column '{name}' of {path}: {error}. Correct it") from None
        table = table.set_column(table.column_names.index(name), name, column)
    kept = table.filter(pc.fill_null(table["kept"], False))
    for name, part in {"id": table, "row": table, "rank": kept}.items():
        values = part[name]
        if values.null_count or len(values.unique()) < len(values):
            of_what = "a kept example" if name == "rank" else "a row"
            raise RunError(
                f"selection: in column '{name}' of {path} {of_what} has no value, or the same as "
                "another. Give each its own"
            )
    weights = kept["weight"].to_numpy()
    if table["kept"].null_count or not bool((np.isfinite(weights) & (weights >= 0)).all()):
        raise RunError(f"selection: {path} lacks a 'kept' or a 'weight' of 0 or more. Correct it")
    warnings.warn(
        f"selection: {path} was written by another program: its ids, rows, ranks and weights are "
        "used unchanged, and how it was made is unknown",
        KeepersWarning,
        stacklevel=3,
    )
    return table


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
