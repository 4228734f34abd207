"""Conversations that say nearly the same, by their words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.data import Source
from keepers.tasks.texts import spoken
from keepers.workflows.conversations import conversation

WORDS = 3
"""Words of a piece."""
ALIKE = 0.5
"""The share of the pieces of two texts that both have, from which on they are near-duplicates."""
_WORD = re.compile(r"\w+")


def alike(source: Source, other: Source, least: float = ALIKE) -> npt.NDArray[np.bool_]:
    """Marks (n,) the conversations of a source that say nearly what one of another says.

    System prompts and tools, which many share, do not count.
    """
    texts = ([_said(conversation(each, at)) for at in range(len(each))] for each in (source, other))
    return near(*texts, least=least)


def near(texts: Iterable[str], others: Sequence[str], *, least: float) -> npt.NDArray[np.bool_]:
    """Marks (n,) the texts whose Jaccard similarity with one of the others is `least` or more.

    That is of the sets of all runs of three words, whatever the case and what stands between.

    >>> near(["Is 7 a prime?", "is 7 a PRIME"], ["Is 7 a prime number"], least=0.5).tolist()
    [True, True]
    """
    of_others = [_pieces(text) for text in others]
    having: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, pieces in enumerate(of_others):
        for piece in pieces:
            having[piece].append(place)
    found: list[bool] = []
    for text in texts:
        pieces = _pieces(text)
        both = Counter(place for piece in pieces for place in having.get(piece, ()))
        found.append(
            any(
                count >= least * (len(pieces) + len(of_others[place]) - count)
                for place, count in both.items()
            )
        )
    return np.array(found, dtype=bool)


def _pieces(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return {tuple(words[at : at + WORDS]) for at in range(max(1, len(words) - WORDS + 1))}


def _said(found: Mapping[str, Any]) -> str:
    if "messages" not in found:
        return f"{found['prompt']} {found['completion']}"
    return " ".join(spoken(each) for each in found["messages"] if each["role"] != "system")
