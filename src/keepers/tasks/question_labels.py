"""Which labels does it have?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from keepers.tasks.question import (
    LABEL,
    Answer,
    Column,
    Control,
    Form,
    Region,
    blank,
    cells,
    choices_in,
)
from keepers.tasks.texts import DELIMITERS, label_text, list_in, split

NONE = "[]"
"""How an example without a label is written where an empty cell means that nobody answered."""

NONE_IN_WORDS = "none of these"

_FLAGS = {"0": False, "1": True, "false": False, "true": True}


@dataclass(frozen=True)
class LabelsQuestion:
    """An answer is a tuple of labels in sorted order; it may be empty: none of them.

    Each label is decided by itself, by majority; where one is tied, the example is open.
    """

    names: tuple[str, ...]
    tolerance: tuple[float, ...] = ()

    form: ClassVar[Form] = "labels"
    wrong: ClassVar[str] = "no list of these labels"
    is_named: ClassVar[bool] = True
    fewest: ClassVar[int] = 2
    one: ClassVar[str] = "label"
    option: ClassVar[str] = "labels"

    def problem(self, answer: Answer) -> str | None:
        """A text or a number is none."""
        if isinstance(answer, tuple) and all(isinstance(each, str) for each in answer):
            return None
        return f"{answer!r} is not a list of labels. Give a list; [] means no label"

    def read(self, record: Mapping[str, Any]) -> Answer | None:
        """A list, a text whose parts are labels, or 0 and 1 in a column for each label.

        >>> question = LabelsQuestion(("joy", "anger"))
        >>> question.read({"label": "joy|anger"}), question.read({"label": "[]"})
        (('anger', 'joy'), ())
        >>> question.read({"joy": "1", "anger": "0"}), question.read({"label": ""})
        (('joy',), None)
        """
        if LABEL not in record and (flags := cells(record, self.names)) is not None:
            return self._of_flags(flags)
        value = record.get(LABEL)
        if isinstance(value, dict):
            raise ValueError(f"the label is {value!r}. Give a list of labels; [] means no label")
        if blank(value):
            return None
        if isinstance(value, str):
            return _tidy(self._parts(value))
        if isinstance(value, list | tuple):
            return _tidy(self._of_list(cast("list[Any]", value)))
        return _tidy([str(label_text(value))])

    def _of_flags(self, flags: Sequence[Any]) -> Answer | None:
        if all(map(blank, flags)):
            return None
        found: list[str] = []
        for name, flag in zip(self.names, flags, strict=True):
            is_there = _FLAGS.get(str(label_text(flag)).strip().lower().removesuffix(".0"))
            if is_there is None:
                raise ValueError(f"{name!r} is {flag!r}. Give 0 or 1 for each label")
            found += [name] * is_there
        return _tidy(found)

    def _of_list(self, values: Sequence[Any]) -> list[str]:
        hot = len(values) == len(self.names) and all(type(v) in (int, bool) for v in values)
        if hot and set(values) <= {0, 1} and not set(map(str, values)) & set(self.names):
            return [name for name, value in zip(self.names, values, strict=True) if value]
        texts = [None if isinstance(each, list | dict) else label_text(each) for each in values]
        if None in texts:
            raise ValueError(f"the label is {values!r}. Give a list of names; [] means no label")
        return [str(text) for text in texts]

    def _parts(self, text: str) -> list[str]:
        """The labels in a text, by whatever separator leaves those that are known."""
        found = list_in(text)
        if found is not None:
            return self._of_list(found)
        for mark in (None, *DELIMITERS):
            parts = split(text, mark)
            if set(parts) <= set(self.names):
                return parts
        mark = next((mark for mark in DELIMITERS if mark in text), None)
        return split(text, mark)

    def sent(self, value: object) -> Answer | None:
        """A list of labels."""
        if not isinstance(value, list):
            return None
        given = cast("list[object]", value)
        names = [each for each in given if isinstance(each, str) and each in self.names]
        return _tidy(names) if len(names) == len(given) else None

    def names_in(self, answer: Answer) -> tuple[str, ...]:
        """All of them."""
        return tuple(map(str, answer))

    def renamed(self, answer: Answer, now: Callable[[str], str | None]) -> Answer | None:
        """What the labels are called now; two that became one count once."""
        names = [now(name) for name in self.names_in(answer)]
        return None if None in names else _tidy([str(name) for name in names])

    def agreed(self, answers: Sequence[Answer]) -> Answer | None:
        """The labels that more than half give; None where just half give one.

        >>> LabelsQuestion(("a", "b")).agreed([("a",), ("a", "b"), ()])
        ('a',)
        >>> LabelsQuestion(("a", "b")).agreed([("a",), ("a", "b")])
        """
        given = Counter(name for answer in answers for name in self.names_in(answer))
        if any(2 * count == len(answers) for count in given.values()):
            return None
        return _tidy([name for name, count in given.items() if 2 * count > len(answers)])

    def agrees(self, answer: Answer, consensus: Answer) -> bool:
        """Whether all labels are the same."""
        return answer == consensus

    def compared(self, answer: Answer) -> Mapping[str, str | bool | float]:
        """Whether it has each label."""
        there = self.names_in(answer)
        return {name: name in there for name in self.names}

    def in_words(self, answer: Answer) -> str:
        """The names, separated by commas."""
        return ", ".join(self.names_in(answer)) or NONE_IN_WORDS

    def columns(self, answers: Sequence[Answer | None], *, flat: bool) -> dict[str, Column]:
        """A column of lists; where there are none, of texts, with `NONE` for an empty one."""
        if not flat:
            return {LABEL: ("texts", list(answers))}
        texts = [None if answer is None else self._text(answer) for answer in answers]
        return {LABEL: ("text", texts)}

    def _text(self, answer: Answer) -> str:
        names = self.names_in(answer)
        known = {*self.names, *names}
        plain = not any(name[:1] in "[{('\"" for name in known)
        plain = plain and not any(mark in name for name in known for mark in DELIMITERS)
        if not names:
            return NONE
        return DELIMITERS[-1].join(names) if plain else json.dumps(names, ensure_ascii=False)

    def controls(self) -> Sequence[Control]:
        """Choices, of which several are taken; that it has none is one of them."""
        kind = {"choice": "multiple", "required": "true", "showInline": "true"}
        none = {"value": NONE_IN_WORDS, "alias": NONE}
        return [
            ("Choices", {"name": LABEL, **kind}, [*({"value": n} for n in self.names), none]),
        ]

    def regions(self, answer: Answer) -> list[Region]:
        """The choices."""
        choices = list(self.names_in(answer)) or [NONE]
        return [{"from_name": LABEL, "type": "choices", "value": {"choices": choices}}]

    def annotated(self, regions: Sequence[Region]) -> Answer:
        """The choices; `NONE` alone is none of them."""
        choices = choices_in(regions)
        if not choices or not all(isinstance(choice, str) for choice in choices):
            raise ValueError(f"it holds the choices {choices}, but must hold labels or {NONE}")
        if NONE in choices and len(set(choices)) > 1:
            raise ValueError(f"it holds the choices {choices}: both labels and none of them")
        return _tidy([choice for choice in choices if choice != NONE])


def _tidy(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
