"""Claims: two people at once are shown different items first, so that nobody labels in vain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from keepers.campaign import Id


class Claims:
    """Who has which items before them now; kept in memory for a minute, since nothing rests on it.

    >>> claims = Claims()
    >>> claims.share([1, 2, 3], "ann", 2), claims.share([1, 2, 3], "ben", 2)
    ([1, 2], [3, 1])
    """

    def __init__(self, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._held: dict[Id, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def share(self, items: Sequence[Id], annotator: str, limit: int) -> list[Id]:
        """The first `limit` items, those that others look at last: nobody is left without work."""
        now = self._clock()
        with self._lock:
            self._held = {item: held for item, held in self._held.items() if held[1] > now}
            others = {item for item, (holder, _) in self._held.items() if holder != annotator}
            ordered = sorted(items, key=others.__contains__)[: max(0, limit)]
            until = now + self._seconds
            self._held |= {item: (annotator, until) for item in ordered if item not in others}
        return ordered
