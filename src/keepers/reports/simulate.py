"""The report of a simulation: does choosing what to label beat random, and what does it cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from keepers.reports import answers, describe, quantities, simulate_answers
from keepers.reports.by_budget import differences_drawn, errors_drawn, styles_of
from keepers.reports.expenses import expenses
from keepers.reports.page import as_yaml, write_page
from keepers.reports.terminal import gap_cells, plain_table

LABELLED = "fraction labelled"


def simulate_report(result: Mapping[str, Any], path: str | Path, *, overwrite: bool = True) -> Path:
    """Write a self-contained HTML report of a simulation, and return its path.

    `result` is the JSON object that `keepers active simulate` writes.

    Raises:
        RunError: `path` exists and `overwrite` is false.
    """
    by_name = answers.series(result)
    styles = styles_of(by_name)
    config: Mapping[str, Any] = result["config"]
    return write_page(
        Path(path),
        "simulate.html",
        overwrite=overwrite,
        data=result["data"],
        seeds=result["seeds"],
        initial=result["initial"],
        target=describe.model_name(config["target"]),
        proxy=describe.model_name(config["proxy"]),
        headline=answers.headline(result),
        answers=answers.answers(result),
        about_learning=answers.about_learning(result),
        about_verdicts=answers.about_verdicts(simulate_answers.differences(result)),
        worst=answers.worst_class_differs(result["rows"]),
        selection=simulate_answers.about_selection(result),
        goal=result["reached"],
        savings=simulate_answers.label_savings(result),
        experiment="simulation",
        along=LABELLED,
        chart=errors_drawn(by_name, styles, along=LABELLED),
        differences=differences_drawn(by_name, styles, along=LABELLED),
        styles=list(styles.values()),
        groups=answers.by_fraction(by_name),
        repeated=any(row["near_duplicates"] for row in result["rows"]),
        paces=simulate_answers.paces(result),
        agreement=result["agreement"],
        about_agreement=simulate_answers.about_agreement(result),
        expenses=expenses(result["costs"]),
        facts=result["hardware"],
        config=as_yaml(config),
    )


def simulate_table(result: Mapping[str, Any]) -> Table:
    """Errors, verdicts, times and speed-ups of a simulation, one section for each budget."""
    worst = answers.worst_class_differs(result["rows"])
    table = plain_table(
        ("labels", True),
        ("method", False),
        ("by", False),
        ("error %", True),
        ("against random", True),
        ("", False),
        *[("worst", True)] * worst,
        ("select", True),
        ("train", True),
        ("faster", True),
    )
    for group in answers.by_fraction(answers.series(result)):
        for index, (_, row) in enumerate(group):
            table.add_row(*_cells(row, first=index == 0, worst=worst))
        table.add_section()
    about = [
        answers.headline(result),
        answers.about_learning(result),
        simulate_answers.about_selection(result),
    ]
    saved = simulate_answers.label_savings(result)
    if saved:
        goal = result["reached"]
        about.append(
            f"Labels for the error of random at {goal['labels']:,} "
            f"({quantities.percent(goal['error'], 2)}): {'; '.join(saved)}"
        )
    table.caption = escape("\n".join(line for line in about if line))
    return table


def _cells(row: Mapping[str, Any], *, first: bool, worst: bool) -> Sequence[str]:
    error = quantities.points(row["error_mean"])
    if row["error_std"] is not None:
        error += f" ±{quantities.points(row['error_std'])}"
    gap, verdict = gap_cells(row["difference"])
    return (
        quantities.count(row["k"]) if first else "",
        escape(str(row["method"])),
        row["selector"] or "",
        error,
        gap,
        verdict,
        *[quantities.points(row["worst_class_error_mean"], 1)] * worst,
        quantities.brief_duration(row["selection_seconds"]),
        quantities.brief_duration(row["target_seconds"]),
        quantities.times(row["selection_speedup_seconds"]),
    )
