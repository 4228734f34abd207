"""The selection as a table of the user's rows, and how it came about."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from keepers.code import installed_version
from keepers.data import Source
from keepers.files import hash_bytes, plain
from keepers.methods import Method
from keepers.selection import ArrowTable
from keepers.workflows.evidence import Evidence
from keepers.workflows.options.coreset import CoresetOptions
from keepers.workflows.scoring import Scored


def selection_table(
    evidence: Evidence,
    method: Method,
    *,
    excluded: npt.NDArray[np.int64] | None,
    why_excluded: str,
    floored: npt.NDArray[np.int64] | None,
) -> ArrowTable:
    """One row for each row of the input: id, row, label, kept, rank, score, weight, reason.

    Behind them stand the columns that lead back to the files.
    """
    source = evidence.source
    kept = evidence.rank >= 0
    n, k = len(source), int(kept.sum())
    reasons = np.full(n, _dropped(evidence, method, evidence.candidates), dtype=object)
    by = f"by {method.name}"
    reasons[kept] = [f"kept: pick {rank + 1:,} of {k:,} {by}" for rank in evidence.rank[kept]]
    if floored is not None:
        reasons[floored] += ", for the least of its class"
    if excluded is not None:
        reasons[excluded] = f"dropped: {why_excluded}"
    reasons[evidence.validation] = "held out for validation"
    if evidence.copies is not None:
        copies = np.flatnonzero(evidence.copies >= 0)
        of = source.ids[evidence.copies[copies]].tolist()
        reasons[copies] = [f"dropped: near-duplicate of {each}" for each in of]
    no_scores = np.full(n, np.nan) if evidence.scores is None else evidence.scores
    table = pa.table(
        {
            "id": pa.array(source.ids.tolist()),
            "row": pa.array(source.rows, pa.int64()),
            "label": label_names(source),
            "kept": pa.array(kept),
            "rank": pa.array(evidence.rank, pa.int64(), mask=~kept),
            "score": pa.array(no_scores, pa.float64(), mask=np.isnan(no_scores)),
            "weight": pa.array(evidence.weight),
            "reason": pa.array(reasons, pa.string()),
        }
    )
    if source.skipped:
        skipped = {
            "id": [row.id for row in source.skipped],
            "row": [row.row for row in source.skipped],
            "kept": [False] * len(source.skipped),
            "weight": [0.0] * len(source.skipped),
            "reason": [f"skipped: {row.problem}" for row in source.skipped],
        }
        rest = {name: [None] * len(source.skipped) for name in ("label", "rank", "score")}
        extra = pa.table(skipped | rest, schema=table.schema)
        table = pa.concat_tables([table, extra])
    return with_where(table.sort_by("row"), source)


def label_names(source: Source) -> Any:
    """A column (n,) of the names of the classes, null where there is no label."""
    return pa.array(source.shown_labels(), pa.string())


def with_where(table: ArrowTable, source: Source) -> ArrowTable:
    """A table with a column `row`, and beside it what leads back to the files."""
    for name, values in source.where.columns(table["row"].to_numpy()).items():
        table = table.append_column(name, values)
    return table


def _dropped(evidence: Evidence, method: Method, candidates: npt.NDArray[np.bool_]) -> str:
    """Why an example is not kept: under the cut where there is one, else not picked."""
    if evidence.scores is not None:
        kept = evidence.rank >= 0
        dropped = candidates & ~kept
        cut = evidence.scores[kept].min()
        if dropped.any() and evidence.scores[dropped].max() <= cut:
            return f"dropped: {method.name} below the cut at {cut:.4g}"
    return f"dropped: not picked by {method.name}"


def metadata(
    scored: Scored,
    config: CoresetOptions,
    k: int,
    evidence: Evidence,
    training_accuracy: float | None,
    how: str,
) -> dict[str, Any]:
    """How a selection came about, as JSON values."""
    return plain(
        {
            "method_options": dict(scored.method.options) | dict(config.method_options or {}),
            "how": how,
            "keep": str(config.keep),
            "k": k,
            "n": len(scored.candidates),
            "validation": len(scored.validation),
            "near_duplicates": config.near_duplicates,
            "num_near_duplicates": scored.num_copies,
            "balance": config.balance,
            "min_per_class": config.least(scored.source.task.floor),
            "proxy_validation_accuracy": evidence.validation_accuracy,
            "proxy_training_accuracy": training_accuracy,
            "warnings": evidence.warnings,
            **provenance(scored, config),
        }
    )


def provenance(scored: Scored, config: CoresetOptions) -> dict[str, Any]:
    """How scores came about: method, seed, models, data, hardware, costs, versions."""
    source = scored.source
    proxy = scored.prepared.role.identity() if scored.prepared else None
    gains = scored.prepared is not None and scored.prepared.recipe.bf16
    return {
        "method": scored.method.name,
        "seed": config.seed,
        "proxy": proxy,
        "proxy_fingerprint": scored.prepared.fingerprint if scored.prepared else None,
        "ensemble": len(scored.members) if proxy else 0,
        "skipped": len(source.skipped),
        "data": {
            "name": source.name,
            "kind": source.kind,
            "fingerprint": source.fingerprint,
            "rows": source.num_rows,
            "num_classes": source.task.num_outputs,
            **_task(source),
            "class_names": source.class_names,
            "columns": source.columns,
            "features": None if source.features is None else hash_bytes(source.features),
        },
        "found": source.found,
        "hardware": scored.place.hardware.identity(gains_from_bf16=gains),
        "costs": scored.place.ledger.by_phase(),
        "versions": {
            "keepers": installed_version("keepers"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _task(source: Source) -> dict[str, Any]:
    """What the targets are and what the score is called, where they are no classes."""
    task = source.other_task
    return {} if task is None else {"task": task.facts(), "score": task.score_words}
