"""Scores without a selection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from keepers import methods, processes
from keepers.configuration import picked
from keepers.data import Header
from keepers.errors import ParameterError
from keepers.files import plain
from keepers.roles import OnBadRow, Role
from keepers.sealed import ArrowTable, write_table
from keepers.training import Precision
from keepers.types import Progress
from keepers.workflows.opening import Reading, Say, check_outputs, say_or_not, workplace
from keepers.workflows.scoring import CORESET_SIGNALS, CoresetConfig, score_source
from keepers.workflows.table import label_names, provenance, with_where


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """`table` has the columns id, row, label, score, in the order of the input."""

    table: ArrowTable
    metadata: dict[str, Any]

    def to_parquet(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write `table`, with `metadata` in the file's own metadata, atomically.

        Raises:
            RunError: `path` exists and `overwrite` is false.
        """
        return write_table(Path(path), self.table, self.metadata, overwrite=overwrite)


def score(
    data: Any,
    *,
    method: str = "entropy",
    proxy: str | Role | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    resolution: int | None = None,
    ensemble: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    input: str | None = None,
    label: str | None = None,
    id: str | None = None,
    split: str | None = None,
    header: Header = "auto",
    limit: int | None = None,
    on_bad_row: OnBadRow = "error",
    out: str | Path | None = None,
    overwrite: bool = False,
    run: str | Path | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Scores:
    """Score every example without selecting; higher would be selected first.

    The arguments are those of `keepers.coreset`. The proxy is trained as there, so a later
    `coreset` in the same run directory finds it. `out` is a Parquet file for the table.

    Raises:
        ParameterError: the method has no scores (`k-center` picks from features, for instance).
        KeepersError: anything else wrong with what was given.

    >>> import keepers, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scores = keepers.score("digits", method="margin", epochs=1, run=folder)
    >>> scores.table.column_names
    ['id', 'row', 'label', 'score']
    """
    given = dict(locals())
    config = picked(CoresetConfig, given)
    reading = picked(Reading, given)
    if methods.get(method).score is None:
        rows = methods.offered(CORESET_SIGNALS, replacement=False)
        scoring = ", ".join(name for name, row in rows.items() if row.score is not None)
        raise ParameterError("method", f"got '{method}', which gives no scores", f"Use {scoring}")
    say = say_or_not(say)
    check_outputs(data, given)
    opened = workplace(
        data,
        reading=reading,
        seed=config.seed,
        hardware=config.hardware,
        run=run,
        resume=resume,
        progress=progress,
    )
    with opened as (source, place):
        for sentence in source.found:
            say(sentence)
        scored = score_source(source, config, place, on_bad_row=reading.on_bad_row, say=say)
        values = methods.score(scored.method, scored.members)
        source = scored.source
        table = pa.table(
            {
                "id": pa.array(source.ids.tolist()),
                "row": pa.array(source.rows, pa.int64()),
                "label": label_names(source),
                "score": pa.array(values.double().numpy()),
            }
        ).sort_by("row")
        scores = Scores(table=with_where(table, source), metadata=plain(provenance(scored, config)))
    if out is not None and processes.rank() == 0:
        scores.to_parquet(out, overwrite=overwrite)
    return scores
