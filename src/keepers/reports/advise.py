"""What a pilot says, as a table and as a page: does selecting pay on these data?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from keepers.reports import describe, quantities
from keepers.reports.by_budget import differences_drawn, styles_of
from keepers.reports.page import as_yaml, write_page
from keepers.reports.terminal import plain_table

_COLOURS = {"better": "green", "worse": "red"}


def advice_table(result: Mapping[str, Any]) -> Table:
    """Every method at every budget: what the pilot says, and what selecting costs and saves."""
    fresh = any(row["fresh"] for row in result["rows"])
    shown = plain_table(
        ("kept", True),
        ("method", False),
        ("against random, points", True),
        ("", False),
        ("stratified", True),
        *[("fresh random", True)] * fresh,
        ("select", True),
        ("saves", True),
    )
    for group in groups(result):
        for place, row in enumerate(group):
            told = row["told"]
            shown.add_row(
                quantities.percent(row["keep"]) if not place else "",
                row["method"] + (" *" if row["taken"] else ""),
                difference(row["error"]),
                f"[{_COLOURS[told]}]{told}[/]" if told in _COLOURS else told,
                _briefly(row["stratified"], row["told_stratified"]),
                *[_briefly(row["fresh"], row["told_fresh"])] * fresh,
                quantities.brief_duration(row["selection_seconds"]),
                saved(row["saved_seconds"]),
            )
        shown.add_section()
    shown.caption = (
        "* what --method auto takes. Points of error, below 0 is better; intervals of 95%. "
        "Verdicts against one baseline hold together (Holm); ? cannot tell, = no difference"
    )
    return shown


_MARKS = {"better": "better", "worse": "worse", "no difference": "=", "cannot tell": "?"}


def _briefly(found: Mapping[str, Any] | None, told: str | None) -> str:
    """A difference without its interval."""
    if found is None or told is None:
        return "–"
    words = f"{quantities.points(found['mean'])} {_MARKS[told]}"
    return f"[{_COLOURS[told]}]{words}[/]" if told in _COLOURS else words


def groups(result: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """The rows of each budget; `taken` marks what `auto` takes."""
    return [
        [
            {**row, "taken": row["method"] == taken}
            for row in result["rows"]
            if row["keep"] == float(keep)
        ]
        for keep, taken in result["take"].items()
    ]


def difference(found: Mapping[str, Any]) -> str:
    """A difference in points and its interval.

    >>> difference({"mean": -0.01, "low": -0.02, "high": 0.0})
    '−1.00 (−2.00 to 0.00)'
    """
    mean, low, high = (quantities.points(found[name]) for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def saved(seconds: float) -> str:
    """Seconds saved end to end; what is lost says so.

    >>> saved(-2.0)
    'costs 2.0s'
    """
    told = quantities.brief_duration(abs(seconds))
    return told if seconds > 0 else f"costs {told}"


def advice_report(result: Mapping[str, Any], path: str | Path, *, overwrite: bool = True) -> Path:
    """Write a self-contained HTML report of what a pilot says, and return its path.

    Raises:
        RunError: `path` exists and `overwrite` is false.
    """
    by_name: dict[str, Sequence[Any]] = {}
    for row in result["rows"]:
        drawn = {**row, "difference": row["error"], "selector": None}
        by_name[row["method"]] = [*by_name.get(row["method"], ()), drawn]
    styles = styles_of(by_name)
    return write_page(
        Path(path),
        "advise.html",
        overwrite=overwrite,
        data=result["data"],
        pilot=result["pilot"],
        model=describe.model_name(result["config"]["proxy"]),
        target=result["target"],
        sentences=result["sentences"],
        groups=groups(result),
        fresh=any(row["fresh"] for row in result["rows"]),
        differences=differences_drawn(by_name, styles),
        styles=list(styles.values()),
        difference=difference,
        saved=saved,
        config=as_yaml(result["config"]),
    )
