"""Words that messages share: a count with its noun, and the name that was probably meant."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

SHOWN = 30
"""A message lists this many names at most."""


def counted(number: int, noun: str, nouns: str = "") -> str:
    """A count with its noun.

    >>> counted(1, "example"), counted(2000, "example"), counted(2, "class", "classes")
    ('1 example', '2,000 examples', '2 classes')
    """
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def probability(value: float) -> str:
    """A probability in whole percent, rounded towards a half: it never reaches a bar it missed.

    >>> probability(0.949), probability(0.95), probability(0.051), probability(0.9999)
    ('94%', '95%', '6%', '99%')
    """
    hundredths = round(100 * value, 9)
    return f"{math.ceil(hundredths) if value < 0.5 else math.floor(hundredths)}%"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, whatever the case of its letters.

    >>> nearest("Entropi", ["entropy", "margin"]), nearest("x", ["entropy", "margin"])
    ('entropy', None)
    """
    written = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(name.casefold(), written, n=1, cutoff=0.5)
    return written[found[0]] if found else None


def listed(names: Sequence[str], shown: int = SHOWN) -> str:
    """Names between commas; the first of them where they are many.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], shown=2), listed([])
    ('a, b, c', 'a, b, …', 'none')
    """
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "") or "none"


def remedy(name: str, known: Iterable[str], what: str = "Known") -> str:
    """What to give in place of an unknown name: the nearest one, and all where they are few.

    >>> remedy("entropi", ["entropy", "margin"])
    "Did you mean 'entropy'? Known: entropy, margin"
    >>> remedy("c15", [f"class-{number}" for number in range(77)], "The classes")
    "Did you mean 'class-15'?"
    """
    names = sorted(known)
    near = nearest(name, names)
    hint = "" if near is None else f"Did you mean '{near}'?"
    if near is not None and len(names) > SHOWN:
        return hint
    return f"{hint} {what}: {listed(names)}".lstrip()


def changed(before: Mapping[str, Any], now: Mapping[str, Any], names: Iterable[str]) -> str:
    """Which of the settings `names` were otherwise before; "" where none was.

    >>> before, now = {"seed": 0, "proxy": {"model": "mlp"}}, {"seed": 1, "proxy": {"model": "vgg"}}
    >>> changed(before, now, ["seed", "proxy", "keep"])
    'seed 0 (now 1), proxy.model mlp (now vgg)'
    """
    then, today = (_flat({name: each.get(name) for name in names}) for each in (before, now))
    different = [name for name in {**today, **then} if then.get(name) != today.get(name)]
    told = [f"{name} {then.get(name)} (now {today.get(name)})" for name in different]
    return listed(told, 5) if told else ""


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            inner = _flat(cast("Mapping[str, Any]", value))
            found |= {f"{name}.{each}": inner[each] for each in inner}
        else:
            found[name] = value
    return found
