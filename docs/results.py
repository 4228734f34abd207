"""Pages for committed results: `docs/results/NAME.json`, as `keepers compare` wrote it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import online_results
import simulate_results

from keepers.baselines import BASELINES
from keepers.experiments import online_summary
from keepers.experiments.simulate_summary import reached, target_of
from keepers.experiments.summary import random_of, with_differences
from keepers.files import plain

RESULTS = Path(__file__).parent / "results"
NAMES = {"fresh-random": "random, fresh every epoch"}
VERDICTS = {
    "better": "**better** than random",
    "worse": "**worse** than random",
    "inconclusive": "inconclusive",
}


def pages() -> dict[str, Callable[[], str]]:
    """A page for each result, by its path relative to `docs/reference`."""
    found: dict[str, Callable[[], str]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        found[f"../results/{path.stem}.md"] = lambda path=path: page(path)
    return found


def page(path: Path) -> str:
    """One comparison as Markdown: what was run, the verdicts, and every figure."""
    note = json.loads(path.read_text(encoding="utf-8"))
    result = note["result"] = told_anew(note["result"])
    if result["kind"] == "compare-online":
        return online_results.page(note, role, table)
    if result["kind"] == "simulate":
        return simulate_results.page(note, role, name_of, points, table)
    data, config = result["data"], result["config"]
    rows = result["rows"]
    blocks = [
        f"# {note['title']}",
        f"{data['n']:,} training examples of {data['num_classes']} classes, tested on "
        f"{data['test_n']:,}; {len(result['seeds'])} seeds. Proxy: {role(config['proxy'])}. "
        f"Target: {role(config['target'])}. Every target of one seed starts from the same weights; "
        "its learning-rate schedule is fitted to the steps it has; the error is that of the last "
        "epoch.",
        f"```text\n{note['command']}\n```",
        note["remarks"],
        "## Against random, at the same number of examples and steps",
        verdicts(rows),
        "## Test error",
        errors(rows),
        "## Cost of one seed, and speed-up against training on everything",
        "Selection holds the training of the proxies, their scoring pass and the choice; a method "
        "is charged for all of it. FLOPs do not depend on what else the machine was doing; seconds "
        f"do. {note['machine']}",
        costs(rows),
    ]
    if result["agreement"]:
        blocks += ["## Do proxy and target agree?", *map(matrices, result["agreement"])]
    return "\n\n".join(block for block in blocks if block)


def told_anew(result: dict[str, Any]) -> dict[str, Any]:
    """The result with the differences and verdicts that its errors on record give today."""
    rows = result["rows"]
    if result["kind"] == "compare-online":
        return result | {"rows": online_summary.with_differences(rows, BASELINES)}
    if result["kind"] == "simulate":
        told = with_differences(rows, difference=random_of(rows), against_target=target_of(rows))
        return plain(result | {"rows": told, "reached": reached(rows)})
    return plain(result | {"rows": with_differences(rows, difference=random_of(rows))})


def role(role: dict[str, Any]) -> str:
    options = "".join(f", {name} {value}" for name, value in role["options"].items())
    at = f" at {role['resolution']}×{role['resolution']}" if role["resolution"] else ""
    return f"`{role['model']}`{options}{at}, {role['epochs']} epochs, batch {role['batch_size']}"


def name_of(row: dict[str, Any]) -> str:
    name = NAMES.get(row["method"], row["method"])
    return f"{name}, by the target" if row["selector"] == "target" else name


def verdicts(rows: list[dict[str, Any]]) -> str:
    """One line for each method: where it is better, worse, or cannot be told."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["difference"] is not None:
            by_name.setdefault(name_of(row), []).append(row)
    lines: list[str] = []
    for name, group in by_name.items():
        said = [
            f"{VERDICTS[verdict]} at "
            + ", ".join(
                f"{row['keep']:.0%} ({points(row['difference']['mean'])})"
                for row in group
                if row["difference"]["verdict"] == verdict
            )
            for verdict in VERDICTS
            if any(row["difference"]["verdict"] == verdict for row in group)
        ]
        lines.append(f"- {name}: {'; '.join(said)}")
    return "\n".join(lines) + "\n\nIn parentheses: mean difference in test error, in points."


def errors(rows: list[dict[str, Any]]) -> str:
    noisy = any(row["changed_labels"] is not None for row in rows)
    header = ["kept", "method", "test error %", "difference from random (95%)", "worst class %"]
    lines = [header + ["wrong labels among the kept %"] * noisy]
    for row in sorted(rows, key=lambda row: row["keep"]):
        gap = row["difference"]
        interval = "–"
        if gap is not None:
            interval = f"{points(gap['mean'])} ({points(gap['low'])} to {points(gap['high'])})"
        std = row["error_std"]
        cells = [
            f"{row['keep']:.0%}",
            name_of(row),
            f"{row['error_mean'] * 100:.2f}" + ("" if std is None else f" ± {std * 100:.2f}"),
            interval,
            f"{row['worst_class_error_mean'] * 100:.2f}",
        ]
        lines.append(cells + [f"{(row['changed_labels'] or 0) * 100:.1f}"] * noisy)
    return table(lines)


def costs(rows: list[dict[str, Any]]) -> str:
    lines = [["kept", "method", "selection s", "target s", "seconds", "FLOPs"]]
    lines += [
        [
            f"{row['keep']:.0%}",
            name_of(row),
            f"{row['selection_seconds']:.1f}",
            f"{row['target_seconds']:.1f}",
            f"{row['speedup_seconds']:.2f}×",
            f"{row['speedup_flops']:.2f}×" if row["speedup_flops"] else "–",
        ]
        for row in sorted(rows, key=lambda row: row["keep"])
    ]
    return table(lines)


def matrices(agreement: dict[str, Any]) -> str:
    blocks = [f"Correlation of the {agreement['score']} of the training examples."]
    for kind in ("spearman", "pearson"):
        lines = [[kind.capitalize(), *agreement["models"]]]
        for name, values in zip(agreement["models"], agreement[kind], strict=True):
            lines.append([name, *(f"{value:.2f}" for value in values)])
        blocks.append(table(lines))
    return "\n\n".join(blocks)


def points(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:+.2f}"


def table(lines: list[list[str]]) -> str:
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
