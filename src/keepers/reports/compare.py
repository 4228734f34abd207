"""The report of a comparison: does selection beat random on these data, and what does it save?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepers.reports import answers, describe
from keepers.reports.by_budget import KEPT, differences_drawn, errors_drawn, styles_of
from keepers.reports.expenses import expenses
from keepers.reports.online import online_report
from keepers.reports.page import as_yaml, write_page


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
    by_name = answers.series(result)
    styles = styles_of(by_name)
    whole = answers.everything(result)
    agreement = result.get("agreement") or []
    config: Mapping[str, Any] = result.get("config") or {}
    facts = {key: config[key] for key in ("proxy", "target") if config.get(key)}
    facts |= result.get("hardware") or {}
    facts |= result.get("facts") or {}
    return write_page(
        Path(path),
        "compare.html",
        overwrite=overwrite,
        data=result["data"],
        facts=facts,
        target=describe.model_name(facts.get("target")),
        proxy=describe.model_name(facts.get("proxy")),
        worst=answers.worst_class_differs(result["rows"]),
        changed=any(row.get("changed_labels") is not None for row in result["rows"]),
        seeds=result["seeds"],
        headline=answers.headline(result),
        answers=answers.answers(result),
        about_learning=answers.about_learning(result),
        about_verdicts=answers.about_verdicts(
            [row["difference"] for row in result["rows"] if row.get("difference")]
        ),
        about_fresh=answers.about_fresh(result),
        nearest=answers.against_everything(result),
        experiment="comparison",
        along=KEPT,
        chart=errors_drawn(by_name, styles, whole),
        differences=differences_drawn(by_name, styles),
        styles=list(styles.values()),
        whole=whole,
        groups=answers.by_fraction(by_name),
        agreement=[
            {
                "score": one["score"],
                "words": answers.noise_ceiling(one),
                "matrices": [_matrix(one, "spearman"), _matrix(one, "pearson")],
            }
            for one in agreement
        ],
        expenses=expenses(result.get("costs")),
        config=as_yaml(config),
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
