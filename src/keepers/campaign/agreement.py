"""How far annotators agree beyond chance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from keepers.campaign.state import State

Said = str | bool | float


def krippendorff_alpha(votes: Sequence[Sequence[Said]]) -> float | None:
    """1 - observed / expected disagreement of pairs: 1 where all agree, 0 as by chance.

    Two votes disagree by 1 where they are not the same, and numbers by their squared difference.
    The observed disagreement is of pairs of votes on one item, the expected one of all pairs of
    votes on items that have two or more. None where there are no such items, or all votes are the
    same.

    >>> krippendorff_alpha([["a", "a"], ["b", "b"], ["a", "b"], ["b"]])
    0.4444444444444444

    Source: Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011.
    """
    several = [each for each in votes if len(each) > 1]
    pooled = [vote for each in several for vote in each]
    if len(set(pooled)) < 2:
        return None
    observed = sum(_apart(each) / (len(each) - 1) for each in several) / len(pooled)
    return 1 - observed * len(pooled) * (len(pooled) - 1) / _apart(pooled)


def _apart(votes: Sequence[Said]) -> float:
    """The disagreement of all ordered pairs."""
    numbers = [vote for vote in votes if isinstance(vote, float)]
    if not numbers:
        return len(votes) ** 2 - sum(count**2 for count in Counter(votes).values())
    mean = sum(numbers) / len(numbers)
    return 2 * len(numbers) * sum((number - mean) ** 2 for number in numbers)


def agreement(state: State) -> Mapping[str, float]:
    """Krippendorff's alpha of each label or number, the lowest first; of classes, of `class`.

    It is over the items that several people labelled; what has no alpha is left out.
    """
    votes: defaultdict[str, list[list[Said]]] = defaultdict(list)
    for item in state.items.values():
        found = [state.resolve(vote) for vote in item.current if vote.kind == "label"]
        said = [state.question.compared(answer) for answer in found if answer is not None]
        for name in said[0] if len(said) > 1 else ():
            votes[name].append([each[name] for each in said])
    alphas = {name: krippendorff_alpha(each) for name, each in votes.items()}
    known = {name: alpha for name, alpha in alphas.items() if alpha is not None}
    return dict(sorted(known.items(), key=lambda each: (each[1], each[0])))
