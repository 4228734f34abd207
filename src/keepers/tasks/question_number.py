"""How much is it?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from keepers.tasks.question import LABEL, Answer, Column, Control, Form, Region, blank, cells
from keepers.tasks.texts import DELIMITERS, list_in, split

LARGEST = 3e38
"""Numbers are trained on in single precision."""


@dataclass(frozen=True)
class NumberQuestion:
    """An answer is a tuple of numbers, one for each name; the median of the votes counts.

    An example is open until more than half of the votes lie within the tolerance of each other,
    in every number. Without a tolerance it never is.
    """

    names: tuple[str, ...]
    tolerance: tuple[float, ...] = ()

    form: ClassVar[Form] = "number"
    wrong: ClassVar[str] = "no list of these numbers"
    is_named: ClassVar[bool] = False
    fewest: ClassVar[int] = 1
    one: ClassVar[str] = "number"
    option: ClassVar[str] = "numbers"

    def problem(self, answer: Answer) -> str | None:
        """Texts, and more or fewer numbers, are none."""
        if isinstance(answer, str) or any(isinstance(each, str) for each in answer):
            return f"{answer!r} is not a number. Write, for example, 3.5"
        if len(answer) != len(self.names):
            wanted = ", ".join(self.names)
            return f"{self.in_words(answer)} is {len(answer)} numbers. Give {wanted}"
        return None

    def read(self, record: Mapping[str, Any]) -> Answer | None:
        """A number, a list of them, or one in each of the columns of these names.

        >>> NumberQuestion(("price",)).read({"label": "3.5"})
        (3.5,)
        >>> NumberQuestion(("wide", "high")).read({"wide": 2, "high": 1.5})
        (2.0, 1.5)
        """
        value = record.get(LABEL)
        if LABEL not in record and (found := cells(record, self.names)) is not None:
            value = None if all(map(blank, found)) else found
        if blank(value):
            return None
        if isinstance(value, dict):
            raise ValueError(f"the label is {value!r}, which is not a number")
        if isinstance(value, str):
            value = self._parts(value)
        given = cast("list[Any]", value if isinstance(value, list | tuple) else [value])
        if len(given) != len(self.names):
            raise ValueError(
                f"the label is {value!r}. Give {len(self.names)} numbers: {', '.join(self.names)}"
                if len(self.names) > 1
                else f"the label is {value!r}. Give one number such as 3.5"
            )
        return tuple(map(_number, given))

    def _parts(self, text: str) -> list[Any]:
        found = list_in(text)
        if found is not None:
            return found
        if len(self.names) == 1:
            return [text]
        mark = next((mark for mark in reversed(DELIMITERS) if mark in text), None)
        return list(split(text, mark))

    def sent(self, value: object) -> Answer | None:
        """A list of numbers, one for each name."""
        if not isinstance(value, list):
            return None
        given = cast("list[object]", value)
        try:
            found = tuple(_number(v) for v in given if isinstance(v, int | float))
        except ValueError:
            return None
        return found if len(found) == len(given) == len(self.names) else None

    def names_in(self, answer: Answer) -> tuple[str, ...]:
        """None."""
        return ()

    def renamed(self, answer: Answer, now: Callable[[str], str | None]) -> Answer | None:
        """As it is, where it holds as many numbers as are asked for."""
        return answer if len(answer) == len(self.names) else None

    def agreed(self, answers: Sequence[Answer]) -> Answer | None:
        """The median of each number; None where too few lie near each other.

        >>> NumberQuestion(("price",), (0.5,)).agreed([(1.0,), (9.0,), (1.4,)])
        (1.4,)
        >>> NumberQuestion(("price",), (0.5,)).agreed([(1.0,), (9.0,)])
        """
        votes = [sorted(map(float, each)) for each in zip(*answers, strict=True)]
        for number, tolerance in zip(votes, self.tolerance, strict=False):
            most = len(number) // 2  # one less than the smallest majority
            ends = zip(number, number[most:], strict=False)
            if min(last - first for first, last in ends) > tolerance:
                return None
        return tuple(statistics.median(number) for number in votes)

    def agrees(self, answer: Answer, consensus: Answer) -> bool:
        """Whether every number is within the tolerance of the median; the same, without one."""
        within = self.tolerance or (0.0,) * len(self.names)
        triples = zip(answer, consensus, within, strict=True)
        return all(abs(float(one) - float(other)) <= gap for one, other, gap in triples)

    def compared(self, answer: Answer) -> Mapping[str, str | bool | float]:
        """Each number."""
        return {name: float(number) for name, number in zip(self.names, answer, strict=True)}

    def in_words(self, answer: Answer) -> str:
        """The numbers, separated by commas."""
        return ", ".join(f"{float(number):.7g}" for number in answer)

    def columns(self, answers: Sequence[Answer | None], *, flat: bool) -> dict[str, Column]:
        """A column of numbers; of several, one of lists, or a column for each."""
        if len(self.names) == 1:
            return {LABEL: ("number", [None if a is None else a[0] for a in answers])}
        if not flat:
            return {LABEL: ("numbers", list(answers))}
        return {
            name: ("number", [None if a is None else a[at] for a in answers])
            for at, name in enumerate(self.names)
        }

    def controls(self) -> Sequence[Control]:
        """A field for each number, below its name."""
        found: list[Control] = []
        for at, name in enumerate(self.names):
            found.append(("Header", {"value": name, "size": "5"}, ()))
            kind = {"required": "true", "step": "any"}
            found.append(("Number", {"name": self._field(at), **kind}, ()))
        return found

    def _field(self, at: int) -> str:
        return LABEL if len(self.names) == 1 else f"{LABEL}-{at}"

    def regions(self, answer: Answer) -> list[Region]:
        """A number in each field."""
        return [
            {"from_name": self._field(at), "type": "number", "value": {"number": number}}
            for at, number in enumerate(answer)
        ]

    def annotated(self, regions: Sequence[Region]) -> Answer:
        """The number in each field."""
        values: dict[Any, Any] = {}
        for region in regions:
            value = region.get("value")
            if region.get("type") == "number" and isinstance(value, dict):
                held = cast("dict[str, Any]", value)
                values[region.get("from_name")] = held.get("number")
        given = [values.get(self._field(at)) for at in range(len(self.names))]
        if any(number is None for number in given):
            raise ValueError(f"it holds the numbers {given}, but must hold {', '.join(self.names)}")
        return tuple(map(_number, given))


def _number(value: Any) -> float:
    text = f"{value!r} is not a number. Write, for example, 3.5"
    if isinstance(value, bool | list | dict | None):
        raise ValueError(text)
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise ValueError(text) from None
    if not math.isfinite(found) or abs(found) > LARGEST:
        raise ValueError(f"{value!r} is not finite, or over {LARGEST:g}. Correct it")
    return found
