"""A griffe extension: bare examples are shown as code, and declared options as keywords."""

from __future__ import annotations

import importlib
import inspect
import operator
from typing import Any

import griffe


class FenceDoctests(griffe.Extension):
    """Put a fence around every paragraph that starts with `>>>`; list what a function takes."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if isinstance(obj, griffe.Function):
            with_options(obj)
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def with_options(function: griffe.Function) -> None:
    """Show the keywords and the docstring that `keepers.options.taking` makes."""
    if not any(str(each.value).startswith("taking(") for each in function.decorators):
        return
    module = importlib.import_module(function.module.path)
    real: Any = operator.attrgetter(function.path.removeprefix(f"{function.module.path}."))(module)
    assert function.docstring is not None
    function.docstring.value = real.__doc__
    function.parameters = griffe.Parameters(
        *(
            griffe.Parameter(
                each.name,
                annotation=str(each.annotation),
                kind=griffe.ParameterKind[each.kind.name.lower()],
                default=None if each.default is inspect.Parameter.empty else repr(each.default),
            )
            for each in inspect.signature(real).parameters.values()
        )
    )


def fenced(text: str) -> str:
    """The text with its bare examples fenced."""
    paragraphs = text.split("\n\n")
    for number, paragraph in enumerate(paragraphs):
        if paragraph.startswith(">>>"):
            paragraphs[number] = f"```pycon\n{paragraph}\n```"
    return "\n\n".join(paragraphs)
