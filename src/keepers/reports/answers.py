"""The answer of a comparison in words: what beats random where, what does not, what stays open.

A comparison is the JSON object that `keepers compare` writes. Errors are fractions; a row's
`difference` is its error minus that of random over the same seeds, so below 0 is better.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keepers.reports import quantities
from keepers.statistics import ENOUGH_SEEDS, Verdict

Row = Mapping[str, Any]
EVERYTHING, RANDOM, FRESH = "everything", "random", "fresh-random"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is known of one way of selecting, in a sentence; `lowest` is its best difference."""

    name: str
    verdict: Verdict
    words: str
    lowest: float


def name_of(row: Row) -> str:
    """A row's method, and who selected.

    >>> name_of({"method": "entropy", "selector": "proxy"})
    'entropy (proxy)'
    """
    if row["method"] == FRESH:
        return "a fresh random subset every epoch"
    selector = row.get("selector")
    return f"{row['method']} ({selector})" if selector else str(row["method"])


def series(result: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Rows by name, each in the order of the fraction kept; everything is left out."""
    found: dict[str, list[Row]] = {}
    for row in sorted(result["rows"], key=lambda row: row["keep"]):
        if row["method"] != EVERYTHING:
            found.setdefault(name_of(row), []).append(row)
    first = found.pop(RANDOM, None)
    return {RANDOM: first, **found} if first else found


def by_fraction(by_name: Mapping[str, Sequence[Row]]) -> list[list[tuple[str, Row]]]:
    """Rows with their names, one list for each fraction kept, the smallest first."""
    rows = [(name, row) for name, rows in by_name.items() for row in rows]
    fractions = sorted({row["keep"] for _, row in rows})
    return [[pair for pair in rows if pair[1]["keep"] == fraction] for fraction in fractions]


def everything(result: Mapping[str, Any]) -> Row | None:
    """The row of training on all of it, where there is one."""
    return next((row for row in result["rows"] if row["method"] == EVERYTHING), None)


def headline(result: Mapping[str, Any]) -> str:
    """The answer in one line."""
    compared = [r for r in result["rows"] if r.get("difference") and r["method"] != FRESH]
    if not compared:
        return "Nothing was compared with random"
    better, worse = _with(compared, "better"), _with(compared, "worse")
    wins = Counter(name_of(row) for row in better)
    names = [name for name, _ in wins.most_common()]
    if len(names) == 1:
        return f"Random loses to {names[0]} at {_fractions(better)}{_but(worse)}"
    if names:
        shown = names if len(names) < 4 else [*names[:2], f"{len(names) - 2} more"]
        everywhere = all(row in better for row in compared if name_of(row) in wins)
        where = "" if everywhere else " at some fractions"
        return f"Random loses to {quantities.listed(shown)}{where}{_but(worse)}"
    if worse:
        return "No method beats random here; some are worse"
    pairs = quantities.counted(len(result["seeds"]), "seed")
    return f"Inconclusive: after {pairs}, no selection can be told from random"


def _but(worse: Sequence[Row]) -> str:
    return ", and wins elsewhere" if worse else ""


def answers(result: Mapping[str, Any]) -> list[Answer]:
    """One answer for each way of selecting: those that beat random somewhere come first."""
    found: list[Answer] = []
    for name, rows in series(result).items():
        compared = [row for row in rows if row.get("difference")]
        if compared:
            found.append(_answer(name, compared))
    order: dict[Verdict, int] = {"better": 0, "worse": 1, "inconclusive": 2}
    return sorted(found, key=lambda answer: (order[answer.verdict], answer.lowest))


def _answer(name: str, rows: Sequence[Row]) -> Answer:
    parts: list[str] = []
    better, worse, open_ = (_with(rows, v) for v in ("better", "worse", "inconclusive"))
    if better:
        parts.append(f"beats random at {_gains(better)}")
    if worse:
        parts.append(f"is worse than random at {_gains(worse)}")
    if open_:
        parts.append(f"is inconclusive at {_leanings(open_)}")
    verdict: Verdict = "better" if better else "worse" if worse else "inconclusive"
    lowest = min(row["difference"]["mean"] for row in rows)
    return Answer(name=name, verdict=verdict, words="; ".join(parts) + ".", lowest=lowest)


def why_inconclusive(result: Mapping[str, Any]) -> str:
    """What `inconclusive` means here, or nothing where every verdict is clear."""
    rows = _with([row for row in result["rows"] if row.get("difference")], "inconclusive")
    if not rows:
        return ""
    pairs = min(row["difference"]["pairs"] for row in rows)
    if pairs < ENOUGH_SEEDS:
        return (
            f"“Inconclusive” stands where there are fewer than {ENOUGH_SEEDS} seeds, or where the "
            f"interval of the difference from random holds zero. So far it is "
            f"{quantities.counted(pairs, 'seed')}: run again with --seeds {ENOUGH_SEEDS} or more; "
            "what is finished is not repeated."
        )
    return (
        "“Inconclusive” stands where the interval of the difference from random holds zero: "
        "these seeds do not tell the two apart. More seeds make the interval narrower."
    )


def against_everything(result: Mapping[str, Any]) -> str:
    """The selection that comes nearest to training on everything, and what it saves."""
    whole = everything(result)
    rows = [r for r in result["rows"] if r["method"] not in (EVERYTHING, RANDOM, FRESH)]
    if whole is None or not rows:
        return ""
    best = min(rows, key=lambda row: row["error_mean"])
    gap = best["error_mean"] - whole["error_mean"]
    words = (
        f"Training on everything has an error of {quantities.percent(whole['error_mean'], 2)}. "
        f"The nearest to it is {name_of(best)}, at {quantities.percent(best['keep'])} kept: "
        f"{quantities.percent(best['error_mean'], 2)}, {quantities.points(gap, signed=True)} points"
    )
    speedup = best.get("speedup_seconds")
    if speedup:
        fast, slow = quantities.times(speedup), quantities.times(1 / speedup)
        pace = f"{fast} as fast" if speedup >= 1 else f"{slow} as long"
        words += f", end to end {pace} as training on everything, selection included"
    return words + "."


def noise_ceiling(agreement: Mapping[str, Any]) -> str:
    """How well proxy and target agree, against two seeds of the same model."""
    models: Sequence[str] = agreement["models"]
    across: list[float] = []
    within: dict[str, list[float]] = {}
    for i, one in enumerate(models):
        for j in range(i + 1, len(models)):
            value = agreement["spearman"][i][j]
            if value is None:
                continue
            if role_of(one) == role_of(models[j]):
                within.setdefault(role_of(one), []).append(value)
            else:
                across.append(value)
    parts: list[str] = []
    if across:
        parts.append(f"Proxy and target agree at Spearman {_mean(across):.2f}.")
    if within:
        ceilings = [f"{_mean(values):.2f} for the {role}" for role, values in within.items()]
        parts.append(
            f"Two seeds of the same model agree at {quantities.listed(ceilings)}: the noise "
            "ceiling (outlined); an agreement near it is as good as can be expected."
        )
    return " ".join(parts)


def role_of(model: str) -> str:
    """The role in a model's name.

    >>> role_of("proxy seed 0")
    'proxy'
    """
    return model.split(" seed ")[0]


def interval(difference: Row) -> tuple[float, float]:
    """The ends of a difference's interval: the mean itself where one pair gives none."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return difference["mean"], difference["mean"]
    return low, high


def _with(rows: Sequence[Row], verdict: str) -> list[Row]:
    return [row for row in rows if row["difference"]["verdict"] == verdict]


def _fractions(rows: Sequence[Row]) -> str:
    return quantities.listed([quantities.percent(k) for k in sorted({row["keep"] for row in rows})])


def _gains(rows: Sequence[Row]) -> str:
    return _at(rows, [f"by {quantities.points(abs(r['difference']['mean']))}" for r in rows])


def _leanings(rows: Sequence[Row]) -> str:
    return _at(rows, [quantities.points(r["difference"]["mean"], signed=True) for r in rows])


def _at(rows: Sequence[Row], notes: Sequence[str]) -> str:
    last = len(rows) - 1
    return quantities.listed(
        [
            f"{quantities.percent(row['keep'])} ({note}{' points of error' if i == last else ''})"
            for i, (row, note) in enumerate(zip(rows, notes, strict=True))
        ]
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
