"""The same answers in the terminal, within 100 columns; plain text where it is no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from keepers.ledger import Ledger
from keepers.reports import answers, describe, online_answers, quantities
from keepers.selection import Selection
from keepers.words import counted
from keepers.workflows.evidence import Evidence

WIDTH = 100
_COLOURS = {"better": "green", "worse": "red", "inconclusive": "dim", "cannot tell": "yellow"}


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
    copies = metadata.get("num_near_duplicates")
    if copies:
        verb = "was" if copies == 1 else "were"
        parts.append(Text(f"{counted(copies, 'near-duplicate')} of others {verb} set aside first"))
    validated = metadata.get("proxy_validation_accuracy")
    if isinstance(evidence, Evidence):
        validated = evidence.validation_accuracy
    measured, accuracy = describe.accuracy(metadata, validated)
    if proxy and accuracy is not None:
        parts.append(Text(f"The proxy is right on {quantities.percent(accuracy)}, {measured}"))
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


def compare_table(result: Mapping[str, Any]) -> Table:
    """Errors, verdicts, times and speed-ups of a comparison, one section for each fraction."""
    worst = answers.worst_class_differs(result["rows"])
    table = plain_table(
        ("kept", True),
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
    named = answers.series(result)
    whole = answers.everything(result)
    groups = answers.by_fraction(named)
    if whole is not None:
        groups.append([("everything", whole)])
    for group in groups:
        for index, (_, row) in enumerate(group):
            table.add_row(*_cells(row, first=index == 0, worst=worst))
        table.add_section()
    about = (answers.about_learning(result), answers.about_fresh(result))
    table.caption = escape("\n".join(filter(None, (answers.headline(result), *about))))
    return table


def online_table(result: Mapping[str, Any]) -> Table:
    """Final accuracies and verdicts, and what the accuracy that uniform reaches took."""
    level = result["level"]
    worst = answers.worst_class_differs(result["rows"], "worst_class_accuracy_mean")
    table = plain_table(
        ("method", False),
        ("accuracy %", True),
        ("against equal time", True),
        ("", False),
        *[("worst", True)] * worst,
        (f"to {quantities.percent(level, 2)}: steps", True),
        ("time", True),
        ("in full", True),
        ("wrong", True),
    )
    for row in result["rows"]:
        timed = online_answers.took_equal_time(row, result)
        table.add_row(*_online_cells(row, level, timed=timed, worst=worst))
    about = online_answers.about_equal_time(result)
    learning = online_answers.about_learning(result)
    lines = (online_answers.headline(result), about, learning)
    table.caption = escape("\n".join(filter(None, lines)))
    return table


def _online_cells(
    row: Mapping[str, Any], level: float, *, timed: bool, worst: bool
) -> Sequence[str]:
    spread: float | None = row["accuracy_std"]
    accuracy = quantities.points(row["accuracy_mean"])
    if spread is not None:
        accuracy += f" ±{quantities.points(spread)}"
    gap, verdict = gap_cells(row["differences"].get(online_answers.EQUAL_TIME))
    entry = online_answers.at_level(row, level)
    taken = ("–", "–", "–")
    if entry is not None and entry["step"] is None:
        reached = f"{entry['reached']} of {entry['of']}" if entry["reached"] else "not reached"
        taken = (reached, "–", "–")
    elif entry is not None:
        full = entry["seconds"]["full"]
        taken = (
            quantities.count(entry["step"]),
            quantities.brief_duration(entry["seconds"]["none"]),
            "unknown" if full is None else quantities.brief_duration(full),
        )
    equal_time = row["method"] == online_answers.EQUAL_TIME
    return (
        "equal time" if equal_time else escape(str(row["method"])),
        accuracy,
        gap,
        verdict if timed else "",
        *[quantities.points(row["worst_class_accuracy_mean"], 1)] * worst,
        *taken,
        quantities.percent(row["fractions"].get("corrupted"), 0),
    )


def plain_lines(renderable: RenderableType) -> list[str]:
    """What a console of 100 columns shows, without colours: for files and pipes."""
    console = Console(width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines()]


def _cells(row: Mapping[str, Any], *, first: bool, worst: bool) -> Sequence[str]:
    spread: float | None = row.get("error_std")
    error = quantities.points(row["error_mean"])
    if spread is not None:
        error += f" ±{quantities.points(spread)}"
    gap, verdict = gap_cells(row.get("difference"))
    worst_error = row.get("worst_class_error_mean")
    return (
        quantities.percent(row["keep"]) if first else "",
        escape(": ".join(filter(None, (row["method"], row.get("taken"))))),
        escape(row.get("selector") or ""),
        error,
        gap,
        verdict,
        *[quantities.points(worst_error, 1) if worst_error is not None else "–"] * worst,
        quantities.brief_duration(row.get("selection_seconds")),
        quantities.brief_duration(row.get("target_seconds")),
        quantities.times(row.get("speedup_seconds")),
    )


def gap_cells(difference: Mapping[str, Any] | None) -> tuple[str, str]:
    """The interval of a difference, and its verdict in colour."""
    if not difference:
        return "–", ""
    word = difference["verdict"]
    if difference["low"] is None:  # one seed gives no interval
        mean = quantities.points(difference["mean"], signed=True)
        return mean, f"[{_COLOURS[word]}]{word}[/]"
    low, high = (quantities.points(e, signed=True) for e in answers.interval(difference))
    return f"{low}…{high}", f"[{_COLOURS[word]}]{word}[/]"


def plain_table(*columns: tuple[str, bool]) -> Table:
    """An empty table without lines; `columns` are names, and whether they hold numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for name, number in columns:
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    return table
