"""The answer of a comparison in words: what beats random where, what does not, what stays open.

A comparison is the JSON object that `keepers compare` writes. Errors are fractions; a row's
`difference` is its error minus that of random over the same seeds, so below 0 is better.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from keepers.baselines import EVERYTHING, FRESH, RANDOM
from keepers.reports import describe, quantities
from keepers.reports.answer import Answer, Row
from keepers.statistics import LEVEL, Difference, Verdict, paired_difference
from keepers.words import counted


def name_of(row: Row) -> str:
    """A row's method, and who selected.

    >>> name_of({"method": "entropy", "selector": "proxy"})
    'entropy (proxy)'
    """
    if row["method"] == FRESH:
        return "a fresh random subset every epoch"
    selector = row.get("selector")
    return f"{row['method']} ({selector})" if selector else str(row["method"])


def shown(row: Row) -> str:
    """A row's name, with the method that `auto` took there.

    >>> shown({"method": "auto", "taken": "margin"})
    'auto: margin'
    """
    taken = row.get("taken")
    return f"{name_of(row)}: {taken}" if taken else name_of(row)


def series(result: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Rows by name, each in the order of the fraction kept; everything is left out."""
    found: dict[str, list[Row]] = {}
    for row in sorted(result["rows"], key=lambda row: row["keep"]):
        if row["method"] != EVERYTHING:
            found.setdefault(name_of(row), []).append(row)
    first = found.pop(RANDOM, None)
    return {RANDOM: first, **found} if first else found


def by_fraction(by_name: Mapping[str, Sequence[Row]]) -> list[list[tuple[str, Row]]]:
    """Rows and what they are called, one list for each fraction kept, the smallest first."""
    rows = [(shown(row), row) for rows in by_name.values() for row in rows]
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
    if len(_with(compared, "cannot tell")) == len(compared):
        return "Cannot tell: the target was still learning"
    better, worse = _with(compared, "better"), _with(compared, "worse")
    if better:
        words = f"Random loses to {_where(better, compared)}"
        return f"{words}; it beats {_where(worse, compared)}" if worse else words
    if worse:
        return f"No method beats random here; random beats {_where(worse, compared)}"
    pairs = counted(len(result["seeds"]), "seed")
    return f"Inconclusive: after {pairs}, no selection clearly differs from random"


def _where(rows: Sequence[Row], compared: Sequence[Row]) -> str:
    """The ways of selecting in `rows`, and at which of the fractions compared they stand there."""
    names = [name for name, _ in Counter(name_of(row) for row in rows).most_common()]
    if len(names) == 1:
        return f"{names[0]} at {_fractions(rows)}"
    shown = names if len(names) < 4 else [*names[:2], f"{len(names) - 2} more"]
    everywhere = all(row in rows for row in compared if name_of(row) in names)
    return f"{quantities.listed(shown)}{'' if everywhere else ' at some fractions'}"


def answers(result: Mapping[str, Any]) -> list[Answer]:
    """One answer for each way of selecting: those that beat random somewhere come first."""
    order: dict[Verdict | None, int] = {"better": 0, "worse": 1, "inconclusive": 2}
    found: list[tuple[int, float, Answer]] = []
    for name, rows in series(result).items():
        compared = [row for row in rows if row.get("difference")]
        if compared:
            answer = _answer(name, compared)
            lowest = min(row["difference"]["mean"] for row in compared)
            found.append((order.get(answer.verdict, 3), lowest, answer))
    return [answer for *_, answer in sorted(found, key=lambda each: each[:2])]


def _answer(name: str, rows: Sequence[Row]) -> Answer:
    better, worse, open_, untold = (
        _with(rows, verdict) for verdict in ("better", "worse", "inconclusive", "cannot tell")
    )
    parts = {
        f"beats random at {_gains(better)}": better,
        f"is worse than random at {_gains(worse)}": worse,
        f"is inconclusive at {_leanings(open_)}": open_,
        f"cannot be told at {_fractions(untold)}": untold,
    }
    verdict: Verdict = "inconclusive" if open_ else "cannot tell"
    if better or worse:
        verdict = "better" if better else "worse"
    words = "; ".join(part for part, there in parts.items() if there)
    return Answer(name=name, verdict=verdict, words=f"{words}.")


