"""The answer of an online comparison in words: who is better, who is faster, and at what price.

Accuracies are fractions; a row's differences are its final accuracy less that of a baseline with
the same seed, so above 0 is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keepers.baselines import BASELINES, EQUAL_TIME, FRESH, SVP, UNIFORM
from keepers.reports import quantities
from keepers.reports.answer import Answer, Row
from keepers.statistics import Verdict
from keepers.words import counted

NAMES = {
    UNIFORM: "uniform",
    EQUAL_TIME: "uniform at equal time",
    FRESH: "fresh random subsets",
}
ORDER: dict[Verdict | None, int] = {
    "better": 0,
    "inconclusive": 1,
    "cannot tell": 2,
    None: 2,
    "worse": 3,
}
NEAR = 0.1  # two trainings took the same time if their durations differ by at most this fraction


def name_of(method: str) -> str:
    """A method as a person calls it."""
    return NAMES.get(method, method)


def methods(result: Mapping[str, Any]) -> list[Row]:
    """The rows of what was compared, without the baselines, in the order given."""
    return [row for row in result["rows"] if row["method"] not in BASELINES]


def took_equal_time(row: Row, result: Mapping[str, Any]) -> bool:
    """Whether a training took the time of uniform at equal time: that of the first method."""
    first = methods(result)[0]
    time = first["seconds"]["none"]
    return row["method"] == first["method"] or abs(row["seconds"]["none"] - time) <= NEAR * time


def about_equal_time(result: Mapping[str, Any]) -> str:
    """Whose time it is, and what is not in it."""
    first = methods(result)[0]
    words = f"Equal time is the time that training by {first['method']} took"
    if has_preparation(first):
        made = "core-set" if first["method"] == SVP else "irreducible losses"
        words += f", the making of its {made} not counted"
    return f"{words}; if a training took another time, the difference has no verdict."


def headline(result: Mapping[str, Any]) -> str:
    """The answer in one line: final accuracies against those of uniform at equal time."""
    rows = [row for row in methods(result) if took_equal_time(row, result)]
    if rows and all(_verdict(row, result) == "cannot tell" for row in rows):
        return "Cannot tell which ends better: uniform training at equal time was still learning"
    better, worse, unclear = (
        [row["method"] for row in rows if _verdict(row, result) == word]
        for word in ("better", "worse", "inconclusive")
    )
    if better:
        verb = "beats" if len(better) == 1 else "beat"
        return f"{quantities.listed(better)} {verb} decayed uniform training at equal time"
    untold = f"{quantities.listed(unclear)} cannot be distinguished from"
    if worse:
        words = f"Decayed uniform training beats {quantities.listed(worse)} at equal time"
        return f"{words}; {untold} it" if unclear else words
    pairs = counted(len(result["seeds"]), "seed")
    return f"Inconclusive: after {pairs}, {untold} decayed uniform training at equal time"


def answers(result: Mapping[str, Any]) -> list[Answer]:
    """One answer for each method, the better ones first."""
    found = [
        Answer(name=row["method"], verdict=_verdict(row, result), words=_words(row, result))
        for row in methods(result)
    ]
    return sorted(found, key=lambda answer: ORDER[answer.verdict])


def _verdict(row: Row, result: Mapping[str, Any]) -> Verdict | None:
    return row["differences"][EQUAL_TIME]["verdict"] if took_equal_time(row, result) else None


def _words(row: Row, result: Mapping[str, Any]) -> str:
    first, gap = methods(result)[0], row["differences"][EQUAL_TIME]["mean"]
    words = (
        f"ends at {quantities.percent(row['accuracy_mean'], 2)}, "
        f"{quantities.points(gap, signed=True)} points from uniform "
    )
    verdict = _verdict(row, result)
    if verdict is None:
        own, other = (quantities.duration(each["seconds"]["none"]) for each in (row, first))
        parts = [f"{words}in the time of {first['method']} ({other}; here it was {own})"]
    else:
        parts = [f"{words}at equal time ({verdict})"]
    entry = at_level(row, result["level"])
    if entry is not None and entry["step"] is None:
        goal = quantities.percent(entry["accuracy"], 2)
        parts.append(
            f"{goal}, which uniform reaches, was reached in {entry['reached']} of {entry['of']} "
            "seeds"
        )
    there = [each for each in row["targets"] if each["speedup"].get(UNIFORM)]
    if there:
        parts.append(_cost(max(there, key=lambda each: each["accuracy"]), row))
    parts += _hand_overs(result.get("hand_overs", {}).get(row["method"], []))
    return "; ".join(parts) + "."


def _hand_overs(found: Sequence[Row | None]) -> list[str]:
    """After which steps a method went on with uniform ones, by seed."""
    steps = sorted(each["step"] for each in found if each is not None)
    if not steps:
        return []
    at = f"{steps[0]:,}" if steps[0] == steps[-1] else f"{steps[0]:,} to {steps[-1]:,}"
    return [
        f"in {len(steps)} of {counted(len(found), 'seed')} it handed over to uniform steps by "
        f"itself, after step {at}"
    ]


def _cost(entry: Row, row: Row) -> str:
    """What it took to an accuracy, as multiples of what uniform took."""
    speed = entry["speedup"][UNIFORM]
    words = (
        f"to {quantities.percent(entry['accuracy'], 2)} it took {_share(speed['step'])} of "
        f"uniform's steps and {_share(speed['seconds']['none'])} of its seconds"
    )
    if has_preparation(row):
        full = speed["seconds"]["full"]
        words += f" ({_share(full)} with the preparation)"
    return words


def _share(speedup: float | None) -> str:
    """The cost that a speed-up leaves: 1 / it."""
    return f"{1 / speedup:.2f}" if speedup else "an unknown share"


def has_preparation(row: Row) -> bool:
    """Whether something had to be made before: irreducible losses, a core-set."""
    cost = row["preparation"]
    return cost is None or cost["seconds"] > 0


def at_level(row: Row, level: float) -> Row | None:
    """A row's entry for the accuracy that uniform reaches in every seed."""
    return next((entry for entry in row["targets"] if entry["accuracy"] == level), None)


