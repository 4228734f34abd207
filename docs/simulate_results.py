"""Pages for committed simulations of active learning, as `keepers active simulate` wrote them."""

from __future__ import annotations

from typing import Any

from keepers.reports.simulate_answers import about_agreement, label_savings, paces

Row = dict[str, Any]


def page(note: Row, role: Any, name_of: Any, points: Any, table: Any) -> str:
    """One simulation as Markdown: what was run, the verdicts, and every figure."""
    result = note["result"]
    data, config, rows = result["data"], result["config"], result["rows"]
    goal = result["reached"]
    blocks = [
        f"# {note['title']}",
        f"A pool of {data['n']:,} examples of {data['num_classes']} classes, tested on "
        f"{data['test_n']:,}; {len(result['seeds'])} seeds. Proxy: {role(config['proxy'])}. "
        f"Target: {role(config['target'])}. {beginning(result)} At each budget the target is "
        "trained from scratch on all that is labelled; its learning-rate schedule is fitted to the "
        "steps it has; the error is that of the last epoch. Where nobody says how many epochs, a "
        "model of few labels is trained for more of them: 400 steps or, at the most, 200 epochs.",
        f"```text\n{note['command']}\n```",
        note["remarks"],
        "## Against random, at the same number of labels",
        verdicts(rows, name_of, points),
        "## Test error",
        errors(rows, name_of, points, table),
        "## Labels for the final error of random",
        f"Random has {goal['error'] * 100:.2f}% after {goal['labels']:,} labels. The first of the "
        "budgets measured at which the mean error is no higher:",
        "\n".join(f"- {saving}" for saving in label_savings(result)),
    ]
    if paces(result):
        blocks += [
            "## Data selection: proxy against target",
            "Means of a seed: every training, scoring pass and ranking up to the last pick of that "
            "budget, with features and encoding. The training on the labels themselves is not "
            "part of it. FLOPs do not depend on what else the machine was doing; seconds do. "
            f"{note['machine']}",
            selection(result, points, table),
        ]
    if result["agreement"]:
        blocks += [
            "## Do proxy and target agree?",
            about_agreement(result),
            agreement(result["agreement"], table),
        ]
    blocks += ["## End to end", ends(rows, name_of, table)]
    return "\n\n".join(block for block in blocks if block)


def beginning(result: Row) -> str:
    cold = result["config"]["cold"]
    how = "drawn at random" if cold == "random" else f"chosen by `{cold}`"
    return f"Every campaign of one seed begins with the same {result['initial']:,} labels, {how}."


def verdicts(rows: list[Row], name_of: Any, points: Any) -> str:
    """One line for each method: where it is better, worse, or cannot be told."""
    words = {"better": "**better** than random", "worse": "**worse** than random"}
    words["inconclusive"] = "inconclusive"
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        if row["difference"] is not None:
            by_name.setdefault(name_of(row), []).append(row)
    lines: list[str] = []
    for name, group in by_name.items():
        said = [
            f"{words[verdict]} at "
            + ", ".join(
                f"{row['k']:,} ({points(row['difference']['mean'])})"
                for row in group
                if row["difference"]["verdict"] == verdict
            )
            for verdict in words
            if any(row["difference"]["verdict"] == verdict for row in group)
        ]
        lines.append(f"- {name}: {'; '.join(said)}")
    return "\n".join(lines) + "\n\nIn parentheses: mean difference in test error, in points."


def errors(rows: list[Row], name_of: Any, points: Any, table: Any) -> str:
    lines = [["labels", "method", "test error %", "difference from random (95%)", "worst class %"]]
    for row in sorted(rows, key=lambda row: row["k"]):
        std = row["error_std"]
        lines.append(
            [
                f"{row['k']:,}",
                name_of(row),
                f"{row['error_mean'] * 100:.2f}" + ("" if std is None else f" ± {std * 100:.2f}"),
                interval(row["difference"], points),
                f"{row['worst_class_error_mean'] * 100:.2f}",
            ]
        )
    return table(lines)


def interval(difference: Any, points: Any) -> str:
    if difference is None:
        return "–"
    mean, low, high = (points(difference[name]) for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def selection(result: Row, points: Any, table: Any) -> str:
    header = ["method", "labels", "proxy s", "target s", "speed-up", "speed-up in FLOPs"]
    lines = [[*header, "error by proxy less error by target (95%)"]]
    lines += [
        [
            row["method"],
            f"{row['k']:,}",
            f"{row['selection_seconds']:.1f}",
            f"{target['selection_seconds']:.1f}",
            times(row["selection_speedup_seconds"]),
            times(row["selection_speedup_flops"]),
            interval(row["against_target"], points),
        ]
        for row, target in paces(result)
    ]
    return table(lines)


def times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}×"


def agreement(found: list[Row], table: Any) -> str:
    names = {"proxy_target": "proxy and target", "proxy_seeds": "two proxies"}
    names["target_seeds"] = "two targets"
    lines = [["method", "round", "trained on", *names.values()]]
    lines += [
        [
            row["method"],
            str(row["round"]),
            f"{row['k']:,}",
            *(f"{row[name]:.2f}" for name in names),
        ]
        for row in found
    ]
    return table(lines)


def ends(rows: list[Row], name_of: Any, table: Any) -> str:
    lines = [["labels", "method", "selection s", "target s", "end to end s", "FLOPs"]]
    lines += [
        [
            f"{row['k']:,}",
            name_of(row),
            f"{row['selection_seconds']:.1f}",
            f"{row['target_seconds']:.1f}",
            f"{row['end_to_end_seconds']:.1f}",
            f"{row['end_to_end_flops']:.2g}",
        ]
        for row in sorted(rows, key=lambda row: row["k"])
    ]
    return table(lines)