def about_learning(result: Mapping[str, Any]) -> str:
    """Where the target had not converged, and what to give it; empty where it had."""
    checks = [check for check in result.get("convergence") or () if not check["converged"]]
    if not checks:
        return ""
    most = max(check["longer_epochs"] for check in checks)
    where = quantities.listed([f"{check['k']:,}" for check in checks])
    worst = max(checks, key=lambda check: check["error"] - check["longer_error"])
    before, after = (quantities.percent(worst[n], 1) for n in ("error", "longer_error"))
    return (
        f"The target was still learning on {where} examples: twice as many epochs change its "
        f"test error on {worst['k']:,} from {before} to {after}. There is no verdict for these: "
        f"use --target-epochs {most} or more."
    )


def about_fresh(result: Mapping[str, Any]) -> str:
    """Why nothing is compared with a fresh random subset every epoch; empty where it is."""
    if any(row["method"] == FRESH for row in result["rows"]):
        return ""
    target = describe.model_name((result.get("config") or {}).get("target")) or "The target"
    return (
        f"{target} has no epochs, so there is no comparison with a fresh random subset in each "
        "epoch. For that, give --target a model that is trained in steps."
    )


def against_everything(result: Mapping[str, Any]) -> str:
    """Whether a part is as good as everything, and what it saves.

    The nearest of all parts is looked at, so its interval is one for all of them together.
    """
    whole = everything(result)
    rows = [r for r in result["rows"] if r["method"] not in (EVERYTHING, FRESH)]
    if whole is None or not rows:
        return ""
    best = min(rows, key=lambda row: row["error_mean"])
    gap = paired_difference(best["errors"], whole["errors"], level=LEVEL / len(rows))
    learning = {c["k"] for c in result.get("convergence") or () if not c["converged"]}
    if learning & {best["k"], whole["k"]}:
        return (
            "It is unknown whether a part is as good as everything: the target was still learning."
        )
    words = (
        f"Training on everything has an error of {quantities.percent(whole['error_mean'], 2)}. "
        f"The part nearest to it is {shown(best)}, at {quantities.percent(best['keep'])} kept: "
        f"{quantities.percent(best['error_mean'], 2)}, {_nearness(gap, len(rows))}"
    )
    speedup = best.get("speedup_seconds")
    if speedup:
        fast, slow = quantities.times(speedup), quantities.times(1 / speedup)
        pace = f"{fast} as fast" if speedup >= 1 else f"{slow} as long"
        words += f" End to end it took {pace} as everything, selection included."
    return words


def _nearness(gap: Difference, num_parts: int) -> str:
    words = f"{quantities.points(gap.mean, signed=True)} points"
    if gap.low is None or gap.high is None:
        return f"{words}. One seed cannot tell whether it is as good."
    low, high = (quantities.points(end, signed=True) for end in (gap.low, gap.high))
    together = f", all {num_parts} parts taken together" if num_parts > 1 else ""
    words = f"{words} ({low} to {high}{together}): "
    if gap.low > 0:
        return f"{words}not as good as everything."
    if gap.high < 0:
        return f"{words}better than everything."
    worst = quantities.points(max(gap.high, 0.0))
    return (
        f"{words}it does not clearly differ from everything, and is at most {worst} points worse."
    )


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
            "ceiling (outlined). An agreement near it is as good as possible."
        )
    return " ".join(parts)


def role_of(model: str) -> str:
    """The role in a model's name.

    >>> role_of("proxy seed 0")
    'proxy'
    """
    return model.split(" seed ")[0]


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
