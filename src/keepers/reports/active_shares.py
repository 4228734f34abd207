"""Classes among selected and among control labels: what selection does to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keepers.campaign import State, wilson
from keepers.reports import quantities

NUM_BARS = 24
ROUGH = 50
"""With fewer control labels, the estimates for single classes are rough."""


@dataclass(frozen=True, kw_only=True)
class ClassShare:
    """One class among the selected, the control and all labels."""

    name: str
    selected: int
    control: int
    labels: int
    selected_share: float
    control_share: float
    low: float
    high: float

    @property
    def is_apart(self) -> bool:
        """Whether the selected share lies outside the interval of the control share."""
        return not self.low <= self.selected_share <= self.high


def class_shares(state: State) -> list[ClassShare]:
    """Each class or label among selected and among control labels, in the order of the names.

    Control labels are a uniform sample of the pool, so their shares, with Wilson's 95% interval,
    estimate those of the pool. Numbers name nothing.
    """
    question, examples = state.question, Counter[str]()
    if not question.is_named:
        return []
    counts = {name: {"selected": 0, "control": 0, "brought": 0} for name in state.classes}
    for item, label in state.labels.items():
        part = state.part(item) or "brought"
        examples[part] += 1
        for name in question.names_in(label):
            counts[name][part] += 1
    selected, control = (examples[part] for part in ("selected", "control"))
    found: list[ClassShare] = []
    for name, count in counts.items():
        low, high = wilson(count["control"], control)
        found.append(
            ClassShare(
                name=name,
                selected=count["selected"],
                control=count["control"],
                labels=sum(count.values()),
                selected_share=count["selected"] / selected if selected else 0.0,
                control_share=count["control"] / control if control else 0.0,
                low=low,
                high=high,
            )
        )
    return found


def most_apart(classes: Sequence[ClassShare]) -> list[ClassShare]:
    """The classes to show: of many, those whose shares differ most, in their own order."""
    by_gap = sorted(classes, key=lambda c: -abs(c.selected_share - c.control_share))
    shown = {each.name for each in by_gap[:NUM_BARS]}
    return [each for each in classes if each.name in shown]


def in_words(
    classes: Sequence[ClassShare], *, one: str = "class", parts: Mapping[str, int] | None = None
) -> str:
    """What selection does to the classes or labels, as far as the control labels tell.

    `one` is what one of them is called; `parts` counts the examples of each part, where an
    example may have several.
    """
    there = parts or {}
    control = there.get("control", sum(each.control for each in classes))
    selected = there.get("selected", sum(each.selected for each in classes))
    if not selected:
        return "No selected example is labelled yet."
    if not control:
        return "There are no control labels to compare the selected labels with."
    apart = [each for each in classes if each.is_apart]
    words = (
        "Control labels are a random sample of the pool, so their shares are close to those of "
        "the pool. "
    )
    if control < ROUGH:
        there = "There is only one" if control == 1 else f"There are only {control}"
        return f"{words}{there} of them, so the comparison is rough."
    if not apart:
        return f"{words}As far as they show, no {one} is selected out of proportion."
    more = [f"“{each.name}”" for each in apart if each.selected_share > each.control_share]
    less = [f"“{each.name}”" for each in apart if each.selected_share < each.control_share]
    told = [
        f"{_some(names)} {how}"
        for names, how in ((more, "more often"), (less, "less often"))
        if names
    ]
    return f"{words}Selection takes {' and '.join(told)} than they occur, outside the 95% interval."


def _some(names: Sequence[str]) -> str:
    return quantities.listed(names if len(names) < 6 else [*names[:4], f"{len(names) - 4} more"])
