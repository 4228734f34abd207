"""What is shown of advice: a table of cells, charts and sentences, for a terminal or a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup
from rich.markup import escape

from keepers.reports import quantities
from keepers.reports.by_budget import Style

_COLOURS = {"better": "green", "worse": "red"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one cell of the table says: a verdict beside it, and below it what a page has room for.

    >>> Cell(text="−1.00", told="better", below="−2.00 to 0.00").terminal
    '−1.00 [green]better[/]'
    """

    text: str = ""
    told: str = ""
    below: str = ""

    @property
    def terminal(self) -> str:
        """The same for a terminal, whose columns are narrow."""
        colour = _COLOURS.get(self.told)
        told = f"[{colour}]{self.told}[/]" if colour else self.told
        return " ".join(filter(None, (escape(self.text), told)))


@dataclass(frozen=True, kw_only=True)
class View:
    """What is shown of one advice, whoever shows it: groups of rows of cells below their headings.

    `headings` are names, and whether they hold numbers.
    """

    title: str
    lead: str
    subject: str
    headings: Sequence[tuple[str, bool]]
    groups: Sequence[Sequence[Sequence[Cell]]]
    note: str
    charts: Sequence[tuple[str, Markup | None]] = ()
    chart_note: str = ""
    styles: Sequence[Style] = field(default_factory=tuple[Style, ...])


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