def about_learning(result: Mapping[str, Any]) -> str:
    """Where uniform training at equal time had not converged; empty where it had."""
    words: str = (result.get("convergence") or {}).get("words", "")
    return words and f"{words[0].upper()}{words[1:]}. The speed of each is reported anyway."


def not_reached(result: Mapping[str, Any]) -> list[str]:
    """A sentence for each method and accuracy that some seed did not reach."""
    found: list[str] = []
    for row in result["rows"]:
        missing = [entry for entry in row["targets"] if entry["reached"] < entry["of"]]
        for kind, entries in _by_success(missing).items():
            goals = quantities.listed(
                [quantities.percent(entry["accuracy"], 2) for entry in entries]
            )
            found.append(f"{name_of(row['method'])}: {goals} {kind}")
    return found


def _by_success(entries: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for entry in entries:
        kind = f"reached in {entry['reached']} of {entry['of']} seeds"
        found.setdefault("not reached" if not entry["reached"] else kind, []).append(entry)
    return found


def corruption(result: Mapping[str, Any]) -> str:
    """What was done to the training data, in a sentence, or nothing."""
    config, facts = result["config"], result.get("corruption") or {}
    parts: list[str] = []
    if facts.get("corrupted") is not None:
        where = "at random" if config.get("noise") else "among the most confused classes"
        labels = counted(facts["corrupted"], "label")
        if facts.get("holdout_corrupted") is not None:
            labels += f" and {quantities.count(facts['holdout_corrupted'])} of the holdout data"
        parts.append(f"{labels} changed {where}")
    if facts.get("low_relevance") is not None:
        rare = counted(facts["low_relevance"], "example")
        kept = " (all of them in the holdout data)" if "holdout_relevance" in facts else ""
        parts.append(f"{rare} left of the classes of low relevance{kept}")
    if config.get("duplicate"):
        share = quantities.percent(config["duplicate"])
        parts.append(f"{share} of the examples {config['duplicate_times']} times")
    return f"Changed on purpose: {quantities.listed(parts)}." if parts else ""
