"""A comparison of conversations: which choice beats random and the longest, at equal tokens?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from keepers.baselines import EVERYTHING, LONGEST, RANDOM, WHOLE
from keepers.reports import describe, quantities
from keepers.reports.answer import Answer, Row, about_verdicts, interval
from keepers.reports.page import as_yaml, write_page
from keepers.reports.terminal import COLOURS, plain_table
from keepers.statistics import Verdict
from keepers.words import counted

BASELINES = {"difference": RANDOM, "from_longest": LONGEST}


def loss(value: float | None, digits: int = 4, *, signed: bool = False) -> str:
    """A loss in nats, or a difference of two.

    >>> loss(1.25), loss(-0.012, 3, signed=True), loss(None)
    ('1.2500', '−0.012', '–')
    """
    if value is None:
        return "–"
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def name_of(row: Row) -> str:
    """What a row is called."""
    names = {EVERYTHING: "everything, as many tokens", WHOLE: "everything in full"}
    return names.get(row["method"], str(row["method"]))


def groups(result: Mapping[str, Any]) -> list[list[Row]]:
    """The rows of each budget, the smallest first."""
    budgets = sorted({row["k"] for row in result["rows"]})
    return [[row for row in result["rows"] if row["k"] == budget] for budget in budgets]


def headline(result: Mapping[str, Any]) -> str:
    """The answer in one line."""
    chosen = _chosen(result)
    both = [row for row in chosen if _beats(row, "difference") and _beats(row, "from_longest")]
    if both:
        found = [f"{row['method']} at {quantities.percent(row['keep'])}" for row in both]
        return f"Better than random and than the longest: {quantities.listed(found)}"
    if not chosen:
        longest = [row for row in result["rows"] if row["method"] == LONGEST]
        words = {(row.get("difference") or {}).get("verdict") for row in longest}
        if words & {"better", "worse"} and len(words) == 1:
            return f"The longest answers are {words.pop()} than a random part"
        return (
            "The longest answers do not clearly differ from a random part, or not at every budget"
        )
    worse = [r for r in chosen if (r.get("difference") or {}).get("verdict") == "worse"]
    if len(worse) == len(chosen):
        return "Every method is worse than a random part"
    return "No method is better than both a random part and the longest answers"


def answers(result: Mapping[str, Any]) -> list[Answer]:
    """One answer for each choice: what it is against random, and against the longest."""
    found: list[Answer] = []
    for name in dict.fromkeys(row["method"] for row in result["rows"]):
        rows = [r for r in result["rows"] if r["method"] == name and r.get("difference")]
        if not rows:
            continue
        parts = [_against(rows, key) for key in BASELINES if any(row.get(key) for row in rows)]
        verdicts = {row["difference"]["verdict"] for row in rows}
        verdict: Verdict = verdicts.pop() if len(verdicts) == 1 else "inconclusive"
        found.append(Answer(name=name_of(rows[0]), verdict=verdict, words=f"{'; '.join(parts)}."))
    return found


def _against(rows: Sequence[Row], key: str) -> str:
    parts: list[str] = []
    for row in rows:
        gap = row.get(key)
        if gap:
            where = quantities.percent(row["keep"])
            parts.append(f"{gap['verdict']} at {where} ({loss(gap['mean'], 3, signed=True)} nats)")
    whom = "random" if key == "difference" else "the longest"
    return f"against {whom} {quantities.listed(parts)}"


def _chosen(result: Mapping[str, Any]) -> list[Row]:
    """The rows of what chooses: no baseline."""
    return [r for r in result["rows"] if r["method"] not in (RANDOM, LONGEST, EVERYTHING, WHOLE)]


def _beats(row: Row, key: str) -> bool:
    gap = row.get(key)
    return bool(gap) and gap["verdict"] == "better"


def about(result: Mapping[str, Any]) -> list[str]:
    """How it was measured, in sentences."""
    data, config, before = result["data"], result["config"], result["before"]
    target, rate = config["target"], result["learning_rate"]
    passes = counted(target["epochs"], "pass", "passes")
    chosen = "as given"
    if rate["tried"]:
        chosen = (
            f"the best of {len(rate['tried'])} for a random part, on other conversations of "
            "the pool"
        )
    words = [
        "Loss: nats per token of the answers of "
        f"{counted(data['test_n'], 'held-out conversation')} ({loss(before['loss'])} before "
        f"tuning). Every selection is used for {passes} over its budget, however much of it the "
        "selection fills, so all trainings have the same tokens and steps. Learning rate "
        f"{rate['taken']:g}, {chosen}.",
    ]
    if before.get("told_apart") is not None:
        least = 1 / (1 + data["others"])
        words.append(
            "Told apart: the share of last answers that are likelier per token than each of "
            f"{counted(data['others'], 'answer')} to other prompts ({quantities.percent(least)} "
            f"by chance, {quantities.percent(before['told_apart'])} before tuning). Verdicts are "
            "about the loss alone."
        )
    words.append(
        "Seeds vary random choices and the order of training. The held-out conversations are "
        "the same for all seeds, so the intervals do not cover their choice."
    )
    return words


def tuning_table(result: Mapping[str, Any]) -> Table:
    """Losses, and both differences with their verdicts, one section for each budget."""
    table = plain_table(
        ("tokens", True),
        ("tuned on", False),
        ("rows", True),
        ("loss", True),
        ("against random", True),
        ("", False),
        ("against longest", True),
        ("", False),
        ("told apart", True),
        ("select", True),
        ("tune", True),
    )
    for group in groups(result):
        for index, row in enumerate(group):
            table.add_row(
                "" if index else quantities.count(row["k"]),
                escape(row["method"]),
                quantities.count(round(row["rows"])),
                loss(row["loss_mean"]),
                *_cells(row.get("difference")),
                *_cells(row.get("from_longest")),
                quantities.percent(row["told_apart_mean"]),
                quantities.brief_duration(row["selection_seconds"]),
                quantities.brief_duration(row["target_seconds"]),
            )
        table.add_section()
    table.caption = escape("\n".join([headline(result), *about(result)]))
    return table


def _cells(gap: Mapping[str, Any] | None) -> tuple[str, str]:
    if not gap:
        return "–", ""
    low, high = (loss(end, 3, signed=True) for end in interval(gap))
    word = gap["verdict"]
    brief = {"inconclusive": "open"}.get(word, word)
    return low if gap["low"] is None else f"{low}…{high}", f"[{COLOURS[word]}]{brief}[/]"


def tuning_report(result: Mapping[str, Any], path: str | Path, *, overwrite: bool = True) -> Path:
    """Write a self-contained HTML report, and return its path.

    Raises:
        RunError: `path` exists and `overwrite` is false.
    """
    config: Mapping[str, Any] = result["config"]
    gaps = [row[key] for row in result["rows"] for key in BASELINES if row.get(key)]
    facts = {"target": config["target"], "proxy": config["proxy"], **(result["hardware"] or {})}
    return write_page(
        Path(path),
        "tuning.html",
        overwrite=overwrite,
        data=result["data"],
        seeds=result["seeds"],
        target=describe.model_name(config["target"]),
        proxy=describe.model_name(config["proxy"]),
        headline=headline(result),
        answers=answers(result),
        about_learning="",
        about_verdicts=about_verdicts(gaps),
        about=about(result),
        groups=groups(result),
        name_of=name_of,
        loss=loss,
        expenses=result["costs"],
        experiment="comparison",
        facts={key: value for key, value in facts.items() if value},
        config=as_yaml(config),
    )
