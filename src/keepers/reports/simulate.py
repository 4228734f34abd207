"""The report of a simulation: does choosing what to label beat random, and what does it cost?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from keepers.reports import answers, quantities, simulate_answers
from keepers.reports.answer import about_verdicts
from keepers.reports.by_budget import budget_page, budget_table
from keepers.reports.page import write_page

LABELLED = "fraction labelled"


def simulate_report(result: Mapping[str, Any], path: str | Path, *, overwrite: bool = True) -> Path:
    """Write a self-contained HTML report of a simulation, and return its path.

    `result` is the JSON object that `keepers active simulate` writes.

    Raises:
        RunError: `path` exists and `overwrite` is false.
    """
    return write_page(
        Path(path),
        "simulate.html",
        overwrite=overwrite,
        **budget_page(result, along=LABELLED),
        facts=result["hardware"],
        initial=result["initial"],
        about_verdicts=about_verdicts(simulate_answers.differences(result)),
        selection=simulate_answers.about_selection(result),
        goal=result["reached"],
        savings=simulate_answers.label_savings(result),
        experiment="simulation",
        repeated=any(row["near_duplicates"] for row in result["rows"]),
        paces=simulate_answers.paces(result),
        agreement=result["agreement"],
        about_agreement=simulate_answers.about_agreement(result),
    )


def simulate_table(result: Mapping[str, Any]) -> Table:
    """Errors, verdicts, times and speed-ups of a simulation, one section for each budget."""
    goal, saved = result["reached"], simulate_answers.label_savings(result)
    labels = (
        f"Labels for the error of random at {goal['labels']:,} "
        f"({quantities.percent(goal['error'], 2)}): {'; '.join(saved)}"
    )
    return budget_table(
        result,
        heading="labels",
        budget=lambda row: quantities.count(row["k"]),
        faster="selection_speedup_seconds",
        about=(
            answers.headline(result),
            answers.about_learning(result),
            simulate_answers.about_selection(result),
            labels if saved else "",
        ),
    )
