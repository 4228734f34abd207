"""Which class is it?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from keepers.tasks.question import LABEL, Answer, Column, Control, Form, Region, choices_in
from keepers.tasks.texts import label_text


@dataclass(frozen=True)
class ClassQuestion:
    """An answer is the name of a class; the majority decides, and a tie is open."""

    names: tuple[str, ...]
    tolerance: tuple[float, ...] = ()

    form: ClassVar[Form] = "class"
    wrong: ClassVar[str] = "not one of the classes"
    is_named: ClassVar[bool] = True
    fewest: ClassVar[int] = 2
    one: ClassVar[str] = "class"
    option: ClassVar[str] = "classes"

    def problem(self, answer: Answer) -> str | None:
        """A list or a number is none."""
        return None if isinstance(answer, str) else f"{answer!r} is no class. Give its name"

    def read(self, record: Mapping[str, Any]) -> Answer | None:
        """As `label_text` reads the column `label`."""
        value = record.get(LABEL)
        if value is not None and not isinstance(value, str | int | float):
            raise ValueError(f"the label is {value!r}, which is not a text")
        return label_text(value)

    def sent(self, value: object) -> Answer | None:
        """The name of a class."""
        return value if isinstance(value, str) and value in self.names else None

    def names_in(self, answer: Answer) -> tuple[str, ...]:
        """The one name."""
        return (str(answer),)

    def renamed(self, answer: Answer, now: Callable[[str], str | None]) -> Answer | None:
        """What the class is called now."""
        return now(str(answer))

    def agreed(self, answers: Sequence[Answer]) -> Answer | None:
        """The class that most name.

        >>> ClassQuestion(("a", "b")).agreed(["a", "b", "b"])
        'b'
        """
        top = Counter(answers).most_common(2)
        return None if len(top) == 2 and top[0][1] == top[1][1] else top[0][0]

    def agrees(self, answer: Answer, consensus: Answer) -> bool:
        """Whether it is the same class."""
        return answer == consensus

    def compared(self, answer: Answer) -> Mapping[str, str | bool | float]:
        """The class."""
        return {self.one: str(answer)}

    def in_words(self, answer: Answer) -> str:
        """The name."""
        return str(answer)

    def columns(self, answers: Sequence[Answer | None], *, flat: bool) -> dict[str, Column]:
        """A column of texts."""
        return {LABEL: ("text", list(answers))}

    def controls(self) -> Sequence[Control]:
        """Choices, of which one is taken."""
        kind = {"choice": "single", "required": "true", "showInline": "true"}
        return [("Choices", {"name": LABEL, **kind}, [{"value": name} for name in self.names])]

    def regions(self, answer: Answer) -> list[Region]:
        """One choice."""
        return [{"from_name": LABEL, "type": "choices", "value": {"choices": [answer]}}]

    def annotated(self, regions: Sequence[Region]) -> Answer:
        """The one choice."""
        choices = choices_in(regions)
        if len(choices) != 1 or not isinstance(choices[0], str):
            raise ValueError(f"it holds the choices {choices}, but must hold exactly one class")
        return choices[0]
