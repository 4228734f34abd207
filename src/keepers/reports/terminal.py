"""The same answers in the terminal, within 100 columns; plain text where it is no terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from keepers.ledger import Ledger
from keepers.reports import describe, quantities
from keepers.reports.answer import interval
from keepers.selection import Selection
from keepers.words import counted
from keepers.workflows.evidence import Evidence

WIDTH = 100
COLOURS = {"better": "green", "worse": "red", "inconclusive": "dim", "cannot tell": "yellow"}


def coreset_summary(selection: Selection) -> RenderableType:
    """What was kept, how and at what cost, for a `rich` console.

    Costs are there after a run, not after `Selection.read_parquet`; warnings are for stderr.
    """
    metadata, evidence = selection.metadata, selection.evidence
    num_kept = len(selection)
    candidates = int(metadata.get("n") or selection.table.num_rows)
    share = quantities.percent(num_kept / candidates if candidates else None)
    head = Text.assemble(
        "Kept ",
        (f"{quantities.count(num_kept)} of {counted(candidates, 'example')}", "bold"),
        f" ({share}) by {metadata.get('method', '?')}",
    )
    proxy = describe.model_name(metadata.get("proxy"))
    if proxy:
        head.append(f", with {proxy} as the proxy")
    if metadata.get("balance"):
        head.append(f", balanced by {metadata['balance']}")
    parts: list[RenderableType] = [head]
    tokens = metadata.get("tokens")
    if tokens:
        kept, all_of_it = (quantities.count(tokens[name]) for name in ("kept", "all"))
        part = quantities.percent(tokens["kept"] / tokens["all"])
        parts.append(Text(f"They hold {kept} of {all_of_it} tokens ({part})"))
    copies = metadata.get("num_near_duplicates")
    if copies:
        verb = "was" if copies == 1 else "were"
        parts.append(Text(f"{counted(copies, 'near-duplicate')} of others {verb} dropped first"))
    validated = metadata.get("proxy_validation_accuracy")
    if isinstance(evidence, Evidence):
        validated = evidence.validation_accuracy
    measured, accuracy = describe.accuracy(metadata, validated)
    if proxy and accuracy is not None:
        score = metadata.get("data", {}).get("score")
        reached = f"reaches {score} of {accuracy:.2f}" if score else ""
        right = f"is right on {quantities.percent(accuracy)}"
        parts.append(Text(f"The proxy {reached or right}, {measured}"))
    if isinstance(evidence, Evidence):
        parts.append(cost_table(Ledger(list(evidence.costs))))
    return Group(*parts)


def cost_table(ledger: Ledger) -> Table:
    """The ledger, one line for each phase, and their sum.

    Examples have no sum: each phase sees the same ones again.
    """
    table = plain_table(
        ("phase", False), *((c, True) for c in ("time", "examples", "steps", "FLOPs"))
    )
    lines = [*ledger.by_phase(), replace(ledger.total(), examples=0)]
    for index, cost in enumerate(lines):
        if index == len(lines) - 1:
            table.add_section()
        table.add_row(
            escape(cost.phase),
            quantities.duration(cost.seconds),
            quantities.count(cost.examples) if cost.examples else "–",
            quantities.count(cost.steps) if cost.steps else "–",
            quantities.flops(cost.flops),
        )
    return table


def gap_cells(difference: Mapping[str, Any] | None) -> tuple[str, str]:
    """The interval of a difference, and its verdict in colour."""
    if not difference:
        return "–", ""
    word = difference["verdict"]
    if difference["low"] is None:  # one seed gives no interval
        mean = quantities.points(difference["mean"], signed=True)
        return mean, f"[{COLOURS[word]}]{word}[/]"
    low, high = (quantities.points(e, signed=True) for e in interval(difference))
    return f"{low}…{high}", f"[{COLOURS[word]}]{word}[/]"


def plain_table(*columns: tuple[str, bool]) -> Table:
    """An empty table without lines; `columns` are names, and whether they hold numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for name, number in columns:
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    return table
