"""Pages for committed comparisons of online selection, as `keepers compare --online` wrote them."""

from __future__ import annotations

from typing import Any

from keepers.reports.online_answers import about_equal_time, took_equal_time

Row = dict[str, Any]
NAMES = {
    "uniform": "uniform",
    "uniform-equal-time": "uniform, equal time, decayed",
    "fresh-random": "random, fresh every epoch",
}
CHARGES = {"none": "not charged", "shared": "shared", "full": "in full"}


def page(note: Row, role: Any, table: Any) -> str:
    """One comparison as Markdown: what was run, and every figure."""
    result = note["result"]
    data, config, rows = result["data"], result["config"], result["rows"]
    seeds = len(result["seeds"])
    trained_on = next(row["trained_on"] for row in rows if row["method"] == "uniform")
    blocks = [
        f"# {note['title']}",
        f"{data['n']:,} training examples of {data['num_classes']} classes, {trained_on:,} of them "
        f"trained on, tested on {data['test_n']:,}; {seeds} seeds. Target: "
        f"{role(config['target'])}. {config['keep']:.0%} of the candidates get a gradient step. "
        "Every training of one seed starts from the same weights and has the same number of steps, "
        "but for uniform training at equal time, which has the seconds of the first method.",
        f"```text\n{note['command']}\n```",
        note["remarks"],
        "## Final test accuracy",
        final(result, table),
        "Differences are paired by seed, in points, with their 95% intervals. "
        f"{about_equal_time(result)} "
        "`uniform, equal time, decayed` has a learning rate that falls linearly to nothing.",
        "## To a test accuracy",
        reached(rows, result["targets"], seeds, table),
        "Means over the seeds, where every seed got there: at the first of two evaluations in a "
        "row at or over the accuracy. Seconds are of training, evaluation excluded; with the "
        "irreducible-loss model (or the proxy) not charged, shared by "
        f"{result['uses']} trainings, and charged in full. {note['machine']}",
        "## What was trained on",
        fractions(rows, table),
    ]
    if result["irreducible"]:
        blocks += ["## Irreducible losses", irreducible(result["irreducible"], table)]
    return "\n\n".join(block for block in blocks if block)


def name_of(row: Row) -> str:
    return NAMES.get(row["method"], row["method"])


def final(result: Row, table: Any) -> str:
    lines = [["method", "accuracy %", "worst class %", "against equal time", "against uniform"]]
    for row in result["rows"]:
        std = row["accuracy_std"]
        differences, timed = row["differences"], took_equal_time(row, result)
        spread = "" if std is None else f" ± {std * 100:.2f}"
        lines.append(
            [
                name_of(row),
                f"{row['accuracy_mean'] * 100:.2f}{spread}",
                f"{row['worst_class_accuracy_mean'] * 100:.1f}",
                gap(differences.get("uniform-equal-time"), with_verdict=timed),
                gap(differences.get("uniform"), with_verdict=True),
            ]
        )
    return table(lines)


def gap(difference: Row | None, *, with_verdict: bool) -> str:
    if difference is None or difference["low"] is None:
        return "–"
    mean, low, high = (f"{difference[name] * 100:+.2f}" for name in ("mean", "low", "high"))
    if not with_verdict:
        return f"{mean} ({low} to {high})"
    word = difference["verdict"]
    shown = word if word == "inconclusive" else f"**{word}**"
    return f"{mean} ({low} to {high}), {shown}"


def reached(rows: list[Row], targets: list[float], seeds: int, table: Any) -> str:
    header = ["accuracy", "method", "steps", "epochs", "FLOPs, in full"]
    lines = [header + [f"seconds, {words}" for words in CHARGES.values()]]
    for target in targets:
        for row in rows:
            found = next(each for each in row["targets"] if each["accuracy"] == target)
            shown = [f"{target:.1%}", name_of(row)]
            if found["step"] is None:
                partly = f"reached by {found['reached']} of {seeds}"
                lines.append([*shown, partly if found["reached"] else "not reached", *[""] * 5])
                continue
            lines.append(
                [
                    *shown,
                    f"{found['step']:,.0f}",
                    f"{found['epoch']:.1f}",
                    known(found["flops"]["full"], ".2g"),
                    *(known(found["seconds"][charge], ".1f") for charge in CHARGES),
                ]
            )
    return table(lines)


def known(value: float | None, shown: str) -> str:
    return "unknown" if value is None else format(value, shown)


def fractions(rows: list[Row], table: Any) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row["fractions"]))
    words = {"correct": "right before the step"}
    lines = [["method", *(f"{words.get(name, name).replace('_', ' ')} %" for name in names)]]
    lines += [
        [name_of(row), *(f"{row['fractions'].get(name, 0) * 100:.1f}" for name in names)]
        for row in rows
    ]
    return table(lines)


def irreducible(found: list[Row], table: Any) -> str:
    lines = [["seed", "held-out loss", "held-out accuracy %", "calibration error", "agreement"]]
    lines += [
        [
            str(each["seed"]),
            f"{each['loss']:.3f}",
            f"{each['accuracy'] * 100:.1f}",
            f"{each['calibration_error']:.3f}",
            "–" if each["agreement"] is None else f"{each['agreement']:.2f}",
        ]
        for each in found
    ]
    return table(lines)
