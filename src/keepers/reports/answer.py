"""What every report says: answers, their verdicts, and what those mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keepers.statistics import ENOUGH_SEEDS, Verdict
from keepers.words import counted

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is known of one way of selecting, or of one question; `brief` is a word for a tile.

    No verdict: what was measured does not bear one.
    """

    name: str
    words: str
    verdict: Verdict | None = "inconclusive"
    brief: str = ""


def interval(difference: Row) -> tuple[float, float]:
    """The ends of a difference's interval: the mean itself where one pair gives none."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return difference["mean"], difference["mean"]
    return low, high


def worst_class_differs(rows: Sequence[Row], name: str = "worst_class_error_mean") -> bool:
    """Whether a column with the worst class says anything: not where it is the same in each row."""
    return len({row.get(name) for row in rows}) > 1


def about_verdicts(differences: Sequence[Row]) -> str:
    """What the verdicts of a report mean: why some are open, and that they hold together."""
    words: list[str] = []
    if any(found["verdict"] == "inconclusive" for found in differences):
        pairs = min(found["pairs"] for found in differences)
        if pairs < ENOUGH_SEEDS:
            words.append(
                f"“Inconclusive”: with {counted(pairs, 'seed')} only a very clear difference "
                f"gets a verdict. Run again with --seeds {ENOUGH_SEEDS} or more; finished work "
                "is not repeated."
            )
        else:
            words.append(
                "“Inconclusive”: these seeds show no clear difference. More seeds make the "
                "intervals narrower."
            )
    if len(differences) > 1:
        words.append(
            f"The {len(differences)} comparisons of this report are corrected together: the "
            "chance that any of their verdicts is false is at most 5% (Holm's method). "
            "Intervals are not corrected, so an interval can exclude zero although the verdict "
            "is inconclusive."
        )
    return " ".join(words)
