"""The report of a comparison: does selection beat random on these data, and what does it save?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from keepers.reports import answers, quantities
from keepers.reports.answer import about_verdicts
from keepers.reports.by_budget import KEPT, budget_page, budget_table
from keepers.reports.online import online_report, online_table
from keepers.reports.page import write_page
from keepers.reports.tuning import tuning_report, tuning_table


@dataclass(frozen=True, kw_only=True)
class Heat:
    """One cell of an agreement matrix; `ceiling` where both are seeds of the same model."""

    text: str
    strength: float
    ceiling: bool


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Agreement of the ranks that several models give, by one correlation."""

    heading: str
    models: Sequence[str]
    rows: list[list[Heat]]


def compare_report(result: Mapping[str, Any], path: str | Path, *, overwrite: bool = True) -> Path:
    """Write a self-contained HTML report of a comparison, and return its path.

    `result` is the JSON object that `keepers compare` writes, with or without `--online`.

    Raises:
        RunError: `path` exists and `overwrite` is false.
    """
    if result.get("kind") == "compare-online":
        return online_report(result, path, overwrite=overwrite)
    if result.get("kind") == "compare-tuned":
        return tuning_report(result, path, overwrite=overwrite)
    config: Mapping[str, Any] = result.get("config") or {}
    facts = {key: config[key] for key in ("proxy", "target") if config.get(key)}
    return write_page(
        Path(path),
        "compare.html",
        overwrite=overwrite,
        **budget_page(result, along=KEPT),
        facts=facts | (result.get("hardware") or {}) | (result.get("facts") or {}),
        changed=any(row.get("changed_labels") is not None for row in result["rows"]),
        about_verdicts=about_verdicts(
            [row["difference"] for row in result["rows"] if row.get("difference")]
        ),
        about_fresh=answers.about_fresh(result),
        nearest=answers.against_everything(result),
        experiment="comparison",
        agreement=[
            {
                "score": one["score"],
                "words": answers.noise_ceiling(one),
                "matrices": [_matrix(one, "spearman"), _matrix(one, "pearson")],
            }
            for one in result.get("agreement") or []
        ],
    )


def compare_table(result: Mapping[str, Any]) -> Table:
    """The same for a terminal, with or without `--online`."""
    if result.get("kind") == "compare-online":
        return online_table(result)
    if result.get("kind") == "compare-tuned":
        return tuning_table(result)
    return budget_table(
        result,
        heading="kept",
        budget=lambda row: quantities.percent(row["keep"]),
        faster="speedup_seconds",
        about=(
            answers.headline(result),
            answers.about_learning(result),
            answers.about_fresh(result),
        ),
    )


def _matrix(agreement: Mapping[str, Any], kind: str) -> Matrix:
    models = agreement["models"]
    roles = [answers.role_of(model) for model in models]
    rows = [
        [
            Heat(
                text="–" if value is None else f"{value:.2f}".replace("-", "−"),
                strength=0.0 if value is None else round(75 * max(0.0, value) ** 2, 1),
                ceiling=i != j and roles[i] == roles[j],
            )
            for j, value in enumerate(values)
        ]
        for i, values in enumerate(agreement[kind])
    ]
    return Matrix(heading=kind.capitalize(), models=models, rows=rows)
