"""Scores without a selection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from keepers import methods, processes
from keepers.errors import ParameterError
from keepers.files import plain
from keepers.options import taking
from keepers.sealed import ArrowTable, write_table
from keepers.workflows.conversations import say_unused
from keepers.workflows.offered import CORESET_SIGNALS, unsure_of
from keepers.workflows.opening import check_outputs, workplace
from keepers.workflows.options.coreset import CoresetOptions, ScoreOptions
from keepers.workflows.scoring import score_source
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


@taking(ScoreOptions)
def score(data: Any, options: ScoreOptions) -> Scores:
    """Score every example without selecting; higher scores would be selected first.

    The proxy is trained as by `keepers.coreset`, which reuses it in the same run directory.

    Args:
        data: as in `keepers.coreset`.

    Raises:
        ParameterError: the method gives no scores (such as `k-center`, which picks by features).
        KeepersError: another argument or the data are invalid.

    >>> import keepers, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scores = keepers.score("digits", method="margin", epochs=1, run=folder)
    >>> scores.table.column_names
    ['id', 'row', 'label', 'score']
    """
    if options.method is not None and methods.get(options.method).score is None:
        rows = methods.offered(CORESET_SIGNALS, replacement=False)
        scoring = ", ".join(name for name, row in rows.items() if row.score is not None)
        raise ParameterError(
            "method", f"got '{options.method}', which gives no scores", f"Use {scoring}"
        )
    config = CoresetOptions(**vars(options))
    check_outputs(data, options)
    opened = workplace(data, options, purpose="coreset", seed=options.seed)
    with opened as (source, place):
        if options.method is None:
            config = replace(config, method=unsure_of(source.task))
        say_unused([config.method], place.say, similar_to=options.similar_to)
        scored = score_source(source, config, place)
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
    if options.out is not None and processes.rank() == 0:
        scores.to_parquet(options.out, overwrite=options.overwrite)
    return scores
