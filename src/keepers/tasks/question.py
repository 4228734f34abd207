"""`Question`: what people are asked of an example, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

from keepers.tasks.texts import label_text

Answer = str | tuple[str, ...] | tuple[float, ...]
"""What a person says of one example: a class, its labels in sorted order, or its numbers."""

Form = Literal["class", "labels", "number"]
"""How a page asks: a button for each class, a box for each label, a field for each number."""

Region = dict[str, Any]
"""A part of one of Label Studio's annotations."""

Control = tuple[str, dict[str, str], Sequence[dict[str, str]]]
"""A tag of Label Studio's labelling configuration, its attributes, and those of its choices."""

Column = tuple[Literal["text", "texts", "number", "numbers"], list[Any]]
"""What the cells of a column hold, and the cells; None where nobody answered."""

LABEL = "label"
"""The column, and the control, that holds the answer."""


class Question(Protocol):
    """What people are asked: which class, which labels, how much.

    A question is a value of `names` and a `tolerance`. Nothing that asks people asks which it is.
    """

    form: ClassVar[Form]
    wrong: ClassVar[str]
    """What something is that a page sent and that is no answer, as the end of a sentence."""
    is_named: ClassVar[bool]
    """Whether an answer gives names, which may change while people label."""
    fewest: ClassVar[int]
    """How many names there have to be."""
    one: ClassVar[str]
    """What one of the names is called."""
    option: ClassVar[str]
    """The option that gives the names."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, labels or numbers."""
        ...

    @property
    def tolerance(self) -> tuple[float, ...]:
        """How far votes for numbers may lie apart; empty where nothing was said."""
        ...

    def problem(self, answer: Answer) -> str | None:
        """Why something is no answer to this question, whatever the names; None where it is one."""
        ...

    def read(self, record: Mapping[str, Any]) -> Answer | None:
        """The answer in a row of a file that came back; None where it is not answered.

        Raises:
            ValueError: it is no answer; the text says why.
        """
        ...

    def sent(self, value: object) -> Answer | None:
        """The answer that a page sends, under these names; None where it is none."""
        ...

    def names_in(self, answer: Answer) -> tuple[str, ...]:
        """The names that an answer gives."""
        ...

    def renamed(self, answer: Answer, now: Callable[[str], str | None]) -> Answer | None:
        """The answer by the names of today; None where one of its names is no more."""
        ...

    def agreed(self, answers: Sequence[Answer]) -> Answer | None:
        """What several people say together; None where they are divided."""
        ...

    def agrees(self, answer: Answer, consensus: Answer) -> bool:
        """Whether somebody said what all say together."""
        ...

    def compared(self, answer: Answer) -> Mapping[str, str | bool | float]:
        """What is held against the answers of others: the class, or each label or number."""
        ...

    def in_words(self, answer: Answer) -> str:
        """The answer as a person reads it."""
        ...

    def columns(self, answers: Sequence[Answer | None], *, flat: bool) -> dict[str, Column]:
        """Answers by column, with what they hold; `flat` where a format holds no lists."""
        ...

    def controls(self) -> Sequence[Control]:
        """How Label Studio asks."""
        ...

    def regions(self, answer: Answer) -> list[Region]:
        """An answer as Label Studio writes it."""
        ...

    def annotated(self, regions: Sequence[Region]) -> Answer:
        """The answer that Label Studio gives.

        Raises:
            ValueError: it is none; the text says why.
        """
        ...


def blank(value: Any) -> bool:
    """Whether a cell of a file holds nothing."""
    return not isinstance(value, list | tuple | dict) and label_text(value) is None


def cells(record: Mapping[str, Any], names: Sequence[str]) -> list[Any] | None:
    """The cells of a row under these names, in any case; None where a name is no column."""
    by_name = {name.strip().lower(): value for name, value in record.items()}
    keys = [name.strip().lower() for name in names]
    return [by_name[key] for key in keys] if all(key in by_name for key in keys) else None


def choices_in(regions: Sequence[Region]) -> list[Any]:
    """All choices of an annotation."""
    found: list[Any] = []
    for region in regions:
        if region.get("type") == "choices":
            value = region.get("value")
            chosen: Any = value.get("choices") if isinstance(value, dict) else None
            found += chosen if isinstance(chosen, list) else [chosen]
    return found
